import { describe, expect, it } from 'vitest'
import { createSearchBudget, SEARCH_ATTEMPTS } from './search-budget.ts'

const one = { messageId: 1, requester: 'vault', among: 'a', isCrowd: true }
const SECOND = 1000

describe('a search', () => {
  it('of one message is free twice at once, then as its budget fills again', () => {
    const budget = createSearchBudget()
    for (const times of [1, 2]) {
      expect(budget.isFree(one, 0), String(times)).toBe(true)
      budget.began(one, 0)
    }
    expect(budget.isFree(one, 0)).toBe(false)
    expect(budget.isFree(one, 49 * SECOND)).toBe(false)
    expect(budget.isFree(one, 50 * SECOND)).toBe(true)
    // What others of the same requester may use is not touched.
    expect(budget.isFree({ ...one, messageId: 2 }, 0)).toBe(true)
  })

  it('is as free whenever the clock began, and never more than twice at once', () => {
    const budget = createSearchBudget()
    const start = 1_000_000 * SECOND
    budget.began(one, start, 2 * SEARCH_ATTEMPTS)
    expect(budget.isFree(one, start + 49 * SECOND)).toBe(false)
    expect(budget.isFree(one, start + 50 * SECOND)).toBe(true)
    const later = 2 * start
    for (const isFree of [true, true, false]) {
      expect(budget.isFree(one, later)).toBe(isFree)
      budget.began(one, later)
    }
  })

  it('among something new gets no more for that', () => {
    const budget = createSearchBudget()
    for (let round = 0; round < 2; round++) budget.began({ ...one, among: String(round) }, 0)
    expect(budget.isFree({ ...one, among: 'new' }, 0)).toBe(false)
  })

  it('of many messages costs their requester, and no other', () => {
    const budget = createSearchBudget()
    let begun = 0
    for (let messageId = 1; messageId <= 100; messageId++) {
      if (!budget.isFree({ ...one, messageId }, 0)) continue
      budget.began({ ...one, messageId }, 0)
      begun++
    }
    expect(begun * SEARCH_ATTEMPTS).toBe(20_000)
    expect(budget.isFree({ ...one, messageId: 200 }, 0)).toBe(false)
    expect(budget.isFree({ ...one, messageId: 200, requester: 'another' }, 0)).toBe(true)
    expect(budget.isFree({ ...one, messageId: 200, requester: null }, 0)).toBe(true)
    expect(budget.isFree({ ...one, messageId: 200 }, 10 * SECOND - 50)).toBe(false)
    expect(budget.isFree({ ...one, messageId: 200 }, 10 * SECOND + 1)).toBe(true)
  })

  it('that has tried all in vain is due again when something new came', () => {
    const budget = createSearchBudget()
    expect(budget.isTried(one)).toBe(false)
    budget.triedAll(one)
    expect(budget.isTried(one)).toBe(true)
    expect(budget.isTried({ ...one, among: 'b' })).toBe(false)
    expect(budget.isTried({ ...one, messageId: 2 })).toBe(false)
    budget.triedAll({ ...one, among: 'b' })
    expect(budget.isTried(one)).toBe(false)
  })

  it('of a crowd costs the attempts that it makes', () => {
    const budget = createSearchBudget()
    budget.began(one, 0, 2200)
    expect(budget.isFree(one, 59 * SECOND)).toBe(false)
    expect(budget.isFree(one, 61 * SECOND)).toBe(true)
  })

  it('in vain rests twice as long after each, an hour at most, and not once something new came', () => {
    const budget = createSearchBudget()
    let now = 0
    for (const seconds of [50, 100, 200, 400, 800, 1600, 3200, 3600, 3600]) {
      budget.searchedInVain(one, now)
      expect(budget.isResting(one, now + (seconds - 1) * SECOND), String(seconds)).toBe(true)
      expect(budget.isResting({ ...one, among: 'b' }, now)).toBe(false)
      now += seconds * SECOND
      expect(budget.isResting(one, now), String(seconds)).toBe(false)
    }
    budget.searchedInVain({ ...one, among: 'b' }, now)
    expect(budget.isResting({ ...one, among: 'b' }, now + 51 * SECOND)).toBe(false)
  })
})

describe('the attempts of jobs in vain', () => {
  it('are so many of one requester, as time goes by, and no other’s', () => {
    const budget = createSearchBudget()
    let tries = 0
    for (let messageId = 1; messageId <= 1000; messageId++) {
      if (!budget.mayTry({ ...one, messageId }, 0)) continue
      budget.hasTried({ ...one, messageId }, 0, 96)
      tries++
    }
    expect(tries * 96).toBeLessThan(500 + 96)
    // What was begun is for a search, until something new came.
    expect(budget.wasBegun(one)).toBe(true)
    expect(budget.wasBegun({ ...one, among: 'b' })).toBe(false)
    expect(budget.wasBegun({ ...one, messageId: 999 })).toBe(false)
    expect(budget.mayTry({ ...one, requester: 'another' }, 0)).toBe(true)
    expect(budget.mayTry({ ...one, isCrowd: false }, 0)).toBe(true)
    expect(budget.mayTry(one, 10 * SECOND)).toBe(true)
  })

  it('end with the last of the budget, and go on with the first that comes back', () => {
    const budget = createSearchBudget()
    const start = 1_000_000 * SECOND
    budget.hasTried(one, start, 499)
    expect(budget.mayTry(one, start)).toBe(true)
    budget.hasTried(one, start, 1)
    expect(budget.mayTry(one, start)).toBe(false)
    budget.hasTried(one, start, 20)
    expect(budget.mayTry(one, start + SECOND)).toBe(false)
    expect(budget.mayTry(one, start + SECOND + 1)).toBe(true)
  })
})

it('what was searched is remembered of the last ten thousand messages', () => {
  const budget = createSearchBudget()
  const of = (messageId: number) => ({ ...one, messageId })
  const most = 10_000
  for (let messageId = 1; messageId <= most; messageId++) budget.triedAll(of(messageId))
  expect(budget.isTried(of(1))).toBe(true)
  budget.triedAll(of(most + 1))
  expect([1, 2, most + 1].map((messageId) => budget.isTried(of(messageId)))).toEqual([false, true, true])
})
