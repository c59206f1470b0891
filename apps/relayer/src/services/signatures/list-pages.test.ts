import { expect, it } from 'vitest'
import { createListPages } from './list-pages.ts'

const row = (id: number, revision: number, isListed = true) => ({ id, revision, isListed })
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
