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
  const { startAnew, setAbsent } = reader
  return { asked, shares, workList, listings, events, read: () => reader.read(signal), startAnew, setAbsent }
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

describe('an answer', () => {
  it('is told: what is open by it, what came twice, and long polling where that is new', async () => {
    const first = { exits: [item(A, 1), item(A, 2), item(B, 3)], revision: 5 }
    const second = { exits: [], revision: 6 }
    const { read, events } = setUp([A, B], first, second, second, { exits: [item(A, 1)] })
    for (let answer = 0; answer < 3; answer++) await read()
    expect(events.itemsDropped.mock.calls).toEqual([[1]])
    expect(events.longPolling.mock.calls).toEqual([['exits', true]])
    expect(events.listApplied.mock.calls).toEqual([
      ['exits', 2],
      ['exits', 2],
      ['exits', 2],
    ])
    await read()
    expect(events.longPolling.mock.calls.slice(1)).toEqual([['exits', false]])
  })

  it('says whether it brought what was not known', async () => {
    const answer = { exits: [item(A, 1)], revision: 5 }
    const { read } = setUp([A], answer, answer)
    expect(await read()).toMatchObject({ hasNews: true })
    expect(await read()).toMatchObject({ hasNews: false })
  })

  it('that does not count is none of repeats', async () => {
    const { read, events } = setUp(
      [A],
      { exits: [], revision: 9, whole: true },
      { exits: [], revision: 10, whole: false, next: 7 },
      { exits: [item(A, 1), item(A, 1)], revision: 2, whole: true },
    )
    for (let answer = 0; answer < 3; answer++) await read()
    expect(events.itemsDropped).not.toHaveBeenCalled()
  })
})

it('a list that the relayer does not have wants nothing, and is asked for whole when it comes', async () => {
  const { read, asked, listings, events, setAbsent } = setUp(
    [A],
    { exits: [item(A, 1)], revision: 5 },
    { exits: [item(A, 1)], revision: 6 },
  )
  await read()
  setAbsent()
  expect([listings(), events.listApplied.mock.lastCall]).toEqual([['unlisted'], ['exits', 0]])
  await read()
  expect(asked).toEqual([{ limit: 1000 }, { limit: 1000 }])
})
