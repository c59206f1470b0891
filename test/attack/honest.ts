/**
 * The process of those who ask as they have a right to, each at its pace, whether the answers before are there or not, so that one who
 * stands still is seen in every request it kept waiting.
 */

import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { signedHeaders } from '../support/stages/oracle-fetch.ts'
import type { HonestCaller } from './attack.ts'

/** What its parent wants: of every kind of request so many, one every so many milliseconds, by those in turn who ask it. */
export interface Asking {
  url: string
  network: string
  callers: HonestCaller[]
  times: number
  everyMs: number
}
/** How it went: milliseconds of each request by who asked, and what went wrong. */
export interface Asked {
  samples: Record<string, number[]>
  errors: string[]
}

/** Longer than any machine takes: how long who asks has waited is for the table to say. */
const TIMEOUT_MS = 300_000
/** Shorter than the relayer keeps a connection on which nobody asks: one that it closes at the moment of a request fails that. */
const IDLE_MS = 60_000
const agent = new Agent({ keepAlive: true, timeout: IDLE_MS })

async function ask({ url, network }: Asking, caller: HonestCaller, after: string): Promise<string> {
  const { path, token, body, oracle, has } = caller
  const signed = oracle === undefined ? {} : await signedHeaders({ secretKey: fromHex(oracle, 32) }, path, { network })
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${url}${path}${after}`,
      {
        // Who has no token comes anew each time, as a monitor does.
        agent: token === undefined && oracle === undefined ? false : agent,
        method: body === undefined ? 'GET' : 'POST',
        timeout: TIMEOUT_MS,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...signed,
        },
      },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          if (answer.statusCode === 200 && text.includes(has)) resolve(text)
          else reject(new Error(`${answer.statusCode} ${text.slice(0, 200)}`))
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function askAll(asking: Asking): Promise<Asked> {
  const { callers, times, everyMs } = asking
  const samples: Record<string, number[]> = Object.fromEntries(callers.map(({ who }) => [who, []]))
  const errors: string[] = []
  /** What each has of the list that it follows. */
  const revisions = new Map<HonestCaller, string>()
  const askOnce = async (caller: HonestCaller) => {
    const start = performance.now()
    try {
      const text = await ask(asking, caller, revisions.get(caller) ?? '')
      // One takes the time before it reads: the reading is its own work.
      const ms = performance.now() - start
      samples[caller.who]?.push(ms)
      const [, revision] = caller.isFollowing === true ? (/"revision":(\d+)/.exec(text) ?? []) : []
      if (revision !== undefined) revisions.set(caller, `?after=${revision}`)
    } catch (error) {
      errors.push(`${caller.who}: ${error}`)
    }
  }
  // What a follower has is there before it counts.
  for (const caller of callers) if (caller.isFollowing === true) await askOnce(caller)
  for (const who of Object.keys(samples)) samples[who] = []
  const all = [...Map.groupBy(callers, ({ who }) => who).values()].map(async (kind, place) => {
    // No two kinds at the same moment.
    await sleep((everyMs * place) / new Set(callers.map(({ who }) => who)).size)
    const asked: Promise<void>[] = []
    const start = performance.now()
    for (let time = 0; time < times; time++) {
      const caller = kind[time % kind.length]
      if (caller !== undefined) asked.push(askOnce(caller))
      // By the clock, so that what this process does in between makes no request fewer.
      await sleep(Math.max(0, start + (time + 1) * everyMs - performance.now()))
    }
    await Promise.all(asked)
  })
  await Promise.all(all)
  return { samples, errors }
}

process.on('message', async (asking: Asking) => {
  process.send?.(await askAll(asking))
})
process.on('disconnect', () => process.exit())
