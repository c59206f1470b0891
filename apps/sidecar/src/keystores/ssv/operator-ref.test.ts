import { expect, it } from 'vitest'
import { ownPosition } from './operator-ref.ts'

const [A, B, C] = [1, 2, 3].map((byte) => new Uint8Array(8).fill(byte)) as [Uint8Array, Uint8Array, Uint8Array]
const operators = [
  { id: 5, publicKey: A },
  { id: 7, publicKey: B },
]

it.each<[string, number | undefined, Uint8Array | undefined, number | undefined]>([
  ['its id', 5, undefined, 0],
  ['its key', undefined, B, 1],
  ['both', 7, B, 1],
  ['an id with the key of another', 7, A, undefined],
  ['an id that none has', 6, undefined, undefined],
  ['a key that none has', undefined, C, undefined],
])('an operator stands in a file by %s, or not at all', (_, id, publicKey, position) => {
  expect(ownPosition({ operators }, { id, publicKey, name: 'operator' })).toBe(position)
})
