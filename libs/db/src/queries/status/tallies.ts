/**
 * Tallies: how many validators are alike in all that is counted. Counting looks at a few of them, however many validators there are.
 *
 *     a change   triggers write its validator into `validator_changes`, in the transaction of the change, whoever makes it
 *     a fold     takes some of these, looks at them as they are now, and moves each from the tally it was of to the one it is of
 *     a count    sums up tallies, once nothing is left to be taken
 *
 * What a statement of a fold takes is committed, and so is what it finds of it: a change that it does not see is written of in a row that
 * is not taken either, and comes with the next. A fold that is cut off has moved nothing.
 */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import { IS_SPLIT_ANEW } from '../oracle-shares.ts'
import { boolean, number, oneRow, orNull } from '../rows.ts'
import type { Sql } from '../sql.ts'

/** All that validators of one tally have in common. */
const COMMON = sql.raw(
  `cluster_id, claimed_by, vault, beacon_vault, is_registered, has_exited, oracle_set_id, is_index_wrong, key, key_vault,
   exit_state, deposit_state, is_split_anew, split_set_id, exit_missing, deposit_missing`,
)

/** Share indexes of the validator `v` that have sent nothing of `name` that may count; null where it is not collected, or `v` is of no cluster. */
const missing = (name: 'e' | 'd'): SQL => {
  const message = sql.raw(name)
  return sql`case when ${message}.state = 'collecting' and v.cluster_id is not null then array(
    select k.share_index from key_shares k where k.validator_id = v.id and not exists (
      select from partial_signatures p where p.message_id = ${message}.id and p.share_index = k.share_index and p.state <> 'rejected')
    order by k.share_index) end`
}

/**
 * What is counted of each validator of `changed`, and what stands beside the count. What belongs to each is looked up by itself, which
 * `offset 0` makes sure of: while PostgreSQL has no statistics it would go through all there is for each of them.
 */
const FACTS = sql`
  select v.id as validator_id, v.cluster_id, coalesce(v.withdrawal_address, v.vault) as claimed_by,
         coalesce(v.beacon_vault, v.withdrawal_address, v.listed_vault, v.vault) as vault, v.beacon_vault,
         v.registered_at is not null as is_registered, v.exited_at is not null as has_exited, v.oracle_set_id,
         v.registered_at is not null and v.exited_at is null and coalesce(n.validator_index <> v.beacon_index, false) as is_index_wrong,
         case when v.cluster_id is null or o.first is distinct from o.last then 'none'
              when v.registered_at is not null
                or exists (select from registry_validators r where r.public_key = v.public_key) then 'used'
              when v.vault is null then 'free' else 'reserved' end as key,
         case when v.cluster_id is not null and o.first = o.last then o.first end as key_vault,
         e.state as exit_state, d.state as deposit_state, coalesce(e.is_split_anew, false) as is_split_anew,
         case when e.state = 'ready' then (
           select max(s.oracle_set_id) from oracle_shares s where s.message_id = e.id) end as split_set_id,
         ${missing('e')} as exit_missing, ${missing('d')} as deposit_missing,
         case when e.state = 'collecting' then e.created_at end as exit_since,
         case when d.state = 'collecting' then d.created_at end as deposit_since,
         v.registered_at is null and n.validator_index is not null as is_awaited
  from validators v
  left join lateral (select vault from deposit_bindings where validator_id = v.id offset 0) b on true
  left join lateral (
    select m.id, m.state, m.created_at, m.state = 'ready' and ${IS_SPLIT_ANEW} as is_split_anew from messages m
    where m.validator_id = v.id and m.kind = 'exit' and m.state in ('collecting', 'ready') offset 0) e on true
  left join lateral (
    select m.id, m.state, m.created_at from messages m
    where m.validator_id = v.id and m.kind = 'deposit' and m.state in ('collecting', 'ready') offset 0) d on true
  left join lateral (
    select m.validator_index from messages m
    cross join lateral (select revision, message_id from oracle_shares where message_id = m.id offset 0) s
    where m.validator_id = v.id order by s.revision desc, s.message_id desc limit 1) n on true
  cross join lateral (
    select least(v.withdrawal_address, v.listed_vault, v.vault, b.vault) as first,
           greatest(v.withdrawal_address, v.listed_vault, v.vault, b.vault) as last) o
  where v.id = any(array(select validator_id from changed))`

/** Which tally what is counted of a validator, or stands in a tally, makes it one of. */
const TALLY_ID = sql`sha256(convert_to(row(${COMMON})::text, 'UTF8'))`

/** One is at it at a time, to the end of its transaction. */
const LOCK = sql`select pg_advisory_xact_lock(hashtext('validators.tallies'))`

/** The checkpoint that counts folds: while it stays, no tally has changed. */
const REVISION = 'tallies'

/** So many changes are looked at for each validator: what is done to a message as a rule changes it a few times at once. */
const ROWS_OF_ONE = 4

/**
 * Takes all changes of some validators, at most `limit`, and counts these anew: those whose changes are the oldest, so that none waits
 * behind others that go on changing. Run in a transaction: one is at it at a time, and others wait.
 */
