import { expect, it } from 'vitest'
import { createOracleShares } from './shares.ts'

/** The message ids that a condition names: the one list of numbers in it. */
function idsOf(part: unknown): number[] {
  if (Array.isArray(part)) return part.every((one) => typeof one === 'number') ? part : part.flatMap(idsOf)
  if (typeof part !== 'object' || part === null) return []
  const { queryChunks, value } = part as { queryChunks?: unknown; value?: unknown }
  return queryChunks === undefined ? idsOf(Array.isArray(value) ? value : []) : idsOf(queryChunks)
}

/** The service over share sets of every exit but 7, of which that of 8 is for a set that is in force by now. */
function setUp(current = [{ id: 1 }]) {
  const asked: number[][] = []
  const share = { publicKeyShares: Buffer.alloc(48), ciphertexts: Buffer.alloc(177), receipt: Buffer.alloc(32) }
  const findShares = async (condition: unknown) => {
    const ids = idsOf(condition)
    asked.push(ids)
    return ids.flatMap((id) => (id === 7 ? [] : [{ messageId: id, oracleSetId: id === 8 ? 2 : 1, ...share }]))
  }
  const from = () => ({ where: async () => current, innerJoin: () => ({ where: findShares }) })
  const { render } = createOracleShares({ db: { select: () => ({ from }) } } as never)
  return { render, takeAsked: () => asked.splice(0) }
}
const idsFrom = (first: number, count: number) => Array.from({ length: count }, (_, n) => first + n)

it('reads and renders the share sets of many exits some at a time, and each once', async () => {
  const { render, takeAsked } = setUp()
  const ids = idsFrom(1, 150)
  const rendered = await render(ids)
  const asked = takeAsked()
  expect(asked.map(({ length }) => length)).toEqual([64, 64, 22])
  expect(asked.flat()).toEqual(ids)
  expect(rendered.size).toBe(148)
  expect([rendered.has(7), rendered.has(8)]).toEqual([false, false])
  expect((await render(ids)).size).toBe(148)
  expect(takeAsked()).toEqual([[7, 8]])
  expect((await render([5, 6])).size).toBe(2)
  expect(takeAsked()).toEqual([])
  await render(idsFrom(200, 64))
  expect(takeAsked()).toEqual([idsFrom(200, 64)])
})

it('reads nothing while no oracle set is in force', async () => {
  const { render, takeAsked } = setUp([])
  expect([await render([1, 2]), takeAsked()]).toEqual([new Map(), []])
})

it('forgets the oldest share sets where they are too many to keep, and no others', async () => {
  const { render, takeAsked } = setUp()
  await render(idsFrom(1_000, 4_000))
  takeAsked()
  await render([1_000, 1_001, 4_999])
  expect(takeAsked()).toEqual([])
  await render([5_000])
  takeAsked()
  // Reading the first anew puts it in the place of the second.
  await render([1_000, 1_002, 5_000])
  expect(takeAsked()).toEqual([[1_000]])
  await render([1_001, 1_003])
  expect(takeAsked()).toEqual([[1_001]])
})
