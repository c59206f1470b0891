import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ownRounds } from '../../../../test/support/event-loop.ts'
import { createRounds, mapInPieces } from './rounds.ts'

/** Rounds that are the test's. */
function made(atOnce: number) {
  const { nextRound, goRound } = ownRounds()
  const rounds = createRounds(atOnce, nextRound)
  const out: string[] = []
  return {
    out,
    come(key: string, what: string, isGone?: () => boolean): void {
      void rounds.turn(key, isGone).then(() => out.push(what))
    },
    goRound,
  }
}

it('lets few go on in a round, keys in rotation and each in its order', async () => {
  const { out, come, goRound } = made(1)
  for (const what of ['a1', 'a2', 'a3']) come('a', what)
  come('b', 'b1')
  await setImmediate()
  expect(out).toEqual([])
  await goRound()
  expect(out).toEqual(['a1'])
  await goRound()
  expect(out).toEqual(['a1', 'b1'])
  await goRound()
  expect(out).toEqual(['a1', 'b1', 'a2'])
  while ((await goRound()) > 0);
  expect(out).toEqual(['a1', 'b1', 'a2', 'a3'])
})

it('gives no place to who is gone', async () => {
  const { out, come, goRound } = made(1)
  let hasHungUp = false
  for (let n = 0; n < 100; n++) come('a', 'gone', () => hasHungUp)
  come('a', 'there')
  await goRound()
  expect(out).toHaveLength(1)
  hasHungUp = true
  await goRound()
  expect(out.filter((what) => what === 'there')).toHaveLength(1)
  expect(await goRound()).toBe(0)
})

it('goes no round where nobody waits, and one again when somebody comes', async () => {
  const { out, come, goRound } = made(8)
  for (const what of ['a1', 'a2']) come('a', what)
  expect(await goRound()).toBe(1)
  expect(out).toEqual(['a1', 'a2'])
  expect(await goRound()).toBe(0)
  come('a', 'a3')
  expect(await goRound()).toBe(1)
  expect(out).toEqual(['a1', 'a2', 'a3'])
})

it('maps a list in order, with a rest between its pieces and none at their ends', async () => {
  const done: (number | 'rest')[] = []
  const map = (item: number, position: number) => {
    done.push(position)
    return item * 2
  }
  const rest = async () => void done.push('rest')
  expect(await mapInPieces([5, 6, 7, 8, 9], 2, map, rest)).toEqual([10, 12, 14, 16, 18])
  expect(done).toEqual([0, 1, 'rest', 2, 3, 'rest', 4])
  done.length = 0
  await mapInPieces([5, 6], 2, map, rest)
  expect(await mapInPieces([], 2, map, rest)).toEqual([])
  expect(done).toEqual([0, 1])
})
