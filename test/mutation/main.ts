/**
 * `npm run mutation`: changes critical code a little, one place at a time, and sees whether a test, or else the type checker, notices.
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

const WORDS: Readonly<Record<Outcome | 'refused', string>> = {
  failed: 'noticed ',
  refused: 'no type ',
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

/** Whether this passes without a change: what does not proves nothing by failing. */
async function isGreen(what: string, run: () => Promise<Outcome>): Promise<boolean> {
  const known = green.get(what)
  if (known !== undefined) return known
  const passed = (await run()) === 'passed'
  if (!passed && timeLeft() > 0) console.log(`  without any change this does not pass: ${what}`)
  green.set(what, passed)
  return passed
}

/** What became of a mutant; undefined where no test could judge it. */
async function outcomeOf(copy: Copy, group: Group, mutant: Mutant): Promise<Outcome | 'refused' | undefined> {
  const source = await readFile(join(ROOT, mutant.file), 'utf8')
  const changed = mutate(source, mutant)
  let isJudged = false
  for (const run of await runsOf(ROOT, group, mutant.file, seconds)) {
    const outcome = await copy.testWith(mutant.file, changed, run, timeLeft(run))
    if (timeLeft() === 0) return undefined
    const unchanged = () => copy.testWith(mutant.file, source, run, timeLeft(run))
    if (outcome !== 'passed' && !(await isGreen(`vitest ${run.args.join(' ')}`, unchanged))) continue
    isJudged = true
    if (outcome !== 'passed') return outcome
  }
  if (!isJudged || timeLeft() === 0) return undefined
  // What guards a value that may be null is held by its type.
  const checked = await copy.checkWith(mutant.file, changed, timeLeft())
  if (timeLeft() === 0) return undefined
  const isRefused =
    checked === 'failed' && (await isGreen('tsc', () => copy.checkWith(mutant.file, source, timeLeft())))
  return isRefused ? 'refused' : 'passed'
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
    else if (outcome !== 'timed out') result.noticed++
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
