/**
 * The world of generation 4: a network of its own, whose deposit contract, Keeper and vaults stand on the EVM node, whose consensus
 * node follows their deposits, and a validators-manager wallet.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { networkOf } from '@dvt-relayer/chain/networks.ts'
import type { Hex } from 'viem'
import { deployKeeper, type Keeper, startAnvil } from '../chain/anvil.ts'
import { startBeacon } from '../chain/beacon.ts'
import { DEVNET, describeDevnet, registryDump } from '../chain/devnet.ts'
import { type DepositFollower, followDeposits } from '../chain/follow-deposits.ts'
import { startIpfs } from '../chain/ipfs.ts'
import { type DepositContract, deployDepositContract } from '../contracts/deposits.ts'
import { type ConsolidationsChecker, deployConsolidationsChecker, deployVault, type Vault } from '../contracts/vault.ts'
import { type ManagerWallet, makeManagerWallet } from '../keys/manager-wallet.ts'
import { completeWorld, makeWorldDir, type OracleNumbers, type World } from './world.ts'

export interface VaultWorld extends World {
  /** The JSON file that `NETWORK` names. */
  readonly networkFile: string
  readonly depositContract: DepositContract
  readonly manager: ManagerWallet
  /** Checks for its vaults what the oracles of its Keeper have signed for consolidations. */
  readonly checker: ConsolidationsChecker
  /** Lets the consensus node see the deposits. */
  readonly beaconFollows: DepositFollower
  /** Deploys a vault that takes the manager's signature, with test ether in it. */
  deployVault(options?: { address?: Hex; manager?: Hex; balanceEth?: bigint; keeper?: Keeper }): Promise<Vault>
}

/**
 * Starts it. The network has hoodi's genesis and fork versions, so that a cluster made for hoodi fits. A block is final two
 * blocks later.
 *
 * @param options.validators how many made-up validators there are before the first deposit: in the consensus node's state and in
 * the registry dump; 100 unless given
 */
export async function startVaultWorld(options: OracleNumbers & { validators?: number } = {}): Promise<VaultWorld> {
  const { validators = 100 } = options
  await using stack = new AsyncDisposableStack()
  const anvil = stack.use(await startAnvil({ ...DEVNET, quickFinality: true }))
  const depositContract = await deployDepositContract(anvil)
  const ipfs = stack.use(await startIpfs())
  const dir = await makeWorldDir(stack)
  const file = describeDevnet('devnet', depositContract, ipfs.add(registryDump(validators), 1))
  const networkFile = join(dir, 'network.json')
  await writeFile(networkFile, JSON.stringify(file))
  const network = networkOf(file)
  const keeper = await deployKeeper(anvil, network)
  const checker = await deployConsolidationsChecker(anvil, keeper)
  const beacon = stack.use(await startBeacon({ network, validators }))
  const manager = await makeManagerWallet(dir)
  const settings = {
    NETWORK: networkFile,
    VALIDATORS_MANAGER_KEY_FILE: manager.keyFile,
    VALIDATORS_MANAGER_PASSWORD_FILE: manager.passwordFile,
    WALLETS_WITHOUT_TOKENS: 'loopback',
  }
  const chain = { network, anvil, keeper, beacon, ipfs, dir }
  const world = await completeWorld(stack, chain, options, settings)
  return {
    ...world,
    networkFile,
    depositContract,
    manager,
    checker,
    beaconFollows: followDeposits(beacon, depositContract, network),
    deployVault: (vault = {}) => deployVault(anvil, { manager: manager.address, depositContract, checker, ...vault }),
  }
}
