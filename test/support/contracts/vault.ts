/** A vault on anvil. */

import type { Hex } from 'viem'
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
  /** Whose signature it takes. */
  readonly manager: Hex
  readonly depositContract: DepositContract
  /** `validatorsManagerNonce()` at the head. */
  nonce(): Promise<bigint>
  /** Wei it holds. */
  balance(): Promise<bigint>
  /** `registerValidators(root, validators, signature)`; the others likewise. */
  register(root: Hex, validators: Hex, signature: Hex): Promise<Outcome>
  /** `registerApprovedValidators(…)`: the only way to register where the vault has a Keeper. */
  registerApproved(root: Hex, validators: Hex, signature: Hex, approval: Approval): Promise<Outcome>
  fund(validators: Hex, signature: Hex): Promise<Outcome>
  withdraw(validators: Hex, signature: Hex): Promise<Outcome>
  consolidate(validators: Hex, signature: Hex): Promise<Outcome>
}

const WEI_PER_ETH = 10n ** 18n

const NOBODY = `0x${'00'.repeat(20)}` as const

/**
 * Deploys a vault with test ether in it.
 *
 * @param options.address where it must be, when its address is given by a cluster lock
 * @param options.balanceEth 10,000 unless given
 * @param options.keeper whose oracles must approve registrations; nobody's unless given
 */
export async function deployVault(
  anvil: Anvil,
  options: {
    manager: Hex
    depositContract: DepositContract
    address?: Hex
    balanceEth?: bigint
    keeper?: Pick<Keeper, 'address' | 'abi'>
  },
): Promise<Vault> {
  const { manager, depositContract, keeper } = options
  const args = [depositContract.address, manager, keeper?.address ?? NOBODY]
  const contract = await deployContract(anvil, 'Vault', args, options.address)
  // Errors of the deposit contract and of the Keeper pass through the vault.
  const abi = [...contract.abi, ...depositContract.abi, ...(keeper?.abi ?? [])]
  const callable = { address: contract.address, abi }
  const wei = (options.balanceEth ?? 10_000n) * WEI_PER_ETH
  await anvil.rpc('anvil_setBalance', contract.address, `0x${wei.toString(16)}`)
  return {
    address: contract.address,
    manager,
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
    consolidate: (...args) => writeContract(anvil, callable, 'consolidateValidators', args),
  }
}
