/** Which network a database belongs to: noted in it at its first start, and compared at each. */

import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { ensureCheckpoint, findCheckpoint, findNewestMessages } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { RelayerConfig } from '../config.ts'

const CHECKPOINT = 'network'
const noted = Compile(
  Type.Object({ name: Type.String(), chain_id: Type.Integer(), genesis_validators_root: Type.String() }),
)

type Network = RelayerConfig['network']

/**
 * Sees that the database is of this network. One without a note, new or made by an earlier version, is taken for ours unless what was to
 * be signed in it is of another network; the note is left where `access` lets it.
 *
 * @throws {BootError} DATABASE_NETWORK; nothing is changed then
 */
export async function assertDatabaseNetwork(db: Database, network: Network, access: 'write' | 'read'): Promise<void> {
  const ours = {
    name: network.name,
    chain_id: network.chainId,
    genesis_validators_root: toHex(network.genesisValidatorsRoot),
  }
  let found = await findCheckpoint(db, CHECKPOINT)
  if (found === undefined) {
    await assertContent(db, network)
    if (access === 'read') return
    found = await ensureCheckpoint(db, CHECKPOINT, ours)
  }
  if (!noted.Check(found)) throw refusal(db, network, 'its note of the network cannot be read')
  if (found.chain_id === ours.chain_id && found.genesis_validators_root === ours.genesis_validators_root) return
  throw refusal(db, network, `it belongs to ${found.name} (chain id ${found.chain_id})`)
}

/** Compares signing roots, which depend on the network: those of the newest exit and the newest deposit. */
async function assertContent(db: Database, network: Network): Promise<void> {
  for (const message of await findNewestMessages(db)) {
    const root = signingRootOf(message, network)
    if (root !== undefined && toHex(root) !== toHex(message.signingRoot))
      throw refusal(db, network, `the ${message.kind}s in it are of another network`)
  }
}

type Message = Awaited<ReturnType<typeof findNewestMessages>>[number]

function signingRootOf(message: Message, network: Network): Uint8Array | undefined {
  const { publicKey, epoch, validatorIndex, vault, amountGwei, validatorType } = message
  if (message.kind === 'exit')
    return epoch === null || validatorIndex === null ? undefined : exitSigningRoot(network, { epoch, validatorIndex })
  if (vault === null || amountGwei === null || validatorType === null) return undefined
  return depositSigningRoot(network, {
    publicKey,
    withdrawalCredentials: withdrawalCredentials(validatorType, vault),
    amountGwei: BigInt(amountGwei),
  })
}

const refusal = (db: Database, { name }: Network, why: string) =>
  new BootError(
    'DATABASE_NETWORK',
    `the database at ${db.host} is not one of NETWORK=${name}: ${why}. Give each network a database of its own (DATABASE_URL, or DATA_DIR)`,
  )
