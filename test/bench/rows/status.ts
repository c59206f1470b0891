/** Row: the status page of very many validators: the first page, one in the middle, a search. */

import { setTimeout as sleep } from 'node:timers/promises'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { median, send, sendJson } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { RunningRelayer } from '../stage.ts'

const REPEATS = 9
/** Longer than what one page has read is good for the next. */
const APART_MS = 1100
/** Longer than a worker takes until it counts what was written past it. */
const COUNTED_MS = 120_000
const MOST_MS = 20

/** Measures on a relayer that knows so many validators. */
export async function measureStatus({ url }: RunningRelayer, validators: number): Promise<BenchRow> {
  await untilCounted(url, validators)
  const page = routes.getStatusPage.path
  // Messages were made in the order of their validators.
  const paths = { first: page, middle: `${page}?after=${validators / 2}`, search: `${page}?key=0x0000` }
  const times = { first: [] as number[], middle: [] as number[], search: [] as number[], health: [] as number[] }
  for (let round = 0; round < REPEATS; round++)
    for (const name of ['first', 'middle', 'search'] as const) {
      await sleep(APART_MS)
      times[name].push(await ask(url, paths[name]))
      times.health.push(await ask(url, routes.getHealth.path))
    }
  const [first, middle, search] = [median(times.first), median(times.middle), median(times.search)]
  const [most, bare] = [Math.max(first, middle, search), median(times.health)]
  return {
    id: `status-${validators}`,
    name: `GET /status of ${validators} validators, asked every ${APART_MS} ms: first page / a page in the middle / a search`,
    measured: `${formatMs(first)} / ${formatMs(middle)} / ${formatMs(search)}`,
    target: `≤ ${MOST_MS} ms`,
    isMet: most <= MOST_MS,
    baseline: `GET /health: ${formatMs(bare)}`,
    ratio: most / bare,
    limit: 'a dozen statements one after the other, each of a few rows',
    values: { first_ms: first, middle_ms: middle, search_ms: search, health_ms: bare },
  }
}

async function ask(url: string, path: string): Promise<number> {
  const { status, ms } = await send(url, path)
  if (status !== 200) throw new Error(`${path} is answered with ${status}`)
  return ms
}

async function untilCounted(url: string, validators: number): Promise<void> {
  for (const deadline = performance.now() + COUNTED_MS; performance.now() < deadline; await sleep(500)) {
    const { totals } = await sendJson<Status>(url, routes.getStatus.path)
    if ((totals?.validators ?? 0) >= validators) return
  }
  throw new Error('no worker has counted the validators')
}
