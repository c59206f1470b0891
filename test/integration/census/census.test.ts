/** What metrics tell of all processes together: that it is right, and that it costs the database next to nothing however much there is. */

import { randomBytes } from 'node:crypto'
import { SSV_FAULT_KINDS } from '@dvt-relayer/chain/ssv/registry.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import {
  addShareCounts,
  countWrongShares,
  findNeverSeen,
  findOldestCollecting,
  findShareCounts,
  sumMovedByVault,
} from '@dvt-relayer/db/queries/attendance/census.ts'
import { findLastSeen } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import { countProcesses } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { sumMoved } from '@dvt-relayer/db/queries/manager-signatures.ts'
import { countKeysByVault, countKeysLeft } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { RelayerConfig } from '../../../apps/relayer/src/config.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createAttendanceCount } from '../../../apps/relayer/src/services/attendance/count.ts'
import { createCensus } from '../../../apps/relayer/src/services/census/census.ts'
import { storeSsvCounts } from '../../../apps/relayer/src/services/census/ssv-counts.ts'
import { findVaultKeys } from '../../../apps/relayer/src/services/census/vault-keys.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { createExplaining } from '../../support/stores/plans.ts'

const NO_FAULTS = Object.fromEntries(SSV_FAULT_KINDS.map((kind) => [kind, 0]))
const vaultOf = (byte: number) => Buffer.alloc(20, byte)
const queue = { counts: async () => ({ waiting: 7, active: 2 }) } as unknown as JobQueue

