/**
 * `npm run bench`: every row of the numbers to reach, each with its baseline at its side.
 *
 *     npm run bench -- --only list,busy     some rows; those that take long, resplit, scale-100000, soak and soak-10000, only so
 *     npm run bench -- --only soak --rounds 40   fewer rounds of a soak, or exits of resplit
 *     npm run bench -- --json bench.json    the numbers for programs, into a file or, without a name, instead of the table
 *     npm run bench -- --keep               keeps what was measured in test/bench/baseline.json, beside which later runs stand
 *     npm run bench -- --full               nothing extrapolated
 *     npm run bench -- --profile <folder>   CPU profiles of all threads of relayers and sidecars
 *     npm run bench -- --bundled            relayers and sidecars as images have them (`npm run bundle` first)
 *     npm run bench -- --node-options=--max-semi-space-size=8   flags of Node for the relayers
 */

import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Baseline, BenchRow } from './report.ts'
import { markdownTable } from './report.ts'
import { benchCryptoRow } from './rows/crypto.ts'
import { benchList } from './rows/list.ts'
import { benchRegister } from './rows/register.ts'
import { benchResplit } from './rows/resplit.ts'
import { benchEndToEnd } from './rows/rounds/end-to-end.ts'
import { benchLockDeposits } from './rows/rounds/lock-deposits.ts'
import { benchPairs } from './rows/rounds/pairs.ts'
import { benchManyRounds, benchSoak } from './rows/rounds/soak.ts'
import { benchWorkers } from './rows/rounds/workers.ts'
import { benchScale } from './rows/scale.ts'
import { benchKeystores, benchSigning } from './rows/sidecar.ts'
import { benchRemoteSigning } from './rows/sidecar-signer.ts'
import { benchSsv } from './rows/sidecar-ssv.ts'
import { benchStart } from './rows/start.ts'
import { benchWork } from './rows/work.ts'
import type { Stage } from './stage.ts'
import { createStage } from './stage.ts'

/** What is run together, and the rows it gives; what is long only where it is named. `rounds` for those that go on as long as they are told. */
const GROUPS: {
  rows: string[]
  isLong?: boolean
  run(stage: Stage, isFull: boolean, rounds?: number): Promise<BenchRow[]>
}[] = [
  { rows: ['crypto'], run: benchCryptoRow },
  { rows: ['whole', 'busy'], run: benchWork },
  { rows: ['workers'], run: benchWorkers },
  { rows: ['one', 'pace', 'hundred', 'thousand'], run: benchEndToEnd },
  { rows: ['pairs'], run: benchPairs },
  { rows: ['list', 'memory'], run: benchList },
  { rows: ['register', 'validator-list'], run: benchRegister },
  { rows: ['lock-deposits'], run: benchLockDeposits },
  { rows: ['start', 'sidecar-start'], run: benchStart },
  { rows: ['scale-10000', 'status-10000'], run: (stage) => benchScale(stage, 10_000) },
  { rows: ['sidecar-sign'], run: benchSigning },
  { rows: ['sidecar-keys'], run: benchKeystores },
  { rows: ['ssv-start', 'ssv-sign'], run: benchSsv },
  { rows: ['signer-sign'], run: benchRemoteSigning },
  { rows: ['resplit'], run: benchResplit, isLong: true },
  { rows: ['scale-100000', 'status-100000'], run: (stage) => benchScale(stage, 100_000), isLong: true },
  { rows: ['soak'], run: benchSoak, isLong: true },
  { rows: ['soak-10000'], run: benchManyRounds, isLong: true },
]
const ROWS = GROUPS.flatMap(({ rows }) => rows)

const args = process.argv.slice(2)
const { values: options } = parseArgs({
  // `--json` without a file means standard output.
  args: args.flatMap((arg, position) => {
    const next = args[position + 1]
    return arg === '--json' && (next === undefined || next.startsWith('--')) ? ['--json=-'] : [arg]
  }),
  options: {
    only: { type: 'string' },
    json: { type: 'string' },
    full: { type: 'boolean', default: false },
    profile: { type: 'string' },
    bundled: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    'node-options': { type: 'string', default: '' },
  },
})
const wanted = options.only?.split(',') ?? GROUPS.flatMap(({ rows, isLong = false }) => (isLong ? [] : rows))
const unknown = wanted.filter((id) => !ROWS.includes(id))
if (unknown.length > 0) throw new Error(`there is no row ${unknown.join(', ')}; the rows are ${ROWS.join(', ')}`)

const BASELINE = new URL('./baseline.json', import.meta.url)
const before = JSON.parse(await readFile(BASELINE, 'utf8')) as Baseline
const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), node: process.version }
const load = loadavg()[0] ?? Number.NaN
const started = performance.now()
const say = (line: string) =>
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}\n`)
const profiling = options.profile === undefined ? '' : `--cpu-prof --cpu-prof-dir=${resolve(options.profile)}`
const rounds = options.rounds === undefined ? undefined : Number(options.rounds)
if (rounds !== undefined && !(Number.isSafeInteger(rounds) && rounds > 0)) throw new Error('--rounds takes a number')
const rows: BenchRow[] = []
{
  await using stage = await createStage({
    nodeOptions: options['node-options'],
    profiling,
    isBundled: options.bundled,
    say,
  })
  for (const group of GROUPS.filter((one) => one.rows.some((id) => wanted.includes(id)))) {
    say(`measuring ${group.rows.join(', ')}`)
    rows.push(...(await group.run(stage, options.full, rounds)).filter(({ id }) => wanted.includes(id)))
  }
}
const seconds = (performance.now() - started) / 1000
const json = JSON.stringify(
  { at: new Date().toISOString(), machine, load_at_start: load, seconds: Math.round(seconds), rows },
  null,
  1,
)
if (options.json === '-') console.log(json)
else {
  if (options.json !== undefined) await writeFile(options.json, `${json}\n`)
  console.log(markdownTable(rows, before.rows))
  console.log(
    `\n${machine.cores} cores of ${machine.cpu}, Node ${machine.node}, load before the run ${load.toFixed(1)}; ${seconds.toFixed(0)} s. Before: ${before.at} on ${before.machine.cores} cores of ${before.machine.cpu}`,
  )
}
if (options.keep) {
  const kept = Object.fromEntries(rows.map(({ id, measured, values }) => [id, { measured, values }]))
  await writeFile(
    BASELINE,
    `${JSON.stringify({ at: new Date().toISOString(), machine, rows: { ...before.rows, ...kept } }, null, 1)}\n`,
  )
}
