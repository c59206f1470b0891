/** The deposit contract on anvil, and who deposits there besides the vault. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { depositDataRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Abi, Hex } from 'viem'
import { parseEventLogs } from 'viem/utils'
import type { Anvil } from '../chain/anvil.ts'
import type { StandInDeposit } from '../chain/beacon.ts'
import { deployContract, type Outcome, readContract, writeContract } from './transactions.ts'

export interface DepositContract {
  /** Checksummed. */
  readonly address: Hex
  readonly abi: Abi
  /** The block it was made in. */
  readonly blockNumber: number
  /** `get_deposit_root()` at the head. */
  root(): Promise<Hex>
  /** Number of deposits at the head. */
  count(): Promise<number>
  /** All deposits of the chain as it is now, in order. */
  events(): Promise<DepositEvent[]>
}

/** One `DepositEvent`. */
export interface DepositEvent extends StandInDeposit {
  index: number
  blockNumber: number
  blockHash: Hex
}

/** Deploys the deposit contract. @param at its address, where it must have a certain one */
export async function deployDepositContract(anvil: Anvil, at?: Hex): Promise<DepositContract> {
  const contract = await deployContract(anvil, 'DepositContract', [], at)
  return {
    ...contract,
    root: async () => (await readContract(anvil, contract, 'get_deposit_root')) as Hex,
    count: async () => Number(littleEndian((await readContract(anvil, contract, 'get_deposit_count')) as Hex)),
    async events() {
      const filter = { address: contract.address, fromBlock: '0x0', toBlock: 'latest' }
      const logs = (await anvil.rpc('eth_getLogs', filter)) as Parameters<typeof parseEventLogs>[0]['logs']
      const parsed = parseEventLogs({ abi: contract.abi, logs }) as unknown as RawEvent[]
      return parsed.map(({ args, blockNumber, blockHash }) => ({
        publicKey: bytesOf(args.pubkey),
        withdrawalCredentials: bytesOf(args.withdrawal_credentials),
        amountGwei: littleEndian(args.amount),
        signature: bytesOf(args.signature),
        index: Number(littleEndian(args.index)),
        blockNumber: Number(blockNumber),
        blockHash,
      }))
    },
  }
}

interface RawEvent {
  args: Record<'pubkey' | 'withdrawal_credentials' | 'amount' | 'signature' | 'index', Hex>
  blockNumber: Hex
  blockHash: Hex
}

/** Deposits without any vault: anybody can, for any key, with any credentials and any signature. */
export function depositBySomebodyElse(
  anvil: Anvil,
  contract: Pick<DepositContract, 'address' | 'abi'>,
  deposit: StandInDeposit,
): Promise<Outcome> {
  const { publicKey, withdrawalCredentials, signature, amountGwei } = deposit
  const args = [publicKey, withdrawalCredentials, signature, depositDataRoot(deposit)].map((bytes) => toHex(bytes))
  return writeContract(anvil, contract, 'deposit', args, amountGwei * 1_000_000_000n)
}

const bytesOf = (hex: Hex) => new Uint8Array(Buffer.from(hex.slice(2), 'hex'))
const littleEndian = (hex: Hex) => Buffer.from(hex.slice(2), 'hex').readBigUInt64LE()
