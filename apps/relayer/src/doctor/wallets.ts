/** What `doctor` finds of the two wallets: whether each vault takes the manager's signature, and what the rotation wallet has left. */

import { createExecutionClient, type ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { readBalance } from '@dvt-relayer/chain/execution/transaction.ts'
import { prepareSigning } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { createSemaphore } from '@dvt-relayer/common/flow/semaphore.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findVaults } from '@dvt-relayer/db/queries/doctor/contents.ts'
import type { RelayerConfig } from '../config.ts'
import { PATIENCE_MS } from '../context.ts'
import { openWallet } from '../services/registrations/manager.ts'
import { createVaultReader } from '../services/registrations/vault-state.ts'
import { openRotationWallet } from '../services/rotation/transaction.ts'
import { type Finding, firstOf } from './findings.ts'

/** Vaults that are asked, and at once. */
const MOST_VAULTS = 200
const AT_ONCE = 8
const WEI_PER_GWEI = 1_000_000_000n
/** Gas of a rotation: some 100,000 for a vault with 11 oracles, and room for one whose calldata is large. */
const GAS_OF_ROTATION = 500_000n

/** The vaults of the settings, or else those that keys are for. */
export async function vaultsOf({ vaults }: RelayerConfig, db: Database | undefined): Promise<readonly Uint8Array[]> {
  if (vaults !== undefined) return vaults
  if (db === undefined) return []
  return (await findVaults(db, MOST_VAULTS).catch(() => [])).map(({ vault }) => vault)
}

const clientOf = ({ execution, network }: RelayerConfig): ExecutionClient =>
  createExecutionClient({ ...execution, retryTimeoutMs: 0, network })

/** The validators manager: does its key open, and is it that of every vault? */
export async function examineManager(config: RelayerConfig, db: Database | undefined): Promise<Finding> {
  if (config.manager === undefined)
    return finding('manager', 'unused', 'VALIDATORS_MANAGER_KEY_FILE is not set: nothing is signed for vaults')
  let wallet: Awaited<ReturnType<typeof openWallet>>
  try {
    wallet = await openWallet(config)
  } catch (error) {
    return finding('manager', 'problem', messageOf(error))
  }
  const address = wallet?.address ?? ''
  // The time that a vault has for its answer is not for loading code.
  await prepareSigning()
  const vaults = await vaultsOf(config, db)
  const reader = createVaultReader({ chain: { execution: clientOf(config) }, wallet, patienceMs: PATIENCE_MS })
  const places = createSemaphore(AT_ONCE)
  const looks = await Promise.all(
    vaults.slice(0, MOST_VAULTS).map((vault) =>
      places.run(async () => {
        const named = checksumAddress(vault)
        const problem = await reader.read(vault, []).then(
          () => undefined,
          (error: unknown) => (messageOf(error).includes(named) ? messageOf(error) : `${named}: ${messageOf(error)}`),
        )
        return { vault: named, problem }
      }),
    ),
  )
  const problems = looks.flatMap(({ problem }) => problem ?? [])
  const facts = { address, vaults: looks.map(({ vault, problem }) => ({ vault, ok: problem === undefined })) }
  const open =
    config.vaults === undefined ? ['VAULTS is not set: it signs for any vault that names it; name yours in VAULTS'] : []
  if (problems.length > 0) return finding('manager', 'problem', firstOf(problems).join('\n'), { details: open, facts })
  const of =
    looks.length === 0 ? 'signs; no vault is known yet' : `is the validators manager of ${count(looks.length, 'vault')}`
  const message = `${address} ${of}`
  return finding('manager', open.length > 0 ? 'warning' : 'good', message, { details: open, facts })
}

/** The rotation wallet: does its key open, and can it pay? */
export async function examineRotation(config: RelayerConfig, signal: AbortSignal): Promise<Finding> {
  const { enabled, wallet: files, maxFeeGwei } = config.rotation
  if (files === undefined)
    return finding(
      'rotation',
      enabled ? 'good' : 'unused',
      enabled
        ? 'ROTATION=on without ROTATION_WALLET_KEY_FILE: nothing is sent; npm run relayer -- rotate --vault 0x… prints the transaction'
        : 'ROTATION is off, and ROTATION_WALLET_KEY_FILE is not set',
    )
  const wallet = await openRotationWallet(config)
  if (wallet === undefined) return finding('rotation', 'unused', 'ROTATION_WALLET_KEY_FILE is not set')
  const { address } = wallet
  const wei = await readBalance(clientOf(config), address, signal)
  const affordable = Number(wei / (BigInt(maxFeeGwei) * WEI_PER_GWEI * GAS_OF_ROTATION))
  const facts = { address, balance_gwei: Number(wei / WEI_PER_GWEI), transactions: affordable }
  const ether = (Number(wei / WEI_PER_GWEI) / 1e9).toFixed(4)
  if (wei === 0n)
    return finding('rotation', 'problem', `the rotation wallet ${address} is empty: send it some ether for gas`, {
      facts,
    })
  const message = `the rotation wallet ${address} has ${ether} ether, enough for ${count(affordable, 'transaction')} at ROTATION_MAX_FEE_GWEI=${maxFeeGwei}`
  return affordable === 0
    ? finding('rotation', 'warning', `${message}: send it more`, { facts })
    : finding('rotation', 'good', message, { facts })
}
