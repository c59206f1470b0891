import { networks } from '@dvt-relayer/chain/networks.ts'
import { expect, it } from 'vitest'
import { checkpointOf, isProgress, NOT_BEGUN, positionOf, progressOf } from './position.ts'

const POSITION = { nextBlock: 7, nextDepositIndex: 5, count: 3 }
const NONE = { nextBlock: 0, nextDepositIndex: 0, count: 0 }

it('a checkpoint says where the registry of its network stands, also where nothing is settled', () => {
  for (const position of [POSITION, NONE])
    expect(positionOf(networks.hoodi, checkpointOf(networks.hoodi, position))).toEqual(position)
  expect(positionOf(networks.hoodi, undefined)).toBeUndefined()
})

it('a checkpoint of another chain or contract, or of no shape, is refused', () => {
  const right = checkpointOf(networks.hoodi, POSITION)
  for (const wrong of [
    { ...right, chain_id: right.chain_id + 1 },
    { ...right, deposit_contract: `0x${'00'.repeat(20)}` },
    { ...right, count: -1 },
    { ...right, next_block: 'one' },
    null,
  ])
    expect(() => positionOf(networks.hoodi, wrong)).toThrow(
      expect.objectContaining({
        code: 'DEPENDENCY_AWAY',
        message: expect.stringContaining('another network than hoodi'),
      }),
    )
})

it('words about how far it is are told from words about what is wrong', () => {
  expect(progressOf(3, 9)).toMatch(/block 3 of 9$/)
  expect([NOT_BEGUN, progressOf(3, 9), 'the execution node is away'].map(isProgress)).toEqual([true, true, false])
})
