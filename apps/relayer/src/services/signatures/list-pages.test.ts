import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { expect, it } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createListPages, type PageQuery } from './list-pages.ts'

const keyOf = (id: number) => Buffer.from(id.toString(16).padStart(96, '0'), 'hex')
const row = (id: number, revision: number, isListed = true, publicKey = keyOf(id)) => ({
  id,
  revision,
  isListed,
  publicKey,
})
const itemOf = ({ id }: { id: number }) => ({ id })

it('gives everybody who asks for the same the same bytes, until something changes', async () => {
  const pages = createListPages('exits')
  for (const id of [1, 200, 400]) pages.take(row(id, id), itemOf)
  const whole = await pages.whole(400)
  // All has changed since: that is the whole list.
  expect(await pages.changedAfter(0, 400)).toBe(whole)
  const changed = await pages.changedAfter(1, 400)
  expect(changed.toString()).toBe('{"exits":[{"id":200},{"id":400}],"revision":400}')
  expect(await pages.changedAfter(1, 401)).toBe(changed)

  pages.take(row(200, 402, false), itemOf)
  expect((await pages.changedAfter(1, 402)).toString()).toBe('{"exits":[{"id":400}],"revision":402}')
  pages.take(row(1, 403), itemOf)
  expect(await pages.changedAfter(1, 403)).toBe(await pages.whole(403))
  expect((await pages.whole(403)).toString()).toBe('{"exits":[{"id":1},{"id":400}],"revision":403}')
})

it('keeps few answers, whatever is asked for', async () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 100; id++) pages.take(row(id, id), itemOf)
  const first = await pages.changedAfter(50, 100)
  for (let after = 51; after <= 65; after++) await pages.changedAfter(after, 100)
  expect(await pages.changedAfter(50, 100)).toBe(first)
  for (let after = 51; after <= 66; after++) await pages.changedAfter(after, 100)
  expect(await pages.changedAfter(50, 100)).not.toBe(first)
  expect(await pages.changedAfter(50, 100)).toEqual(first)
})

it('an empty list is told at the revision asked for', async () => {
  const pages = createListPages('exits')
  const first = () => pages.page({ limit: 1, from: undefined, after: undefined }, 0)
  expect((await first()).toString()).toBe('{"exits":[],"revision":0,"whole":true}')
  expect(await first()).toBe(await first())
  expect((await pages.whole(1)).toString()).toBe('{"exits":[],"revision":1}')
  expect((await pages.changedAfter(5, 6)).toString()).toBe('{"exits":[],"revision":6}')
})

/** What a page says, its items by their ids. */
async function pageOf(pages: ReturnType<typeof createListPages>, query: Partial<PageQuery>, revision: number) {
  const page = await pages.page({ limit: 1000, from: undefined, after: undefined, ...query }, revision)
  const { exits, ...end } = JSON.parse(page.toString()) as { exits: { id: number }[]; next?: number; gone?: string[] }
  return { ids: exits.map(({ id }) => id), ...end }
}

