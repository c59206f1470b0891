import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createChangeOrder } from './change-order.ts'

/** An item that counts how often its revision is looked at. */
function createCountedItems() {
  let looks = 0
  return {
    looks: () => looks,
    item: (id: number, revision: number) => ({
      id,
      place: 0,
      get revision() {
        looks++
        return revision
      },
    }),
  }
}

it('finds what changed among thousands by a look at few, whatever revision is asked for', () => {
  const { item, looks } = createCountedItems()
  const order = createChangeOrder<ReturnType<typeof item>>()
  const items = Array.from({ length: 8000 }, (_, n) => item(n, n + 1))
  for (const one of items) order.push(one)
  for (const one of items.slice(100, 103)) {
    order.remove(one)
    order.push(item(one.id, 9000 + one.id))
  }
  const before = looks()
  const found = new Set<number>()
  for (let after = 8000; after < 9100; after++) {
    const place = order.placeAfter(after)
    found.add(place)
    expect(order.from(place).map(({ id }) => id)).toEqual([100, 101, 102])
  }
  // One answer for all of them, and each costs no more than its halvings.
  expect(found.size).toBe(1)
  expect((looks() - before) / 1100).toBeLessThanOrEqual(14)
  expect(order.from(order.placeAfter(9101)).map(({ id }) => id)).toEqual([102])
  expect(order.from(order.placeAfter(9102))).toEqual([])
})

it('says what a look at all items says, whatever comes and goes', () => {
  const step = fc.record({ id: fc.nat(1500), isNew: fc.boolean(), isListed: fc.integer({ min: 0, max: 3 }) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 4000, size: 'max' }), fc.nat(4000), (steps, after) => {
      const { item } = createCountedItems()
      const order = createChangeOrder<ReturnType<typeof item>>()
      const items = new Map<number, ReturnType<typeof item>>()
      let revision = 0
      for (const { id, isNew, isListed } of steps) {
        if (isNew) revision++
        const before = items.get(id)
        if (before !== undefined) order.remove(before)
        items.delete(id)
        if (isListed === 0) continue
        const one = item(id, revision)
        order.push(one)
        items.set(id, one)
      }
      const newer = [...items.values()].filter((one) => one.revision > after)
      expect(order.from(order.placeAfter(after))).toEqual(newer)
      expect(order.from(order.placeAfter(-1))).toEqual([...items.values()])
    }),
    { numRuns: 30 },
  )
})
