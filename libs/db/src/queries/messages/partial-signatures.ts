/** Partial signatures: candidates, verdicts, and which messages have enough of them. */

import { sql } from 'drizzle-orm'
import { IS_SPLIT_ANEW } from '../oracle-shares.ts'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, number, oneOf, oneRow, orNull, rows, text } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, NEED_NOT_LAST, numberArray, textArray } from '../sql.ts'
import { bindProven } from './deposit-bindings.ts'
import { LIVE, type MessageKind } from './messages.ts'

/**
 * Whether partial signatures of `m` are taken: it is live, or a deposit that nobody asks for any more. A node may have signed that
 * while it was listed, and such a signature never expires: it must bind the key, however late it comes.
 */
export const IS_TAKEN = sql.raw(`(m.state in ('collecting', 'ready') or (m.kind = 'deposit' and m.state = 'expired'))`)

/** Whether the validator of `m` has no trusted public key shares. The lowest is found in the index; any one would be looked for row by row. */
const IS_UNTRUSTED = sql`(select min(k.share_index) from key_shares k where k.validator_id = m.validator_id) is null`
/**
 * Whether `m` has candidates that only a full signature can judge. They are looked for by message: the index of all that are unverified
 * would be read whole for each.
 */
const HAS_LATE = sql`(${IS_UNTRUSTED}
  and (select bool_or(p.state = 'unverified') from partial_signatures p where p.message_id = m.id))`

/** Whether `m` is a deposit that nobody asks for any more and whose candidates only a full signature can judge. */
const IS_LATE = sql`(m.kind = 'deposit' and m.state = 'expired' and m.signature is null and ${HAS_LATE})`

/** What is known of one posted partial signature before anything is parsed. */
const match = {
  /** Its place in the request, from 0. */
  position: number,
  messageId: number,
  validatorId: number,
  state: oneOf<'collecting' | 'ready' | 'expired'>(),
  signingRoot: bytes,
  /** The trusted public key share at this share index, if there is one. */
  publicKeyShare: orNull(bytes),
  /** Whether the validator has trusted public key shares at all. */
  hasKeyShares: boolean,
  /** State of these very bytes, if they were posted before. */
  same: orNull(oneOf<'unverified' | 'verified' | 'rejected'>()),
  /** Whether this share index has a verified signature. */
  hasVerified: boolean,
  /** How many others are kept of what this share index has sent for the message. */
  others: number,
  /** Seconds since these very bytes were last seen. */
  seenSeconds: orNull(number),
}
export type MatchRow = RowOf<typeof match>

/** A posted signature: of which validator's message, and its digest. */
interface PostedPartial {
  publicKey: Uint8Array
  kind: MessageKind
  digest: Uint8Array
}

/**
 * Matches posted signatures to the messages they may be of, by validator public key and kind, in order; those of unknown validators are
 * left out. Each is looked up by itself, by `offset 0` and sums of one message's rows: joined as tables, all that was posted met all that is
 * live where PostgreSQL had no statistics yet, as in a database of some minutes.
 */
export function matchPartials(db: Sql, shareIndex: number, posted: readonly PostedPartial[]): Promise<MatchRow[]> {
  return rows(
    db,
    match,
    sql`select (i.position - 1)::int as position, m.id as message_id, v.id as validator_id, m.state, m.signing_root, k.public_key_share,
               (select min(a.share_index) from key_shares a where a.validator_id = v.id) is not null as has_key_shares,
               p.same, coalesce(p.has_verified, false) as has_verified, p.others,
               extract(epoch from now() - p.seen_at)::float8 as seen_seconds
        from unnest(${bytesArray(posted.map(({ publicKey }) => publicKey))}, ${textArray(posted.map(({ kind }) => kind))},
                    ${bytesArray(posted.map(({ digest }) => digest))}) with ordinality as i (public_key, kind, digest, position)
        cross join lateral (select v.id from validators v where v.public_key = i.public_key offset 0) v
        cross join lateral (select m.id, m.state, m.signing_root from messages m
                            where m.validator_id = v.id and m.kind = i.kind and ${IS_TAKEN} offset 0) m
        cross join lateral (select max(s.state) filter (where s.digest = i.digest) as same, max(s.seen_at) filter (where s.digest = i.digest) as seen_at,
                                   bool_or(s.state = 'verified') as has_verified, count(*) filter (where s.digest <> i.digest) as others
                            from partial_signatures s where s.message_id = m.id and s.share_index = ${shareIndex}::bigint) p
        left join lateral (select k.public_key_share from key_shares k
                           where k.validator_id = v.id and k.share_index = ${shareIndex}::bigint offset 0) k on true
        where p.same is distinct from 'verified' order by i.position`,
  )
}

