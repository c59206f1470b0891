/**
 * `npm run attack`: what honest callers feel of one who takes what it can, attack by attack, over loopback.
 *
 *     npm run attack -- --only idle-posts,strangers   some attacks
 *     npm run attack -- --rounds 1                    how often each is run; 3 unless given
 *     npm run attack -- --json attack.json            the numbers for programs, into a file as well
 *     npm run attack -- --profile <folder>            CPU profile of the relayer
 *
 * Ends with 1 where an attack is not met.
 */

import { writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { formatMib } from '../bench/report.ts'
import { startTestPostgres, TEST_DATABASE_URL } from '../support/services/postgres.ts'
import { ATTACKS } from './attacks.ts'
import { type AttackRow, attackTable, exitCodeOf, kindText, rowOf } from './report.ts'
import { runAttack } from './run.ts'
import { createAttackStage } from './stage.ts'

/** Of each kind of honest request at least so many, before and beside the attack, in all rounds together: a p99 of fewer is noise. */
const TIMES = 1000
/** Thirty of each kind a second, and for some seconds of a first round that counts for nothing. */
const PACE = { warmTimes: 150, everyMs: 33 }

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
    profile: { type: 'string' },
  },
})
const wanted = options.only?.split(',') ?? ATTACKS.map(({ id }) => id)
const unknown = wanted.filter((id) => ATTACKS.every((attack) => attack.id !== id))
if (unknown.length > 0)
  throw new Error(`there is no attack ${unknown.join(', ')}; there are ${ATTACKS.map(({ id }) => id).join(', ')}`)
const rounds = Number(options.rounds)
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds wants a number from 1')

const profiling = options.profile === undefined ? '' : `--cpu-prof --cpu-prof-dir=${resolve(options.profile)}`

const loadBefore = loadavg()[0] ?? Number.NaN
const started = performance.now()
const say = (line: string) =>
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}\n`)
const rows: AttackRow[] = []
{
  await using server = await startTestPostgres()
  process.env[TEST_DATABASE_URL] = server.url
  say('starting a chain and a relayer')
  await using stage = await createAttackStage(profiling)
  for (const attack of ATTACKS.filter(({ id }) => wanted.includes(id))) {
    const load = loadavg()[0] ?? Number.NaN
    say(`${attack.id}: ${attack.name} (load ${load.toFixed(1)})`)
    const times = Math.ceil(TIMES / rounds)
    const row = rowOf(await runAttack(stage, attack, { ...PACE, rounds, quietTimes: times, times }))
    rows.push(row)
    for (const kind of row.kinds) say(`  ${kindText(kind)}`)
    say(`${formatMib(row.peakBytes)}, ${row.errors.length} errors; ${row.left}`)
    say(`${row.isMet ? 'met' : 'NOT met'}; the attacker was answered ${JSON.stringify(row.answers)}`)
    for (const error of [...new Set(row.errors)].slice(0, 5)) say(`  ${error}`)
  }
}
const seconds = (performance.now() - started) / 1000
const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), node: process.version }
if (options.json !== undefined)
  await writeFile(
    options.json,
    `${JSON.stringify({ at: new Date().toISOString(), machine, load_before: loadBefore, rounds, rows }, null, 1)}\n`,
  )
console.log(attackTable(rows))
console.log(
  `\n${machine.cores} cores of ${machine.cpu}, Node ${machine.node}, load before the run ${loadBefore.toFixed(1)}; ${rounds} rounds, ${seconds.toFixed(0)} s`,
)
process.exitCode = exitCodeOf(rows)
