import { expect, it } from 'vitest'
import { cheapestBase, rememberingFactors } from './recover-judge.ts'

it.each([
  // Factors of neighbours are whole numbers of a few bits, whatever stands in between is none.
  ['first', [1, 2, 3, 1000, 5000], [1, 2, 3]],
  ['in the middle', [1, 1000, 1001, 1002, 5000], [1000, 1001, 1002]],
  ['last', [1, 1000, 5000, 5001, 5002], [5000, 5001, 5002]],
  // The lower they are the fewer bits they have.
  ['first of many', [1, 2, 3, 4, 5], [1, 2, 3]],
])('the base that costs least is that of neighbours, where they stand %s', (_, indexes, wanted) => {
  const shares = indexes.toReversed().map((index) => ({ index: BigInt(index), point: new Uint8Array() }))
  const base = cheapestBase(shares, 3, rememberingFactors())
  expect(base.map(({ index }) => Number(index))).toEqual(wanted)
})
