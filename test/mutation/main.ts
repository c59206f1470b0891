/**
 * `npm run mutation`: changes critical code a little, one place at a time, and sees whether a test notices.
 *
 *     npm run mutation -- --count 50              mutants in all, the same number of each group
 *     npm run mutation -- --minutes 60            stops then, with what it has
 *     npm run mutation -- --seed 7                other places; the same seed gives the same ones
 *     npm run mutation -- --only libs/db          groups whose name begins so
 *
 * A survivor is a question, not a fault: a test is missing there, or the change means nothing.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Copy, makeCopy, type Outcome } from './copy.ts'
import { filesOf, GROUPS, type Group } from './groups.ts'
import { type Mutant, mutantsOf, mutate, sample, seeded } from './mutants.ts'
import { runsOf, secondsOf, type TestRun } from './runs.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** A mutant may make tests wait for ever; so may a busy machine, hence such a run decides nothing. */
const RUN_MS = 600_000
/** The same of unit tests, which take seconds. */
const UNIT_RUN_MS = 90_000

const WORDS: Readonly<Record<Outcome, string>> = {
  failed: 'noticed ',
  'timed out': 'waits   ',
  passed: 'SURVIVED',
}

const { values: options } = parseArgs({
  options: {
    count: { type: 'string', default: '25' },
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
})
const groups = GROUPS.filter(({ name }) => name.startsWith(options.only))
const [count, minutes, seed] = [options.count, options.minutes, options.seed].map(Number)
if (groups.length === 0 || !count || !minutes || seed === undefined || Number.isNaN(seed))
  throw new Error('--count, --minutes and --seed are numbers, and --only begins the name of a group')

/** The mutants of a group, in the order in which they are tried. */
async function drawn(group: Group, most: number, random: () => number): Promise<Mutant[]> {
  const all: Mutant[] = []
  for (const file of await filesOf(ROOT, group)) all.push(...mutantsOf(file, await readFile(join(ROOT, file), 'utf8')))
  return sample(all, most, random)
}

const deadline = performance.now() + minutes * 60_000
const seconds = await secondsOf(ROOT)
const green = new Map<string, boolean>()

/** Milliseconds that a run of tests may still take. */
const timeLeft = (run?: TestRun): number => {
  const mostMs = run?.args.includes('--project=unit') === true ? UNIT_RUN_MS : RUN_MS
  return Math.max(0, Math.min(mostMs, deadline - performance.now()))
}

/** Whether tests pass without a change: those that do not prove nothing by failing. */
async function isGreen(copy: Copy, file: string, source: string, run: TestRun): Promise<boolean> {
  const key = run.args.join(' ')
  const known = green.get(key)
  if (known !== undefined) return known
  const passed = (await copy.testWith(file, source, run, timeLeft(run))) === 'passed'
  if (!passed && timeLeft() > 0) console.log(`  without any change these tests do not pass: vitest ${key}`)
  green.set(key, passed)
  return passed
}

/** What became of a mutant; undefined where no test could judge it. */
async function outcomeOf(copy: Copy, group: Group, mutant: Mutant): Promise<Outcome | undefined> {
  const source = await readFile(join(ROOT, mutant.file), 'utf8')
  const changed = mutate(source, mutant)
  let isJudged = false
  for (const run of await runsOf(ROOT, group, mutant.file, seconds)) {
    const outcome = await copy.testWith(mutant.file, changed, run, timeLeft(run))
    if (timeLeft() === 0) return undefined
    if (outcome !== 'passed' && !(await isGreen(copy, mutant.file, source, run))) continue
    isJudged = true
    if (outcome !== 'passed') return outcome
  }
  return isJudged && timeLeft() > 0 ? 'passed' : undefined
}

process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))
await using copy = await makeCopy(ROOT)
const perGroup = Math.ceil(count / groups.length)
const random = seeded(seed)
const results = []
for (const group of groups)
  results.push({
    group,
    mutants: await drawn(group, perGroup, random),
    noticed: 0,
    waited: 0,
    survived: [] as Mutant[],
  })

// One of each group in turn, so that a run that is stopped has seen something of all.
for (let turn = 0; turn < perGroup; turn++)
  for (const result of results) {
    const mutant = result.mutants[turn]
    if (mutant === undefined || timeLeft() === 0) continue
    const outcome = await outcomeOf(copy, result.group, mutant)
    if (outcome === undefined) continue
    if (outcome === 'passed') result.survived.push(mutant)
    else if (outcome === 'failed') result.noticed++
    else result.waited++
    const { file, line, before, after } = mutant
    const change = `${JSON.stringify(before.trim())} -> ${JSON.stringify(after.trim())}`
    console.log(`${WORDS[outcome]}  ${file}:${line}  ${change}`)
  }

console.log(`\nseed ${seed}\n\n| group | decided | noticed | survived | | undecided |\n|---|---|---|---|---|---|`)
for (const { group, noticed, waited, survived } of results) {
  const tried = noticed + survived.length
  const share = tried === 0 ? '' : `${Math.round((100 * noticed) / tried)} %`
  console.log(`| ${group.name} | ${tried} | ${noticed} | ${survived.length} | ${share} | ${waited} |`)
}
