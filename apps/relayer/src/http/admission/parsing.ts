/**
 * Turns for what is parsed: a large body takes the event loop for some tens of milliseconds, a piece at a time. Those of one caller are
 * parsed one after the other with a rest between, so that whatever it sends others find the loop free most of the time. Nobody waits for
 * another caller's rest.
 */

import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import type { Rounds } from '@dvt-relayer/common/flow/rounds.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'

/**
 * How many times as long as the work the rest after it is, and how long at most. Of strangers longer: hundreds of them can begin at one
 * moment, and where garbage comes faster than it is collected beside the work, all of it is in one pause of some tens of milliseconds.
 */
const REST = { times: 3, timesOfStrangers: 10, mostMs: 200 }
/** Bytes and values that take a millisecond, about. */
const IN_A_MS = { bytes: 200_000, values: 8_000 }
/** Milliseconds of rest after a body that was refused for each that it took, times what it took, and at most. */
const REFUSED = { restAMs: 20, mostMs: 10_000 }

/** What a body is to those who wait while it is parsed, whatever else the machine does meanwhile. */
export interface ParsedSize {
  bytes: number
  values: number
}

/** So that bodies of one caller that are refused, of 1 MB and more, hold the loop for a hundredth of the time: the longer one is the rarer it must be. */
function restOf({ bytes, values }: ParsedSize): number {
  const ms = bytes / IN_A_MS.bytes + values / IN_A_MS.values
  return Math.min(REFUSED.mostMs, REFUSED.restAMs * ms * ms)
}

/** Creates the turns; nobody is in them. */
export function createParsing(rounds: Rounds, rest: (ms: number) => Promise<unknown> = (ms) => pause(ms)) {
  const lines = createKeyedQueue({ depth: 1, waiting: Number.POSITIVE_INFINITY })
  return {
    /**
     * What `parse` returns, or throws, when the turn of the account comes; in rounds of its own, the next of which `between` waits for, and
     * handed out in another: whoever gets it looks through all of it. All strangers are one.
     */
    run<T>(account: Account, parse: (between: () => Promise<void>) => Promise<T>): Promise<T> {
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      const key = lineOf(account)
      /** Returns how long it took. Ends before the rest, in which nothing holds what was parsed. */
      const parseAndHandOut = async (): Promise<number> => {
        await rounds.turn(key)
        let tookMs = 0
        let start = performance.now()
        const between = async () => {
          tookMs += performance.now() - start
          await rounds.turn(key)
          start = performance.now()
        }
        const parsed = await attempt(() => parse(between))
        await between()
        if ('error' in parsed) reject(parsed.error)
        else resolve(parsed.value)
        return tookMs
      }
      void lines.run(key, async () => {
        const tookMs = await parseAndHandOut()
        const times = account.group === 'stranger' ? REST.timesOfStrangers : REST.times
        await rest(Math.min(REST.mostMs, times * tookMs))
      })
      return promise
    },
    /** Has the next bodies of a caller wait for one that was refused. Not those of strangers, which have one line. */
    refused(account: Account, size: ParsedSize): void {
      if (account.group !== 'stranger') void lines.run(lineOf(account), async () => void (await rest(restOf(size))))
    },
  }
}

const lineOf = (account: Account): string => (account.group === 'stranger' ? account.group : accountKey(account))

async function attempt<T>(work: () => Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await work() }
  } catch (error) {
    return { error }
  }
}
