import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createBook, type Entry, type Listed, type WantedDeposit } from './work-list.ts'

const POLL_MS = 2000
const A = `0x${'aa'.repeat(48)}`
const B = `0x${'bb'.repeat(48)}`
const share = (validatorPublicKey: string, shareIndex = 2) => ({
  validatorPublicKey,
  shareIndex,
  publicKeyShares: [],
  withdrawalAddress: undefined,
})

function item(publicKey: string, validatorIndex: number, more: Partial<Listed> = {}): Listed {
  return {
    publicKey,
    wanted: { validatorIndex, deposit: undefined },
    isReady: false,
    shareIndexesReady: [],
    shareIndexesUnverified: [],
    shareIndexesRejected: [],
    ...more,
  }
}
const indexesOf = (entries: readonly Entry[]) => entries.map(({ wanted }) => wanted?.validatorIndex)

describe('book', () => {
  it('takes other key shares over: it keeps what it knows of those that stay', () => {
    const [a, b] = [share(A), share(B)]
    const book = createBook([a, b], POLL_MS)
    book.applyList([item(A, 7), item(B, 8)])
    const [first, second] = book.due(0)
    if (first === undefined || second === undefined) throw new Error('nothing is due')
    first.postedAt = 100
    const inHand = second.wanted
    const again = share(B)
    book.setKeyShares([share(B, 5), a, again])
    // What was split anew is another key share, and who has the old one in hand sees that nothing is wanted of it.
    expect(book.due(0)).toEqual([])
    expect([second.wanted === inHand, second.isListed]).toEqual([false, false])
    expect(book.due(100 + POLL_MS)).toEqual([first])
    expect(book.find(a)).toBe(first)
    book.applyList([item(A, 7), item(B, 8)])
    expect(book.due(0).map(({ keyShare }) => keyShare.shareIndex)).toEqual([5, 2])
    expect(book.find(again)?.keyShare).toBe(again)
    book.setKeyShares([])
    book.applyList([item(A, 9)])
    expect([book.due(1e9), book.openCount(), book.nextDueAt()]).toEqual([[], 0, Number.POSITIVE_INFINITY])
  })

  it('owes what is listed, held, and not ready', () => {
    const book = createBook([share(A)], POLL_MS)
    expect(book.nextDueAt()).toBe(Number.POSITIVE_INFINITY)
    book.applyList([item(A, 7), item(B, 8)])
    expect(indexesOf(book.due(0))).toEqual([7])
    book.applyChanges([item(A, 7, { shareIndexesReady: [1, 3] })])
    expect(book.openCount()).toBe(1)
    book.applyChanges([item(A, 7, { shareIndexesReady: [1, 2] })])
    expect(book.openCount()).toBe(0)
    expect(book.due(1e9)).toEqual([])
  })

  it('owes nothing for an exit that is ready or has left the list', () => {
    const book = createBook([share(A), share(B)], POLL_MS)
    book.applyList([item(A, 7, { isReady: true }), item(B, 8)])
    book.applyList([])
    expect(book.due(1e9)).toEqual([])
  })

  it('owes every share index that is held here', () => {
    const book = createBook([share(A, 1), share(A, 4)], POLL_MS)
    book.applyList([item(A, 7, { shareIndexesReady: [1] })])
    expect(book.due(0).map(({ keyShare }) => keyShare.shareIndex)).toEqual([4])
  })

  it('posts again after one poll interval, and after five what the relayer has but cannot use', () => {
    const book = createBook([share(A), share(B)], POLL_MS)
    book.applyList([item(A, 7), item(B, 8, { shareIndexesUnverified: [2] })])
    for (const entry of book.due(0)) entry.postedAt = 100
    expect(book.due(100 + POLL_MS - 1)).toEqual([])
    expect(book.due(100 + POLL_MS).length).toBe(1)
    expect(book.due(100 + 5 * POLL_MS).length).toBe(2)
    expect(book.nextDueAt()).toBe(100 + POLL_MS)
  })

  it('waits for the answer to a post, but not where the index has changed meanwhile', () => {
    const book = createBook([share(A)], POLL_MS)
    book.applyList([item(A, 7)])
    for (const entry of book.due(0)) entry.isInHand = true
    expect(book.nextDueAt()).toBe(Number.POSITIVE_INFINITY)
    book.applyList([item(A, 8)])
    expect(book.due(0).length).toBe(1)
  })

  it('keeps the signature while the index stays, forgets it when the index changes', () => {
    const book = createBook([share(A)], POLL_MS)
    book.applyList([item(A, 7)])
    const [entry] = book.due(0)
    if (entry === undefined) throw new Error('nothing due')
    Object.assign(entry, { signatures: { exit: '0x11' }, triedAt: 50, postedAt: 60 })
    book.applyList([])
    book.applyList([item(A, 7)])
    expect(entry.signatures).toEqual({ exit: '0x11' })
    book.applyChanges([item(A, 9)])
    expect([entry.signatures, entry.postedAt, entry.wanted?.validatorIndex]).toEqual([undefined, undefined, 9])
    expect(book.nextDueAt()).toBe(50 + POLL_MS)
  })

  it('forgets both signatures when index, vault, amount or type changes, and keeps them otherwise', () => {
    const book = createBook([share(A)], POLL_MS)
    const deposit: WantedDeposit = { vault: `0x${'11'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' }
    const list = (validatorIndex: number, changed: Partial<WantedDeposit> = {}) =>
      book.applyList([item(A, 7, { wanted: { validatorIndex, deposit: { ...deposit, ...changed } } })])
    const entry = book.find(share(A))
    const sign = () => Object.assign(entry ?? {}, { signatures: { exit: '0x11', deposit: '0x22' } })
    list(7)
    sign()
    list(7)
    expect(entry?.signatures).toEqual({ exit: '0x11', deposit: '0x22' })
    const changes: (Partial<WantedDeposit> & { index?: number })[] = [
      { index: 8 },
      { vault: `0x${'22'.repeat(20)}` },
      { amountGwei: 33e9 },
      { validatorType: '0x02' },
    ]
    for (const { index = 7, ...changed } of changes) {
      list(7)
      sign()
      list(index, changed)
      expect(entry?.signatures).toBeUndefined()
    }
    list(7)
    sign()
    book.applyList([item(A, 7)])
    expect(entry?.signatures).toBeUndefined()
  })

  it('holds back what somebody else serves', () => {
    const book = createBook([share(A), share(B)], POLL_MS)
    book.applyList([item(A, 7), item(B, 8)])
    const isHeldBack = ({ keyShare }: Entry) => keyShare.validatorPublicKey === A
    expect(indexesOf(book.due(0, isHeldBack))).toEqual([8])
    for (const entry of book.due(0, isHeldBack)) entry.isInHand = true
    expect(book.nextDueAt(isHeldBack)).toBe(Number.POSITIVE_INFINITY)
    expect(book.nextDueAt()).toBe(0)
  })

  it('tells once that the relayer lists a posted signature as wrong', () => {
    const book = createBook([share(A), share(B)], POLL_MS)
    const wrong = { shareIndexesRejected: [2] }
    book.applyList([item(A, 7, wrong), item(B, 8, wrong)])
    expect(book.takeRejections().size).toBe(0)
    for (const entry of book.due(0)) if (entry.wanted?.validatorIndex === 7) entry.postedAt = 0
    book.applyList([item(A, 7, wrong), item(B, 8, wrong)])
    expect([...book.takeRejections()]).toEqual([[2, [7]]])
    expect(book.takeRejections().size).toBe(0)
  })

  it('takes the first of two items for one key', () => {
    const book = createBook([share(A)], POLL_MS)
    expect(book.applyList([item(A, 7), item(A, 8), item(B, 1), item(B, 1)])).toBe(1)
    expect(indexesOf(book.due(0))).toEqual([7])
  })

  it('signs a key at most once in a poll interval, whatever is listed', () => {
    const step = fc.record({ index: fc.nat(3), passed: fc.integer({ min: 1, max: POLL_MS }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = createBook([share(A)], POLL_MS)
        const signedAt: number[] = []
        let now = 0
        for (const { index, passed } of steps) {
          now += passed
          book.applyList([item(A, index)])
          for (const entry of book.due(now))
            if (entry.signatures === undefined) {
              signedAt.push(now)
              Object.assign(entry, { signatures: { exit: '0x11' }, triedAt: now })
            }
        }
        for (const [position, at] of signedAt.entries())
          if (position > 0) expect(at - (signedAt[position - 1] ?? 0)).toBeGreaterThanOrEqual(POLL_MS)
      }),
    )
  })
})
