import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createListReader } from './list-reader.ts'
import { createWorkList } from './work-list.ts'

const [A, B, C] = ['aa', 'bb', 'cc'].map((byte) => `0x${byte.repeat(48)}`) as [string, string, string]
const share = (validatorPublicKey: string) => ({
  validatorPublicKey,
  shareIndex: 1,
  publicKeyShares: [],
  withdrawalAddress: undefined,
})
const item = (public_key: string, validator_index: number) => ({
  public_key,
  validator_index,
  is_exit_signature_ready: false,
  created_at_timestamp: 0,
  created_at_string: '',
  share_indexes_ready: [],
})
const signal = new AbortController().signal

afterEach(() => vi.restoreAllMocks())

/** A reader of a relayer that gives these answers in turn, and what it has asked. */
function setUp(keys: readonly string[], ...answers: readonly object[]) {
  const asked: object[] = []
  const left = [...answers]
  const relayer = {
    getExits: async (query: object) => {
      asked.push(query)
      return left.shift()
    },
  } as unknown as RelayerClient
  const shares = keys.map(share)
  const workList = createWorkList(shares, 1000)
  const events = { itemsDropped: vi.fn(), longPolling: vi.fn(), listApplied: vi.fn(), rejectionSeen: vi.fn() }
  const reader = createListReader({ relayer, workList, events, healIntervalMs: 15_000 }, 'exits')
  const listings = () => shares.map((keyShare) => workList.find(keyShare)?.listing)
  return { asked, shares, workList, listings, read: () => reader.read(signal), startAnew: reader.startAnew }
}

describe('a relayer with pages', () => {
  it('is asked for page after page, each applied as it comes; what none has is not listed', async () => {
    const first = [
      { exits: [item(A, 1), item(C, 3)], revision: 5, whole: true },
      { exits: [item(A, 1)], revision: 7, whole: true, next: 40 },
      { exits: [item(B, 2)], revision: 6, whole: true },
    ]
    const { asked, read, listings, startAnew } = setUp([A, B, C], ...first, { exits: [], revision: 6, whole: false })
    expect(await read()).toMatchObject({ isLongPolling: true, hasMore: false })
    expect(listings()).toEqual(['wanted', 'unlisted', 'wanted'])
    startAnew()
    expect(await read()).toMatchObject({ isLongPolling: true, hasMore: true })
    expect(listings()).toEqual(['wanted', 'unlisted', 'wanted'])
    expect(await read()).toMatchObject({ isLongPolling: true, hasMore: false })
    expect(listings()).toEqual(['wanted', 'wanted', 'unlisted'])
    await read()
    // On from the lowest revision: what changed between the pages comes again.
    expect(asked).toEqual([
      { limit: 1000 },
      { limit: 1000 },
      { limit: 1000, from: 40 },
      { limit: 1000, after: 6, wait: 15 },
    ])
  })

  it('tells what is gone before what is there', async () => {
    const { read, listings } = setUp(
      [A, B],
      { exits: [item(A, 1), item(B, 2)], revision: 5, whole: true },
      { exits: [item(B, 9)], revision: 6, whole: false, gone: [A, B, C] },
    )
    await read()
    await read()
    expect(listings()).toEqual(['unlisted', 'wanted'])
  })

  it('is asked for its whole list every five minutes, and when key shares come', async () => {
    let now = 1000
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    const whole = { exits: [], revision: 5, whole: true }
    const nothing = { exits: [], revision: 5, whole: false }
    const { asked, read, workList, shares } = setUp([A], whole, nothing, nothing, whole, nothing, whole)
    await read()
    now += 299_000
    await read()
    now += 999
    await read()
    now += 1
    await read()
    await read()
    workList.setKeyShares([...shares, share(B)])
    await read()
    const wait = (seconds: number) => ({ limit: 1000, after: 5, wait: seconds })
    expect(asked).toEqual([{ limit: 1000 }, wait(1), wait(1), { limit: 1000 }, wait(15), { limit: 1000 }])
  })

  it('that answers with the whole list instead of what changed is taken at its word, and another process begins anew', async () => {
    const { asked, read, listings } = setUp(
      [A, B],
      { exits: [item(A, 1)], revision: 9, whole: true },
      { exits: [item(B, 1)], revision: 3, whole: true },
      { exits: [item(A, 1)], revision: 4, whole: false, next: 7 },
      { exits: [], revision: 2, whole: true },
      { exits: [item(A, 1)], revision: 4, whole: true },
    )
    await read()
    await read()
    expect(listings()).toEqual(['unlisted', 'wanted'])
    expect(await read()).toMatchObject({ hasMore: true })
    expect(await read()).toMatchObject({ hasMore: true })
    expect(await read()).toMatchObject({ hasMore: false })
    expect(listings()).toEqual(['wanted', 'unlisted'])
    expect(asked.slice(2)).toEqual([
      { limit: 1000, after: 3, wait: 15 },
      { limit: 1000, after: 3, from: 7 },
      { limit: 1000 },
    ])
  })

  it.each<[string, object[]]>([
    [
      'that goes round in a circle',
      [
        { exits: [], revision: 1, whole: true, next: 5 },
        { exits: [], revision: 1, whole: true, next: 5 },
      ],
    ],
    ['of changes that nobody asked for', [{ exits: [], revision: 1, whole: false }]],
    ['after which comes none', [{ exits: [], revision: 1, whole: true, next: 5 }, { exits: [] }]],
  ])('a page %s is refused', async (_what, answers) => {
    const { read } = setUp([A], ...answers)
    for (const _ of answers.slice(1)) await read()
    await expect(read()).rejects.toMatchObject({ code: 'RELAYER_ANSWER_INVALID' })
  })
})

describe('a relayer without pages', () => {
  it('is followed as ever: whole lists, and what changed where it has revisions', async () => {
    let now = 1000
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    const { asked, read, listings } = setUp(
      [A, B],
      { exits: [item(A, 1)], revision: 5 },
      { exits: [item(B, 1)], revision: 6 },
      { exits: [item(B, 1)], revision: 6 },
    )
    expect(await read()).toMatchObject({ isLongPolling: true, hasMore: false })
    await read()
    expect(listings()).toEqual(['wanted', 'wanted'])
    now += 15_000
    await read()
    expect(listings()).toEqual(['unlisted', 'wanted'])
    expect(asked).toEqual([{ limit: 1000 }, { limit: 1000, after: 5, wait: 15 }, { limit: 1000 }])
  })
})
