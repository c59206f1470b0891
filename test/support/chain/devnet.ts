/** A network of our own for generation 4: hoodi's genesis and forks, so that a cluster made for hoodi fits, and contracts on anvil. */

import type { NetworkFile } from '@dvt-relayer/chain/networks.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { DepositContract } from '../contracts/deposits.ts'
import { madeUpKey } from './beacon.ts'

/** Where such a chain begins: anvil's genesis leaves room below for the records of the registry dump. */
export const DEVNET = { chainId: 31_337, firstBlock: 1_000 } as const

/** The file that NETWORK names. `dumpCid` is that of `registryDump`. */
export function describeDevnet(name: string, depositContract: DepositContract, dumpCid: string): NetworkFile {
  const { hoodi } = networks
  return {
    name,
    chain_id: DEVNET.chainId,
    slots_per_epoch: hoodi.slotsPerEpoch,
    seconds_per_slot: hoodi.secondsPerSlot,
    genesis_timestamp: hoodi.genesisTimestamp,
    genesis_validators_root: toHex(hoodi.genesisValidatorsRoot),
    genesis_fork_version: toHex(hoodi.genesisForkVersion),
    capella_fork_version: toHex(hoodi.capellaForkVersion),
    capella_epoch: hoodi.capellaEpoch,
    deposit_contract: depositContract.address,
    deposit_contract_block: depositContract.blockNumber,
    keeper: `0x${'00'.repeat(18)}4ee9`,
    keeper_block: DEVNET.firstBlock,
    registry_dump_cid: dumpCid,
    registry_dump_block: depositContract.blockNumber,
  }
}

/**
 * The deposits before the deposit contract's first: for each made-up validator uint32 big-endian block ++ key
 * (docs/protocol.md#14-chain-calls).
 */
export function registryDump(validators: number): Uint8Array {
  return Buffer.concat(
    Array.from({ length: validators }, (_, index) => {
      const block = Buffer.alloc(4)
      block.writeUInt32BE(Math.floor((index * DEVNET.firstBlock) / validators))
      return Buffer.concat([block, madeUpKey(index)])
    }),
  )
}
