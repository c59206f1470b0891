/**
 * The SSV clusters of the relayer, from keyshares files at boot and from the chain (`ssv-follow.ts`): a validator belongs to the cluster of
 * its owner and operators, whose number gives the threshold, and each operator's public key share is pinned under its id
 * (docs/protocol.md#12-ssv). A validator whose operators change has what was collected judged anew, so shares of two sets never mix.
 */

import type { SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { KeysharesError, verifyKeysharesItem } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import { operatorKeyFingerprint } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { SharesData } from '@dvt-relayer/crypto/ssv/shares.ts'
import {
  assignValidators,
  lockClusterImport,
  lockCollecting,
  rejudgePartials,
  replaceKeyShares,
} from '@dvt-relayer/db/queries/clusters.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { insertValidators, lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import {
  type CoverRow,
  findCovers,
  findSsvMembers,
  insertSsvCluster,
  leaveClusters,
} from '@dvt-relayer/db/queries/ssv-clusters.ts'
import type { Context } from '../../context.ts'
import { byKey } from '../exits/assign.ts'
import { packHint } from '../signatures/key-share-hints.ts'
import { type FileItem, newestItems, originOf, readKeysharesFiles } from './ssv-files.ts'

/** A validator as its owner has split it among operators. */
export interface SsvValidator {
  /** 48 bytes. */
  publicKey: Uint8Array
  /** 20 bytes. */
  owner: Uint8Array
  ownerNonce: number
  data: Pick<SharesData, 'threshold' | 'shares'>
}

/** What an import has done. `locked` are validators that stay what their cluster lock says they are. */
export interface SsvImport<V extends SsvValidator> {
  imported: number
  removed: number
  rejudged: number
  locked: { validator: V; lock: string }[]
}

/** `place` is a 4-byte integer. */
const MOST_PLACES = 2 ** 31 - 1

/** The name of the cluster of an owner and its operators. */
export const ssvClusterName = (owner: Uint8Array, operatorIds: readonly number[]): string =>
  `${toHex(owner)}:${operatorIds.join(',')}`
const ownerOf = (clusterName: string): string => clusterName.slice(0, clusterName.indexOf(':'))
const idsOf = ({ data }: SsvValidator): number[] => data.shares.map(({ operatorId }) => operatorId)
const placeOf = ({ ownerNonce }: SsvValidator): number => Math.min(ownerNonce, MOST_PLACES)

/** Whether the trusted public key shares and the threshold are those of the validator already. */
function isPinned({ data }: SsvValidator, cover: CoverRow): boolean {
  const packed = packHint(
    data.shares.map(({ operatorId, publicKeyShare }) => ({
      share_index: operatorId,
      public_key_share: toHex(publicKeyShare),
    })),
  )
  return packed !== undefined && cover.threshold === data.threshold && cover.shares.equals(packed)
}

/** Whether everything the database keeps of the validator is there already. */
const isStored = (validator: SsvValidator, cover: CoverRow): boolean =>
  cover.source === 'ssv' &&
  cover.name === ssvClusterName(validator.owner, idsOf(validator)) &&
  cover.position === placeOf(validator) &&
  isPinned(validator, cover)

/**
 * Makes the database say what these validators are, and takes others out of their clusters: their key shares go, their open messages
 * stay until they expire. Nothing is written for what is there already. Callers hold the lock of cluster imports.
 */
export async function storeSsvValidators<V extends SsvValidator>(
  tx: Sql,
  validators: readonly V[],
  gone: readonly { id: number; publicKey: Uint8Array }[],
): Promise<SsvImport<V>> {
  const keys = validators.map(({ publicKey }) => publicKey)
  const before = byKey(await findCovers(tx, keys))
  const locked: SsvImport<V>['locked'] = []
  const changed = validators.filter((validator) => {
    const cover = before.get(toHex(validator.publicKey))
    if (cover === undefined) return true
    if (cover.source !== 'lock') return !isStored(validator, cover)
    if (!isPinned(validator, cover))
      locked.push({ validator, lock: `"${cover.name}" (lock_hash ${toHex(cover.lockHash ?? new Uint8Array())})` })
    return false
  })
  if (changed.length + gone.length === 0) return { imported: 0, removed: 0, rejudged: 0, locked }
  const changedKeys = changed.map(({ publicKey }) => publicKey)
  await insertValidators(tx, changedKeys)
  await lockValidators(tx, [...changedKeys, ...gone.map(({ publicKey }) => publicKey)])
  const goneIds = gone.map(({ id }) => id)
  await leaveClusters(tx, goneIds)
  await replaceKeyShares(tx, goneIds, [], 'ssv')
  const messages: number[] = []
  const clusters = Map.groupBy(changed, (validator) => ssvClusterName(validator.owner, idsOf(validator)))
  for (const [name, members] of clusters) messages.push(...(await storeCluster(tx, name, members, before)))
  await announceMessages(
    tx,
    messages.toSorted((a, b) => a - b),
  )
  return { imported: changed.length, removed: gone.length, rejudged: messages.length, locked }
}

