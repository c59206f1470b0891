/** Imports keyshares files at boot: what stands in them is checked, and where the chain is followed, the chain's word comes first. */

import { asBootError, type FileItem, findStranger, originOf } from '@dvt-relayer/chain/ssv/keyshares-files.ts'
import type { SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { verifyKeysharesItem } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import { lockClusterImport } from '@dvt-relayer/db/queries/clusters.ts'
import { type CoverRow, findCovers } from '@dvt-relayer/db/queries/ssv-clusters.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { byKey } from '../exits/assign.ts'
import {
  certainNonces,
  isStored,
  liveKeys,
  ownerOf,
  type SsvImport,
  type SsvValidator,
  storeSsvValidators,
} from './ssv-clusters.ts'
import { newestItems, readKeysharesFiles } from './ssv-files.ts'

/** A validator of a file, and where it stands there. */
interface NamedValidator extends SsvValidator {
  origin: string
}

/**
 * Checks every keyshares file of SSV_KEYSHARES_FILES, then imports them.
 *
 * @param engine runs on the caller's thread: this is boot
 * @param state what is known of the chain; undefined where it is not followed
 * @throws {BootError} naming file, field and reason; nothing is written then
 */
export async function importSsvFiles(
  {
    config: { ssv },
    db,
    events,
    logger,
  }: Pick<Context, 'db' | 'logger'> & {
    config: Pick<RelayerConfig, 'ssv'>
    events: Pick<Context['events'], 'ssvImported'>
  },
  engine: BlsEngine,
  state: SsvState | undefined,
): Promise<void> {
  if (ssv.keysharesFiles.length === 0) return
  const { items, otherOwners } = await readKeysharesFiles(ssv)
  if (otherOwners > 0)
    logger.warn({ validators: otherOwners }, 'validators of keyshares files left out: their owner is not in SSV_OWNERS')
  const keys = items.map(({ item }) => item.publicKey)
  const covers = byKey(await findCovers(db, keys))
  for (const file of items) {
    refuseStranger(file, state)
    // What is stored has been verified.
    const cover = covers.get(toHex(file.item.publicKey))
    if (cover === undefined || !isStored(validatorOf(file), cover)) verify(engine, file)
  }
  const wanted = chooseItems(items, state, covers, logger).map(validatorOf)
  const done = await db.transaction(async (tx) => {
    await lockClusterImport(tx)
    const result = await storeSsvValidators(tx, wanted, [])
    refuseLocked(result)
    return result
  })
  events.ssvImported('files', done)
}

const validatorOf = (file: FileItem): NamedValidator => ({
  ...file.item,
  owner: file.item.ownerAddress,
  origin: originOf(file),
})

/** Of each validator the newest split, unless the chain decides about it or a later split is stored. */
function chooseItems(
  items: readonly FileItem[],
  state: SsvState | undefined,
  covers: ReadonlyMap<string, CoverRow>,
  logger: Logger,
): FileItem[] {
  const live = liveKeys(state)
  return newestItems(items).filter((file) => {
    const { ownerAddress, ownerNonce, publicKey } = file.item
    // The chain has the validator, or has got past the item's registration.
    const isOvertaken = ownerNonce < certainNonces(state, toHex(ownerAddress)) || live.has(toHex(publicKey))
    if (isOvertaken) return false
    const cover = covers.get(toHex(publicKey))
    const isOlder =
      cover?.source === 'ssv' && ownerOf(cover.name ?? '') === toHex(ownerAddress) && (cover.position ?? 0) > ownerNonce
    if (isOlder) logger.warn({ origin: originOf(file) }, 'a later split of this validator is known: it stays')
    return !isOlder
  })
}

/** The proofs of a file are by the operator keys that it names: where the chain knows the operators, they must be these. */
function refuseStranger(file: FileItem, state: SsvState | undefined): void {
  const stranger = findStranger(file.item, state)
  if (stranger !== undefined)
    throw new BootError(
      'KEYSHARES_INVALID',
      `${originOf(file)} names another key for operator ${stranger.id} than the SSV contract: remove the file from SSV_KEYSHARES_FILES`,
    )
}

function verify(engine: BlsEngine, { file, item }: FileItem): void {
  try {
    verifyKeysharesItem(engine, item, { file })
  } catch (error) {
    throw asBootError(error)
  }
}

/** A file and a cluster lock that say different things of one validator stop the boot. */
function refuseLocked({ locked: [conflict] }: SsvImport<NamedValidator>): void {
  if (conflict === undefined) return
  throw new BootError(
    'KEYSHARES_LOCKED',
    `${conflict.validator.origin} says otherwise of validator ${toHex(conflict.validator.publicKey)} than the cluster lock ${conflict.lock}: remove the one that is wrong from SSV_KEYSHARES_FILES or CLUSTER_LOCK_FILES`,
  )
}
