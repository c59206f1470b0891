/** An upgrade of a database that is full and in use: nothing in it is lost, and what the version before is doing ends. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { isPassing } from '@dvt-relayer/db/errors.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { takeNonce } from '@dvt-relayer/db/queries/attendance/nonces.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'
import { startProcess } from '../../support/services/process.ts'
import { MIGRATIONS, olderMigrations } from '../../support/stages/older-database.ts'
import { getExits, sidecarRound, untilOracleSet } from '../../support/world/nodes.ts'
import { eventually, startWorld } from '../../support/world/world.ts'

/** Of the exit that 0.1 has begun. */
const FIRST_INDEX = 77

/** A database of the version before with a row in every table. */
async function openOlder() {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const database = stack.use(await createTestDatabase())
  const db = stack.use(await connectDatabase({ url: database.url, logger: silentLogger }))
  await migrateDatabase(db, await olderMigrations())
  const [vault, hash] = [randomBytes(20), randomBytes(32)]
  for (const statement of [
    sql`insert into clusters (id, lock_hash, name, threshold) values (1, ${hash}, 'one', 3)`,
    sql`insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
        values (1, 'cid', 1, ${randomBytes(65)}, '{}', 1, now(), true)`,
    sql`insert into validators (id, public_key, cluster_id, place, withdrawal_address, vault, reserved_at, vault_asked_at, beacon_index,
                                beacon_vault, registered_at, exited_at, oracle_set_id)
        values (1, ${randomBytes(48)}, 1, 0, ${vault}, ${vault}, now(), now(), 7, ${vault}, now(), now(), 1)`,
    sql`insert into key_shares (validator_id, share_index, public_key_share, source) values (1, 1, ${randomBytes(48)}, 'lock')`,
    sql`insert into key_share_hints (validator_id, share_index, shares) values (1, 1, ${randomBytes(56)})`,
    sql`insert into deposit_bindings (validator_id, vault) values (1, ${vault})`,
    sql`insert into messages (id, validator_id, kind, validator_index, epoch, signing_root, threshold, state, requester, signature, revision)
        select s, 1, 'exit', s, 1, ${hash}::bytea, 3, state, 'operator:', ${randomBytes(96)}::bytea, s
        from unnest(array['ready', 'expired', 'superseded']) with ordinality as of (state, s)`,
    sql`insert into messages (id, validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state, revision)
        values (4, 1, 'deposit', ${vault}, 1, '0x01', ${hash}, 3, 'collecting', 4)`,
    sql`insert into message_keys (message_id, sealed) values (1, ${hash})`,
    sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (4, 1, ${hash}, ${hash}, 'verified'), (4, 2, ${hash}, ${hash}, 'unverified'), (4, 3, ${hash}, null, 'rejected')`,
    sql`insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (1, 1, ${randomBytes(48)}, ${randomBytes(193)}, ${hash}, 5)`,
    sql`insert into oracle_nonces (oracle, nonce) values (${vault}, ${hash})`,
    sql`insert into owner_copies (message_id, vault, owner_public_key, ciphertext) values (1, ${vault}, ${randomBytes(65)}, ${hash})`,
    sql`insert into rotations (id, vault, oracle_set_id, nonce, state) values (1, ${vault}, 1, 1, 'open')`,
    sql`insert into rotation_messages (rotation_id, place, message_id) values (1, 0, 1)`,
    sql`insert into registry_validators (public_key, block_number) values (${randomBytes(48)}, 1)`,
    sql`insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest)
        values ('register', ${vault}, 'operator', ${hash}, ${hash}, 1, 32, ${hash})`,
    sql`insert into checkpoints (name, value) values ('keeper_config', '{"next_block": 1}')`,
    sql`insert into sealing_checks (id, sealed) values (1, ${hash})`,
  ])
    await db.execute(statement)
  return { db, url: database.url }
}
type Older = Awaited<ReturnType<typeof openOlder>>

/** Every row, by table; a view that took the place of a table shows what was in it. */
async function everything({ db }: Pick<Older, 'db'>) {
  const { rows: tables } = await db.execute<{ name: string }>(
    sql`select tablename as name from pg_tables where schemaname = 'public'
        union select viewname from pg_views where schemaname = 'public' order by 1`,
  )
  const all = new Map<string, object[]>()
  for (const { name } of tables) {
    const { rows } = await db.execute<{ row: object }>(
      sql`select to_jsonb(t) as row from ${sql.identifier(name)} t order by t::text collate "C"`,
    )
    all.set(
      name,
      rows.map(({ row }) => row),
    )
  }
  return all
}

it('every row of the version before is there after it, as it was', async () => {
  const { db } = await openOlder()
  const before = await everything({ db })
  expect([...before].flatMap(([name, rows]) => (rows.length === 0 ? [name] : []))).toEqual([])
  await migrateDatabase(db, MIGRATIONS)
  const after = await everything({ db })
  for (const [name, rows] of before) {
    expect(after.get(name), name).toHaveLength(rows.length)
    expect(after.get(name), name).toMatchObject(rows)
  }
})

it('a nonce that a process of either version has taken is taken for the other, and forgotten by both', async () => {
  const { db } = await openOlder()
  await migrateDatabase(db, MIGRATIONS)
  const [oracle, first, second] = [randomBytes(20), randomBytes(16), randomBytes(16)]
  // As the version before writes and deletes them.
  const takeAsBefore = async (nonce: Uint8Array) =>
    (
      await db.execute(sql`
        insert into "oracle_nonces" ("oracle", "nonce", "seen_at") values (${oracle}, ${nonce}, default) on conflict do nothing`)
    ).rowCount
  expect(await takeAsBefore(first)).toBe(1)
  expect(await takeNonce(db, oracle, first)).toBe(false)
  expect(await takeNonce(db, oracle, second)).toBe(true)
  expect(await takeAsBefore(second)).toBe(0)
  const deleted = await db.execute(sql`
    with old as (select oracle, nonce from oracle_nonces where seen_at < now() + interval '1 second'
                 order by seen_at limit 500 for update skip locked)
    delete from oracle_nonces n using old where n.oracle = old.oracle and n.nonce = old.nonce`)
  expect(deleted.rowCount).toBe(3)
})

it('a transaction of the version before that takes its locks the other way round delays it, and no more', async () => {
  const { db } = await openOlder()
  await db.onOneConnection(async (older) => {
    // Else it might be this one that PostgreSQL ends.
    await older.execute(sql`set deadlock_timeout = '1min'`)
    await older.execute(sql`begin`)
    await older.execute(sql`select from validators for no key update`)
    const migrating = migrateDatabase(db, MIGRATIONS)
    migrating.catch(() => {})
    await eventually('the migration waits for the validators', async () => {
      const { rows } = await db.execute(
        sql`select from pg_locks where relation = 'validators'::regclass and mode = 'AccessExclusiveLock' and not granted`,
      )
      return rows.length > 0 ? true : undefined
    })
    await older.execute(sql`select from messages for update`)
    await older.execute(sql`commit`)
    await migrating
  })
  expect((await db.execute(sql`select is_held from validators`)).rows).toEqual([{ is_held: false }])
})

it('what others hold for long is waited for no longer, changes nothing, and passes', async () => {
  const { db } = await openOlder()
  await db.onOneConnection(async (reader) => {
    await reader.execute(sql`begin`)
    await reader.execute(sql`select from validators`)
    const refusal = await migrateDatabase(db, MIGRATIONS, 1).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ code: 'DATABASE_IN_USE' })
    // A supervisor starts it again.
    expect(isPassing(refusal)).toBe(true)
    await reader.execute(sql`commit`)
  })
  await migrateDatabase(db, MIGRATIONS, 1)
  expect((await db.execute(sql`select is_held from validators`)).rows).toEqual([{ is_held: false }])
})

it('a program of the version before refuses what this one has made of it, says what to do, and changes nothing', async () => {
  const { db } = await openOlder()
  await migrateDatabase(db, MIGRATIONS)
  const made = await everything({ db })
  const error = await migrateDatabase(db, await olderMigrations()).catch((failure: unknown) => failure)
  expect(error).toMatchObject({
    code: 'DATABASE_FROM_THE_FUTURE',
    message: expect.stringMatching(
      /a newer version has worked with it\. Run that version.*backup of before the update/,
    ),
  })
  expect(await everything({ db })).toEqual(made)
})

it.skipIf(skipWithoutAnvil)('a relayer of this version goes on with what one of 0.1 has begun', async () => {
  await using world = await startWorld({ oracles: 3, threshold: 2 })
  await using database = await createTestDatabase()
  const [validator] = createTestKeys(1, { nodes: 4, threshold: 3 })
  if (validator === undefined) throw new Error('no validator')
  {
    await using db = await connectDatabase({ url: database.url, logger: silentLogger })
    await migrateDatabase(db, await olderMigrations())
    const root = exitSigningRoot(world.network, { epoch: world.network.capellaEpoch, validatorIndex: FIRST_INDEX })
    await db.execute(sql`insert into validators (id, public_key) values (1, ${Buffer.from(validator.publicKey)})`)
    await db.execute(sql`
      insert into messages (id, validator_id, kind, validator_index, epoch, signing_root, threshold, state, requester, revision)
      values (1, 1, 'exit', ${FIRST_INDEX}, ${world.network.capellaEpoch}, ${Buffer.from(root)}, 3, 'collecting', 'nobody:', 1)`)
  }
  const settings = world.environment({ SIGNATURE_THRESHOLD: '3', DATABASE_URL: database.url })
  await using relayer = startProcess('quick relayer', settings)
  const url = String((await relayer.logged('relayer started'))['url'])
  await untilOracleSet(url)
  expect(await getExits(url)).toMatchObject([
    { public_key: toHex(validator.publicKey), validator_index: FIRST_INDEX, is_exit_signature_ready: false },
  ])
  for (const share of [1, 2, 4]) expect((await sidecarRound(url, world.network, [validator], share)).status).toBe(200)
  await eventually('it is ready', async () => (await getExits(url)).find((exit) => exit.is_exit_signature_ready))
})
