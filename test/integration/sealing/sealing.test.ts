/** Keys of exits: made once, whoever asks; databases from before they were there; changes of SEALING_KEY; what is damaged. */

import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer } from '@dvt-relayer/crypto/sealing.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { findExitsUnder } from '@dvt-relayer/db/queries/messages/message-keys.ts'
import { bytesArray, numberArray } from '@dvt-relayer/db/queries/sql.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { forgetSealed, openSealing } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { eventually } from '../../support/world/world.ts'

const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname
const SHARES = [1, 5, 1402]

/** The value that stands for the signature of a message, or for a partial one. */
const signatureOf = (id: number, shareIndex = 0) => new Uint8Array(96).fill(id * 7 + shareIndex)
const configOf = (key: string, previous = '') =>
  readConfig({
    NETWORK: 'hoodi',
    EXECUTION_ENDPOINT: 'http://127.0.0.1:1',
    CONSENSUS_ENDPOINT: 'http://127.0.0.1:1',
    SIGNATURE_THRESHOLD: '3',
    DATABASE_URL: 'postgres://127.0.0.1/none',
    SEALING_KEY: key,
    SEALING_KEY_PREVIOUS: previous,
  }).config
const newKey = () => randomBytes(32).toString('hex')

/** Databases and connections that end with the test. */
function openStack() {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  return stack
}

/** A database and two connections to it, migrated by the given files. */
async function openDatabases(migrations = MIGRATIONS) {
  const stack = openStack()
  const { url } = stack.use(await createTestDatabase())
  const connect = async () => stack.use(await connectDatabase({ url, logger: silentLogger }))
  const [a, b] = [await connect(), await connect()]
  await migrateDatabase(a, migrations)
  return { a, b }
}

/** The migrations as they were before exits had keys. */
function oldMigrations(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dvt-migrations-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(MIGRATIONS, folder, { recursive: true })
  const file = join(folder, 'meta', '_journal.json')
  const journal = JSON.parse(readFileSync(file, 'utf8')) as { entries: unknown[] }
  writeFileSync(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, 2) }))
  return folder
}

/** Validators with a message each, exits first; returns the ids. */
async function insertMessages(db: Database, exits: number, deposits: number): Promise<number[]> {
  const { rows } = await db.execute(sql`
    with made as (insert into validators (public_key)
      select decode(lpad(to_hex(n), 96, '0'), 'hex') from generate_series(1, ${exits + deposits}::int) n returning id)
    insert into messages (validator_id, kind, validator_index, epoch, vault, amount_gwei, validator_type, signing_root, threshold, state)
    select id, case when row_number() over (order by id) <= ${exits} then 'exit' else 'deposit' end, id, 1, decode(repeat('01', 20), 'hex'), 32,
           '0x01', decode(repeat('00', 32), 'hex'), 3, 'collecting' from made order by id returning id`)
  return rows.map(({ id }) => Number(id))
}

/** Seals a signature and partial signatures of these messages under SEALING_KEY itself, as it was done before exits had keys. */
async function sealDirectly(db: Database, key: string): Promise<void> {
  const sealer = createSealer(fromHex(key, 32))
  const { rows } = await db.execute(sql`select id, kind from messages order by id`)
  const values = rows.flatMap((row) => {
    const [id, kind] = [Number(row['id']), String(row['kind'])]
    return [0, ...SHARES].map((share) => {
      const position = share === 0 ? `messages:${id}:${kind}` : `partial_signatures:${id}:${share}:${kind}`
      return { id, share, sealed: sealer.seal(signatureOf(id, share), position) }
    })
  })
  const table = sql`unnest(${numberArray(values.map(({ id }) => id))}, ${numberArray(values.map(({ share }) => share))},
    ${bytesArray(values.map(({ sealed }) => sealed))}) as s (id, share, sealed)`
  await db.execute(
    sql`update messages m set signature = s.sealed, state = 'ready' from ${table} where m.id = s.id and s.share = 0`,
  )
  await db.execute(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
    select s.id, s.share, sha256(s.sealed), s.sealed, 'verified' from ${table} where s.share > 0`)
  await db.execute(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
    select id, 2, decode('00', 'hex'), null, 'rejected' from messages`)
}

/** The stored values by message: the full signature first, then the partial ones by share index. */
async function storedOf(db: Database): Promise<{ id: number; kind: 'exit' | 'deposit'; sealed: Buffer[] }[]> {
  const { rows } = await db.execute(sql`
    select m.id, m.kind, array_remove(m.signature || array_agg(p.sealed order by p.share_index) filter (where p.sealed is not null), null) as sealed
    from messages m left join partial_signatures p on p.message_id = m.id group by m.id order by m.id`)
  return rows as { id: number; kind: 'exit' | 'deposit'; sealed: Buffer[] }[]
}

