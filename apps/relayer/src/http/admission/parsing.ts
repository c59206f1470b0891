/**
 * Turns for what is parsed: a large body takes the event loop for some milliseconds, in which nobody else is served. Those of one caller are
 * parsed one after the other with a rest between, so that whatever it sends others find the loop free most of the time. Nobody waits for
 * another caller's rest.
 */

import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import type { Rounds } from '@dvt-relayer/common/flow/rounds.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'

/** How many times as long as the work the rest after it is, and how long at most. */
const REST = { times: 3, mostMs: 200 }
/** Bytes and values that take a millisecond, about. */
const IN_A_MS = { bytes: 200_000, values: 8_000 }
/** Milliseconds of rest for one of a body, times what it takes: who asks meanwhile waits for all of it, so the longer it is the rarer it must be. */
const REST_A_MS = 4
const MOST_REST_MS = 10_000

/** What a body is to those who wait while it is parsed, whatever else the machine does meanwhile. */
export interface ParsedSize {
  bytes: number
  values: number
}

/** So that of one caller's bodies the loop is held for a hundredth of the time, and longer only by short ones. */
function restOf({ bytes, values }: ParsedSize): number {
  const ms = bytes / IN_A_MS.bytes + values / IN_A_MS.values
  return Math.min(MOST_REST_MS, REST_A_MS * ms * ms)
}

/** Creates the turns; nobody is in them. */
export function createParsing(rounds: Rounds, rest: (ms: number) => Promise<unknown> = (ms) => pause(ms)) {
  const lines = createKeyedQueue({ depth: 1, waiting: Number.POSITIVE_INFINITY })
  return {
    /**
     * What `parse` returns, or throws, when the turn of the account comes; in a round of its own, and handed out in another: whoever gets it
     * looks through all of it. All strangers are one.
     */
    run<T>(account: Account, parse: () => T, size: ParsedSize): Promise<T> {
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      const key = account.group === 'stranger' ? account.group : accountKey(account)
      /** Returns how long it took. Ends before the rest, in which nothing holds what was parsed. */
      const parseAndHandOut = async (): Promise<number> => {
        await rounds.turn(key)
        const start = performance.now()
        const parsed = attempt(parse)
        const tookMs = performance.now() - start
        await rounds.turn(key)
        if ('error' in parsed) reject(parsed.error)
        else resolve(parsed.value)
        return tookMs
      }
      void lines.run(key, async () => {
        const tookMs = await parseAndHandOut()
        // Its values are counted when it has been parsed.
        await rest(Math.max(Math.min(REST.mostMs, REST.times * tookMs), restOf(size)))
      })
      return promise
    },
  }
}

function attempt<T>(work: () => T): { value: T } | { error: unknown } {
  try {
    return { value: work() }
  } catch (error) {
    return { error }
  }
}
