/** Rows: the unpaged list of 10,000 exits, and the relayer's memory after it. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { ExitsResponse } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import { startClient } from '../client.ts'
import { median, percentile, residentBytes, send, sendJson } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMib, formatMs } from '../report.ts'
import type { RunningRelayer, Stage } from '../stage.ts'
import { requestExits, signedBody, THRESHOLD, untilReady } from '../stage.ts'

const OPEN = 10_000
const READY = 1000
const PER_REQUEST = 1000
const CLIENTS = 4
const ASK_MS = 160
/** A percentile of at least a thousand samples. */
const QUIET_MS = 42_000
/** While shares come in: this many of one node, this often; as long as it is quiet. */
const [POST_SHARES, POST_MS] = [50, 700]

/** Runs both rows on one relayer. */
export async function benchList(stage: Stage): Promise<BenchRow[]> {
  const signing = (await stage.cluster()).validators.slice(0, READY)
  await using relayer = await stage.startClusterRelayer()
  const atReady = residentBytes(relayer.pid).now
  const silent = createTestKeys(OPEN - READY, { nodes: 0, threshold: 1 }).map(({ publicKey }) => toHex(publicKey))
  for (let from = 0; from < silent.length; from += PER_REQUEST)
    await sendJson(relayer.url, '/validators', { public_keys: silent.slice(from, from + PER_REQUEST) })
  const bodies = await preparePosts(stage, relayer, signing)

  const whole = await sendJson<ExitsResponse>(relayer.url, '/exits')
  if (whole.exits.length !== OPEN) throw new Error(`${whole.exits.length} exits are listed, not ${OPEN}`)
  const rendering = median(
    Array.from({ length: 9 }, () => {
      const start = performance.now()
      Buffer.from(JSON.stringify(whole))
      return performance.now() - start
    }),
  )
  const atOpen = residentBytes(relayer.pid).now
  const quiet = await listed(relayer.url, () => sleep(QUIET_MS))
  const changing = await listed(relayer.url, async () => {
    for (const body of bodies) {
      const { status } = await send(relayer.url, '/exit-signature', body)
      if (status !== 200) throw new Error(`a post is answered with ${status}`)
      await sleep(POST_MS)
    }
  })
  await untilReady(relayer.url, signing)
  const memory = residentBytes(relayer.pid)
  return [
    {
      id: 'list',
      name: `GET /exits with ${OPEN} open, unpaged, asked every ${ASK_MS} ms by each of ${CLIENTS} clients, p99 of ${quiet.count} and ${changing.count}`,
      measured: `${formatMs(quiet.p99)} (p50 ${formatMs(quiet.p50)}); while shares come in and exits get ready ${formatMs(changing.p99)} (p50 ${formatMs(changing.p50)})`,
      target: '≤ 25 ms; while exits change ≤ 40 ms',
      isMet: quiet.p99 <= 25 && changing.p99 <= 40,
      baseline: `one JSON.stringify of the list: ${formatMs(rendering)}`,
      ratio: changing.p99 / rendering,
      limit: 'sending 3 MB through loopback; while shares come in, reading what changed and joining the texts',
      values: {
        quiet_p50_ms: quiet.p50,
        quiet_p99_ms: quiet.p99,
        changing_p50_ms: changing.p50,
        changing_p99_ms: changing.p99,
        samples: quiet.count + changing.count,
        stringify_ms: rendering,
      },
    },
    {
      id: 'memory',
      name: `resident memory of the relayer after ${OPEN} open and ${READY} ready${stage.bundled}`,
      measured: `${formatMib(memory.now)} (at most ${formatMib(memory.most)}; at start ${formatMib(atReady)}, with ${OPEN} open ${formatMib(atOpen)})`,
      target: '≤ 230 MiB; at start ≤ 180 MiB',
      isMet: memory.now <= 230 * 2 ** 20 && atReady <= 180 * 2 ** 20,
      baseline: `itself at start: ${formatMib(atReady)}`,
      ratio: memory.now / atReady,
      limit: 'two heaps of V8, modules, the list as texts and as bytes, rendered share sets',
      values: {
        resident_bytes: memory.now,
        resident_most_bytes: memory.most,
        at_start_bytes: atReady,
        at_open_bytes: atOpen,
      },
    },
  ]
}

/** Bodies of the posts, node by node, in small batches. */
async function preparePosts(stage: Stage, relayer: RunningRelayer, validators: readonly KeyedValidator[]) {
  const { network } = await stage.world()
  const exits = await requestExits(relayer.url, validators)
  const bodies: string[] = []
  for (let from = 0; from < validators.length; from += POST_SHARES)
    for (let index = 1; index <= THRESHOLD; index++)
      bodies.push(signedBody(network, validators.slice(from, from + POST_SHARES), exits, index))
  return bodies
}

/** Times of the list while `work` goes on, asked by several clients one after the other within the interval. */
export async function listed(url: string, work: () => Promise<unknown>) {
  await using client = startClient()
  const asked = Array.from({ length: CLIENTS }, () => ({ path: '/exits', everyMs: ASK_MS }))
  const { samples } = await client.during(url, asked, work)
  const times = samples['/exits'] ?? []
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), count: times.length }
}
