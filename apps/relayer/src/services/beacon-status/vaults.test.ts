import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { VaultRow } from '@dvt-relayer/db/queries/registered.ts'
import { expect, it } from 'vitest'
import { summaryOf } from './vaults.ts'

const VAULT = Buffer.alloc(20, 1)
const ROW: VaultRow = { vault: VAULT, registered: 9, exited: 3, outdated: 2, wrongIndex: 4, forceExitAt: 1000.9 }
const vault = checksumAddress(VAULT)

it('a vault is told its numbers and its time in whole seconds, and zeros where none of it is registered', () => {
  expect(summaryOf(VAULT, ROW)).toEqual({
    ...{ vault, registered: 9, exited: 3, outdated: 2, wrong_index: 4 },
    force_exit_at_timestamp: 1000,
  })
  expect(summaryOf(VAULT, undefined)).toEqual({
    ...{ vault, registered: 0, exited: 0, outdated: 0, wrong_index: 0 },
    force_exit_at_timestamp: null,
  })
})

it('a time that no clock will show is none', () => {
  for (const [forceExitAt, told] of [
    [null, null],
    [0, 0],
    [2 ** 53 - 1, 2 ** 53 - 1],
    [2 ** 53, null],
    [Number.POSITIVE_INFINITY, null],
  ] as const)
    expect(summaryOf(VAULT, { ...ROW, forceExitAt }).force_exit_at_timestamp).toBe(told)
})