export async function foldChanges(tx: Sql, limit: number): Promise<void> {
  await tx.execute(LOCK)
  await tx.execute(sql`
        with taken as (
          delete from validator_changes
          where validator_id = any(array(
            select o.validator_id from (select id, validator_id from validator_changes order by id limit ${ROWS_OF_ONE * limit}) o
            group by o.validator_id order by min(o.id) limit ${limit}))
          returning validator_id),
        changed as materialized (select distinct validator_id from taken),
        found as materialized (${FACTS}),
        facts as materialized (
          select ${TALLY_ID} as tally_id, * from found),
        was as materialized (
          select t.validator_id, t.tally_id from validator_tallies t where t.validator_id = any(array(select validator_id from changed))),
        moved as materialized (
          select tally_id, sum(moved) as moved from (
            select tally_id, 1 as moved from facts union all select tally_id, -1 from was) all_moved
          group by tally_id having sum(moved) <> 0),
        counted as (
          update tallies t set validators = t.validators + m.moved from moved m where t.id = m.tally_id),
        begun as (
          insert into tallies (id, ${COMMON}, validators)
          select distinct on (f.tally_id) f.tally_id, ${COMMON}, m.moved from moved m join facts f on f.tally_id = m.tally_id
          where not exists (select from tallies t where t.id = m.tally_id)),
        gone as (
          delete from validator_tallies t using was w
          where t.validator_id = w.validator_id and not exists (select from facts f where f.validator_id = w.validator_id)),
        kept as (
          insert into validator_tallies as t (validator_id, tally_id, exit_since, deposit_since, is_awaited)
          select validator_id, tally_id, exit_since, deposit_since, is_awaited from facts
          on conflict (validator_id) do update
            set tally_id = excluded.tally_id, exit_since = excluded.exit_since, deposit_since = excluded.deposit_since,
                is_awaited = excluded.is_awaited
            where (t.tally_id, t.exit_since, t.deposit_since, t.is_awaited)
                  is distinct from (excluded.tally_id, excluded.exit_since, excluded.deposit_since, excluded.is_awaited))
        insert into checkpoints as c (name, value) select ${REVISION}, '1' from taken limit 1
        on conflict (name) do update set value = to_jsonb((c.value #>> '{}')::bigint + 1), updated_at = now()`)
  await tx.execute(sql`delete from tallies where validators = 0`)
}

/**
 * Forgets the tallies that are not what validators were counted for, or not what they say they are, and has these validators counted anew.
 * Folds keep them right; hands, and restores without triggers, do not. Run in a transaction. Returns how many there were.
 */
export async function forgetWrongTallies(tx: Sql): Promise<number> {
  await tx.execute(LOCK)
  const row = await oneRow(
    tx,
    { wrong: number },
    sql`with counted as (select tally_id, count(*) as validators from validator_tallies group by tally_id),
             wrong as materialized (
               select coalesce(t.id, c.tally_id) as id from (select ${TALLY_ID} as tally_id, id, validators from tallies) t
               full join counted c on c.tally_id = t.id
               where t.validators is distinct from c.validators or t.id <> t.tally_id),
             gone as (delete from tallies t using wrong w where t.id = w.id),
             lost as (delete from validator_tallies v using wrong w where v.tally_id = w.id returning v.validator_id),
             noted as (insert into validator_changes (validator_id) select validator_id from lost)
        select count(*) as wrong from wrong`,
  )
  return row.wrong
}

/**
 * Compares validators after this id with what was counted of them, and has those counted anew of which something else was, without a change
 * that still waits: what a statement sees of both is of one moment. Returns how many there were, and the last id; undefined after the last.
 */
export async function noteStrays(
  db: Sql,
  after: number,
  limit: number,
): Promise<{ strays: number; last: number | undefined }> {
  const row = await oneRow(
    db,
    { strays: number, last: orNull(number) },
    sql`with changed as materialized (
               select validator_id from (
                 (select id as validator_id from validators where id > ${after}::bigint order by id limit ${limit})
                 union
                 (select validator_id from validator_tallies where validator_id > ${after}::bigint order by validator_id limit ${limit})) either
               order by validator_id limit ${limit}),
             found as materialized (${FACTS}),
             facts as materialized (select ${TALLY_ID} as tally_id, * from found),
             strays as materialized (
               select c.validator_id from changed c
               left join facts f on f.validator_id = c.validator_id
               left join validator_tallies t on t.validator_id = c.validator_id
               where (t.tally_id, t.exit_since, t.deposit_since, t.is_awaited)
                     is distinct from (f.tally_id, f.exit_since, f.deposit_since, f.is_awaited)
                 and not exists (select from validator_changes o where o.validator_id = c.validator_id)),
             noted as (insert into validator_changes (validator_id) select validator_id from strays)
        select (select count(*) from strays) as strays, (select max(validator_id) from changed) as last`,
  )
  return { strays: row.strays, last: row.last ?? undefined }
}

/** The newest change that nobody has taken; undefined where there is none. Whoever commits later may have a lower one. */
export async function findNewestChange(db: Sql): Promise<number | undefined> {
  const row = await oneRow(db, { newest: orNull(number) }, sql`select max(id) as newest from validator_changes`)
  return row.newest ?? undefined
}

/** Whether there are changes up to this one that nobody has taken. */
export async function areThereChanges(db: Sql, newest: number): Promise<boolean> {
  const query = sql`select exists (select from validator_changes where id <= ${newest}::bigint) as there`
  const row = await oneRow(db, { there: boolean }, query)
  return row.there
}

/** How often tallies have changed. */
export const TALLIES_REVISION: SQL = sql`coalesce((select (value #>> '{}')::bigint from checkpoints where name = ${REVISION}), 0)`

/** How often tallies have changed. */
export async function findTalliesRevision(db: Sql): Promise<number> {
  const row = await oneRow(db, { revision: number }, sql`select ${TALLIES_REVISION} as revision`)
  return row.revision
}
