import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { expect, it } from 'vitest'
import { hasLeft, vaultOf } from './beacon-status.ts'

const of = (more: Partial<ChainValidator>) => ({ index: 1, status: 'active_ongoing', ...more }) as ChainValidator
const ADDRESS = '01'.repeat(20)

it('the vault is the address of credentials of type 0x01 and 0x02, and there is none in others', () => {
  const vault = (withdrawalCredentials: string) => vaultOf(of({ withdrawalCredentials: `0x${withdrawalCredentials}` }))
  for (const type of ['01', '02'])
    expect(vault(`${type}${'00'.repeat(11)}${ADDRESS}`)).toEqual(new Uint8Array(20).fill(1))
  for (const other of [
    `00${'00'.repeat(11)}${ADDRESS}`,
    `03${'00'.repeat(11)}${ADDRESS}`,
    `11${'00'.repeat(11)}${ADDRESS}`,
    `01${'00'.repeat(10)}01${ADDRESS}`,
    `0110${'00'.repeat(10)}${ADDRESS}`,
  ])
    expect(vault(other)).toBeUndefined()
})

it('a validator has left that exits, was slashed, exited or is withdrawn', () => {
  const left = (status: string) => hasLeft(of({ status: status as ChainValidator['status'] }))
  const [gone, staying] = [
    [
      ...['active_exiting', 'active_slashed', 'exited_unslashed', 'exited_slashed'],
      ...['withdrawal_possible', 'withdrawal_done'],
    ],
    ['pending_initialized', 'pending_queued', 'active_ongoing'],
  ]
  expect(gone.filter((status) => !left(status))).toEqual([])
  expect(staying.filter(left)).toEqual([])
})
