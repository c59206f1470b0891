/**
 * The SSV clusters in the database, from keyshares files at boot (`ssv-file-import.ts`) and from the chain (`ssv-follow.ts`): a validator
 * belongs to the cluster of its owner and operators, whose number gives the threshold, and each operator's public key share is pinned
 * under its id (docs/protocol.md#12-ssv). A validator whose operators change has what was collected judged anew, so shares of two operator
 * sets never mix.
 */

import type { SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { SharesData } from '@dvt-relayer/crypto/ssv/shares.ts'
import {
  assignValidators,
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
import { byKey } from '../exits/assign.ts'
import { packHint } from '../signatures/key-share-hints.ts'

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

/** The position of a validator in its cluster is a 4-byte integer. */
const MOST_POSITION = 2 ** 31 - 1

/** The name of the cluster of an owner and its operators. */
const ssvClusterName = (owner: Uint8Array, operatorIds: readonly number[]): string =>
  `${toHex(owner)}:${operatorIds.join(',')}`
/** The owner of a cluster, by its name. */
export const ownerOf = (clusterName: string): string => clusterName.slice(0, clusterName.indexOf(':'))
const idsOf = ({ data }: SsvValidator): number[] => data.shares.map(({ operatorId }) => operatorId)
const positionOf = ({ ownerNonce }: SsvValidator): number => Math.min(ownerNonce, MOST_POSITION)

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
export const isStored = (validator: SsvValidator, cover: CoverRow): boolean =>
  cover.source === 'ssv' &&
  cover.name === ssvClusterName(validator.owner, idsOf(validator)) &&
  cover.position === positionOf(validator) &&
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
  // Of candidates that nobody was told of, no verdict comes any more, and what counts as enough is another.
  const left = await lockCollecting(tx, goneIds)
  const messages: number[] = []
  const clusters = Map.groupBy(changed, (validator) => ssvClusterName(validator.owner, idsOf(validator)))
  for (const [name, members] of clusters) messages.push(...(await storeCluster(tx, name, members, before)))
  await announceMessages(
    tx,
    [...left, ...messages].toSorted((a, b) => a - b),
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
    members.map((member) => ({
      publicKey: member.publicKey,
      position: positionOf(member),
      withdrawalAddress: undefined,
    })),
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

/** The validators whose registration is live, by lower-case hex. */
export const liveKeys = (state: SsvState | undefined) =>
  new Set<string>(Array.from(state?.live.values() ?? [], ({ publicKey }) => toHex(publicKey)))

/**
 * Up to which nonce an owner's registrations (by address in lower-case hex) are all known, so that one below it that is not live has ended:
 * none while some may be missing.
 */
export const certainNonces = (state: SsvState | undefined, owner: string): number =>
  state === undefined || state.gaps.has(owner) ? 0 : (state.nonces.get(owner) ?? 0)

/** Of the validators of SSV clusters, those that the chain's final state or SSV_OWNERS takes away. */
export async function findGone(tx: Sql, state: SsvState, owners: readonly Uint8Array[]) {
  const live = liveKeys(state)
  const followed = new Set<string>(owners.map(toHex))
  return (await findSsvMembers(tx)).filter(({ publicKey, name, position }) => {
    if (live.has(toHex(publicKey))) return false
    // What a file has and the chain not yet is no registration that ended.
    return !followed.has(ownerOf(name)) || position < certainNonces(state, ownerOf(name))
  })
}
