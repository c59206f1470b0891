import { expect, it } from 'vitest'
import { createRefusals } from './refusals.ts'

const one = { group: 'sidecar', name: 'one' }
const other = { group: 'sidecar', name: 'other' }

it('are one after the other of one account, whenever they were earned, and no account waits for another', () => {
  let time = 1000
  const refusals = createRefusals({ refusalMs: 100, refusals: { gapMs: 20, mostMs: 150 } }, () => time)
  expect([1, 2, 3].map(() => refusals.nextMs(one))).toEqual([100, 120, 140])
  expect(refusals.nextMs(other)).toBe(100)
  // However many there are, none waits longer than that.
  expect([1, 2].map(() => refusals.nextMs(one))).toEqual([150, 150])
  time += 90
  expect(refusals.nextMs(one)).toBe(100)
  time += 121
  expect([refusals.nextMs(other), refusals.accounts()]).toEqual([100, 1])
})

it('are as far apart where none waits for anything else', () => {
  let time = 1000
  const refusals = createRefusals({ refusalMs: 0, refusals: { gapMs: 20, mostMs: 150 } }, () => time)
  expect(refusals.nextMs(one)).toBe(0)
  time += 5
  expect([1, 2].map(() => refusals.nextMs(one))).toEqual([15, 35])
  time += 60
  expect(refusals.nextMs(one)).toBe(0)
})
