import { expect, it } from 'vitest'
import { createCrossCheck } from './cross-check.ts'

/** Looks one after the other, each with what the deposit logs and the consensus node count; which of them say that the two disagree. */
async function look(...heads: [execution: number, consensus: number][]): Promise<boolean[]> {
  let [count, nextIndex] = [0, 0]
  const counted: [number, number][] = []
  const context = {
    chain: { registry: { nextIndex: async () => nextIndex } },
    events: { registryCounted: (...numbers: [number, number]) => void counted.push(numbers) },
  } as unknown as Parameters<typeof createCrossCheck>[0]
  const check = createCrossCheck(context, async () => ({ count }))
  const said: boolean[] = []
  for ([count, nextIndex] of heads) {
    const words = await check()
    if (words !== undefined)
      expect(words).toContain(`make ${count} validators and the consensus node expects ${nextIndex}:`)
    said.push(words !== undefined)
  }
  expect(counted).toEqual(heads)
  return said
}

it.each<[string, [execution: number, consensus: number]]>([
  ['execution', [4, 5]],
  ['consensus', [5, 4]],
])('a disagreement is told once the %s node has stayed behind for three looks', async (_, apart) => {
  expect(await look(apart, apart, apart, apart)).toEqual([false, false, true, true])
  expect(await look(apart, apart, [5, 5], apart, apart, apart)).toEqual([false, false, false, false, false, true])
})

it('two nodes that count the same, or that follow each other, agree', async () => {
  expect(await look([5, 5], [5, 5], [5, 5], [5, 5])).toEqual([false, false, false, false])
  expect(await look([5, 5], [6, 5], [7, 6], [8, 7], [9, 8])).not.toContain(true)
  expect(await look([5, 5], [5, 6], [6, 7], [7, 8], [8, 9])).not.toContain(true)
  // What the other said the last time was not reached.
  expect(await look([6, 5], [8, 5], [10, 7], [12, 9])).toEqual([false, false, true, true])
})
