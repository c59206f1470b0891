/**
 * The chain of generation 4: a network of its own on anvil, with deposit contract, Keeper and a vault, a consensus stand-in that
 * follows the deposits, and the wallet of the vault's validators manager.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { networkOf } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { type Anvil, deployKeeper, startAnvil } from '../../support/chain/anvil.ts'
import { startBeacon } from '../../support/chain/beacon.ts'
import { DEVNET, describeDevnet, registryDump } from '../../support/chain/devnet.ts'
import { followDeposits } from '../../support/chain/follow-deposits.ts'
import { startIpfs } from '../../support/chain/ipfs.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'
import { type DepositContract, deployDepositContract } from '../../support/contracts/deposits.ts'
import { deployVault, type Vault } from '../../support/contracts/vault.ts'
import { type ManagerWallet, makeManagerWallet } from '../../support/keys/manager-wallet.ts'
import { verifySignature } from '../actors/oracles.ts'
import type { Home } from '../home.ts'
import { type Chain, ORACLE_THRESHOLD, ORACLES } from '../story/scene.ts'
import { depositRoot } from './signing-roots.ts'

export interface VaultChain extends Chain {
  readonly anvil: Anvil
  readonly depositContract: DepositContract
  readonly vault: Vault
  readonly manager: ManagerWallet
  /** The consensus side sees the deposits so far, and makes validators of those whose signature is right. */
  processDeposits(): Promise<void>
}

/** There before the first deposit, as the consensus node and the registry dump say. */
const MADE_UP = 100

/** Starts the nodes; the contracts are there and the Keeper has announced the oracles then. */
export async function startVaultChain(home: Pick<Home, 'path'>, running: AsyncDisposableStack): Promise<VaultChain> {
  const anvil = running.use(await startAnvil({ ...DEVNET, quickFinality: true }))
  const depositContract = await deployDepositContract(anvil)
  const ipfs = running.use(await startIpfs())
  const file = describeDevnet('demo', depositContract, ipfs.add(registryDump(MADE_UP), 1))
  const network = networkOf(file)
  const networkFile = join(home.path, 'network.json')
  await writeFile(networkFile, JSON.stringify(file, null, 1))
  const beacon = running.use(await startBeacon({ network, validators: MADE_UP }))
  const oracles = makeOracles(ORACLES)
  const keeper = await deployKeeper(anvil, network)
  await keeper.setConfig(ipfs.add(oracleConfig(oracles, ORACLE_THRESHOLD)))
  const manager = await makeManagerWallet(home.path)
  const vault = await deployVault(anvil, { manager: manager.address, depositContract })
  const follower = followDeposits(beacon, depositContract, network)
  const sidecar = { NETWORK: networkFile, CONSENSUS_ENDPOINT: beacon.url }
  return {
    network,
    description: `The EVM node is anvil, with a deposit contract, a vault, and a Keeper that names ${ORACLES} oracles, ${ORACLE_THRESHOLD} of them rebuild an exit. Consensus and IPFS are stand-ins.`,
    beacon,
    oracles,
    withdrawalAddress: fromHex(vault.address, 20),
    settings: {
      sidecar,
      relayer: {
        ...sidecar,
        EXECUTION_ENDPOINT: anvil.url,
        IPFS_FETCH_ENDPOINTS: ipfs.url,
        VALIDATORS_MANAGER_KEY_FILE: manager.keyFile,
        VALIDATORS_MANAGER_PASSWORD_FILE: manager.passwordFile,
        // All of the demo is one machine's.
        WALLETS_WITHOUT_TOKENS: 'loopback',
        VAULTS: vault.address,
      },
    },
    anvil,
    depositContract,
    vault,
    manager,
    async processDeposits() {
      await follower.queue()
      beacon.processDeposits(undefined, (deposit) =>
        verifySignature(deposit.signature, depositRoot(network, deposit), deposit.publicKey),
      )
      beacon.finalize()
    },
  }
}
