/** What the tests of the validators-manager key share: vaults with validators on the beacon chain, and the record of signatures. */

import { randomBytes } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { oracleAddress } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { Hex } from 'viem'
import { concatHex } from 'viem/utils'
import type { Vault } from '../contracts/vault.ts'
import { createTestKeys } from '../keys/keys.ts'
import { signValidators } from '../keys/manager-wallet.ts'
import { encodePairs, type Pair } from '../operator/operator.ts'
import { encodeDeposit } from '../operator/operator-encoding.ts'
import { joinSignatures, signConsolidation } from '../oracle/oracle-approvals.ts'
import { engine } from '../world/nodes.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { type Answer, ask } from '../world/world.ts'

export const ETH = 1_000_000_000

/** What every relayer of these tests needs: there is no cluster, so a threshold. */
export const settings = { SIGNATURE_THRESHOLD: '3' }

/** Withdrawal credentials of an address, of any type. */
export const credentialsOf = (type: '0x00' | '0x01' | '0x02', address: string): Uint8Array =>
  fromHex(`${type}${'00'.repeat(11)}${address.slice('0x'.length)}`, 32)

/** Adds a validator of the vault to the beacon chain's state: type `0x02`, 32 ETH, active unless given. Returns its key. */
export function addValidator(
  { beacon }: Pick<VaultWorld, 'beacon'>,
  vault: string,
  fields: { type?: '0x00' | '0x01' | '0x02'; balanceEth?: number; status?: string } = {},
): Hex {
  const { type = '0x02', balanceEth = 32, status = 'active_ongoing' } = fields
  const publicKey = new Uint8Array(randomBytes(48))
  const balanceGwei = BigInt(balanceEth) * BigInt(ETH)
  beacon.addValidator({ publicKey, withdrawalCredentials: credentialsOf(type, vault), balanceGwei, status })
  return toHex(publicKey)
}

/** The same, of type `0x02`, and the vault contract has registered it: it can be funded, and takes others in. */
export async function addRegistered(
  world: Pick<VaultWorld, 'beacon'>,
  vault: Vault,
  fields: { balanceEth?: number; status?: string } = {},
): Promise<Hex> {
  const key = addValidator(world, vault.address, fields)
  await vault.addCompounding(key)
  return key
}

/**
 * Registers validators of type `0x02` in the vault contract, which funds no others. Returns their keys.
 *
 * @param queue what the consensus node has done with their deposits afterwards
 */
export async function registerCompounding(
  world: VaultWorld,
  vault: Vault,
  count: number,
  queue: 'processed' | 'pending' = 'processed',
): Promise<Hex[]> {
  const keys = createTestKeys(count, { nodes: 1, threshold: 1 })
  const amountGwei = BigInt(32 * ETH)
  const credentials = withdrawalCredentials('0x02', fromHex(vault.address, 20))
  const deposits = keys.map(({ publicKey, secretKey }) => {
    const root = depositSigningRoot(world.network, { publicKey, withdrawalCredentials: credentials, amountGwei })
    return encodeDeposit(vault.address, '0x02', toHex(publicKey), Number(amountGwei), engine.sign(secretKey, root))
  })
  const [root, validators] = [await vault.depositContract.root(), concatHex(deposits)]
  const domain = { chainId: world.network.chainId, vault: vault.address }
  const signature = await signValidators(world.manager.privateKey, domain, { root, validators })
  const outcome = await vault.register(root, validators, signature)
  if (!outcome.ok) throw new Error(outcome.error)
  await (queue === 'pending' ? world.beaconFollows.queue() : world.beaconFollows.sync())
  return keys.map(({ publicKey }) => toHex(publicKey))
}

/** Makes the world's oracles those of its Keeper, and has as many as are needed sign for consolidations of a vault. */
export async function approveConsolidation(world: VaultWorld, vault: Vault, pairs: readonly Pair[]): Promise<Hex> {
  const signers = world.oracles.map(({ secretKey, publicKey }) => ({
    privateKey: toHex(secretKey),
    oracle: oracleAddress(publicKey),
  }))
  const needed = 2
  const outcome = await world.keeper.setOracles(
    signers.map(({ oracle }) => oracle),
    needed,
  )
  if (!outcome.ok) throw new Error(outcome.error)
  const place = { chainId: world.network.chainId, checker: world.checker.address }
  const message = { vault: vault.address, validators: encodePairs(pairs) }
  const signed = signers.map(async ({ privateKey, oracle }) => ({
    oracle,
    signature: await signConsolidation(privateKey, place, message),
  }))
  return joinSignatures(await Promise.all(signed), needed)
}

/** A row of the record. */
export interface Recorded {
  action: string
  vault: Buffer
  requester: string
  registry_root: Buffer
  validators: Buffer
  validator_count: number
  amount_gwei: string
  digest: Buffer
  signed_at: Date
}

/** Runs SQL on the world's database, past the relayer. */
export const query = <T extends object = Record<string, unknown>>(
  world: Pick<VaultWorld, 'query'>,
  text: string,
  values: readonly unknown[] = [],
): Promise<T[]> => world.query<T>(text, values)

/** What the relayers recorded, oldest first; of one vault where it is given. */
export function recorded(world: Pick<VaultWorld, 'query'>, vault?: string): Promise<Recorded[]> {
  const where = vault === undefined ? '' : 'where vault = $1'
  const values = vault === undefined ? [] : [Buffer.from(fromHex(vault, 20))]
  return query<Recorded>(world, `select * from manager_signatures ${where} order by id`, values)
}

/** `POST /withdraw` and its kin as they are on the wire, for what no operator would send. */
export const post = (url: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  ask(url, path, { method: 'POST', body, headers })

/** Bodies of the three actions. */
export const amountsBody = (vault: string, items: readonly (readonly [key: string, amountGwei: number])[]) => ({
  vault,
  public_keys: items.map(([key]) => key),
  amounts: items.map(([, amountGwei]) => amountGwei),
})
export const pairsBody = (vault: string, pairs: readonly (readonly [source: string, target: string])[]) => ({
  vault,
  source_public_keys: pairs.map(([source]) => source),
  target_public_keys: pairs.map(([, target]) => target),
})
