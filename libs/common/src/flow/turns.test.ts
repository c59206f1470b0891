import { describe, expect, it } from 'vitest'
import type { Account } from '../account.ts'
import { createFairLine } from './fair-line.ts'
import { createTurns } from './turns.ts'

const of = (group: string, name: string): Account => ({ group, name })
const [node1, node2, operator] = [of('sidecar', '1'), of('sidecar', '2'), of('operator', 'a')]
const limits = {
  total: 4,
  groups: { operator: { ofOne: 2, ofAll: 4 }, sidecar: { ofOne: 2, ofAll: 3 } },
  others: { ofOne: 1, ofAll: 1 },
  waiting: 3,
  waitMs: 60_000,
}
const settle = () => new Promise((resolve) => setImmediate(resolve))

/** Takes turns and notes in which order they come. */
function taker(turns: ReturnType<typeof createTurns>) {
  const came: string[] = []
  const take = (name: string, account: Account, weight = 1) =>
    turns.take(weight, { account }).then((turn) => {
      came.push(turn === undefined ? `${name} refused` : name)
      return turn
    })
  return { came, take }
}

describe('a turn that grows', () => {
  it.each([
    ['its account', { total: 99, ofOne: 5, ofAll: 99 }],
    ['its group', { total: 99, ofOne: 99, ofAll: 7 }],
    ['all', { total: 9, ofOne: 99, ofAll: 99 }],
  ])('has as much as the limit of %s leaves, to the last', async (_, { total, ofOne, ofAll }) => {
    const turns = createTurns({
      ...limits,
      total,
      groups: { sidecar: { ofOne, ofAll } },
      others: { ofOne: 2, ofAll: 2 },
    })
    const turn = await turns.take(2, { account: node1 })
    await turns.take(2, { account: node2 })
    await turns.take(2, { account: operator })
    expect([turn?.grow(4), turn?.grow(3), turn?.grow(1)]).toEqual([false, true, false])
    expect(turns.held(node1)).toBe(5)
  })
})

