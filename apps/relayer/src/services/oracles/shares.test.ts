import { expect, it } from 'vitest'
import { createOracleShares } from './shares.ts'

/** The message ids that a condition names: the one list of numbers in it. */
function idsOf(part: unknown): number[] {
  if (Array.isArray(part)) return part.every((one) => typeof one === 'number') ? part : part.flatMap(idsOf)
  if (typeof part !== 'object' || part === null) return []
  const { queryChunks, value } = part as { queryChunks?: unknown; value?: unknown }
  return queryChunks === undefined ? idsOf(Array.isArray(value) ? value : []) : idsOf(queryChunks)
}

it('reads and renders the share sets of many exits some at a time, and each once', async () => {
  const asked: number[][] = []
  const share = { publicKeyShares: Buffer.alloc(48), ciphertexts: Buffer.alloc(177), receipt: Buffer.alloc(32) }
  const findShares = async (condition: unknown) => {
    const ids = idsOf(condition)
    asked.push(ids)
    // One exit has none yet, and one was split for the set that is in force by now.
    return ids.flatMap((id) => (id === 7 ? [] : [{ messageId: id, oracleSetId: id === 8 ? 2 : 1, ...share }]))
  }
  const from = () => ({ where: async () => [{ id: 1 }], innerJoin: () => ({ where: findShares }) })
  const { render } = createOracleShares({ db: { select: () => ({ from }) } } as never)
  const ids = Array.from({ length: 150 }, (_, n) => n + 1)
  const rendered = await render(ids)
  expect(asked.map(({ length }) => length)).toEqual([64, 64, 22])
  expect(asked.flat()).toEqual(ids)
  expect(rendered.size).toBe(148)
  expect([rendered.has(7), rendered.has(8)]).toEqual([false, false])
  expect((await render(ids)).size).toBe(148)
  expect(asked.slice(3)).toEqual([[7, 8]])
})
