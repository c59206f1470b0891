/** Row: two worker processes on one database, beside one that has as many signature threads; and what eight cores give on paper. */

import type { KeyedValidator } from '../../../support/world/nodes.ts'
import { cpuMs, mainThreadCpuMs, median, postgresCpu, send } from '../../measure.ts'
import type { BenchRow } from '../../report.ts'
import { formatMs, formatRatio } from '../../report.ts'
import type { RunningRelayer, Stage } from '../../stage.ts'
import { NODES, requestExits, signedBody, untilReady } from '../../stage.ts'

const WARM = 100
const MEASURED = 300
const REPEATS = 3
const CORES = 8
/** Workers that are reckoned with on eight cores, with three signature threads each. */
const WORKERS_ON_PAPER = 2

/** A process that answers requests, and workers with so many threads each. */
async function openHouse(stage: Stage, threads: readonly number[]) {
  await using stack = new AsyncDisposableStack()
  const workers: RunningRelayer[] = []
  for (const count of threads) {
    const [first] = workers
    const same = first === undefined ? {} : { DATABASE_URL: first.databaseUrl }
    workers.push(stack.use(await stage.startRelayer({ ROLE: 'worker', ...same }, count)))
  }
  // Last, since it is not ready without a worker.
  const api = stack.use(await stage.startClusterRelayer({ ROLE: 'api', DATABASE_URL: workers[0]?.databaseUrl }))
  const owned = stack.move()
  return { api, workers, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
type House = Awaited<ReturnType<typeof openHouse>>

/** Validators a second, from the posts of all nodes to all ready. */
async function rateOf(stage: Stage, { api }: House, validators: readonly KeyedValidator[]): Promise<number> {
  const { network } = await stage.world()
  const exits = await requestExits(api.url, validators)
  const bodies = Array.from({ length: NODES }, (_, i) => signedBody(network, validators, exits, i + 1))
  const start = performance.now()
  const posted = Promise.all(bodies.map((body) => send(api.url, '/exit-signature', body)))
  const { doneAt } = await untilReady(api.url, validators)
  for (const { status } of await posted) if (status !== 200) throw new Error(`a post is answered with ${status}`)
  return (validators.length / (doneAt - start)) * 1000
}

/** CPU milliseconds so far: of all, and of the event loops that there is one of for each process. */
async function countersOf({ api, workers }: House) {
  const postgres = await postgresCpu(api.databaseUrl)
  const sum = (of: (pid: number) => number) => workers.reduce((total, { pid }) => total + of(pid), 0)
  return () => ({
    api: cpuMs(api.pid),
    apiLoop: mainThreadCpuMs(api.pid),
    workers: sum(cpuMs),
    workerLoops: sum(mainThreadCpuMs),
    postgres: postgres(),
  })
}

/** What eight cores give, by what each validator costs: as much as the cores hold, and no more than an event loop does. */
function onPaper(each: { api: number; apiLoop: number; workers: number; workerLoops: number; postgres: number }) {
  const bounds: [string, number][] = [
    [`${CORES} cores`, (CORES * 1000) / (each.api + each.workers + each.postgres)],
    ['the event loop that answers requests', 1000 / each.apiLoop],
    [`the event loops of ${WORKERS_ON_PAPER} workers`, (WORKERS_ON_PAPER * 1000) / each.workerLoops],
  ]
  const [lowest = ['', Number.NaN] as const] = bounds.toSorted((a, b) => a[1] - b[1])
  return { limit: lowest[0], rate: lowest[1] }
}

/** Measures both in turns. */
export async function benchWorkers(stage: Stage): Promise<BenchRow[]> {
  const { validators } = await stage.cluster()
  await using one = await openHouse(stage, [2])
  await using two = await openHouse(stage, [1, 1])
  for (const house of [one, two]) await rateOf(stage, house, validators.slice(0, WARM))
  const count = await countersOf(two)
  const rates = { one: [] as number[], two: [] as number[] }
  const spent: ReturnType<typeof count>[] = []
  for (let from = WARM; from < WARM + REPEATS * MEASURED; from += MEASURED) {
    const some = validators.slice(from, from + MEASURED)
    rates.one.push(await rateOf(stage, one, some))
    const before = count()
    rates.two.push(await rateOf(stage, two, some))
    const after = count()
    const each = (name: keyof typeof after) => (after[name] - before[name]) / MEASURED
    spent.push({
      api: each('api'),
      apiLoop: each('apiLoop'),
      workers: each('workers'),
      workerLoops: each('workerLoops'),
      postgres: each('postgres'),
    })
  }
  const middle = (name: keyof (typeof spent)[number]) => median(spent.map((one) => one[name]))
  const each = {
    api: middle('api'),
    apiLoop: middle('apiLoop'),
    workers: middle('workers'),
    workerLoops: middle('workerLoops'),
    postgres: middle('postgres'),
  }
  const paper = onPaper(each)
  const [ofOne, ofTwo] = [median(rates.one), median(rates.two)]
  return [
    {
      id: 'workers',
      name: `two worker processes on one database, ${MEASURED} validators from the posts to ready, median of ${REPEATS}`,
      measured: `${ofTwo.toFixed(0)} a second; CPU of one validator: ${formatMs(each.api)} where requests come (${formatMs(each.apiLoop)} of it the event loop), ${formatMs(each.workers)} at the workers (${formatMs(each.workerLoops)}), PostgreSQL ${formatMs(each.postgres)}; ${CORES} cores on paper: ${paper.rate.toFixed(0)} a second, by ${paper.limit}`,
      target: '≥ 0.95 × one with two threads',
      isMet: ofTwo >= 0.95 * ofOne,
      baseline: `one worker process with two threads: ${ofOne.toFixed(0)} a second (${formatRatio(ofTwo / ofOne)} ×)`,
      ratio: ofTwo / ofOne,
      limit: 'CPU: the signatures, and all processes on the same cores',
      values: {
        two_per_second: ofTwo,
        one_per_second: ofOne,
        api_cpu_ms: each.api,
        api_loop_ms: each.apiLoop,
        worker_cpu_ms: each.workers,
        worker_loops_ms: each.workerLoops,
        postgres_cpu_ms: each.postgres,
        eight_cores_per_second: paper.rate,
      },
    },
  ]
}
