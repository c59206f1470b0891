/** Waiting, always with a way out. */

import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { DemoError } from './errors.ts'

const LOOK_MS = 25

/** How long to wait at most for what another process does: far more than it takes on a machine on which much else runs. */
export const PATIENCE_MS = 120_000

/**
 * Looks again and again until there is something, and returns it. A look that throws found nothing, unless it is a `DemoError`.
 *
 * @throws {DemoError} after two minutes, with the last reason; the signal's reason when it aborts
 */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | undefined>,
  options: { signal: AbortSignal; logFile?: string },
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS
  for (let reason = 'nothing was seen of it'; ; ) {
    options.signal.throwIfAborted()
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (error) {
      if (error instanceof DemoError) throw error
      reason = (error as Error).message
    }
    if (performance.now() > deadline)
      throw new DemoError(`${what}: not within ${PATIENCE_MS / 1000} s (${reason})`, options.logFile)
    await pause(LOOK_MS, options.signal)
  }
}

/** The JSON of a GET that answers 200. */
export async function getJson<T>(url: string, signal: AbortSignal, headers: Record<string, string> = {}): Promise<T> {
  const response = await fetch(url, { headers, signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${new URL(url).pathname} answers ${response.status} ${text}`)
  return JSON.parse(text) as T
}
