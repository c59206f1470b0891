import type { Account } from '@dvt-relayer/common/account.ts'
import { expect, it } from 'vitest'
import { createBodies } from './bodies.ts'

const attacker: Account = { group: 'sidecar', name: 'attacker' }
const node: Account = { group: 'sidecar', name: 'node' }
const operator: Account = { group: 'operator', name: 'operator' }
const figures = {
  ofOne: 300,
  total: 1000,
  ofSidecars: 600,
  largeOfOne: 2,
  rate: { bytesASecond: 1e9, atOnce: 1e9 },
  rateOfStrangers: { bytesASecond: 1e9, atOnce: 1e9 },
  largeWaitMs: 1,
  waiting: 10,
  waitMs: 1,
}
const never = new AbortController().signal

it('are held at three times their bytes, up to the limit of each caller', async () => {
  const bodies = createBodies(figures)
  const take = (account: Account, length: number) => bodies.take(account, length, never)
  const first = await take(attacker, 100)
  expect(bodies.held()).toBe(300)
  expect(await take(attacker, 1)).toBeUndefined()
  expect(await take(node, 100)).toBeDefined()
  // Sidecars have all that is theirs; the operator finds its part.
  expect(await take({ group: 'sidecar', name: 'third' }, 1)).toBeUndefined()
  expect(await take(operator, 100)).toBeDefined()
  first?.release()
  expect(await take(attacker, 50)).toBeDefined()
  expect(bodies.held()).toBe(750)
})

it('pay for values that are more than their bytes', async () => {
  const bodies = createBodies(figures)
  const room = await bodies.take(operator, 50, never)
  expect([room?.holds(1), bodies.held()]).toEqual([true, 150])
  expect([room?.holds(3), bodies.held()]).toEqual([true, 242])
  expect([room?.holds(100), bodies.held()]).toEqual([false, 242])
  room?.release()
  expect(bodies.held()).toBe(0)
})

it('of one caller are read at a rate, whatever others send', async () => {
  const bodies = createBodies({ ...figures, rate: { bytesASecond: 1, atOnce: 60 } })
  for (let count = 0; count < 4; count++) (await bodies.take(attacker, 20, never))?.release()
  expect(await bodies.take(attacker, 20, never)).toBeUndefined()
  expect(await bodies.take(node, 20, never)).toBeDefined()
})

it('of a stranger are read at a rate of their own, which those who are known have nothing to do with', async () => {
  const bodies = createBodies({ ...figures, rateOfStrangers: { bytesASecond: 1, atOnce: 60 } })
  const stranger: Account = { group: 'stranger', name: '192.0.2.1' }
  for (let count = 0; count < 4; count++) (await bodies.take(stranger, 20, never))?.release()
  expect(await bodies.take(stranger, 20, never)).toBeUndefined()
  expect(await bodies.take({ group: 'stranger', name: '192.0.2.2' }, 20, never)).toBeDefined()
  for (let count = 0; count < 5; count++) expect(await bodies.take(node, 20, never)).toBeDefined()
})