/** Expects that a sealing opens every value. */
async function expectOpen(db: Database, key: string, previous?: string): Promise<void> {
  const sealing = await openSealing(configOf(key, previous), db, silentLogger)
  const stored = await storedOf(db)
  const opener = await sealing.openerFor(
    db,
    stored.map(({ id }) => id),
  )
  for (const message of stored) {
    const [full = new Uint8Array(), ...partials] = message.sealed
    expect(opener.signature(message, full)).toEqual(signatureOf(message.id))
    expect(partials.map((sealed, position) => opener.partial(message, SHARES[position] ?? 0, sealed))).toEqual(
      SHARES.map((share) => signatureOf(message.id, share)),
    )
  }
}

/** How many values of exits are under a key of their own, and how many under this SEALING_KEY. */
async function countKeys(db: Database, key: string) {
  const [keyId = new Uint8Array()] = createSealer(fromHex(key, 32)).keyIds
  const values = (await storedOf(db)).filter(({ kind }) => kind === 'exit').flatMap(({ sealed }) => sealed)
  const direct = values.filter((sealed) => sealed.subarray(0, 8).equals(keyId)).length
  return { own: values.length - direct, direct }
}

interface Frozen {
  master_key: string
  check: { sealed: string }
  own_key: { message_id: number; sealed: string }
  messages: {
    id: number
    kind: 'exit' | 'deposit'
    signature: string
    sealed: string
    share_index: number
    partial: string
    partial_sealed: string
  }[]
}

