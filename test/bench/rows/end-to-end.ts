/** Rows: from an operator's request to ready, with four sidecars of ours that were idle before. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import { median, percentile, sendJson } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { Stage } from '../stage.ts'
import { keysOf, NODES, untilReady } from '../stage.ts'

const WARM = 5
const SINGLES = 20
const [SOME, MANY] = [100, 1000]
/** Between two single requests, so that the sidecars are idle again. */
const IDLE_MS = 100

/** Runs one, a hundred and a thousand on one relayer. */
export async function benchEndToEnd(stage: Stage): Promise<BenchRow[]> {
  const native = await stage.nativeSumMs()
  const { validators } = await stage.cluster()
  await using relayer = await stage.startClusterRelayer()
  await using sidecars = new AsyncDisposableStack()
  for (const app of await Promise.all(Array.from({ length: NODES }, (_, i) => stage.startSidecar(i, relayer.url))))
    sidecars.use(app)

  const requestToReady = async (some: readonly KeyedValidator[]) => {
    await sleep(IDLE_MS)
    const start = performance.now()
    await sendJson(relayer.url, '/validators', { public_keys: keysOf(some) })
    const { steps, doneAt } = await untilReady(relayer.url, some)
    return { ms: doneAt - start, steps }
  }
  let used = 0
  const take = (count: number) => {
    used += count
    return validators.slice(used - count, used)
  }

  const singles: number[] = []
  for (let round = 0; round < WARM + SINGLES; round++) {
    const { ms } = await requestToReady(take(1))
    if (round >= WARM) singles.push(ms)
  }
  const some = await requestToReady(take(SOME))
  const many = await requestToReady(take(MANY))
  const [first] = many.steps
  const last = many.steps.at(-1)
  const rate =
    first === undefined || last === undefined ? Number.NaN : ((MANY - first.count) / (last.at - first.at)) * 1000
  const one = median(singles)
  return [
    {
      id: 'one',
      name: `one validator, ${NODES} idle sidecars of ours, request to ready, median of ${SINGLES}`,
      measured: `${formatMs(one)} (p95 ${formatMs(percentile(singles, 0.95))})`,
      target: '≤ 250 ms',
      isMet: one <= 250,
      baseline: `native sum ${formatMs(native)}`,
      ratio: one / native,
      limit: 'hops one after the other: request, long poll, sign, post, verify, queue, finish, long poll',
      values: { median_ms: one, p95_ms: percentile(singles, 0.95), native_sum_ms: native },
    },
    batchRow('hundred', SOME, some.ms, 3000, native, {}),
    {
      ...batchRow('thousand', MANY, many.ms, 20_000, native, { rate_per_second: rate }),
      measured: `${formatMs(many.ms)}; ${rate.toFixed(0)} a second from the first ready to the last`,
      target: '≤ 20 s, ≥ 60 a second at the worker',
      isMet: many.ms <= 20_000 && rate >= 60,
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
