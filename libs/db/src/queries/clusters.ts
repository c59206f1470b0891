/** Clusters and the key shares their locks name. */

import { and, inArray, isNull, sql } from 'drizzle-orm'
import { clusters, keyShares, messages, partialSignatures } from '../schema.ts'
import { bindProven, holdUnproven } from './messages/deposit-bindings.ts'
import { LIVE } from './messages/messages.ts'
import { IS_TAKEN } from './messages/partial-signatures.ts'
import { boolean, bytes, number, oneOf, orNull, type RowOf, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { asBuffer, bytesArray, bytesParam, isAny, numberArray } from './sql.ts'

/** One import of locks at a time, also between processes. Held to the end of the transaction. */
export async function lockClusterImport(tx: Sql): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext('clusters.import'))`)
}

/** Whether a lock of this hash was imported, and the hashes of other locks that hold any of these validators. */
export async function findClustersOf(
  db: Sql,
  lockHash: Uint8Array,
  publicKeys: readonly Uint8Array[],
): Promise<{ isImported: boolean; otherLockHashes: Buffer[] }> {
  const found = await rows(
    db,
    { lockHash: bytes },
    sql`select distinct c.lock_hash from clusters c join validators v on v.cluster_id = c.id
        where c.lock_hash is not null and (c.lock_hash = ${bytesParam(lockHash)} or v.public_key = any(${bytesArray(publicKeys)}))`,
  )
  const others = found.map((row) => row.lockHash).filter((hash) => !hash.equals(lockHash))
  return { isImported: others.length < found.length, otherLockHashes: others }
}

/** The thresholds that locks and SSV registrations give their clusters, in order. */
export async function findThresholds(db: Sql): Promise<number[]> {
  const found = await rows(
    db,
    { threshold: number },
    sql`select distinct threshold from clusters where source <> 'list' order by threshold`,
  )
  return found.map(({ threshold }) => threshold)
}

/** Inserts a cluster, or finds it by its lock hash. */
export async function insertCluster(
  tx: Sql,
  cluster: { lockHash: Uint8Array; name: string; threshold: number },
): Promise<number> {
  const [row] = await tx
    .insert(clusters)
    .values({ lockHash: asBuffer(cluster.lockHash), name: cluster.name, threshold: cluster.threshold })
    .onConflictDoUpdate({ target: clusters.lockHash, set: { importedAt: sql`now()` } })
    .returning({ id: clusters.id })
  if (row === undefined) throw new Error('a cluster that was just inserted is not there')
  return row.id
}

/** A validator of a cluster. */
interface ClusterValidator {
  publicKey: Uint8Array
  position: number
  withdrawalAddress: Uint8Array | undefined
}

/** Makes these validators members of the cluster; returns their ids in the order of the keys. */
export async function assignValidators(
  tx: Sql,
  clusterId: number,
  validators: readonly ClusterValidator[],
): Promise<number[]> {
  const assigned = await rows(
    tx,
    { id: number, publicKey: bytes },
    sql`insert into validators (public_key, cluster_id, place, withdrawal_address)
        select c.public_key, ${clusterId}::bigint, c.place::int, nullif(c.withdrawal_address, ''::bytea)
        from unnest(${bytesArray(validators.map(({ publicKey }) => publicKey))}, ${numberArray(validators.map(({ position }) => position))},
                    ${bytesArray(validators.map(({ withdrawalAddress }) => withdrawalAddress ?? new Uint8Array()))})
             as c (public_key, place, withdrawal_address) order by c.public_key
        on conflict (public_key) do update
          set cluster_id = excluded.cluster_id, place = excluded.place, withdrawal_address = excluded.withdrawal_address
        returning id, public_key`,
  )
  const idOf = new Map(assigned.map((row) => [row.publicKey.toString('hex'), row.id]))
  return validators.map(({ publicKey }) => idOf.get(Buffer.from(publicKey).toString('hex')) ?? 0)
}

/** Replaces the trusted public key shares of these validators by those of a source. */
export async function replaceKeyShares(
  tx: Sql,
  validatorIds: readonly number[],
  shares: readonly { validatorId: number; shareIndex: number; publicKeyShare: Uint8Array }[],
  source: 'lock' | 'ssv',
): Promise<void> {
  await tx.delete(keyShares).where(isAny(keyShares.validatorId, numberArray(validatorIds)))
  await tx.execute(sql`
    insert into key_shares (validator_id, share_index, public_key_share, source)
    select s.validator_id, s.share_index, s.public_key_share, ${source}::text
    from unnest(${numberArray(shares.map(({ validatorId }) => validatorId))}, ${numberArray(shares.map(({ shareIndex }) => shareIndex))},
                ${bytesArray(shares.map(({ publicKeyShare }) => publicKeyShare))}) as s (validator_id, share_index, public_key_share)`)
}

/** The messages still collecting of these validators, locked. */
export async function lockCollecting(tx: Sql, validatorIds: readonly number[]): Promise<number[]> {
  const found = await tx
    .select({ id: messages.id })
    .from(messages)
    .where(
      and(
        isAny(messages.validatorId, numberArray(validatorIds)),
        inArray(messages.state, ['collecting', 'expired']),
        isNull(messages.signature),
      ),
    )
    .orderBy(messages.id)
    .for('update')
  return found.map(({ id }) => id)
}

/**
 * New key shares: what was judged under the old ones is judged anew, under the cluster's threshold. Signatures of old key shares
 * do not verify any more; those of shares that stayed the same are not lost. Those of share indexes that are no node's any more go.
 * A deposit that had verified ones binds its validator to its vault first: who signed once may have signed enough elsewhere; others hold it.
 */
export async function rejudgePartials(tx: Sql, messageIds: readonly number[], threshold: number): Promise<void> {
  const isForeign = sql`not exists (select from key_shares k where k.validator_id = m.validator_id and k.share_index = p.share_index)`
  const ids = sql`m.id = any(${numberArray(messageIds)})`
  await bindProven(tx, ids)
  await holdUnproven(
    tx,
    sql`${ids} and exists (select from partial_signatures p where p.message_id = m.id and p.state = 'unverified' and ${isForeign})`,
  )
  await tx.execute(sql`
    delete from partial_signatures p using messages m
    where m.id = p.message_id and m.id = any(${numberArray(messageIds)}) and (p.state = 'rejected' or ${isForeign})`)
  await tx
    .update(partialSignatures)
    .set({ state: 'unverified', seenAt: sql`'epoch'` })
    .where(isAny(partialSignatures.messageId, numberArray(messageIds)))
  await tx
    .update(messages)
    .set({ threshold, queuedAt: null, failedAttempts: 0 })
    .where(isAny(messages.id, numberArray(messageIds)))
}

const covered = {
  lockHash: orNull(bytes),
  name: text,
  source: oneOf<(typeof clusters.$inferSelect)['source']>(),
  threshold: number,
  validators: number,
  /** Of its first validator, comma separated; empty where no trusted public key shares are known. */
  shareIndexes: text,
}

/** Clusters with the number of their validators: all of them, or those of these vaults, as chain, reservation or lock say. */
export function findCoverage(
  db: Sql,
  vaults: readonly Uint8Array[] | undefined,
  limit: number,
): Promise<RowOf<typeof covered>[]> {
  const isCovered =
    vaults === undefined
      ? sql`true`
      : sql`coalesce(v.beacon_vault, v.vault, v.withdrawal_address) = any(${bytesArray(vaults)})`
  return rows(
    db,
    covered,
    sql`select c.lock_hash, c.name, c.source, c.threshold, n.validators, coalesce(
                 (select string_agg(k.share_index::text, ',' order by k.share_index) from key_shares k
                  where k.validator_id = (select f.id from validators f where f.cluster_id = c.id order by f.place, f.id limit 1)),
                 '') as share_indexes
        from clusters c
        cross join lateral (select count(*) as validators from validators v where v.cluster_id = c.id and ${isCovered}) n
        where n.validators > 0 order by c.id limit ${limit}`,
  )
}

/** The clusters of these locks, or those of the SSV contract. */
export async function findClusterIds(db: Sql, of: readonly Uint8Array[] | 'ssv'): Promise<number[]> {
  const isOf = of === 'ssv' ? sql`c.source = 'ssv'` : sql`c.lock_hash = any(${bytesArray(of)})`
  const found = await rows(db, { id: number }, sql`select c.id from clusters c where ${isOf} order by c.id`)
  return found.map(({ id }) => id)
}

const openExit = {
  /** Of the key in the question, from 0. */
  position: number,
  /** Of the live exit; null where there is none. */
  validatorIndex: orNull(number),
  epoch: orNull(number),
  isRegistered: boolean,
}
export type OpenExitRow = RowOf<typeof openExit>

/** Of these keys those that are validators of the lock, each with its live exit if it has one. */
export function findExitsOfLock(
  db: Sql,
  lockHash: Uint8Array,
  publicKeys: readonly Uint8Array[],
): Promise<OpenExitRow[]> {
  return rows(
    db,
    openExit,
    sql`select (i.position - 1)::int as position, m.validator_index, m.epoch, v.registered_at is not null as is_registered
        from unnest(${bytesArray(publicKeys)}) with ordinality as i (public_key, position)
        join validators v on v.public_key = i.public_key
        join clusters c on c.id = v.cluster_id and c.lock_hash = ${bytesParam(lockHash)}
        left join messages m on m.validator_id = v.id and m.kind = 'exit' and m.state in ${LIVE}
        order by i.position`,
  )
}

const openDeposit = {
  position: number,
  /** Of the deposit that is asked for, or was last; null where there is none. */
  vault: orNull(bytes),
  amountGwei: orNull(number),
  validatorType: orNull(oneOf<'0x01' | '0x02'>()),
  signingRoot: orNull(bytes),
  /** Of the node. */
  publicKeyShare: orNull(bytes),
}
export type OpenDepositRow = RowOf<typeof openDeposit>

/**
 * Of these keys those that are validators of the lock, each with the deposit whose signatures are taken, if it has one, and the public key
 * share of one node. A deposit that nobody asks for any more counts too: a signature of it never expires, and binds.
 */
export function findDepositsOfLock(
  db: Sql,
  lockHash: Uint8Array,
  shareIndex: number,
  publicKeys: readonly Uint8Array[],
): Promise<OpenDepositRow[]> {
  return rows(
    db,
    openDeposit,
    sql`select (i.position - 1)::int as position, m.vault, m.amount_gwei, m.validator_type, m.signing_root, k.public_key_share
        from unnest(${bytesArray(publicKeys)}) with ordinality as i (public_key, position)
        join validators v on v.public_key = i.public_key
        join clusters c on c.id = v.cluster_id and c.lock_hash = ${bytesParam(lockHash)}
        left join key_shares k on k.validator_id = v.id and k.share_index = ${shareIndex}::bigint
        left join messages m on m.validator_id = v.id and m.kind = 'deposit' and ${IS_TAKEN}
        order by i.position`,
  )
}

/** Of these keys those of any lock that have a live exit and no validator on the chain yet, each with the index that the exit is for. */
export function findOpenExits(
  db: Sql,
  publicKeys: readonly Uint8Array[],
): Promise<{ publicKey: Buffer; validatorIndex: number }[]> {
  return rows(
    db,
    { publicKey: bytes, validatorIndex: number },
    sql`select v.public_key, m.validator_index from validators v
        join messages m on m.validator_id = v.id and m.kind = 'exit' and m.state in ${LIVE}
        where v.public_key = any(${bytesArray(publicKeys)}) and v.registered_at is null
          and exists (select from clusters c where c.id = v.cluster_id and c.lock_hash is not null)
        order by m.validator_index, v.id`,
  )
}

/** The trusted public key shares of a validator, in order. */
export function findKeyShares(
  db: Sql,
  publicKey: Uint8Array,
): Promise<{ shareIndex: number; publicKeyShare: Buffer }[]> {
  return rows(
    db,
    { shareIndex: number, publicKeyShare: bytes },
    sql`select k.share_index, k.public_key_share from key_shares k join validators v on v.id = k.validator_id
        where v.public_key = ${bytesParam(publicKey)} order by k.share_index`,
  )
}
