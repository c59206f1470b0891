/** Rows: thousands of rounds of one validator, and of the worst of them what it waited for. */

import pg from 'pg'
import { median, percentile } from '../../measure.ts'
import type { BenchRow } from '../../report.ts'
import { formatMs } from '../../report.ts'
import type { Stage } from '../../stage.ts'
import { THRESHOLD } from '../../stage.ts'
import { openScene, type Scene } from './end-to-end.ts'

/** Between two rounds: enough for the sidecars to be idle again, and 2,000 in less than half an hour. */
const IDLE_MS = 400
const ROUNDS = 2000
/** No round may take longer. */
const MOST_MS = 1000
const WORST_SHOWN = 5
/**
 * Ten thousand in a quarter of an hour: several relayers at once, each with sidecars of its own. Between two rounds of one it is quiet, so that
 * what is lost is not found by what comes next, and not for the same time, so that rounds begin at every point of what repeats. Relayer and
 * sidecars are fresh every so many rounds.
 */
const MANY = { rounds: 10_000, relayers: 2, roundsOfOne: 500, idleMs: [20, 47, 74, 11, 38, 65, 29, 56] }
/** Lines shown of what a slow round's processes logged meanwhile. */
const LINES_SHOWN = 20

interface Round {
  name: string
  ms: number
  /** The longest of its steps, and how long that was. */
  waitedFor: string
}

/** Rounds one after the other on a fresh relayer, fewer where told. */
export async function benchSoak(stage: Stage, _isFull: boolean, rounds = ROUNDS): Promise<BenchRow[]> {
  await using scene = await openScene(stage, await stage.makeCluster('soak', rounds))
  const done = await runRounds(stage, scene, rounds, [IDLE_MS], '')
  return [soakRow('soak', `${rounds} rounds ${IDLE_MS} ms apart on a fresh relayer`, done)]
}

/** Many rounds on many fresh relayers, some of them at once. */
export async function benchManyRounds(stage: Stage, _isFull: boolean, rounds = MANY.rounds): Promise<BenchRow[]> {
  const ofOne = Math.min(MANY.roundsOfOne, Math.ceil(rounds / MANY.relayers))
  const cluster = await stage.makeCluster('soak-many', ofOne)
  const done: Round[] = []
  let relayers = 0
  while (done.length < rounds) {
    const left = Math.ceil((rounds - done.length) / ofOne)
    await using stack = new AsyncDisposableStack()
    // No round is beside the start of another relayer, which takes all cores for seconds.
    const opening = Array.from({ length: Math.min(MANY.relayers, left) }, async () =>
      stack.use(await openScene(stage, cluster)),
    )
    const scenes = await Promise.all(opening)
    const parts = scenes.map((scene) => runRounds(stage, scene, ofOne, MANY.idleMs, `relayer ${++relayers}, `))
    done.push(...(await Promise.all(parts)).flat())
    stage.say(`${done.length} rounds, the worst ${formatMs(Math.max(...done.map(({ ms }) => ms)))}`)
  }
  return [
    soakRow(
      'soak-10000',
      `${done.length} rounds on ${relayers} fresh relayers with sidecars of their own, ${MANY.relayers} at once`,
      done,
    ),
  ]
}

/** So many rounds, one after the other. */
async function runRounds(
  stage: Stage,
  scene: Scene,
  count: number,
  idleMs: readonly number[],
  prefix: string,
): Promise<Round[]> {
  const rounds: Round[] = []
  for (let round = 1; round <= count; round++) {
    const [validator] = scene.take(1)
    if (validator === undefined) throw new Error('no validators are left')
    const { start, ms, readyMs } = await scene.round([validator], idleMs[round % idleMs.length] ?? 0)
    const name = `${prefix}round ${round}`
    const startedAt = performance.timeOrigin + start
    const isShown = ms > MOST_MS || rounds.filter((other) => other.ms >= ms).length < WORST_SHOWN
    const waitedFor = isShown
      ? await findLongestStep(scene.databaseUrl, validator.publicKey, { startedAt, readyMs, ms })
      : ''
    rounds.push({ name, ms, waitedFor })
    if (ms <= MOST_MS) continue
    stage.say(`${name} took ${formatMs(ms)}: ${waitedFor}`)
    for (const line of linesBetween(scene.output(), startedAt, startedAt + ms)) stage.say(line)
  }
  return rounds
}

/** Which step of a round took longest, by the clock of the database, which is that of this machine. */
async function findLongestStep(
  databaseUrl: string,
  publicKey: Uint8Array,
  { startedAt, readyMs, ms }: { startedAt: number; readyMs: number; ms: number },
): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<{ asked: number; ready: number; stored: number[] }>(
    `select extract(epoch from m.created_at)::float8 * 1000 as asked, extract(epoch from m.ready_at)::float8 * 1000 as ready,
            array(select extract(epoch from p.seen_at)::float8 * 1000 from partial_signatures p
                  where p.message_id = m.id order by p.seen_at) as stored
     from messages m join validators v on v.id = m.validator_id where v.public_key = $1`,
    [Buffer.from(publicKey)],
  )
  await client.end()
  const [row] = rows
  if (row === undefined) return 'nothing that the database knows'
  const enough = row.stored[THRESHOLD - 1] ?? Number.NaN
  const steps: [string, number, number][] = [
    ['the request', startedAt, row.asked],
    [`what ${THRESHOLD} nodes sent`, row.asked, enough],
    ['the worker', enough, row.ready],
    ['the list', row.ready, startedAt + readyMs],
    ['the shares', startedAt + readyMs, startedAt + ms],
  ]
  const [longest] = steps.toSorted((a, b) => b[2] - b[1] - (a[2] - a[1]))
  return longest === undefined ? '' : `${longest[0]} ${formatMs(longest[2] - longest[1])}`
}

/** The last lines of the logs that were written in a time. */
function linesBetween(text: string, from: number, to: number): string[] {
  const written = text.split('\n').filter((line) => {
    const at = Number(/"time":"?(\d{13})/.exec(line)?.[1] ?? Date.parse(/"time":"([^"]+)"/.exec(line)?.[1] ?? ''))
    return at >= from && at <= to
  })
  return written.slice(-LINES_SHOWN)
}

function soakRow(id: string, name: string, rounds: readonly Round[]): BenchRow {
  const times = rounds.map(({ ms }) => ms)
  const worst = rounds.toSorted((a, b) => b.ms - a.ms).slice(0, WORST_SHOWN)
  const named = worst.map((one) => `${one.name} ${formatMs(one.ms)} (${one.waitedFor})`)
  const [most, middle, p99] = [Math.max(...times), median(times), percentile(times, 0.99)]
  return {
    id,
    name: `one validator, ${name}, the worst, and what took longest of it`,
    measured: `${formatMs(most)} (median ${formatMs(middle)}, p99 ${formatMs(p99)}); ${named.join(', ')}`,
    target: `≤ ${formatMs(MOST_MS)}`,
    isMet: most <= MOST_MS,
    baseline: `its median: ${formatMs(middle)}`,
    ratio: most / middle,
    limit: 'whatever makes one round wait for a timer',
    values: { worst_ms: most, median_ms: middle, p99_ms: p99, rounds: times.length },
  }
}
