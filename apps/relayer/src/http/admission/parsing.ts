/**
 * Turns for what is parsed: a large body takes the event loop for some milliseconds, in which nobody else is served. Those of one caller are
 * parsed one after the other with a rest between, so that whatever it sends others find the loop free most of the time. Nobody waits for
 * another caller's rest.
 */

import { setImmediate } from 'node:timers/promises'
import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'

/** How many times as long as the work the rest after it is, and how long at most. */
const REST = { times: 3, mostMs: 200 }

/** Creates the turns; nobody is in them. */
export function createParsing(rest: (ms: number) => Promise<unknown> = (ms) => pause(ms)) {
  const lines = createKeyedQueue({ depth: 1, waiting: Number.POSITIVE_INFINITY })
  let turn: Promise<unknown> = Promise.resolve()
  return {
    /** What `parse` returns, or throws, when the turn of the account comes. All strangers are one. */
    run<T>(account: Account, parse: () => T): Promise<T> {
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      void lines.run(account.group === 'stranger' ? account.group : accountKey(account), async () => {
        // Of several callers one is parsed in each round of the event loop.
        turn = turn.then(() => setImmediate())
        await turn
        const start = performance.now()
        try {
          resolve(parse())
        } catch (error) {
          reject(error)
        }
        await rest(Math.min(REST.mostMs, REST.times * (performance.now() - start)))
      })
      return promise
    },
  }
}
