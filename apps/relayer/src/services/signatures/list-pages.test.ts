import { expect, it } from 'vitest'
import { createListPages, type PageQuery } from './list-pages.ts'

const keyOf = (id: number) => Buffer.from(id.toString(16).padStart(96, '0'), 'hex')
const row = (id: number, revision: number, isListed = true, publicKey = keyOf(id)) => ({
  id,
  revision,
  isListed,
  publicKey,
})
const itemOf = ({ id }: { id: number }) => ({ id })

it('gives everybody who asks for the same the same bytes, until something changes', () => {
  const pages = createListPages('exits')
  for (const id of [1, 200, 400]) pages.take(row(id, id), itemOf)
  const whole = pages.whole(400)
  // All has changed since: that is the whole list.
  expect(pages.changedAfter(0, 400)).toBe(whole)
  const changed = pages.changedAfter(1, 400)
  expect(changed.toString()).toBe('{"exits":[{"id":200},{"id":400}],"revision":400}')
  expect(pages.changedAfter(1, 401)).toBe(changed)

  pages.take(row(200, 402, false), itemOf)
  expect(pages.changedAfter(1, 402).toString()).toBe('{"exits":[{"id":400}],"revision":402}')
  pages.take(row(1, 403), itemOf)
  expect(pages.changedAfter(1, 403)).toBe(pages.whole(403))
  expect(pages.whole(403).toString()).toBe('{"exits":[{"id":1},{"id":400}],"revision":403}')
})

it('keeps few answers, whatever is asked for', () => {
  const pages = createListPages('exits')
  for (let id = 1; id <= 100; id++) pages.take(row(id, id), itemOf)
  const first = pages.changedAfter(50, 100)
  for (let after = 51; after < 80; after++) pages.changedAfter(after, 100)
  expect(pages.changedAfter(50, 100)).not.toBe(first)
  expect(pages.changedAfter(50, 100)).toEqual(first)
})

it('an empty list is told at the revision asked for', () => {
  const pages = createListPages('exits')
  expect(pages.whole(1).toString()).toBe('{"exits":[],"revision":1}')
  expect(pages.changedAfter(5, 6).toString()).toBe('{"exits":[],"revision":6}')
})

/** What a page says, its items by their ids. */
function pageOf(pages: ReturnType<typeof createListPages>, query: Partial<PageQuery>, revision: number) {
  const page = pages.page({ limit: 1000, from: undefined, after: undefined, ...query }, revision)
  const { exits, ...end } = JSON.parse(page.toString()) as { exits: { id: number }[]; next?: number; gone?: string[] }
  return { ids: exits.map(({ id }) => id), ...end }
}

it('gives the whole list in pages of at most as many items as asked for, by their ids', () => {
  const pages = createListPages('exits')
  const ids = [700, 3, 1, 130, 2, 300, 129, 128]
  for (const [position, id] of ids.entries()) pages.take(row(id, position + 1), itemOf)
  pages.loaded(8)
  for (const limit of [1, 2, 3, 5, 7, 8]) {
    const seen: number[] = []
    for (let from: number | undefined, isOver = false; !isOver; ) {
      const page = pageOf(pages, { limit, from }, 8)
      expect(page.ids.length).toBeLessThanOrEqual(limit)
      expect(page).toMatchObject({ revision: 8, whole: true })
      expect(page.gone).toBeUndefined()
      seen.push(...page.ids)
      isOver = page.next === undefined
      from = page.next
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(ids.toSorted((a, b) => a - b))
  }
  expect(pageOf(pages, { from: 700 }, 8)).toEqual({ ids: [], revision: 8, whole: true })
})

it('tells of what changed and of what is gone since, page by page, and of what came back as listed', () => {
  const pages = createListPages('exits')
  for (const id of [1, 2, 3, 200, 400]) pages.take(row(id, id), itemOf)
  pages.loaded(400)
  pages.take(row(2, 401, false), itemOf)
  pages.take(row(3, 402, false), itemOf)
  // The same validator, by another exit.
  pages.take(row(500, 402, true, keyOf(3)), itemOf)
  pages.take(row(200, 403), itemOf)
  const key = `0x${keyOf(2).toString('hex')}`
  expect(pageOf(pages, { after: 400 }, 403)).toEqual({ ids: [200, 500], revision: 403, whole: false, gone: [key] })
  expect(pageOf(pages, { after: 400, limit: 1 }, 403)).toMatchObject({ ids: [200], next: 200, gone: [key] })
  // What is gone stands in the first page alone: in a later one it might take away what came back meanwhile.
  expect(pageOf(pages, { after: 400, limit: 1, from: 200 }, 403)).toEqual({ ids: [500], revision: 403, whole: false })
  expect(pageOf(pages, { after: 401 }, 403).gone).toBeUndefined()
  expect(pageOf(pages, { after: 403 }, 403)).toEqual({ ids: [], revision: 403, whole: false })
})

it('gives the whole list to who comes from before it was loaded, from the future, or from before what is remembered', () => {
  const pages = createListPages('exits')
  const most = 20_000
  for (let id = 1; id <= most + 2; id++) pages.take(row(id, 5), itemOf)
  pages.loaded(9)
  expect(pageOf(pages, { after: 8 }, 9)).toMatchObject({ whole: true })
  expect(pageOf(pages, { after: 9 }, 9)).toMatchObject({ whole: false, ids: [] })
  expect(pageOf(pages, { after: 10 }, 9)).toMatchObject({ whole: true })
  for (let id = 1; id <= most; id++) pages.take(row(id, 9 + id, false), itemOf)
  expect(pageOf(pages, { after: 9 }, 9 + most).gone).toHaveLength(most)
  pages.take(row(most + 1, 10 + most, false), itemOf)
  expect(pageOf(pages, { after: 9 }, 10 + most)).toMatchObject({ whole: true, ids: [most + 2] })
  expect(pageOf(pages, { after: 10 }, 10 + most).gone).toHaveLength(most)
  pages.clear()
  expect(pageOf(pages, { after: 10 }, 10 + most)).toMatchObject({ whole: true, ids: [] })
})
