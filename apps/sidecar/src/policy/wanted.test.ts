import { expect, it } from 'vitest'
import { isSameWanted, type Wanted } from './wanted.ts'

const DEPOSIT = { vault: `0x${'ab'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' } as const
const WANTED: Wanted = { validatorIndex: 7, deposit: DEPOSIT }

it.each<[string, Wanted, Wanted, boolean]>([
  ['the same exit and deposit', WANTED, { validatorIndex: 7, deposit: { ...DEPOSIT } }, true],
  ['the same exit alone', { validatorIndex: 7, deposit: undefined }, { validatorIndex: 7, deposit: undefined }, true],
  ['another index', WANTED, { ...WANTED, validatorIndex: 8 }, false],
  ['no deposit', WANTED, { ...WANTED, deposit: undefined }, false],
  ['another vault', WANTED, { ...WANTED, deposit: { ...DEPOSIT, vault: `0x${'cd'.repeat(20)}` } }, false],
  ['another amount', WANTED, { ...WANTED, deposit: { ...DEPOSIT, amountGwei: 33e9 } }, false],
  ['another type', WANTED, { ...WANTED, deposit: { ...DEPOSIT, validatorType: '0x02' } }, false],
])('one set of signatures serves %s: %#', (_, a, b, isSame) => {
  expect([isSameWanted(a, b), isSameWanted(b, a)]).toEqual([isSame, isSame])
})
