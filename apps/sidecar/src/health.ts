/** What works and what does not, as last seen: `/ready` shows it, the log tells each change once. */

import type { Ready } from '@dvt-relayer/api/schemas.ts'
import type { Events } from './events.ts'
import type { Check } from './metrics.ts'

/** Creates the state. Nothing counts as working before it has been seen. */
export function createHealth(checks: readonly Check[], events: Pick<Events, 'checkChanged'>) {
  const seen = new Map<Check, string | undefined>()
  return {
    /** A check passes (no problem) or fails. */
    report(check: Check, problem?: string): void {
      const isChange = !seen.has(check) || (seen.get(check) === undefined) !== (problem === undefined)
      seen.set(check, problem)
      if (isChange) events.checkChanged(check, problem)
    },
    /** Whether a check was last seen passing. */
    isGood: (check: Check): boolean => seen.has(check) && seen.get(check) === undefined,
    /** The state for `/ready`. */
    state(): Ready {
      const entries = checks.map((check) => {
        const problem = seen.has(check) ? seen.get(check) : 'not checked yet'
        return [check, problem === undefined ? { ok: true } : { ok: false, message: problem }] as const
      })
      const isReady = entries.every(([, { ok }]) => ok)
      return { status: isReady ? 'ready' : 'not_ready', checks: Object.fromEntries(entries) }
    },
  }
}
export type Health = ReturnType<typeof createHealth>
