/** A vault on anvil. */

import type { Abi, Hex } from 'viem'
import { encodeAbiParameters, keccak256 } from 'viem/utils'
import type { Anvil, Keeper } from '../chain/anvil.ts'
import type { DepositContract } from './deposits.ts'
import { deployContract, type Outcome, readContract, writeContract } from './transactions.ts'

/** What the oracles have signed. */
export interface Approval {
  ipfsHash: string
  /** Unix seconds. */
  deadline: number
  /** 65 bytes each, in ascending order of their oracles. */
  signatures: Hex
}

export interface Vault {
  /** Checksummed. */
  readonly address: Hex
  /** Whose signature it takes when it is deployed. */
  readonly manager: Hex
  readonly depositContract: DepositContract
  /** `validatorsManagerNonce()` at the head. */
  nonce(): Promise<bigint>
  /** `v2Validators(keccak256(key))` at the head. */
  isCompounding(key: Hex): Promise<boolean>
  /** Makes these keys ones of type 0x02, as if they had been registered before: for validators that are on the beacon chain alone. */
  addCompounding(...keys: readonly Hex[]): Promise<void>
  /** Its admin names another manager. */
  setManager(manager: Hex): Promise<Outcome>
  /** Takes the rewards that the Keeper has announced. */
  harvest(): Promise<Outcome>
  /** Wei it holds. */
  balance(): Promise<bigint>
  /** `registerValidators(root, validators, signature)`; the others likewise. */
  register(root: Hex, validators: Hex, signature: Hex): Promise<Outcome>
  /** `registerApprovedValidators(…)`: the only way to register where the vault has a Keeper. */
  registerApproved(root: Hex, validators: Hex, signature: Hex, approval: Approval): Promise<Outcome>
  fund(validators: Hex, signature: Hex): Promise<Outcome>
  withdraw(validators: Hex, signature: Hex): Promise<Outcome>
  /** What the oracles have signed is needed for a switch to type 0x02 alone. */
  consolidate(validators: Hex, signature: Hex, oracleSignatures?: Hex): Promise<Outcome>
}

const WEI_PER_ETH = 10n ** 18n

const NOBODY = `0x${'00'.repeat(20)}` as const

/**
 * Deploys a vault with test ether in it.
 *
 * @param options.address where it must be, when its address is given by a cluster lock
 * @param options.balanceEth 10,000 unless given
 * @param options.keeper whose oracles must approve registrations; nobody's unless given
 * @param options.checker who knows what oracles must sign for a consolidation; without it none can be approved
 */
export async function deployVault(
  anvil: Anvil,
  options: {
    manager: Hex
    depositContract: DepositContract
    address?: Hex
    balanceEth?: bigint
    keeper?: Pick<Keeper, 'address' | 'abi'>
    checker?: ConsolidationsChecker
  },
): Promise<Vault> {
  const { manager, depositContract, keeper, checker } = options
  const args = [depositContract.address, keeper?.address ?? NOBODY, checker?.address ?? NOBODY]
  const contract = await deployContract(anvil, 'Vault', args, options.address)
  // Errors of the deposit contract, of the Keeper and of the checker pass through the vault.
  const abi = [...contract.abi, ...depositContract.abi, ...(keeper?.abi ?? []), ...(checker?.abi ?? [])]
  const callable = { address: contract.address, abi }
  const wei = (options.balanceEth ?? 10_000n) * WEI_PER_ETH
  await anvil.rpc('anvil_setBalance', contract.address, `0x${wei.toString(16)}`)
  const setManager = (next: Hex) => writeContract(anvil, callable, 'setValidatorsManager', [next])
  await setManager(manager)
  const isCompounding = async (key: Hex) =>
    (await readContract(anvil, contract, 'v2Validators', [keccak256(key)])) as boolean
  return {
    address: contract.address,
    manager,
    isCompounding,
    async addCompounding(...keys) {
      for (const key of keys) {
        await anvil.rpc('anvil_setStorageAt', contract.address, slotOf(key), `0x${'1'.padStart(64, '0')}`)
        if (!(await isCompounding(key))) throw new Error('v2Validators is not the first of the storage')
      }
      // What a block's hash stands for does not change: who asks at one sees the keys from the next block on.
      await anvil.mine(1)
    },
    setManager,
    harvest: () => writeContract(anvil, callable, 'updateState', []),
    depositContract,
    nonce: async () => (await readContract(anvil, contract, 'validatorsManagerNonce')) as bigint,
    balance: async () => BigInt((await anvil.rpc('eth_getBalance', contract.address, 'latest')) as Hex),
    register: (...args) => writeContract(anvil, callable, 'registerValidators', args),
    registerApproved: (root, validators, signature, { ipfsHash, deadline, signatures }) =>
      writeContract(anvil, callable, 'registerApprovedValidators', [
        ...[root, validators, signature],
        ...[ipfsHash, deadline, signatures],
      ]),
    fund: (...args) => writeContract(anvil, callable, 'fundValidators', args),
    withdraw: (...args) => writeContract(anvil, callable, 'withdrawValidators', args),
    consolidate: (validators, signature, oracleSignatures = '0x') =>
      writeContract(anvil, callable, 'consolidateValidators', [validators, signature, oracleSignatures]),
  }
}

/** Where the storage has the entry of a key: the mapping is its first variable. */
const slotOf = (key: Hex): Hex =>
  keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [keccak256(key), 0n]))

/** Checks what oracles have signed for a consolidation. */
export interface ConsolidationsChecker {
  readonly address: Hex
  readonly abi: Abi
}

/** Deploys one that asks this Keeper who the oracles are. */
export function deployConsolidationsChecker(
  anvil: Anvil,
  keeper: Pick<Keeper, 'address'>,
): Promise<ConsolidationsChecker> {
  return deployContract(anvil, 'ConsolidationsChecker', [keeper.address])
}
