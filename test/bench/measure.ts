/** Clocks, counters and clients: how the numbers are taken. */

import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import pg from 'pg'

/** The value below which `share` of the samples lie, the nearest sample that exists. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}

/** The middle sample. */
export const median = (samples: readonly number[]): number => percentile(samples, 0.5)

/** Milliseconds that `work` takes. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** The kernel counts CPU time in hundredths of a second. */
const TICK_MS = 10

/** Fields of `/proc/<pid>/stat`, or of one of its threads, after the name, which may hold anything. */
function statOf(pid: number, thread?: number): number[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/${thread === undefined ? '' : `task/${thread}/`}stat`, 'utf8')
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
  } catch {
    return undefined
  }
}

/** CPU milliseconds of a process so far, all threads, and optionally of its children that ended. NaN where there is no `/proc`. */
export function cpuMs(pid: number, withEndedChildren = false): number {
  const fields = statOf(pid)
  if (fields === undefined) return Number.NaN
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15)
  return (user + system + (withEndedChildren ? childUser + childSystem : 0)) * TICK_MS
}

/** CPU milliseconds of the main thread of a process so far: of an app of ours its event loop. NaN where there is no `/proc`. */
export function mainThreadCpuMs(pid: number): number {
  const [user = Number.NaN, system = Number.NaN] = statOf(pid, pid)?.slice(11, 13) ?? []
  return (user + system) * TICK_MS
}

/** Resident memory of a process in bytes: now, and the most it ever was. NaN where there is no `/proc`. */
export function residentBytes(pid: number): { now: number; most: number } {
  let text = ''
  try {
    text = readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    // Told as NaN.
  }
  const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? Number.NaN)
  return { now: kib('VmRSS') * 1024, most: kib('VmHWM') * 1024 }
}

/** A counter of the CPU milliseconds of a PostgreSQL server with all its backends, found by one of them. */
export async function postgresCpu(url: string): Promise<() => number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const postmaster = statOf(rows[0]?.pid ?? 0)?.[1] ?? 0
  await client.end()
  return () => {
    const pids = postmaster === 0 ? [] : readdirSync('/proc').map(Number)
    const children = pids.filter((pid) => pid > 0 && statOf(pid)?.[1] === postmaster)
    // One that has ended since it was found is among those that its parent counts, from the next look on.
    return children.reduce((sum, pid) => sum + (cpuMs(pid) || 0), cpuMs(postmaster, true))
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** Answer with its bytes, unread. */
export interface RawAnswer {
  status: number
  body: Buffer
  /** From sending to the last byte. */
  ms: number
}

/** Sends a request over a kept connection and reads the answer as bytes: as little work of ours as can be. */
export function send(url: string, path: string, body?: string): Promise<RawAnswer> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${url}${path}`,
      {
        agent,
        method: body === undefined ? 'GET' : 'POST',
        timeout: 60_000,
        headers:
          body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) },
      },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks), ms: performance.now() - start }),
        )
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${path} within 60 s`)))
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** The same, and the answer must be a 2xx; its JSON. */
export async function sendJson<T>(url: string, path: string, body?: unknown): Promise<T> {
  const answer = await send(url, path, body === undefined ? undefined : JSON.stringify(body))
  if (answer.status < 200 || answer.status > 299)
    throw new Error(`${path} answers ${answer.status}: ${answer.body.subarray(0, 300).toString()}`)
  return JSON.parse(answer.body.toString()) as T
}
