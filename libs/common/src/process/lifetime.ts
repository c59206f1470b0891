/** Acquire and release: whatever is acquired pushes its release at once; release runs once, in reverse order. */

import type { Logger } from '../log/logger.ts'

/** Within this time after it is asked to stop a process has ended, whatever is away. */
export const STOP_MS = 8_000
/** Of it, what all releases together may take; the rest is for the end of the process itself. */
export const RELEASE_MS = 7_000

interface Release {
  readonly name: string
  readonly release: () => unknown
  readonly mostMs: number
}

/**
 * A stack of releases, run in reverse order, in sequence, also when one of them fails. They share `timeoutMs`: once it is over, those that
 * are left are still called, so that a PostgreSQL of ours is told to end, and no longer waited for.
 */
export class Lifetime implements AsyncDisposable {
  readonly #releases: Release[] = []
  readonly #logger: Logger
  readonly #timeoutMs: number
  #released: Promise<void> | undefined

  constructor(logger: Logger, timeoutMs = RELEASE_MS) {
    this.#logger = logger
    this.#timeoutMs = timeoutMs
  }

  /**
   * Remembers how `name` is released, and for how long at most that is waited for, so that something is left for those after it. What comes
   * when all has been released, as from a boot that was given up, is released at once.
   */
  push(name: string, release: () => unknown, mostMs: number = this.#timeoutMs): void {
    if (this.#released === undefined) this.#releases.push({ name, release, mostMs })
    else void this.#releaseOne({ name, release, mostMs }, this.#timeoutMs)
  }

  /** Remembers an async disposable and hands it on. */
  use<T extends AsyncDisposable>(name: string, resource: T): T {
    this.push(name, () => resource[Symbol.asyncDispose]())
    return resource
  }

  /** Releases everything once; all calls share the one run. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  async #release(): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs
    for (const one of this.#releases.reverse()) await this.#releaseOne(one, Math.max(0, deadline - performance.now()))
  }

  async #releaseOne({ name, release, mostMs }: Release, leftMs: number): Promise<void> {
    try {
      await withTimeout(Promise.resolve(release()), Math.min(mostMs, leftMs))
    } catch (error) {
      this.#logger.warn({ resource: name, err: error }, 'release failed')
    }
  }
}

/** The promise's value, or a rejection (with `late()`) when it is not there after `timeoutMs`. The work itself goes on. */
export async function withTimeout<T>(
  promise: Promise<T>,
  timeoutMs: number,
  late = () => new Error(`not done within ${Math.round(timeoutMs)} ms`),
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), timeoutMs)
  })
  try {
    return await Promise.race([promise, expired])
  } finally {
    clearTimeout(timer)
  }
}

/** Whoever looks at `/ready` learns within this time that something does not answer. */
export const CHECK_MS = 5_000

/**
 * What `name` answers, or an error in words after `CHECK_MS`. The question itself goes on, so that its client comes to the next endpoint; the
 * next look asks anew, so that what is back is seen at once.
 */
export const inTime = <T>(answer: Promise<T>, name: string): Promise<T> =>
  withTimeout(answer, CHECK_MS, () => new Error(`${name} has not answered within ${CHECK_MS / 1000} s`))

/** The first answer of several asked the same. @throws what the first of them said, where none answers */
export async function anyAnswer<T>(answers: readonly Promise<T>[]): Promise<T> {
  try {
    return await Promise.any(answers)
  } catch (error) {
    throw (error as AggregateError).errors[0] ?? error
  }
}

/** Waits, or ends early (without an error) when the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