describe('a database from before', () => {
  it('is read whole with its key: check value, key of an exit, full and partial signatures', async () => {
    const frozen = readFixtureJson('vectors/sealing.json') as Frozen
    const { a } = await openDatabases()
    const bytes = (hex: string) => Buffer.from(fromHex(hex))
    await a.execute(sql`insert into sealing_checks (id, sealed) values (1, ${bytes(frozen.check.sealed)})`)
    await insertMessages(a, 1, 1)
    // The rows have the ids that their values were sealed for.
    for (const { id, kind, sealed, share_index, partial_sealed } of frozen.messages) {
      await a.execute(
        sql`update messages set id = ${id}, signature = ${bytes(sealed)}, state = 'ready' where kind = ${kind}`,
      )
      await a.execute(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (${id}, ${share_index}, decode('00', 'hex'), ${bytes(partial_sealed)}, 'verified')`)
    }
    const { message_id: keyOf, sealed: key } = frozen.own_key
    await a.execute(sql`insert into message_keys (message_id, sealed) values (${keyOf}, ${bytes(key)})`)
    for (const config of [configOf(frozen.master_key.slice(2)), configOf(newKey(), frozen.master_key.slice(2))]) {
      const sealing = await openSealing(config, a, silentLogger)
      const stored = await storedOf(a)
      const opener = await sealing.openerFor(
        a,
        stored.map(({ id }) => id),
      )
      expect(stored).toHaveLength(2)
      for (const [position, message] of frozen.messages.entries()) {
        const [full = Buffer.of(), partial = Buffer.of()] = stored[position]?.sealed ?? []
        expect(toHex(opener.signature(message, full))).toBe(message.signature)
        expect(toHex(opener.partial(message, message.share_index, partial))).toBe(message.partial)
      }
    }
  })
})

describe('a key of its own', () => {
  it('is made once for each live exit, however many ask at once, and for nothing else', async () => {
    const { a, b } = await openDatabases()
    const key = newKey()
    const [one, two] = [
      await openSealing(configOf(key), a, silentLogger),
      await openSealing(configOf(key), b, silentLogger),
    ]
    const ids = await insertMessages(a, 4, 1)
    const [first = 0, second = 0, expired = 0, erased = 0, deposit = 0] = ids
    await a.execute(sql`update messages set state = 'expired' where id = ${expired}`)
    await a.execute(sql`update messages set state = 'erased' where id = ${erased}`)
    const write = (db: Database, sealing: typeof one, share: number) =>
      db.transaction(async (tx) => {
        await lockMessages(tx, ids)
        const seal = await sealing.sealerFor(tx, ids)
        expect([expired, erased].map((id) => seal.signature({ id, kind: 'exit' }, signatureOf(id)))).toEqual([
          undefined,
          undefined,
        ])
        return [first, second].map((id) => seal.partial({ id, kind: 'exit' }, share, signatureOf(id, share)))
      })
    const [fromA, fromB] = await Promise.all([write(a, one, 1), write(b, two, 2)])
    const { rows } = await a.execute(sql`select message_id from message_keys order by message_id`)
    expect(rows).toEqual([{ message_id: first }, { message_id: second }])
    const opener = await two.openerFor(b, ids)
    for (const [position, id] of [first, second].entries()) {
      const message = { id, kind: 'exit' as const }
      expect(opener.partial(message, 1, fromA[position] ?? new Uint8Array())).toEqual(signatureOf(id, 1))
      expect(opener.partial(message, 2, fromB[position] ?? new Uint8Array())).toEqual(signatureOf(id, 2))
      // Not of another share index, not of another message, not under another's key.
      expect(() => opener.partial(message, 2, fromA[position] ?? new Uint8Array())).toThrow('not in its place')
    }
    expect(() => opener.partial({ id: second, kind: 'exit' }, 1, fromA[0] ?? new Uint8Array())).toThrow('another key')
    expect(() => opener.signature({ id: expired, kind: 'exit' }, fromA[0] ?? new Uint8Array())).toThrow(
      'the key of a stored exit is not there',
    )
    const seal = await one.sealerFor(a, [])
    const sealed = seal.signature({ id: deposit, kind: 'deposit' }, signatureOf(deposit)) ?? new Uint8Array()
    expect(opener.signature({ id: deposit, kind: 'deposit' }, sealed)).toEqual(signatureOf(deposit))
  })

  it('that is damaged costs its own exit alone, and says so', async () => {
    const { a } = await openDatabases()
    const lines: string[] = []
    const logger: Logger = createLogger({
      level: 'error',
      format: 'json',
      destination: { write: (line) => lines.push(line) },
    })
    const sealing = await openSealing(configOf(newKey()), a, logger)
    const ids = await insertMessages(a, 2, 0)
    await sealing.sealerFor(a, ids)
    const [good = 0, bad = 0] = ids
    await a.execute(
      sql`update message_keys set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) where message_id = ${bad}`,
    )
    const seal = await sealing.sealerFor(a, ids)
    expect(seal.signature({ id: bad, kind: 'exit' }, signatureOf(bad))).toBeUndefined()
    expect(seal.signature({ id: good, kind: 'exit' }, signatureOf(good))).toBeDefined()
    expect(lines.map((line) => (JSON.parse(line) as { message_id: number }).message_id)).toEqual([bad])
    expect(lines.join()).toContain('void-sealed')
  })
})

describe('a database from before exits had keys', () => {
  /** One with exits and deposits in several states, sealed under SEALING_KEY itself, and migrated. */
  async function openOld(exits = 4, deposits = 2) {
    const databases = await openDatabases(oldMigrations())
    const key = newKey()
    await insertMessages(databases.a, exits, deposits)
    await sealDirectly(databases.a, key)
    await databases.a.execute(sql`update messages set state = 'superseded' where id = 1`)
    await databases.a.execute(sql`update messages set state = 'expired' where id = 2`)
    const check = Buffer.from(createSealer(fromHex(key, 32)).seal(randomBytes(32), 'sealing_checks:1:digest-key'))
    await databases.a.execute(sql`insert into sealing_checks (id, sealed) values (1, ${check})`)
    await migrateDatabase(databases.a, MIGRATIONS)
    return { ...databases, key }
  }

  it('is brought over at the next start, whole, by two processes at once, and once', async () => {
    const { a, b, key } = await openOld()
    expect(await countKeys(a, key)).toEqual({ own: 0, direct: 16 })
    await Promise.all([a, b].map((db) => openSealing(configOf(key), db, silentLogger)))
    expect(await countKeys(a, key)).toEqual({ own: 16, direct: 0 })
    const before = await storedOf(a)
    await expectOpen(a, key)
    expect(await storedOf(a)).toEqual(before)
    const { rows } = await a.execute(sql`select message_id from message_keys order by message_id`)
    expect(rows.map(({ message_id: id }) => id)).toEqual([1, 2, 3, 4])
  })

  it('is brought over together with a change of SEALING_KEY', async () => {
    const { a, key } = await openOld()
    const next = newKey()
    await expectOpen(a, next, key)
    expect(await countKeys(a, next)).toEqual({ own: 16, direct: 0 })
    await expectOpen(a, next)
    await expect(openSealing(configOf(key), a, silentLogger)).rejects.toMatchObject({ code: 'SEALING_KEY_WRONG' })
  })

  it('is brought over by the next start where one was killed in the middle', async () => {
    const { a, b, key } = await openOld(502, 0)
    const blocked = Promise.withResolvers<void>()
    const release = Promise.withResolvers<void>()
    // Somebody holds an exit of the second page: the start stands there when its connection is cut.
    const holder = a.transaction(async (tx) => {
      await lockMessages(tx, [502])
      blocked.resolve()
      await release.promise
    })
    await blocked.promise
    const start = expect(openSealing(configOf(key), b, silentLogger)).rejects.toThrow()
    await eventually('it waits', async () => {
      const { rowCount } = await a.execute(sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%for update%'`)
      return (rowCount ?? 0) > 0 ? true : undefined
    })
    await start
    release.resolve()
    await holder
    expect(await countKeys(a, key)).toEqual({ own: 2000, direct: 8 })
    await expectOpen(a, key)
    expect(await countKeys(a, key)).toEqual({ own: 2008, direct: 0 })
  })

  it('keeps the others where one value is damaged', async () => {
    const { a, key } = await openOld()
    await a.execute(
      sql`update messages set signature = set_byte(signature, 60, get_byte(signature, 60) # 1) where id = 3`,
    )
    const sealing = await openSealing(configOf(key), a, silentLogger)
    expect(await countKeys(a, key)).toEqual({ own: 15, direct: 1 })
    const opener = await sealing.openerFor(a, [3, 4])
    const [, , third, fourth] = await storedOf(a)
    expect(() => opener.signature({ id: 3, kind: 'exit' }, third?.sealed[0] ?? new Uint8Array())).toThrow('another key')
    expect(opener.signature({ id: 4, kind: 'exit' }, fourth?.sealed[0] ?? new Uint8Array())).toEqual(signatureOf(4))
  })
})