it('gives the whole list in pages of at most as many items as asked for, by their ids', async () => {
  const pages = createListPages('exits')
  const ids = [700, 3, 1, 130, 2, 300, 129, 128]
  for (const [position, id] of ids.entries()) pages.take(row(id, position + 1), itemOf)
  pages.loaded(8)
  for (const limit of [1, 2, 3, 5, 7, 8]) {
    const seen: number[] = []
    let asked = 0
    for (let from: number | undefined, isOver = false; !isOver; ) {
      const page = await pageOf(pages, { limit, from }, 8)
      expect(page.ids.length).toBeLessThanOrEqual(limit)
      expect(page).toMatchObject({ revision: 8, whole: true })
      expect(page.gone).toBeUndefined()
      seen.push(...page.ids)
      expect(++asked).toBeLessThanOrEqual(ids.length)
      isOver = page.next === undefined
      from = page.next
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(ids.toSorted((a, b) => a - b))
  }
  expect(await pageOf(pages, { from: 700 }, 8)).toEqual({ ids: [], revision: 8, whole: true })
})

it('begins a page right behind the one before, wherever that ended', async () => {
  const pages = createListPages('exits')
  for (const id of [126, 127, 128, 129]) pages.take(row(id, id), itemOf)
  for (const [from, ids] of [
    [125, [126, 127]],
    [126, [127, 128]],
    [127, [128, 129]],
    [128, [129]],
    [129, []],
  ] as const)
    expect((await pageOf(pages, { limit: 2, from }, 129)).ids, String(from)).toEqual(ids)
  // What came and went between two pages.
  pages.take(row(900, 130), itemOf)
  expect((await pageOf(pages, { limit: 2, from: 128 }, 130)).ids).toEqual([129, 900])
  pages.take(row(128, 131, false), itemOf)
  expect((await pageOf(pages, { limit: 2, from: 127 }, 131)).ids).toEqual([129, 900])
  pages.take(row(900, 132, false), itemOf)
  expect((await pageOf(pages, { limit: 2, from: 127 }, 132)).ids).toEqual([129])
})

it('tells of what changed and of what is gone since, page by page, and of what came back as listed', async () => {
  const pages = createListPages('exits')
  for (const id of [1, 2, 3, 200, 400]) pages.take(row(id, id), itemOf)
  pages.loaded(400)
  pages.take(row(2, 401, false), itemOf)
  pages.take(row(3, 402, false), itemOf)
  // The same validator, by another exit.
  pages.take(row(500, 402, true, keyOf(3)), itemOf)
  pages.take(row(200, 403), itemOf)
  const key = `0x${keyOf(2).toString('hex')}`
  expect(await pageOf(pages, { after: 400 }, 403)).toEqual({
    ids: [200, 500],
    revision: 403,
    whole: false,
    gone: [key],
  })
  expect(await pageOf(pages, { after: 400, limit: 1 }, 403)).toMatchObject({ ids: [200], next: 200, gone: [key] })
  // What is gone stands in the first page alone: in a later one it might take away what came back meanwhile.
  expect(await pageOf(pages, { after: 400, limit: 1, from: 200 }, 403)).toEqual({
    ids: [500],
    revision: 403,
    whole: false,
  })
  expect((await pageOf(pages, { after: 401 }, 403)).gone).toBeUndefined()
  expect(await pageOf(pages, { after: 403 }, 403)).toEqual({ ids: [], revision: 403, whole: false })
})

it('gives the whole list to who comes from before it was loaded, from the future, or from before what is remembered', async () => {
  const pages = createListPages('exits')
  const most = 20_000
  for (let id = 1; id <= most + 2; id++) pages.take(row(id, 5), itemOf)
  pages.loaded(9)
  expect(await pageOf(pages, { after: 8 }, 9)).toMatchObject({ whole: true })
  expect(await pageOf(pages, { after: 9 }, 9)).toMatchObject({ whole: false, ids: [] })
  expect(await pageOf(pages, { after: 10 }, 9)).toMatchObject({ whole: true })
  for (let id = 1; id <= most; id++) pages.take(row(id, 9 + id, false), itemOf)
  expect((await pageOf(pages, { after: 9 }, 9 + most)).gone).toHaveLength(most)
  pages.take(row(most + 1, 10 + most, false), itemOf)
  expect(await pageOf(pages, { after: 9 }, 10 + most)).toMatchObject({ whole: true, ids: [most + 2] })
  expect((await pageOf(pages, { after: 10 }, 10 + most)).gone).toHaveLength(most)
  pages.take(row(most + 2, 11 + most, false), itemOf)
  expect(await pageOf(pages, { after: 10 }, 11 + most)).toMatchObject({ whole: true, ids: [] })
  expect((await pageOf(pages, { after: 11 }, 11 + most)).gone).toHaveLength(most)
  pages.clear()
  expect(await pageOf(pages, { after: 11 }, 11 + most)).toMatchObject({ whole: true, ids: [] })
})

it('gives the same bytes to all who ask from between the same two changes, whatever else is asked for', async () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 3000; id++) pages.take(row(id, id), itemOf)
  pages.loaded(3000)
  pages.take(row(7, 9000), itemOf)
  pages.take(row(8, 9001, false), itemOf)
  const changed = await pages.changedAfter(3000, 10_000)
  const page = await pages.page({ limit: 10, from: undefined, after: 3000 }, 10_000)
  expect(changed.toString()).toBe('{"exits":[{"id":7}],"revision":10000}')
  for (let after = 3001; after < 9000; after += 100) {
    expect(await pages.changedAfter(after, 10_000)).toBe(changed)
    expect(await pages.page({ limit: 10, from: undefined, after }, 10_000)).toBe(page)
  }
  // What is gone changes a page, too.
  expect(await pageOf(pages, { after: 9000 }, 10_000)).toMatchObject({ ids: [], gone: [expect.any(String)] })
  expect(await pageOf(pages, { after: 9001 }, 10_000)).toEqual({ ids: [], revision: 10_000, whole: false })
})

it('never answers with an older revision than it was asked from', async () => {
  const pages = createListPages('exits')
  for (const id of [1, 2]) pages.take(row(id, id), itemOf)
  pages.loaded(2)
  const none = await pages.changedAfter(2, 2)
  expect(none.toString()).toBe('{"exits":[],"revision":2}')
  expect(await pages.changedAfter(2, 2)).toBe(none)
  expect(await pageOf(pages, { after: 2 }, 2)).toMatchObject({ revision: 2 })
  // Something changed that the list does not show.
  expect((await pages.changedAfter(5, 6)).toString()).toBe('{"exits":[],"revision":6}')
  expect(await pageOf(pages, { after: 5 }, 6)).toMatchObject({ revision: 6, whole: false })
})

