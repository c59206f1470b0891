import { describe, expect, it } from 'vitest'
import { createSearchBudget, SEARCH_ATTEMPTS } from './search-budget.ts'

const one = { messageId: 1, requester: 'vault', among: 'a' }
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
    expect(budget.isFree(one, 51 * SECOND)).toBe(true)
    // What others of the same requester may use is not touched.
    expect(budget.isFree({ ...one, messageId: 2 }, 0)).toBe(true)
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
    expect(budget.isFree({ ...one, messageId: 200 }, 11 * SECOND)).toBe(true)
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
})