/** Stores some validators of one cluster; returns their messages that are judged anew. */
async function storeCluster(
  tx: Sql,
  name: string,
  members: readonly SsvValidator[],
  before: ReadonlyMap<string, CoverRow>,
): Promise<number[]> {
  const threshold = members[0]?.data.threshold ?? 0
  const clusterId = await insertSsvCluster(tx, { name, threshold })
  const ids = await assignValidators(
    tx,
    clusterId,
    members.map((member) => ({ publicKey: member.publicKey, position: placeOf(member), withdrawalAddress: undefined })),
  )
  // Where the shares stayed the same, nothing that was collected changes.
  const resplit = members.flatMap((member, position) => {
    const cover = before.get(toHex(member.publicKey))
    return cover !== undefined && isPinned(member, cover) ? [] : [{ member, id: ids[position] ?? 0 }]
  })
  const resplitIds = resplit.map(({ id }) => id)
  await replaceKeyShares(
    tx,
    resplitIds,
    resplit.flatMap(({ member, id }) =>
      member.data.shares.map(({ operatorId: shareIndex, publicKeyShare }) => ({
        validatorId: id,
        shareIndex,
        publicKeyShare,
      })),
    ),
    'ssv',
  )
  const messages = await lockCollecting(tx, resplitIds)
  await rejudgePartials(tx, messages, threshold)
  return messages
}

const liveKeys = (state: SsvState | undefined) =>
  new Set<string>(Array.from(state?.live.values() ?? [], ({ publicKey }) => toHex(publicKey)))

/** Of the validators of SSV clusters, those that the chain's final state or SSV_OWNERS takes away. */
export async function findGone(tx: Sql, state: SsvState, owners: readonly Uint8Array[]) {
  const live = liveKeys(state)
  const followed = new Set<string>(owners.map(toHex))
  return (await findSsvMembers(tx)).filter(({ publicKey, name, position }) => {
    if (live.has(toHex(publicKey))) return false
    // What a file has and the chain not yet is no registration that ended.
    return !followed.has(ownerOf(name)) || position < (state.nonces.get(ownerOf(name)) ?? 0)
  })
}

/** Creates the service that imports files. `engine` runs on the caller's thread: this is boot. */
export function createSsvFileImport(
  { config, db, events, logger }: Pick<Context, 'config' | 'db' | 'events' | 'logger'>,
  engine: BlsEngine,
) {
  const { ssv } = config

  /** Whether the chain decides about an item: it has the validator, or has got past the item's registration. */
  const isOvertaken = ({ item }: FileItem, state: SsvState | undefined, live: ReadonlySet<string>): boolean =>
    item.ownerNonce < (state?.nonces.get(toHex(item.ownerAddress)) ?? 0) || live.has(toHex(item.publicKey))

  /** The proofs of a file are by the operator keys that it names: where the chain knows the operators, they must be these. */
  function refuseStrangers(file: FileItem, state: SsvState | undefined): void {
    const stranger = file.item.operators.find(({ id, publicKey }) => {
      const known = state?.operators.get(id)
      return known !== undefined && known !== operatorKeyFingerprint(publicKey)
    })
    if (stranger !== undefined)
      throw new BootError(
        'KEYSHARES_INVALID',
        `${originOf(file)} names another key for operator ${stranger.id} than the SSV contract: remove the file from SSV_KEYSHARES_FILES`,
      )
  }

  function verify({ file, item }: FileItem): void {
    try {
      verifyKeysharesItem(engine, item, { file })
    } catch (error) {
      if (error instanceof KeysharesError) throw new BootError(error.code, error.message, { cause: error })
      throw error
    }
  }

  return {
    /**
     * Checks every keyshares file of SSV_KEYSHARES_FILES, then imports them.
     *
     * @param state what is known of the chain; undefined where it is not followed
     * @throws {BootError} naming file, field and reason; nothing is written then
     */
    async run(state: SsvState | undefined): Promise<void> {
      if (ssv.keysharesFiles.length === 0) return
      const { items, otherOwners } = readKeysharesFiles(ssv)
      if (otherOwners > 0)
        logger.warn(
          { validators: otherOwners },
          'validators of keyshares files left out: their owner is not in SSV_OWNERS',
        )
      const covers = byKey(
        await findCovers(
          db,
          items.map(({ item }) => item.publicKey),
        ),
      )
      const validators = new Map<FileItem, SsvValidator>(
        items.map((file) => [file, { ...file.item, owner: file.item.ownerAddress }]),
      )
      for (const [file, validator] of validators) {
        refuseStrangers(file, state)
        // What is stored has been verified.
        const cover = covers.get(toHex(validator.publicKey))
        if (cover === undefined || !isStored(validator, cover)) verify(file)
      }
      const live = liveKeys(state)
      const wanted = newestItems(items).flatMap((file) => {
        const validator = validators.get(file)
        const cover = covers.get(toHex(file.item.publicKey))
        const isOlder =
          cover?.source === 'ssv' &&
          ownerOf(cover.name ?? '') === toHex(file.item.ownerAddress) &&
          (cover.position ?? 0) > file.item.ownerNonce
        if (validator === undefined || isOvertaken(file, state, live)) return []
        if (isOlder) logger.warn({ origin: originOf(file) }, 'a later split of this validator is known: it stays')
        return isOlder ? [] : [{ ...validator, origin: originOf(file) }]
      })
      const done = await db.transaction(async (tx) => {
        await lockClusterImport(tx)
        const result = await storeSsvValidators(tx, wanted, [])
        const [conflict] = result.locked
        if (conflict !== undefined)
          throw new BootError(
            'KEYSHARES_LOCKED',
            `${conflict.validator.origin} says otherwise of validator ${toHex(conflict.validator.publicKey)} than the cluster lock ${conflict.lock}: remove the one that is wrong from SSV_KEYSHARES_FILES or CLUSTER_LOCK_FILES`,
          )
        return result
      })
      events.ssvImported('files', done)
    },
  }
}
