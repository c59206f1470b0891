/** What asks a relayer and measures, in a process of its own. */

import { startChild } from '../support/child.ts'
import type { Samples, Task } from './asker.ts'

export interface MeasuringClient extends AsyncDisposable {
  /** So many requests one after the other; the milliseconds of each. */
  inTurn(url: string, path: string, count: number, body?: string): Promise<number[]>
  /** Requests at a fixed pace while `work` goes on; the milliseconds of each, by path, and of the work. */
  during(
    url: string,
    asked: readonly { path: string; everyMs: number }[],
    work: () => Promise<unknown>,
  ): Promise<{ samples: Samples; workMs: number }>
}

/** Starts one. */
export function startClient(): MeasuringClient {
  const child = startChild<Task, Samples>('test/bench/asker.ts')
  return {
    async inTurn(url, path, count, body) {
      const samples = await child.ask({ url, path, count, ...(body === undefined ? {} : { body }) })
      return samples[path] ?? []
    },
    async during(url, asked, work) {
      await child.ask({ url, asked })
      const start = performance.now()
      await work()
      const workMs = performance.now() - start
      return { samples: await child.ask({ stop: true }), workMs }
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}