describe('turns', () => {
  it('of one account wait for each other, and nobody behind them', async () => {
    const turns = createTurns(limits)
    const { came, take } = taker(turns)
    const first = take('1a', node1)
    for (const name of ['1b', '1c', '1d']) void take(name, node1)
    await take('2a', node2)
    await take('op', operator)
    expect(came).toEqual(['1a', '1b', '2a', 'op'])
    expect([turns.held(), turns.held(node1), turns.waiting(node1)]).toEqual([4, 2, 2])
    ;(await first)?.release()
    await settle()
    expect(came).toEqual(['1a', '1b', '2a', 'op', '1c'])
  })

  it('go to the group that comes first, and within a group in rotation', async () => {
    const turns = createTurns({ ...limits, total: 1 })
    const { came, take } = taker(turns)
    const first = await take('1a', node1)
    const rest = [take('1b', node1), take('1c', node1), take('2a', node2), take('op', operator)]
    // Each gives its turn back as soon as it has it.
    for (const turn of rest) void turn.then((given) => given?.release())
    first?.release()
    await Promise.all(rest)
    expect(came).toEqual(['1a', 'op', '1b', '2a', '1c'])
  })

  it('leave a part of the whole to other groups', async () => {
    const turns = createTurns(limits)
    const { came, take } = taker(turns)
    for (const name of ['3', '4', '5', '6']) void take(name, of('sidecar', name))
    await settle()
    expect(came).toEqual(['3', '4', '5'])
    await take('op', operator)
    expect(came).toEqual(['3', '4', '5', 'op'])
  })

  it('are refused where the line of the account is full, when time is up, and when the signal aborts', async () => {
    const turns = createTurns({ ...limits, waitMs: 1 })
    const held = [await turns.take(1, { account: node1 }), await turns.take(1, { account: node1 })]
    const late = turns.take(1, { account: node1 })
    expect(await late).toBeUndefined()
    const patient = createTurns(limits)
    const abort = new AbortController()
    for (let count = 0; count < 2; count++) await patient.take(1, { account: node1 })
    const waiting = Array.from({ length: 3 }, () => patient.take(1, { account: node1, signal: abort.signal }))
    expect(await patient.take(1, { account: node1 })).toBeUndefined()
    abort.abort()
    expect(await Promise.all(waiting)).toEqual([undefined, undefined, undefined])
    expect(patient.waiting()).toBe(0)
    for (const turn of held) turn?.release()
    expect(turns.held()).toBe(0)
  })

  it('are refused at once where the line of the account is full or the signal has aborted before', async () => {
    const turns = createTurns(limits)
    const { came, take } = taker(turns)
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) void take(name, node1)
    await settle()
    expect(came).toEqual(['a', 'b', 'f refused'])
    expect([turns.held(node1), turns.waiting(node1)]).toEqual([2, 3])
    expect(await turns.take(1, { account: operator, signal: AbortSignal.abort() })).toBeUndefined()
    expect([turns.held(operator), turns.waiting(operator)]).toEqual([0, 0])
  })

  it('of an account that gave one back are counted on, and who gives up holds up nobody behind', async () => {
    const turns = createTurns(limits)
    const { came, take } = taker(turns)
    const first = await take('a', node1)
    await take('b', node1)
    first?.release()
    expect(turns.held(node1)).toBe(1)
    const abort = new AbortController()
    const large = turns.take(2, { account: node1, signal: abort.signal })
    void take('c', node1)
    await settle()
    expect(came).toEqual(['a', 'b'])
    abort.abort()
    expect(await large).toBeUndefined()
    await settle()
    expect(came).toEqual(['a', 'b', 'c'])
    expect([turns.held(node1), turns.waiting(node1)]).toEqual([2, 0])
  })

  it('have weights: who holds nothing may hold one piece of any size, and what is released twice counts once', async () => {
    const turns = createTurns(limits)
    const large = await turns.take(9, { account: node1 })
    expect(turns.held()).toBe(9)
    large?.release()
    large?.release()
    expect(turns.held()).toBe(0)
    const turn = await turns.take(1, { account: node1 })
    expect([turn?.grow(1), turn?.grow(1)]).toEqual([true, false])
    expect(turns.held(node1)).toBe(2)
    turn?.release()
    expect(turns.held()).toBe(0)
    // Nobody would give that back.
    expect(turn?.grow(1)).toBe(false)
    expect(turns.held()).toBe(0)
  })

  it('tell how many wait in all, and of which group any does', async () => {
    const turns = createTurns(limits)
    expect([turns.isWanted('sidecar'), turns.waiting()]).toEqual([false, 0])
    await turns.take(undefined, { account: node1 })
    expect(turns.held()).toBe(1)
    await turns.take(1, { account: node1 })
    await turns.take(1, { account: operator })
    expect(turns.isWanted('sidecar')).toBe(false)
    for (const account of [node1, node1, of('guest', 'g')]) void turns.take(2, { account })
    expect([turns.waiting(), turns.waiting(node1), turns.isWanted('sidecar')]).toEqual([3, 2, true])
    expect([turns.isWanted('operator'), turns.isWanted('guest')]).toEqual([false, true])
  })
})

it('a fair line serves who has many items as often as who has one', () => {
  const line = createFairLine<string>()
  for (const item of ['a1', 'a2', 'a3']) line.push('a', item)
  line.push('b', 'b1')
  expect([line.shift(), line.shift(), line.shift()]).toEqual(['a1', 'b1', 'a2'])
  expect(line.clear()).toEqual(['a3'])
  expect(line.shift()).toBeUndefined()
})

it('a fair line gives what there is while there is something, and forgets who has nothing in it', () => {
  const line = createFairLine<string>()
  line.push('a', 'a1')
  for (const item of ['b1', 'b2', 'b3']) line.push('b', item)
  expect([line.shift(), line.shift(), line.shift(), line.shift()]).toEqual(['a1', 'b1', 'b2', 'b3'])
  // Who comes back has no place from before.
  line.push('c', 'c1')
  line.push('a', 'a2')
  expect([line.shift(), line.shift(), line.shift()]).toEqual(['c1', 'a2', undefined])
})

it('a fair line gives up the newest of who has the most', () => {
  const line = createFairLine<string>()
  expect([line.popOfMost(), line.count()]).toEqual([undefined, 0])
  line.push('a', 'a1')
  for (const item of ['b1', 'b2', 'b3']) line.push('b', item)
  expect([line.popOfMost(), line.popOfMost(), line.count(), line.size()]).toEqual(['b3', 'b2', 2, 2])
  // Of those with the same the first in the line; and who has nothing left has no place.
  expect([line.popOfMost(), line.count(), line.size()]).toEqual(['a1', 1, 1])
  expect([line.shift(), line.shift(), line.count()]).toEqual(['b1', undefined, 0])
  line.push('c', 'c1')
  expect([line.clear(), line.count(), line.popOfMost()]).toEqual([['c1'], 0, undefined])
})
