/** Rows: from an operator's request to ready, with four sidecars of ours that were idle before. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { MadeCluster } from '../../../support/keys/make-cluster.ts'
import type { KeyedValidator } from '../../../support/world/nodes.ts'
import { median, percentile, sendJson } from '../../measure.ts'
import type { BenchRow } from '../../report.ts'
import { formatMs } from '../../report.ts'
import type { Stage } from '../../stage.ts'
import { keysOf, NODES, untilReady } from '../../stage.ts'

const WARM = 5
const SINGLES = 100
/** Rounds one right after the other. */
const CLOSE = 20
const [SOME, MANY] = [100, 1000]
/** Between two requests, so that the sidecars are idle again, and may ask as often as they want: their pace limiter refills 5 a second. */
const IDLE_MS = 1000

/** A relayer with four idle sidecars, on a cluster. */
export async function openScene(stage: Stage, cluster: MadeCluster) {
  await using stack = new AsyncDisposableStack()
  const relayer = stack.use(await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile }))
  const nodes = cluster.nodes.map(({ keystoresDir, lockFile }) => ({
    OBOL_KEYSTORES_DIR: keystoresDir,
    OBOL_CLUSTER_LOCK_FILE: lockFile,
  }))
  const sidecars = await Promise.all(nodes.map((files, node) => stage.startSidecar(node, relayer.url, files)))
  for (const app of sidecars) stack.use(app)
  const owned = stack.move()
  let used = 0
  return {
    databaseUrl: relayer.databaseUrl,
    /** Everything that its processes have printed. */
    output: () => [relayer.process, ...sidecars].map((app) => app.output()).join(''),
    take(count: number) {
      used += count
      return cluster.validators.slice(used - count, used)
    },
    /** Asks for exits, after a pause, and waits for their shares. */
    async round(some: readonly KeyedValidator[], idleMs: number) {
      await sleep(idleMs)
      const start = performance.now()
      await sendJson(relayer.url, '/validators', { public_keys: keysOf(some) })
      const askedMs = performance.now() - start
      const { steps, doneAt } = await untilReady(relayer.url, some)
      return { start, ms: doneAt - start, askedMs, readyMs: (steps.at(-1)?.at ?? Number.NaN) - start, steps }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
export type Scene = Awaited<ReturnType<typeof openScene>>

async function singles(scene: Scene, count: number, idleMs: number): Promise<number[]> {
  const times: number[] = []
  for (let round = 0; round < count; round++) times.push((await scene.round(scene.take(1), idleMs)).ms)
  return times
}

/** Runs one, a hundred and a thousand on one relayer. */
export async function benchEndToEnd(stage: Stage): Promise<BenchRow[]> {
  const native = await stage.nativeSumMs()
  await using scene = await openScene(stage, await stage.cluster())
  await singles(scene, WARM, IDLE_MS)
  const spaced = await singles(scene, SINGLES, IDLE_MS)
  const close = await singles(scene, CLOSE, 0)
  const some = await scene.round(scene.take(SOME), IDLE_MS)
  const many = await scene.round(scene.take(MANY), IDLE_MS)
  const [first] = many.steps
  const last = many.steps.at(-1)
  const rate =
    first === undefined || last === undefined ? Number.NaN : ((MANY - first.count) / (last.at - first.at)) * 1000
  const [one, p99] = [median(spaced), percentile(spaced, 0.99)]
  const paced = median(close)
  return [
    {
      id: 'one',
      name: `one validator, ${NODES} idle sidecars of ours, request to ready, a second apart, median of ${SINGLES}`,
      measured: `${formatMs(one)} (p99 ${formatMs(p99)}, worst ${formatMs(Math.max(...spaced))})`,
      target: 'median ≤ 120 ms, p99 ≤ 250 ms',
      isMet: one <= 120 && p99 <= 250,
      baseline: `native sum ${formatMs(native)}`,
      ratio: one / native,
      limit: 'hops one after the other: request, long poll, sign, post, verify, queue, finish, long poll',
      values: { median_ms: one, p99_ms: p99, worst_ms: Math.max(...spaced), native_sum_ms: native },
    },
    {
      id: 'pace',
      name: `the same without a pause between, median of ${CLOSE}`,
      measured: formatMs(paced),
      target: '–',
      isMet: undefined,
      baseline: `a second apart: ${formatMs(one)}`,
      ratio: paced / one,
      limit: "the sidecars' pace limiter, which a relayer that answers every long poll at once would meet",
      values: { median_ms: paced },
    },
    batchRow('hundred', SOME, some.ms, 1500, native, {}),
    {
      ...batchRow('thousand', MANY, many.ms, 10_000, native, { rate_per_second: rate }),
      measured: `${formatMs(many.ms)}; ${rate.toFixed(0)} a second from the first ready to the last`,
      target: '≤ 10 s, ≥ 110 a second',
      isMet: many.ms <= 10_000 && rate >= 110,
    },
  ]
}

function batchRow(
  id: string,
  count: number,
  ms: number,
  targetMs: number,
  native: number,
  more: Record<string, number>,
): BenchRow {
  return {
    id,
    name: `${count} validators, ${NODES} sidecars, request to all ready`,
    measured: formatMs(ms),
    target: `≤ ${formatMs(targetMs)}`,
    isMet: ms <= targetMs,
    baseline: `native sum × ${count}: ${formatMs(native * count)}`,
    ratio: ms / (native * count),
    limit: 'CPU: signature thread, relayer, PostgreSQL and four sidecars on the same cores',
    values: { ms, native_sum_ms: native * count, ...more },
  }
}