/** One process: what it judges, counts and tells. */
async function startProcess(db: Awaited<ReturnType<typeof openMessages>>['db'], config: Partial<RelayerConfig> = {}) {
  const events = createEvents(silentLogger)
  const settings = { managerDailyLimitGwei: undefined, ssv: { owners: [] }, ...config }
  const context = { config: settings as unknown as RelayerConfig, db, queue, events }
  const census = createCensus(context)
  return {
    events,
    census,
    /** The series of a metric, by their labels as text. */
    async tell(name: string): Promise<Record<string, number>> {
      await census()
      const lines = (await events.metrics.text()).split('\n').filter((line) => line.startsWith(name))
      return Object.fromEntries(
        lines.map((line) => [line.slice(name.length, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
      )
    },
  }
}

describe('what was judged of each share index', () => {
  it('is the sum of all processes, the same from each, and grows only', async () => {
    const { db } = await openMessages()
    const [one, two] = [await startProcess(db), await startProcess(db)]
    one.events.partialsVerified(3, 4)
    two.events.partialsVerified(3, 1)
    two.events.partialsRejected(3, 2)
    await two.census()
    const told = await one.tell('dvt_relayer_share_signatures_total')
    expect(told).toEqual({ '{share_index="3",outcome="verified"}': 5, '{share_index="3",outcome="rejected"}': 2 })
    expect(await two.tell('dvt_relayer_share_signatures_total')).toEqual(told)
  })

  it('is not lost where it cannot be written at once', async () => {
    const { db } = await openMessages()
    const { events, tell } = await startProcess(db)
    const away = { execute: () => Promise.reject(new Error('away')) } as unknown as typeof db
    events.partialsRejected(1, 1)
    const context = { config: {} as RelayerConfig, db: away, queue, events }
    await expect(createCensus(context)()).rejects.toThrow('away')
    events.partialsRejected(1, 1)
    expect((await tell('dvt_relayer_share_signatures_total'))['{share_index="1",outcome="rejected"}']).toBe(2)
  })

  it('stands there with 0 for the nodes of a cluster from the start, so that the first wrong one is seen to be new', async () => {
    const { db, query, addValidator, trust } = await openMessages()
    await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 2), (2, 'empty', 2)`)
    for (const place of [0, 1]) {
      const { id } = await addValidator()
      await query(sql`update validators set cluster_id = 1, place = ${place} where id = ${id}`)
      for (const index of [1, 2]) await trust(id, index, randomBytes(48))
    }
    const zero = { verified: 0, rejected: 0 }
    expect(await findShareCounts(db, 9)).toEqual([
      { shareIndex: 1, ...zero },
      { shareIndex: 2, ...zero },
    ])
  })

  it('is bounded, whatever share indexes callers claim, and goes on for those that are there', async () => {
    const { db } = await openMessages()
    await addShareCounts(db, [{ shareIndex: 1, verified: 1, rejected: 0 }], 2)
    await addShareCounts(db, [{ shareIndex: 2, verified: 1, rejected: 0 }], 2)
    await addShareCounts(
      db,
      [1, 2, 3].map((shareIndex) => ({ shareIndex, verified: 0, rejected: 1 })),
      2,
    )
    expect((await findShareCounts(db, 9)).map(({ shareIndex }) => shareIndex)).toEqual([1, 2])
    const { events } = await startProcess(db)
    for (let index = 1; index < 1000; index++) events.partialsRejected(index, 1)
    expect(events.takeJudged()).toHaveLength(256)
  })
})

describe('what lasts', () => {
  it('is a wrong share of what is still collected, until a right one is there', async () => {
    const { db, query, addValidator, addExit } = await openMessages()
    const { tell } = await startProcess(db)
    const put = (message: number, shareIndex: number, state: 'rejected' | 'verified') =>
      query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                values (${message}, ${shareIndex}, ${randomBytes(32)}, ${state === 'rejected' ? null : randomBytes(96)}, ${state})`)
    const collecting = await addExit((await addValidator()).id)
    const ready = await addExit((await addValidator()).id, { state: 'ready' })
    for (const message of [collecting, ready]) await put(message, 3, 'rejected')
    for (const _twice of [1, 2]) await put(collecting, 4, 'rejected')
    expect(await tell('dvt_relayer_shares_wrong')).toEqual({ '{share_index="3"}': 1, '{share_index="4"}': 1 })
    await put(collecting, 3, 'verified')
    expect(await tell('dvt_relayer_shares_wrong')).toEqual({ '{share_index="4"}': 1 })
  })

  it('is that a node of a cluster was never seen: it never came, and nothing of it was judged', async () => {
    const { db, query, addValidator, trust } = await openMessages()
    const { id } = await addValidator()
    await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 2)`)
    await query(sql`update validators set cluster_id = 1, place = 0 where id = ${id}`)
    for (const index of [1, 2, 3, 4]) await trust(id, index, randomBytes(48))
    const never = async () =>
      (await findNeverSeen(db, 9)).flatMap(({ shareIndex, isNeverSeen }) => (isNeverSeen ? [shareIndex] : []))
    expect(await never()).toEqual([1, 2, 3, 4])
    await query(sql`insert into nodes_seen (token_name, share_index, seen_at, listed_at, refused_at, refusal_code)
                    values ('a', 1, now(), now(), null, null), ('b', 2, now(), null, now(), 'TOKEN_BINDING')`)
    await addShareCounts(db, [{ shareIndex: 3, verified: 1, rejected: 0 }], 9)
    expect(await never()).toEqual([2, 4])
    const events = createEvents(silentLogger)
    await createAttendanceCount({ db, events })()
    const told = (await events.metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('dvt_relayer_node_never_seen'))
    expect(told.map((line) => line.slice(-3))).toEqual(['} 0', '} 1', '} 0', '} 1'])
    // Whose token names no share index may be any of them.
    await query(
      sql`insert into nodes_seen (token_name, share_index, seen_at, posted_at) values ('free', 0, now(), now())`,
    )
    expect(await never()).toEqual([])
    // One that comes no more is none of them.
    await query(sql`update nodes_seen set seen_at = now() - interval '1 hour' where token_name = 'free'`)
    expect(await never()).toEqual([2, 4])
  })

  it('is not that charon has not run lately: such a node is not missed, until a sidecar has come in its place', async () => {
    const { db, query } = await openMessages()
    const come = (token: string, software: string, version: string | null, hours: number) =>
      query(sql`insert into nodes_seen (token_name, share_index, seen_at, posted_at, software, version)
                select ${token}, 1, at, at, ${software}, ${version} from (select now() - make_interval(hours => ${hours}::int) as at) a`)
    await come('node-1', 'dvt-relayer-sidecar', '0.2.0', 9)
    expect(await findLastSeen(db)).toMatchObject([{ shareIndex: 1 }])
    await come('node:0x01', 'charon', null, 8)
    expect(await findLastSeen(db)).toEqual([])
    await come('node:0x02', 'dvt-relayer-sidecar', '0.2.0', 1)
    expect(await findLastSeen(db)).toMatchObject([{ shareIndex: 1 }])
  })

  it('is that a sidecar has gone, also where charon comes for a node of another cluster with the same share index', async () => {
    const { db, query, addValidator, trust } = await openMessages()
    const come = (token: string, version: string | null, hours: number) =>
      query(sql`insert into nodes_seen (token_name, share_index, seen_at, posted_at, software, version)
                select ${token}, 1, at, at, ${version === null ? 'charon' : 'dvt-relayer-sidecar'}, ${version}
                from (select now() - make_interval(hours => ${hours}::int) as at) a`)
    await come('node-1', '0.2.0', 9)
    await come('node:0x01', null, 1)
    const addCluster = async (cluster: number) => {
      const { id } = await addValidator()
      await query(sql`insert into clusters (id, name, threshold) values (${cluster}, 'a', 2)`)
      await query(sql`update validators set cluster_id = ${cluster}, place = 0 where id = ${id}`)
      await trust(id, 1, randomBytes(48))
    }
    await addCluster(1)
    expect(await findLastSeen(db)).toEqual([])
    await addCluster(2)
    const [seen] = await findLastSeen(db)
    expect(seen?.seconds).toBeCloseTo(9 * 3600, -2)
  })
})

describe('what is there', () => {
  it('is told by every process, also by one that answers requests alone, with no other beside it', async () => {
    const { db, query, addValidator, addExit } = await openMessages()
    const [api, worker] = [
      await startProcess(db, { role: 'api', ssv: { owners: [vaultOf(1)], keysharesFiles: [], proofsFiles: [] } }),
      await startProcess(db, { role: 'worker', ssv: { owners: [vaultOf(1)], keysharesFiles: [], proofsFiles: [] } }),
    ]
    for (const state of ['collecting', 'ready', 'ready', 'expired']) await addExit((await addValidator()).id, { state })
    await query(sql`
      insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
      values (1, 'a', 1, ${randomBytes(65)}, '{}', 1, now(), true)`)
    await query(sql`
      insert into rotations (vault, oracle_set_id, nonce, state, created_at)
      values (${vaultOf(1)}, 1, 1, 'open', now() - interval '1 hour')`)
    await storeSsvCounts(db, { live: new Map([['a', {}]]), malformed: { ...NO_FAULTS, length: 3 } } as never)
    for (const { tell } of [api, worker]) {
      expect(await tell('dvt_relayer_exits')).toMatchObject({ '{state="collecting"}': 1, '{state="ready"}': 2 })
      expect((await tell('dvt_relayer_rotation_open_seconds'))['']).toBeCloseTo(3600, -2)
      expect(await tell('dvt_relayer_ssv_validators')).toEqual({ '': 1 })
      expect(await tell('dvt_relayer_ssv_events_skipped')).toMatchObject({ '{reason="length"}': 3 })
    }
    // Counted anew after each change, and only then.
    await query(sql`update messages set state = 'expired' where state = 'collecting'`)
    for (const { tell } of [api, worker])
      expect(await tell('dvt_relayer_exits')).toMatchObject({ '{state="collecting"}': 0, '{state="ready"}': 2 })
  })
})

describe('what waits', () => {
  it('is as old as the oldest that is still collected, of each kind', async () => {
    const { db, query, addValidator, addExit } = await openMessages()
    const { tell } = await startProcess(db)
    expect(await tell('dvt_relayer_oldest_waiting_seconds')).toEqual({ '{kind="exit"}': 0, '{kind="deposit"}': 0 })
    for (const [state, minutes] of [
      ['ready', 90],
      ['expired', 80],
      ['collecting', 20],
      ['collecting', 10],
    ] as const) {
      const exit = await addExit((await addValidator()).id, { state })
      await query(
        sql`update messages set created_at = now() - make_interval(mins => ${minutes}::int) where id = ${exit}`,
      )
    }
    const told = await tell('dvt_relayer_oldest_waiting_seconds')
    expect(Math.floor((told['{kind="exit"}'] ?? 0) / 60)).toBe(20)
    expect(told['{kind="deposit"}']).toBe(0)
    expect(await tell('dvt_relayer_queue_jobs')).toEqual({ '{state="waiting"}': 7, '{state="active"}': 2 })
  })
})

describe('vaults', () => {
  it('have moved what their limit counts, and registrations and yesterday do not count', async () => {
    const { db, query } = await openMessages()
    const sign = (vault: number, digest: number, action: string, gwei: number, requester = 'a', hours = 0) =>
      query(sql`insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
                values (${action}, ${vaultOf(vault)}, ${requester}, ${Buffer.alloc(32)}, ${Buffer.alloc(1)}, 1, ${gwei}, ${Buffer.alloc(32, digest)},
                        now() - make_interval(hours => ${hours}::int))`)
    await sign(1, 1, 'fund', 30)
    await sign(1, 1, 'fund', 30, 'b')
    await sign(1, 2, 'withdraw', 12)
    await sign(1, 3, 'register', 1000)
    await sign(1, 4, 'fund', 500, 'a', 25)
    await sign(2, 5, 'consolidate', 50)
    const moved = await sumMovedByVault(db, 86_400, 9)
    expect(moved).toEqual([
      { vault: vaultOf(2), gwei: 50 },
      { vault: vaultOf(1), gwei: 42 },
    ])
    for (const { vault, gwei } of moved)
      expect(await sumMoved(db, vault, Buffer.alloc(32, 9), 86_400)).toBe(BigInt(gwei))
    const { tell } = await startProcess(db, { managerDailyLimitGwei: 100 })
    expect(await tell('dvt_relayer_manager_moved_gwei')).toMatchObject({
      [`{vault="${checksumAddress(vaultOf(1))}"}`]: 42,
    })
    expect(await tell('dvt_relayer_manager_limit_gwei')).toEqual({ '': 100 })
  })

  it('have as many keys left as each of them alone is counted', async () => {
    const { db, query, addValidator } = await openMessages()
    await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 2)`)
    const columns = ['withdrawal_address', 'listed_vault'] as const
    /** A key of the cluster, and what names a vault for it: `r` reserves it, `b` binds it, the others name it. */
    const add = async (of: { w?: number; l?: number; r?: number; b?: number }, more: SQL = sql`place = 0`) => {
      const { id, publicKey } = await addValidator(of.r === undefined ? undefined : vaultOf(of.r))
      await query(sql`update validators set cluster_id = 1, ${more} where id = ${id}`)
      for (const [position, vault] of [of.w, of.l].entries())
        if (vault !== undefined)
          await query(
            sql`update validators set ${sql.raw(columns[position] ?? '')} = ${vaultOf(vault)} where id = ${id}`,
          )
      if (of.b !== undefined)
        await query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${vaultOf(of.b)})`)
      return publicKey
    }
    // Anybody's, twice.
    await add({})
    await add({})
    // Of one vault, each by another word; of two vaults; registered, or deposited for.
    for (const of of [{ w: 1 }, { l: 1 }, { r: 1 }, { b: 1 }, { w: 1, l: 1, r: 1, b: 1 }, { w: 2 }, { r: 2 }])
      await add(of)
    for (const of of [
      { w: 1, l: 2 },
      { l: 1, r: 2 },
      { r: 1, b: 2 },
      { w: 2, b: 1 },
    ])
      await add(of)
    await add({ w: 1 }, sql`registered_at = now(), beacon_index = 1`)
    await add({ w: 3 }, sql`registered_at = now(), beacon_index = 2`)
    await query(
      sql`insert into registry_validators (public_key, block_number) values (${Buffer.from(await add({ w: 1 }))}, 1)`,
    )
    // Of no cluster: nobody hands it out.
    await addValidator()
    const vaults = [1, 2, 3].map(vaultOf)
    await settleTallies(db)
    const counts = (await countKeysByVault(db)).map((row) => ({ ...row, keys: row.free + row.reserved }))
    const keysOf = (vault: Buffer | null) =>
      counts.find((row) => (row.vault === null ? vault === null : vault !== null && row.vault.equals(vault)))?.keys ?? 0
    for (const vault of vaults) {
      const { free, reserved } = await countKeysLeft(db, vault)
      expect(keysOf(vault) + keysOf(null)).toBe(free + reserved)
    }
    const { tell } = await startProcess(db, { manager: { keyFile: 'a', passwordFile: 'b' } })
    const label = (byte: number) => `{vault="${checksumAddress(vaultOf(byte))}"}`
    expect(await tell('dvt_relayer_vault_keys_left')).toEqual({ [label(1)]: 7, [label(2)]: 4, [label(3)]: 2 })
    // Of several workers one counts; after a while it is somebody's turn again.
    await query(
      sql`update validators set registered_at = now(), beacon_index = 3 where withdrawal_address = ${vaultOf(2)} and listed_vault is null`,
    )
    expect((await tell('dvt_relayer_vault_keys_left'))[label(2)]).toBe(4)
    await query(
      sql`update checkpoints set value = jsonb_set(value, '{counted_at}', to_jsonb((value->>'counted_at')::float8 - 45000)) where name = 'vault_keys'`,
    )
    expect((await tell('dvt_relayer_vault_keys_left'))[label(2)]).toBe(3)
    // Whoever does not count says what was counted.
    const other = await startProcess(db)
    expect(await findVaultKeys(db, Date.now() + 599_000)).toHaveLength(3)
    expect(await findVaultKeys(db, Date.now() + 601_000)).toEqual([])
    expect(await other.tell('dvt_relayer_vault_keys_left')).toEqual({ [label(1)]: 7, [label(2)]: 3, [label(3)]: 2 })
  })
})

describe('versions', () => {
  it('are those of processes and of sidecars that are there, and what a caller makes up is other', async () => {
    const { db, query } = await openMessages()
    await query(sql`insert into processes (id, role, version, beat_at, stopped_at) values
      ('a', 'api', '0.3.0', now(), null), ('b', 'worker', '0.2.0', now(), null), ('c', 'worker', '0.2.0', now(), now()),
      ('d', 'worker', '0.2.0', now() - interval '2 minutes', null)`)
    const seen = [
      ['dvt-relayer-sidecar', '0.3.0', 1],
      ['dvt-relayer-sidecar', '0.3.0', 1],
      ['dvt-relayer-sidecar', '0.2.0-rc.1', 1],
      ['dvt-relayer-sidecar', '9.9.9', 3600],
      ['dvt-relayer-sidecar', 'x'.repeat(32), 1],
      ['curl', '8.0.0', 1],
      [null, null, 1],
    ] as const
    for (const [position, [software, version, ago]] of seen.entries())
      await query(sql`insert into nodes_seen (token_name, share_index, seen_at, listed_at, software, version)
                      values (${`node-${position}`}, 1, now(), now() - make_interval(secs => ${ago}::float8), ${software}, ${version})`)
    const { tell } = await startProcess(db)
    expect(await tell('dvt_relayer_processes')).toEqual({
      '{role="api",version="0.3.0"}': 1,
      '{role="worker",version="0.2.0"}': 1,
    })
    expect(await tell('dvt_relayer_sidecars')).toEqual({
      '{version="0.3.0"}': 2,
      '{version="0.2.0-rc.1"}': 1,
      '{version="other"}': 3,
    })
  })
})

it('reads a handful of rows, however many validators, messages and old signatures there are', async () => {
  const { db, query } = await openMessages()
  const many = 20_000
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 2)`)
  await query(sql`insert into validators (public_key, cluster_id, place)
                  select decode(lpad(to_hex(i), 96, '0'), 'hex'), 1, i from generate_series(1, ${many}::int) i`)
  await query(sql`insert into key_shares (validator_id, share_index, public_key_share, source)
                  select v.id, i, decode(repeat('01', 48), 'hex'), 'lock' from validators v, generate_series(1, 4) i`)
  await query(sql`insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, signature)
                  select id, 'exit', id, 0, decode(repeat('00', 32), 'hex'), 3, case when id % 2 = 0 then 'collecting' else 'ready' end, '' from validators`)
  await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                  select id, i, decode(repeat('00', 32), 'hex'), '', 'verified' from messages, generate_series(1, 2) i`)
  await query(sql`insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
                  select 'fund', decode(repeat('01', 20), 'hex'), 'a', decode(repeat('00', 32), 'hex'), '', 1, 1, decode(lpad(to_hex(i), 64, '0'), 'hex'),
                         now() - make_interval(days => 2) from generate_series(1, ${many}::int) i`)
  await query(sql`analyze`)
  const { db: explaining, rowsRead } = createExplaining(db)
  expect(await findShareCounts(explaining, 128)).toHaveLength(4)
  await findOldestCollecting(explaining)
  await sumMovedByVault(explaining, 86_400, 256)
  await findLastSeen(explaining)
  await countProcesses(explaining, 60)
  await countWrongShares(explaining, 256)
  await findNeverSeen(explaining, 256)
  expect(rowsRead()).toHaveLength(7)
  for (const rows of rowsRead()) expect(rows).toBeLessThan(100)
})
