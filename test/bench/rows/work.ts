/** Rows: CPU of the whole relayer for one validator, and how others are answered while a big post is worked on. */

import { randomBytes } from 'node:crypto'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import { startClient } from '../client.ts'
import { cpuMs, median, percentile, postgresCpu, send } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { RunningRelayer, Stage } from '../stage.ts'
import { NODES, requestExits, signedBody, untilReady } from '../stage.ts'

const WARM = 100
const MEASURED = 200
const BUSY = 1000
/** The list is asked for some tens of times in a round. */
const BUSY_ROUNDS = 3
/** How often the small requests come while the relayer is busy; the list is 0.4 MB. */
const ASK_MS = { small: 10, list: 50 }

/** Runs both rows on one relayer. */
export async function benchWork(stage: Stage): Promise<BenchRow[]> {
  const { validators } = await stage.cluster()
  await using relayer = await stage.startClusterRelayer()
  await finish(stage, relayer, validators.slice(0, WARM))
  const whole = await benchWhole(stage, relayer, validators.slice(WARM, WARM + MEASURED))
  const busy = await benchBusy(stage, relayer, validators.slice(WARM + MEASURED, WARM + MEASURED + BUSY))
  return [whole, busy]
}

/** The whole path of some validators, partial signatures made beforehand; returns what it took from the posts on. */
async function finish(stage: Stage, relayer: RunningRelayer, validators: readonly KeyedValidator[]): Promise<void> {
  const { network } = await stage.world()
  const exits = await requestExits(relayer.url, validators)
  // As nodes do that wait for work: all at about the same time.
  const bodies = Array.from({ length: NODES }, (_, i) => signedBody(network, validators, exits, i + 1))
  await Promise.all(bodies.map((body) => post(relayer.url, body)))
  await untilReady(relayer.url, validators)
}

async function post(url: string, body: string): Promise<void> {
  const { status } = await send(url, '/exit-signature', body)
  if (status !== 200) throw new Error(`a post is answered with ${status}`)
}

async function benchWhole(
  stage: Stage,
  relayer: RunningRelayer,
  validators: readonly KeyedValidator[],
): Promise<BenchRow> {
  const native = await stage.nativeSumMs()
  const databaseCpu = await postgresCpu(relayer.databaseUrl)
  const start = { relayer: cpuMs(relayer.pid), database: databaseCpu() }
  await finish(stage, relayer, validators)
  const ours = (cpuMs(relayer.pid) - start.relayer) / validators.length
  const database = (databaseCpu() - start.database) / validators.length
  return {
    id: 'whole',
    name: `whole relayer CPU per validator, HTTP and database included (${validators.length} validators, ${NODES} posts)`,
    measured: `${formatMs(ours)}; PostgreSQL besides ${formatMs(database)}`,
    target: '≤ 0.72 × native sum',
    isMet: ours <= 0.72 * native,
    baseline: `native sum ${formatMs(native)}`,
    ratio: ours / native,
    limit: 'the cryptography; the rest is HTTP, JSON, SQL and the queue',
    values: { relayer_cpu_ms: ours, postgres_cpu_ms: database, native_sum_ms: native },
  }
}

async function benchBusy(
  stage: Stage,
  relayer: RunningRelayer,
  validators: readonly KeyedValidator[],
): Promise<BenchRow> {
  const { network, beacon } = await stage.world()
  await using client = startClient()
  const asked = [
    { path: '/health', everyMs: ASK_MS.small },
    { path: '/info', everyMs: ASK_MS.small },
    { path: '/exits', everyMs: ASK_MS.list },
  ]
  const phases = { one: createPhase(), several: createPhase(), finishing: createPhase() }
  const during = async (phase: Phase, work: () => Promise<unknown>) => {
    const { samples, workMs } = await client.during(relayer.url, asked, work)
    const { '/health': health = [], '/info': info = [], '/exits': list = [] } = samples
    phase.workMs.push(workMs)
    phase.small.push(...health, ...info)
    phase.list.push(...list)
  }
  for (let round = 0; round < BUSY_ROUNDS; round++) {
    // At other indexes than before all is signed and split anew.
    beacon.addValidators(randomBytes(48))
    const exits = await requestExits(relayer.url, validators)
    const [first = '', ...others] = Array.from({ length: NODES }, (_, i) =>
      signedBody(network, validators, exits, i + 1),
    )
    await during(phases.one, () => post(relayer.url, first))
    await during(phases.several, () => Promise.all(others.map((body) => post(relayer.url, body))))
    await during(phases.finishing, () => untilReady(relayer.url, validators))
  }
  const [one, several, finishing] = [summary(phases.one), summary(phases.several), summary(phases.finishing)]
  const inline = inlineMs(network, validators)
  const worst = Math.max(...[one, several, finishing].flatMap(({ small, list }) => [small, list]))
  return {
    id: 'busy',
    name: `p99 of GET /health and /info, and of GET /exits, while ${BUSY} shares of one POST are worked on, ${BUSY_ROUNDS} rounds`,
    measured: `${formatMs(one.small)}, ${formatMs(one.list)} (3 posts at once: ${formatMs(several.small)}, ${formatMs(several.list)}; finishing: ${formatMs(finishing.small)}, ${formatMs(finishing.list)})`,
    target: '≤ 25 ms',
    isMet: worst <= 25,
    baseline: `verified on the event loop: blocked for ${formatMs(inline)}`,
    ratio: worst / inline,
    limit:
      'reading, checking and sealing the body on the event loop; threads of PostgreSQL and of the signatures on the same cores',
    values: {
      one_small_p99_ms: one.small,
      one_list_p99_ms: one.list,
      one_post_ms: one.workMs,
      three_small_p99_ms: several.small,
      three_list_p99_ms: several.list,
      three_posts_ms: several.workMs,
      finishing_small_p99_ms: finishing.small,
      finishing_list_p99_ms: finishing.list,
      inline_ms: inline,
    },
  }
}

/** What was seen while one kind of work was done: how long it took, and the requests beside it. */
const createPhase = () => ({ workMs: [] as number[], small: [] as number[], list: [] as number[] })
type Phase = ReturnType<typeof createPhase>

/** What is told of it. */
const summary = ({ workMs, small, list }: Phase) => ({
  workMs: median(workMs),
  small: percentile(small, 0.99),
  list: percentile(list, 0.99),
})

/** How long one after the other would block: a sample, multiplied. */
function inlineMs(network: Network, validators: readonly KeyedValidator[]): number {
  const engine = createBlstEngine()
  const message = exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex: 1 })
  const sample = validators.slice(0, 50).flatMap(({ shares }) => shares.slice(0, 1))
  const signatures = sample.map(({ secretKey }) => engine.sign(secretKey, message))
  const start = performance.now()
  sample.forEach(({ publicKey }, position) => {
    engine.verify(publicKey, message, signatures[position] ?? new Uint8Array())
  })
  return ((performance.now() - start) / sample.length) * validators.length
}
