/** What the table of attacks makes of its numbers, and where they come from. */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { foreignKeys } from './attacks/foreign-keys.ts'
import { exitCodeOf, MOST_BYTES, rowOf } from './report.ts'
import type { Outcome } from './run.ts'

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')

/** How an attack went that nobody felt. */
const well: Outcome = {
  attack: foreignKeys,
  quiet: { operator: [1, 2, 3], monitor: [1, 1, 1] },
  beside: { operator: [3, 6, 9], monitor: [1, 2, 3] },
  errors: [],
  peakBytes: MOST_BYTES,
  answers: { 200: 1, 403: 3 },
  left: { text: 'nothing', isRight: true },
}

describe('an attack', () => {
  it('is met where nobody waits more than three times as long, and nothing else is wrong', () => {
    expect(rowOf(well)).toMatchObject({ isMet: true, kinds: [{ ratio: 3 }, { ratio: 3 }] })
    expect(rowOf({ ...well, left: undefined }).isMet).toBe(true)
  })

  it.each<[string, Partial<Outcome>]>([
    ['one kind of request waits longer', { beside: { operator: [1, 1, 1], monitor: [1, 1, 3.1] } }],
    ['a request failed', { errors: ['operator: 503'] }],
    ['it took more memory', { peakBytes: MOST_BYTES + 1 }],
    ['nobody could tell how much memory it took', { peakBytes: Number.NaN }],
    ['nobody was answered', { beside: { operator: [], monitor: [] } }],
    ['it did not get to what it is about', { answers: {} }],
    ['it was answered what it should not be', { answers: { ...well.answers, 404: 1 } }],
    ['it left behind what it may not', { left: { text: 'keys were taken', isRight: false } }],
  ])('is not met where %s, and the program ends with 1, whichever row it is', (_, change) => {
    const [good, bad] = [rowOf(well), rowOf({ ...well, ...change })]
    expect(bad.isMet).toBe(false)
    expect([exitCodeOf([good, bad]), exitCodeOf([bad, good]), exitCodeOf([good, good])]).toEqual([1, 1, 0])
  })
})

it('the most memory that an attack may take is the figure of README and security page', () => {
  const units: Record<string, number> = { MiB: 2 ** 20, GiB: 2 ** 30 }
  const figures = ['README.md', 'docs/operating/security.md'].map((page) => {
    const [, number, unit = ''] = /[Ww]hatever callers do,[^.]*?[\s[]under (\d+) (MiB|GiB)/.exec(read(page)) ?? []
    return Number(number) * (units[unit] ?? Number.NaN)
  })
  expect(figures).toEqual([MOST_BYTES, MOST_BYTES])
})
