import type { ExitItem } from '@dvt-relayer/api/schemas.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createExitBook } from './exit-book.ts'

const POLL_MS = 2000
const A = `0x${'aa'.repeat(48)}`
const B = `0x${'bb'.repeat(48)}`
const share = (validatorPublicKey: string, shareIndex = 2) => ({ validatorPublicKey, shareIndex })

function item(publicKey: string, validatorIndex: number, more: Partial<ExitItem> = {}): ExitItem {
  return {
    public_key: publicKey,
    validator_index: validatorIndex,
    is_exit_signature_ready: false,
    created_at_timestamp: 0,
    created_at_string: '',
    share_indexes_ready: [],
    ...more,
  }
}

describe('exit book', () => {
  it('owes what is listed, held, and not ready', () => {
    const book = createExitBook([share(A)], POLL_MS)
    expect(book.nextDueAt()).toBe(Number.POSITIVE_INFINITY)
    book.applyList([item(A, 7), item(B, 8)])
    expect(book.due(0).map(({ validatorIndex }) => validatorIndex)).toEqual([7])
    book.applyChanges([item(A, 7, { share_indexes_ready: [1, 3] })])
    expect(book.openCount()).toBe(1)
    book.applyChanges([item(A, 7, { share_indexes_ready: [1, 2] })])
    expect(book.openCount()).toBe(0)
    expect(book.due(1e9)).toEqual([])
  })

  it('owes nothing for an exit that is ready or has left the list', () => {
    const book = createExitBook([share(A), share(B)], POLL_MS)
    book.applyList([item(A, 7, { is_exit_signature_ready: true }), item(B, 8)])
    book.applyList([])
    expect(book.due(1e9)).toEqual([])
  })

  it('owes every share index that is held here', () => {
    const book = createExitBook([share(A, 1), share(A, 4)], POLL_MS)
    book.applyList([item(A, 7, { share_indexes_ready: [1] })])
    expect(book.due(0).map(({ keyShare }) => keyShare.shareIndex)).toEqual([4])
  })

  it('posts again after one poll interval, and after five what the relayer has but cannot use', () => {
    const book = createExitBook([share(A), share(B)], POLL_MS)
    book.applyList([item(A, 7), item(B, 8, { share_indexes_unverified: [2] })])
    for (const entry of book.due(0)) entry.postedAt = 100
    expect(book.due(100 + POLL_MS - 1)).toEqual([])
    expect(book.due(100 + POLL_MS).length).toBe(1)
    expect(book.due(100 + 5 * POLL_MS).length).toBe(2)
    expect(book.nextDueAt()).toBe(100 + POLL_MS)
  })

  it('waits for the answer to a post, but not where the index has changed meanwhile', () => {
    const book = createExitBook([share(A)], POLL_MS)
    book.applyList([item(A, 7)])
    for (const entry of book.due(0)) entry.isPosting = true
    expect(book.nextDueAt()).toBe(Number.POSITIVE_INFINITY)
    book.applyList([item(A, 8)])
    expect(book.due(0).length).toBe(1)
  })

  it('keeps the signature while the index stays, forgets it when the index changes', () => {
    const book = createExitBook([share(A)], POLL_MS)
    book.applyList([item(A, 7)])
    const [entry] = book.due(0)
    if (entry === undefined) throw new Error('nothing due')
    Object.assign(entry, { signature: '0x11', signedAt: 50, postedAt: 60 })
    book.applyList([])
    book.applyList([item(A, 7)])
    expect(entry.signature).toBe('0x11')
    book.applyChanges([item(A, 9)])
    expect([entry.signature, entry.postedAt, entry.validatorIndex]).toEqual([undefined, undefined, 9])
    expect(book.nextDueAt()).toBe(50 + POLL_MS)
  })

  it('tells once that the relayer lists a posted signature as wrong', () => {
    const book = createExitBook([share(A), share(B)], POLL_MS)
    const wrong = { share_indexes_rejected: [2] }
    book.applyList([item(A, 7, wrong), item(B, 8, wrong)])
    expect(book.takeRejections().size).toBe(0)
    for (const entry of book.due(0)) if (entry.validatorIndex === 7) entry.postedAt = 0
    book.applyList([item(A, 7, wrong), item(B, 8, wrong)])
    expect([...book.takeRejections()]).toEqual([[2, [7]]])
    expect(book.takeRejections().size).toBe(0)
  })

  it('takes the first of two items for one key', () => {
    const book = createExitBook([share(A)], POLL_MS)
    expect(book.applyList([item(A, 7), item(A, 8), item(B, 1), item(B, 1)])).toBe(1)
    expect(book.due(0).map(({ validatorIndex }) => validatorIndex)).toEqual([7])
  })

  it('signs a key at most once in a poll interval, whatever is listed', () => {
    const step = fc.record({ index: fc.nat(3), passed: fc.integer({ min: 1, max: POLL_MS }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = createExitBook([share(A)], POLL_MS)
        const signedAt: number[] = []
        let now = 0
        for (const { index, passed } of steps) {
          now += passed
          book.applyList([item(A, index)])
          for (const entry of book.due(now))
            if (entry.signature === undefined) {
              signedAt.push(now)
              Object.assign(entry, { signature: '0x11', signedAt: now })
            }
        }
        for (const [place, at] of signedAt.entries())
          if (place > 0) expect(at - (signedAt[place - 1] ?? 0)).toBeGreaterThanOrEqual(POLL_MS)
      }),
    )
  })
})
