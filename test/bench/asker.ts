/** A client in a process of its own, so that what it measures is the server: reading answers here would delay the reading of the clock. */

import { send } from './measure.ts'

/** What it is asked to do. */
export type Task =
  /** So many requests, one after the other. */
  | { url: string; path: string; body?: string; count: number }
  /** Requests at a fixed pace, whether those before are answered or not, until `stop`. */
  | { url: string; asked: readonly { path: string; everyMs: number }[] }
  | { stop: true }
/** Milliseconds of each request, by path. */
export type Samples = Record<string, number[]>

const samples = new Map<string, Promise<number>[]>()
let timers: NodeJS.Timeout[] = []

async function ask(url: string, path: string, body?: string): Promise<number> {
  const { status, ms } = await send(url, path, body)
  if (status !== 200) throw new Error(`${path} answers ${status}`)
  return ms
}

process.on('message', async (task: Task) => {
  if ('count' in task) {
    const times: number[] = []
    for (let request = 0; request < task.count; request++) times.push(await ask(task.url, task.path, task.body))
    process.send?.({ [task.path]: times } satisfies Samples)
  } else if ('asked' in task) {
    for (const [position, { path, everyMs }] of task.asked.entries()) {
      const times: Promise<number>[] = samples.get(path) ?? []
      samples.set(path, times)
      // Those of one pace one after the other.
      const start = () => timers.push(setInterval(() => times.push(ask(task.url, path)), everyMs))
      timers.push(setTimeout(start, (everyMs * position) / task.asked.length))
    }
    process.send?.({})
  } else {
    for (const timer of timers) clearInterval(timer)
    timers = []
    const all: Samples = {}
    for (const [path, times] of samples) all[path] = await Promise.all(times)
    samples.clear()
    process.send?.(all)
  }
})
process.on('disconnect', () => process.exit())