describe('a change of SEALING_KEY', () => {
  it('seals the keys of exits anew and leaves what is under them; interrupted, the next start does the rest', async () => {
    const { a } = await openDatabases()
    const [first, second] = [newKey(), newKey()]
    await insertMessages(a, 3, 2)
    await sealDirectly(a, first)
    await expectOpen(a, first)
    const exits = async () => (await storedOf(a)).filter(({ kind }) => kind === 'exit')
    const before = await exits()
    // One key is moved already, as by a start that was killed there.
    const [moved] = (await a.execute(sql`select sealed from message_keys where message_id = 1`)).rows as [
      { sealed: Buffer },
    ]
    const both = createSealer(fromHex(second, 32), fromHex(first, 32))
    const resealed = Buffer.from(both.seal(both.open(moved.sealed, 'message_keys:1'), 'message_keys:1'))
    await a.execute(sql`update message_keys set sealed = ${resealed} where message_id = 1`)
    await expectOpen(a, second, first)
    await expectOpen(a, second)
    expect(await exits()).toEqual(before)
    const { rows } = await a.execute(sql`select sealed from message_keys`)
    expect(rows.every(({ sealed }) => both.isCurrent(sealed as Buffer))).toBe(true)
  })

  it('is not needed after void-sealed: nothing sealed is left, and a new key is taken', async () => {
    const { a } = await openDatabases()
    const key = newKey()
    await insertMessages(a, 2, 1)
    await sealDirectly(a, key)
    await expectOpen(a, key)
    expect(await forgetSealed(a)).toBe(3)
    expect((await storedOf(a)).flatMap(({ sealed }) => sealed ?? [])).toEqual([])
    expect((await a.execute(sql`select from message_keys`)).rowCount).toBe(0)
    const sealing = await openSealing(configOf(newKey()), a, silentLogger)
    const seal = await sealing.sealerFor(a, [1])
    expect(seal.signature({ id: 1, kind: 'exit' }, signatureOf(1))).toBeDefined()
  })
})

it('what is sealed under a key is found message by message, each once', async () => {
  const { db, query, addValidator, addExit } = await openMessages()
  const keyId = Buffer.from('00112233', 'hex')
  const ids: number[] = []
  for (let number = 0; number < 4; number++) ids.push(await addExit((await addValidator()).id))
  // Of the first the full signature, of the next two a partial one, and nothing of the last.
  await query(sql`update messages set signature = ${Buffer.concat([keyId, randomBytes(9)])} where id = ${ids[0]}`)
  for (const [id, sealed] of [
    [ids[1], keyId],
    [ids[2], keyId],
    [ids[3], randomBytes(4)],
  ] as const)
    await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                    values (${id}, 1, ${randomBytes(32)}, ${Buffer.concat([sealed, randomBytes(9)])}, 'unverified')`)
  const after = [0, ids[1] ?? 0, ids[2] ?? 0]
  const found = await Promise.all(after.map((id) => findExitsUnder(db, [keyId], id, 2)))
  expect(found).toEqual([ids.slice(0, 2), ids.slice(2, 3), []])
})
