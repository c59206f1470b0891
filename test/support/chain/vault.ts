/** A vault on anvil. */

import type { Hex } from 'viem'
import type { Anvil } from './anvil.ts'
import type { DepositContract } from './deposits.ts'
import { deployContract, type Outcome, readContract, writeContract } from './transactions.ts'

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
  fund(validators: Hex, signature: Hex): Promise<Outcome>
  withdraw(validators: Hex, signature: Hex): Promise<Outcome>
  consolidate(validators: Hex, signature: Hex): Promise<Outcome>
}

const WEI_PER_ETH = 10n ** 18n

/**
 * Deploys a vault with test ether in it.
 *
 * @param options.address where it must be, when its address is given by a cluster lock
 * @param options.balanceEth 10,000 unless given
 */
export async function deployVault(
  anvil: Anvil,
  options: { manager: Hex; depositContract: DepositContract; address?: Hex; balanceEth?: bigint },
): Promise<Vault> {
  const { manager, depositContract } = options
  const contract = await deployContract(anvil, 'Vault', [depositContract.address, manager], options.address)
  // Errors of the deposit contract pass through the vault.
  const callable = { address: contract.address, abi: [...contract.abi, ...depositContract.abi] }
  const wei = (options.balanceEth ?? 10_000n) * WEI_PER_ETH
  await anvil.rpc('anvil_setBalance', contract.address, `0x${wei.toString(16)}`)
  return {
    address: contract.address,
    manager,
    depositContract,
    nonce: async () => (await readContract(anvil, contract, 'validatorsManagerNonce')) as bigint,
    balance: async () => BigInt((await anvil.rpc('eth_getBalance', contract.address, 'latest')) as Hex),
    register: (...args) => writeContract(anvil, callable, 'registerValidators', args),
    fund: (...args) => writeContract(anvil, callable, 'fundValidators', args),
    withdraw: (...args) => writeContract(anvil, callable, 'withdrawValidators', args),
    consolidate: (...args) => writeContract(anvil, callable, 'consolidateValidators', args),
  }
}