/** How many of these keys have a live message. */
export async function countLiveKeys(db: Sql, publicKeys: readonly Uint8Array[]): Promise<number> {
  const row = await oneRow(
    db,
    { count: number },
    sql`select count(distinct v.id) as count from validators v join messages m on m.validator_id = v.id and m.state in ${LIVE}
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
  return row.count
}

/** One candidate to store. */
export interface Candidate {
  messageId: number
  digest: Uint8Array
  sealed: Uint8Array
}

/** Stores candidates of one share index, each once. Callers have locked the messages. */
export async function insertCandidates(tx: Sql, shareIndex: number, candidates: readonly Candidate[]): Promise<void> {
  await tx.execute(sql`
    insert into partial_signatures (message_id, share_index, digest, sealed, state)
    select c.message_id, ${shareIndex}::bigint, c.digest, c.sealed, 'unverified'
    from unnest(${numberArray(candidates.map(({ messageId }) => messageId))}, ${bytesArray(candidates.map(({ digest }) => digest))},
                ${bytesArray(candidates.map(({ sealed }) => sealed))}) as c (message_id, digest, sealed)
    join messages m on m.id = c.message_id and ${IS_TAKEN}
    where not exists (select from partial_signatures g
                      where g.message_id = c.message_id and g.share_index = ${shareIndex} and g.state = 'verified')
    on conflict do nothing`)
}

/**
 * Drops what is over the limits: of each share index all but the `perIndex` newest candidates (rejected ones go first), and of
 * each message the unverified share indexes beyond the `indexes` most recently seen. Verified signatures stay.
 */
export async function trimCandidates(
  tx: Sql,
  messageIds: readonly number[],
  limits: { perIndex: number; indexes: number },
): Promise<void> {
  await tx.execute(sql`
    with ranked as (
      select message_id, share_index, digest,
             row_number() over (partition by message_id, share_index
                                order by state = 'rejected', seen_at desc, digest) as candidate_rank,
             max(seen_at) over (partition by message_id, share_index) as index_seen_at
      from partial_signatures where message_id = any(${numberArray(messageIds)}) and state <> 'verified'),
    placed as (
      select *, dense_rank() over (partition by message_id order by index_seen_at desc, share_index) as index_rank from ranked)
    delete from partial_signatures p using placed r
    where p.message_id = r.message_id and p.share_index = r.share_index and p.digest = r.digest
      and (r.candidate_rank > ${limits.perIndex} or r.index_rank > ${limits.indexes})`)
}

/**
 * What lists show of the candidates of these messages, as a text that is equal where they show the same: none of them becomes finishable
 * then. Left out are messages that a worker has or had (`queued_at`): it may have looked before something came, and nothing but their
 * revision tells of that. Callers have locked the messages.
 */
export async function findShown(tx: Sql, messageIds: readonly number[]): Promise<Map<number, string>> {
  const found = await rows(
    tx,
    { id: number, shown: text },
    sql`select m.id, coalesce((select string_agg(distinct p.state || ' ' || p.share_index, ',') from partial_signatures p
                               where p.message_id = m.id), '') as shown
        from messages m where m.id = any(${numberArray(messageIds)}) and m.queued_at is null`,
  )
  return new Map(found.map(({ id, shown }) => [id, shown]))
}

/** Notes that candidates were posted again. Those that somebody else is at are passed over: it is a hint, and never waits. */
export async function touchCandidates(
  db: Sql,
  shareIndex: number,
  candidates: readonly { messageId: number; digest: Uint8Array }[],
): Promise<void> {
  if (candidates.length === 0) return
  await db.execute(sql`
    with free as (
      select p.ctid from partial_signatures p
      join unnest(${numberArray(candidates.map(({ messageId }) => messageId))}, ${bytesArray(candidates.map(({ digest }) => digest))})
           as c (message_id, digest) on p.message_id = c.message_id and p.share_index = ${shareIndex} and p.digest = c.digest
      for update of p skip locked)
    update partial_signatures p set seen_at = now() from free where p.ctid = free.ctid and ${NEED_NOT_LAST}`)
}

/** The verdict on one candidate. */
export interface Verdict {
  messageId: number
  shareIndex: number
  digest: Uint8Array
  isRight: boolean
}

/** Of judged candidates, by position, those whose trusted public key share is still the one they were judged under. */
export async function findStillTrusted(
  tx: Sql,
  judged: readonly { messageId: number; shareIndex: number; publicKeyShare: Uint8Array }[],
): Promise<Set<number>> {
  const found = await rows(
    tx,
    { position: number },
    sql`select (j.position - 1)::int as position
        from unnest(${numberArray(judged.map(({ messageId }) => messageId))}, ${numberArray(judged.map(({ shareIndex }) => shareIndex))},
                    ${bytesArray(judged.map(({ publicKeyShare }) => publicKeyShare))}) with ordinality as j (message_id, share_index, public_key_share, position)
        join messages m on m.id = j.message_id
        join key_shares k on k.validator_id = m.validator_id and k.share_index = j.share_index and k.public_key_share = j.public_key_share`,
  )
  return new Set(found.map(({ position }) => position))
}

/**
 * Writes verdicts: a right candidate becomes verified and its rivals go; a wrong one is rejected and its bytes are forgotten.
 * Callers have locked the messages. Returns how many candidates were there, unverified, to be written.
 */
export async function writeVerdicts(tx: Sql, verdicts: readonly Verdict[]): Promise<number> {
  if (verdicts.length === 0) return 0
  const table = sql`unnest(${numberArray(verdicts.map(({ messageId }) => messageId))}, ${numberArray(verdicts.map(({ shareIndex }) => shareIndex))},
    ${bytesArray(verdicts.map(({ digest }) => digest))}, ${textArray(verdicts.map(({ isRight }) => (isRight ? 'verified' : 'rejected')))})
    as r (message_id, share_index, digest, state)`
  const { rowCount } = await tx.execute(sql`
    update partial_signatures p set state = r.state, sealed = case when r.state = 'verified' then p.sealed end
    from ${table}
    where p.message_id = r.message_id and p.share_index = r.share_index and p.digest = r.digest and p.state = 'unverified'`)
  await tx.execute(sql`
    delete from partial_signatures p using ${table}, partial_signatures good
    where r.state = 'verified' and p.message_id = r.message_id and p.share_index = r.share_index and p.digest <> r.digest
      and good.message_id = r.message_id and good.share_index = r.share_index and good.digest = r.digest and good.state = 'verified'`)
  return rowCount ?? 0
}

/**
 * Share indexes of `m` that count towards its threshold: verified, or such that a worker may find right. Under trusted public key shares
 * those are indexes that have sent one thing alone: where there are several, or one was wrong, each is verified first. So is each where one
 * was verified under a public key share that is not there any more: nothing is judged together with that. It grows only where lists show
 * something else (`findShown`).
 */
const COUNTED_INDEXES = sql`(select count(*) filter (where i.is_right or (i.is_alone and not i.is_apart) or (i.is_open and ${IS_UNTRUSTED})) from (
  select bool_or(p.state = 'verified') as is_right, bool_or(p.state = 'unverified') as is_open,
         count(*) = 1 and bool_and(p.state = 'unverified') and bool_or(k.validator_id is not null) as is_alone,
         bool_or(bool_or(p.state = 'verified' and k.validator_id is null)) over () as is_apart
  from partial_signatures p
  left join key_shares k on k.validator_id = m.validator_id and k.share_index = p.share_index
  where p.message_id = m.id
  group by p.share_index) i)`

/**
 * Whether `m` has candidates that a full signature judges: under trusted public key shares those of a share index that has one, unless one
 * was verified under a public key share that is not there any more. These are verified by themselves.
 */
const HAS_UNJUDGED = sql`(
  select case when ${IS_UNTRUSTED} then bool_or(p.state = 'unverified')
              else bool_or(p.state = 'unverified' and k.validator_id is not null)
                   and not bool_or(p.state = 'verified' and k.validator_id is null) end
  from partial_signatures p left join key_shares k on k.validator_id = m.validator_id and k.share_index = p.share_index
  where p.message_id = m.id)`

/** How long a worker that has a message is waited for, before its candidates are verified by themselves: longer than a claim holds. */
const WORKER_SECONDS = 25

/**
 * Of these messages (all when null), the ids that a worker should finish: collecting with enough share indexes, exits ready
 * without the shares for the current oracle set that they are to have, or ready with candidates that the signature can judge; each at most once in its retry time, which doubles with every attempt that found
 * no signature. Marks them as queued. What is asked of each message is asked by a value, and not by `exists`, which the planner may turn
 * into a walk through all rows of the other table. Of deposits that nobody asks for any more those that are named, where enough came late: should they
 * make a signature, the key is bound.
 */
export async function claimFinishable(db: Sql, messageIds: readonly number[] | null, limit: number): Promise<number[]> {
  return (await claimToFinish(db, messageIds, limit)).map(({ id }) => id)
}

const claimed = { id: number, validatorId: number }
/** A message that was claimed, and whose it is. */
export type ClaimedRow = RowOf<typeof claimed>

/** The same, each with its validator: who finishes a validator's exit may finish its deposit as well. */
export async function claimToFinish(
  db: Sql,
  messageIds: readonly number[] | null,
  limit: number,
): Promise<ClaimedRow[]> {
  const found = await rows(
    db,
    claimed,
    sql`with current as materialized (select id from oracle_sets where is_current),
        finishable as (
          select m.id from messages m where ${isFinishable(messageIds)} order by m.id limit ${limit} for update of m skip locked)
        update messages m set queued_at = now() from finishable f where m.id = f.id returning m.id, m.validator_id`,
  )
  return found.sort((a, b) => a.id - b.id)
}

/** Which of these messages a worker should finish and none has: after a claim those that somebody else had locked. */
export async function findFinishable(db: Sql, messageIds: readonly number[]): Promise<number[]> {
  const found = await rows(
    db,
    { id: number },
    sql`with current as materialized (select id from oracle_sets where is_current)
        select m.id from messages m where ${isFinishable(messageIds)} order by m.id`,
  )
  return found.map(({ id }) => id)
}

/** Whether a worker should finish `m`, of these messages, and none has it, beside `current`, the oracle set in force. */
function isFinishable(messageIds: readonly number[] | null) {
  const scope =
    messageIds === null
      ? sql`m.state in ${LIVE}`
      : sql`m.id = any(${numberArray(messageIds)}) and (m.state in ${LIVE} or ${IS_LATE})`
  return sql`${scope}
            and (m.queued_at is null or m.queued_at < now() - make_interval(secs => least(30, 2 ^ least(m.failed_attempts, 5))
                                                                                  + case when m.failed_attempts = 0 then 20 else 0 end))
            and case when m.state <> 'ready'
                  then m.threshold <= ${COUNTED_INDEXES}
                  else (m.kind = 'exit' and exists (select from current) and (
                         select s.message_id from oracle_shares s where s.message_id = m.id and s.oracle_set_id = (select id from current)) is null
                         and ${IS_SPLIT_ANEW})
                       or ${HAS_UNJUDGED}
                end`
}

/**
 * Of `limit` candidates under trusted public key shares that have waited for `seconds`, those that wait longest, the messages; without
 * those that a worker has, which judges them.
 * Marks them as seen now, so that the next look, here or in another process, finds them only when they have waited as long again.
 */
export async function claimUnverified(db: Sql, seconds: number, limit: number): Promise<number[]> {
  const claimed = await rows(
    db,
    { messageId: number },
    sql`with waiting as (
          select p.ctid from partial_signatures p
          join messages m on m.id = p.message_id and ${IS_TAKEN}
          join key_shares k on k.validator_id = m.validator_id and k.share_index = p.share_index
          where p.state = 'unverified' and p.seen_at < now() - make_interval(secs => ${seconds}::float8)
            and (m.queued_at is null or m.queued_at < now() - make_interval(secs => ${WORKER_SECONDS}))
          order by p.seen_at limit ${limit} for update of p skip locked)
        update partial_signatures p set seen_at = now() from waiting where p.ctid = waiting.ctid returning p.message_id`,
  )
  return [...new Set(claimed.map((row) => row.messageId))].sort((a, b) => a - b)
}

/** What has become of these candidates, by position: those that are gone or whose message has ended are left out. */
export function findOutcomes(
  db: Sql,
  candidates: readonly { messageId: number; shareIndex: number; digest: Uint8Array }[],
): Promise<{ position: number; state: 'unverified' | 'verified' | 'rejected'; isWithWorker: boolean }[]> {
  return rows(
    db,
    { position: number, state: oneOf<'unverified' | 'verified' | 'rejected'>(), isWithWorker: boolean },
    sql`select (c.position - 1)::int as position, p.state,
               coalesce(m.queued_at > now() - make_interval(secs => ${WORKER_SECONDS}), false) as is_with_worker
        from unnest(${numberArray(candidates.map(({ messageId }) => messageId))}, ${numberArray(candidates.map(({ shareIndex }) => shareIndex))},
                    ${bytesArray(candidates.map(({ digest }) => digest))}) with ordinality as c (message_id, share_index, digest, position)
        join messages m on m.id = c.message_id
        join partial_signatures p on p.message_id = c.message_id and p.share_index = c.share_index and p.digest = c.digest`,
  )
}

/**
 * Some messages without trusted public key shares that have collected for `seconds` and still have signatures of fewer share indexes
 * than their threshold, the newest.
 */
export async function findStarving(db: Sql, seconds: number, limit: number): Promise<number[]> {
  const found = await rows(
    db,
    { id: number },
    sql`select s.id from (values ('exit'), ('deposit')) as o (kind) cross join lateral (
          select m.id from messages m
          cross join lateral (select count(distinct p.share_index) as indexes from partial_signatures p
                              where p.message_id = m.id and p.state <> 'rejected') c
          where m.kind between o.kind and o.kind and m.state = 'collecting' and m.created_at < now() - make_interval(secs => ${seconds}::float8)
            and c.indexes between 1 and m.threshold - 1
            and not exists (select from key_shares k where k.validator_id = m.validator_id)
          order by m.kind desc, m.id desc limit ${limit}) s
        order by s.id desc limit ${limit}`,
  )
  return found.map(({ id }) => id)
}

const candidate = {
  messageId: number,
  kind: oneOf<MessageKind>(),
  shareIndex: number,
  digest: bytes,
  sealed: bytes,
  state: oneOf<'unverified' | 'verified'>(),
  signingRoot: bytes,
  publicKeyShare: orNull(bytes),
}
/** One candidate with everything needed to judge it. */
export type CandidateRow = RowOf<typeof candidate>

/** Rows of candidates that are read in one go, some milliseconds of the event loop: as many as two messages have of which most was invented. */
const CANDIDATES_AT_ONCE = 512

/** The candidates of these messages that are not rejected, by message, most recently seen first. Those of one message are of one moment. */
export async function findCandidates(db: Sql, messageIds: readonly number[]): Promise<CandidateRow[]> {
  const found: CandidateRow[] = []
  let ids = messageIds
  for (;;) {
    const page = await findCandidatesOf(db, ids, CANDIDATES_AT_ONCE)
    const last = page.at(-1)?.messageId
    if (page.length < CANDIDATES_AT_ONCE || last === undefined) return [...found, ...page]
    // There may be more of the last message: it is read anew, with those after it.
    const whole = page.filter(({ messageId }) => messageId < last)
    found.push(...(whole.length > 0 ? whole : await findCandidatesOf(db, [last], null)))
    ids = ids.filter((id) => (whole.length > 0 ? id >= last : id > last))
  }
}

/** The first `limit` of them. */
function findCandidatesOf(db: Sql, messageIds: readonly number[], limit: number | null): Promise<CandidateRow[]> {
  return rows(
    db,
    candidate,
    sql`select p.message_id, m.kind, p.share_index, p.digest, p.sealed, p.state, m.signing_root, k.public_key_share
        from partial_signatures p join messages m on m.id = p.message_id
        left join key_shares k on k.validator_id = m.validator_id and k.share_index = p.share_index
        where p.message_id = any(${numberArray(messageIds)}) and p.state <> 'rejected'
        order by p.message_id, p.seen_at desc, p.share_index limit ${limit}`,
  )
}

/** Binds the validators of these deposits to their vaults where a verified signature exists. Callers have locked the messages. */
export const bindDeposits = (tx: Sql, messageIds: readonly number[]): Promise<void> =>
  bindProven(tx, sql`m.id = any(${numberArray(messageIds)}) and ${IS_TAKEN}`)

/** What one share index says every node's public key share is, for one validator: 56 bytes a node. */
export interface KeyShareHint {
  validatorId: number
  shares: Uint8Array
}

/** Keeps what a share index says of the public key shares, the last of it. What is known for sure needs no hints. */
export async function storeHints(db: Sql, shareIndex: number, hints: readonly KeyShareHint[]): Promise<void> {
  if (hints.length === 0) return
  await db.execute(sql`
    insert into key_share_hints (validator_id, share_index, shares)
    select h.validator_id, ${shareIndex}::bigint, h.shares
    from unnest(${numberArray(hints.map(({ validatorId }) => validatorId))}, ${bytesArray(hints.map(({ shares }) => shares))}) as h (validator_id, shares)
    where not exists (select from key_shares k where k.validator_id = h.validator_id)
    order by h.validator_id
    on conflict (validator_id, share_index) do update set shares = excluded.shares, seen_at = now()
      where key_share_hints.shares <> excluded.shares`)
}

/** Keeps of each of these validators' hints those of the `limit` share indexes seen last. */
export async function trimHints(db: Sql, validatorIds: readonly number[], limit: number): Promise<void> {
  if (validatorIds.length === 0) return
  await db.execute(sql`
    with ranked as (
      select validator_id, share_index, row_number() over (partition by validator_id order by seen_at desc, share_index) as position
      from key_share_hints where validator_id = any(${numberArray(validatorIds)}))
    delete from key_share_hints h using ranked r
    where h.validator_id = r.validator_id and h.share_index = r.share_index and r.position > ${limit}`)
}

/** The hints for the validators of these messages, most recently seen first. */
export function findHints(db: Sql, messageIds: readonly number[]): Promise<{ messageId: number; shares: Buffer }[]> {
  return rows(
    db,
    { messageId: number, shares: bytes },
    sql`select m.id as message_id, h.shares from messages m join key_share_hints h on h.validator_id = m.validator_id
        where m.id = any(${numberArray(messageIds)}) order by m.id, h.seen_at desc, h.share_index`,
  )
}