it('keeps no more bytes of answers than a bound', async () => {
  const pages = createListPages('exits')
  const long = 'x'.repeat(1_000_000)
  for (let id = 1; id <= 12; id++) pages.take(row(id, id), () => long)
  const first = await pages.changedAfter(4, 12)
  const second = await pages.changedAfter(6, 12)
  expect((await pages.changedAfter(4, 12)) === first).toBe(true)
  // 18 MB together: what was asked for last stays.
  await pages.changedAfter(8, 12)
  expect((await pages.changedAfter(4, 12)) === first).toBe(true)
  expect((await pages.changedAfter(6, 12)) === second).toBe(false)
  // One that is longer than the bound by itself stays as long as nothing else is asked for.
  for (let id = 13; id <= 17; id++) pages.take(row(id, id), () => long)
  const all = () => pages.page({ limit: 17, from: undefined, after: undefined }, 17)
  const longest = await all()
  expect((await all()) === longest).toBe(true)
  await pages.changedAfter(17, 17)
  expect((await all()) === longest).toBe(false)
})

it('shares an answer that is made with everybody, and one in the making with nobody else', async () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 2000; id++) pages.take(row(id, id), itemOf)
  const ask = (name: string) => onAccountOf({ group: 'token', name }, () => pages.changedAfter(1, 2000))
  const [first, second, other] = await Promise.all([ask('one'), ask('one'), ask('other')])
  expect(second === first).toBe(true)
  expect(other === first).toBe(false)
  expect((await ask('third')) === other).toBe(true)
})

it('puts long answers together in pieces, as the list was when they were asked for', async () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 10_000; id++) pages.take(row(id, id), itemOf)
  pages.loaded(10_000)
  const rounds = countByRound()
  const questions = {
    whole: () => pages.whole(10_000),
    changed: () => pages.changedAfter(1, 10_000),
    page: () => pages.page({ limit: 10_000, from: undefined, after: 10_000 }, 20_000),
  }
  /** The answer, and in how many rounds of the event loop it was made; meanwhile the list changes. */
  const ask = async (which: keyof typeof questions) => {
    let isOver = false
    const before = rounds.inRounds().length
    const answer = questions[which]().finally(() => {
      isOver = true
    })
    pages.take(row(9990, 20_001), () => ({ id: 'newer' }))
    while (!isOver) {
      rounds.count()
      await new Promise(setImmediate)
    }
    pages.take(row(9990, 20_002), itemOf)
    return { text: (await answer).toString(), rounds: rounds.inRounds().length - before }
  }
  const whole = await ask('whole')
  expect(whole.rounds).toBeGreaterThanOrEqual(8)
  expect(whole.rounds).toBeLessThan(20)
  const list = JSON.parse(whole.text) as { exits: { id: unknown }[] }
  expect(list.exits.map(({ id }) => id)).toEqual(Array.from({ length: 10_000 }, (_, n) => n + 1))
  const changed = await ask('changed')
  expect(changed.rounds).toBeGreaterThanOrEqual(8)
  expect(JSON.parse(changed.text)).toMatchObject({ exits: { length: 9999 } })
  expect(changed.text).not.toContain('newer')
  for (let id = 1; id <= 10_000; id++) pages.take(row(id, 20_003), itemOf)
  const page = await ask('page')
  expect(page.rounds).toBeGreaterThanOrEqual(8)
  expect(JSON.parse(page.text)).toMatchObject({ exits: { length: 10_000 }, whole: false })
  expect(page.text).not.toContain('newer')
  rounds.end()
})

it('makes one long answer of a caller at a time, and nobody waits for those of others', async () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 10_000; id++) pages.take(row(id, id), itemOf)
  pages.loaded(10_000)
  const made: string[] = []
  const ask = (name: string, after: number) =>
    onAccountOf({ group: 'token', name }, async () => {
      await pages.changedAfter(after, 10_000)
      made.push(`${name} ${after}`)
    })
  const all = [1, 2, 3].map((after) => ask('greedy', after))
  await Promise.all([...all, ask('other', 3), ask('other', 9990)])
  // What is short comes at once, and another's line is as long as what it has asked for itself.
  expect(made).toEqual(['other 9990', 'greedy 1', 'other 3', 'greedy 2', 'greedy 3'])
})

it('makes one piece in a round of the event loop, whoever has asked', async () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 10_000; id++) pages.take(row(id, id), itemOf)
  const rounds = countByRound()
  const ask = (name: string) => onAccountOf({ group: 'token', name }, () => pages.changedAfter(1, 10_000))
  await Promise.all([ask('one'), ask('other')])
  rounds.end()
  expect(rounds.rounds()).toBeGreaterThanOrEqual(14)
})
