import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ownRounds } from '../../../../../test/support/event-loop.ts'
import { createPieces, PIECE_BYTES } from './pieces.ts'

/** Pieces whose rounds are the test's. */
function made() {
  const { nextRound, goRound } = ownRounds()
  const pieces = createPieces(nextRound)
  const out: string[] = []
  const read = async (name: string, account: string, bytes: Buffer) => {
    const all: Buffer[] = []
    for await (const piece of pieces.of({ group: 'sidecar', name: account }, bytes)) {
      out.push(name)
      all.push(piece)
    }
    return Buffer.concat(all)
  }
  return { out, read, goRound }
}

it('are few in a round however many answers are read, and accounts take turns', async () => {
  const { out, read, goRound } = made()
  const bytes = Buffer.alloc(3 * PIECE_BYTES)
  const many = Array.from({ length: 100 }, () => read('attacker', 'attacker', bytes))
  const one = read('node', 'node', bytes)
  await setImmediate()
  expect(out).toEqual([])
  await goRound()
  expect(out).toHaveLength(8)
  expect(out.filter((name) => name === 'node')).toHaveLength(1)
  await goRound()
  await goRound()
  expect(out).toHaveLength(24)
  expect((await one).length).toBe(bytes.length)
  while ((await goRound()) > 0);
  expect(out).toHaveLength(303)
  await Promise.all(many)
})

it('are the bytes, in order, and nothing goes round where nobody reads', async () => {
  const { read, goRound } = made()
  const bytes = Buffer.from(Uint8Array.from({ length: 2 * PIECE_BYTES + 5 }, (_, n) => n % 251))
  const all = read('node', 'node', bytes)
  let rounds = 0
  while ((await goRound()) > 0) rounds++
  expect(rounds).toBe(3)
  expect((await all).equals(bytes)).toBe(true)
  expect(await goRound()).toBe(0)
})
