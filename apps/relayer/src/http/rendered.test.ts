import { afterEach, expect, it } from 'vitest'
import { countByRound } from '../../../../test/support/event-loop.ts'
import { renderList } from './rendered.ts'

const counted = countByRound()
afterEach(() => counted.end())

it.each([0, 1, 63, 64, 65, 300])('renders a list of %i as one text, in pieces', async (length) => {
  const items = Array.from({ length }, (_, n) => n * 2)
  const before = counted.inRounds().length
  const textOf = (item: number, position: number) => {
    counted.count()
    return JSON.stringify({ item, position, text: 'é' })
  }
  const bytes = await renderList('{"list":[', items, textOf, '],"end":true}')
  const list = items.map((item, position) => ({ item, position, text: 'é' }))
  expect(bytes.toString()).toBe(JSON.stringify({ list, end: true }))
  expect(Math.max(0, ...counted.inRounds().slice(before))).toBeLessThanOrEqual(64)
  await new Promise(setImmediate)
})
