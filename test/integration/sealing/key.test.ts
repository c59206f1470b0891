/** The sealing key at a start: the file that the first one makes, what proves it, and what is said; and a change of it over several pages. */

import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer } from '@dvt-relayer/crypto/sealing.ts'
import { findSealingCheck } from '@dvt-relayer/db/queries/doctor/contents.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { bytesArray, numberArray } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import type { RelayerConfig } from '../../../apps/relayer/src/config.ts'
import { keyPlace, partialPlace, signaturePlace } from '../../../apps/relayer/src/services/sealing/message-seals.ts'
import { forgetSealed, openSealing, proveSealingKey } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { openMessages } from '../../support/stages/messages.ts'

interface Keys {
  sealingKey?: Uint8Array
  sealingKeyPrevious?: Uint8Array
}

/** A database, a folder that is not there yet, and what a start with these keys says. */
async function openStarts() {
  const store = await openMessages()
  const parent = mkdtempSync(join(tmpdir(), 'dvt-sealing-'))
  onTestFinished(() => rmSync(parent, { recursive: true }))
  const dataDir = join(parent, 'made', 'here')
  const configOf = (keys: Keys) => ({ storage: { dataDir, ...keys } }) as unknown as RelayerConfig
  const lines: { msg: string; count?: number; file?: string }[] = []
  const logger = createLogger({
    ...{ level: 'info', format: 'json' },
    destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
  } as Parameters<typeof createLogger>[0])
  const said = () => lines.splice(0).map(({ msg, count, file }) => [msg, count ?? file])
  const start = (keys: Keys = {}) => openSealing(configOf(keys), store.db, logger)
  const prove = (keys: Keys = {}) => proveSealingKey(configOf(keys), store.db, silentLogger)
  /** An exit whose signature is sealed under a sealing key itself, as versions before keys of their own left it. */
  const addExitUnder = async (key: Uint8Array) => {
    const id = await store.addExit((await store.addValidator()).id)
    const sealed = Buffer.from(createSealer(key).seal(randomBytes(96), signaturePlace(id, 'exit')))
    await store.query(sql`update messages set signature = ${sealed}, state = 'ready' where id = ${id}`)
    return { id, sealed }
  }
  return { ...store, start, prove, said, addExitUnder, dataDir, file: join(dataDir, 'sealing.key') }
}

it('the first start makes a key of its own and says where, and the next ones take it', async () => {
  const { db, start, prove, said, dataDir, file } = await openStarts()
  expect(await prove()).toEqual({ outcome: 'no key' })
  expect(existsSync(dataDir)).toBe(false)
  await start()
  expect(said()).toEqual([[expect.stringMatching(/^sealing key made; keep a copy/), file]])
  const text = readFileSync(file, 'utf8')
  expect(text).toMatch(/^[0-9a-f]{64}\n$/)
  expect([readdirSync(dataDir), statSync(file).mode & 0o777]).toEqual([['sealing.key'], 0o600])
  await start()
  expect([said(), readFileSync(file, 'utf8')]).toEqual([[], text])
  expect(await prove()).toMatchObject({ outcome: 'fits', isCurrent: true })
  // The same key from the settings.
  await start({ sealingKey: fromHex(text.trim(), 32) })

  // A folder that is there already, without its key: none is left in the place of the one that is missing.
  rmSync(file)
  await expect(start()).rejects.toMatchObject({
    code: 'SEALING_KEY_WRONG',
    message: expect.stringContaining(`${file} is missing, and the database holds values sealed with it`),
  })
  expect(readdirSync(dataDir)).toEqual([])
  await expect(start({ sealingKey: randomBytes(32) })).rejects.toMatchObject({
    code: 'SEALING_KEY_WRONG',
    message: expect.stringContaining('the sealing key does not fit the database'),
  })
  writeFileSync(file, text.slice(2))
  await expect(start()).rejects.toMatchObject({ code: 'SEALING_KEY_INVALID' })
  await expect(prove()).rejects.toMatchObject({
    code: 'SEALING_KEY_INVALID',
    message: expect.stringContaining('does not hold a key of 64 hex digits'),
  })
  rmSync(file)
  mkdirSync(file)
  await expect(prove()).rejects.toMatchObject({
    code: 'SEALING_KEY_INVALID',
    message: expect.stringContaining('cannot be read'),
  })
  expect(await findCheckpoint(db, 'sealing.own_keys')).toBeDefined()
})

it('a key is proved by the check value, which stays as it is', async () => {
  const { db, start, prove, dataDir } = await openStarts()
  const [old, key, other] = [randomBytes(32), randomBytes(32), randomBytes(32)]
  expect(await prove({ sealingKey: key })).toEqual({ outcome: 'no check' })
  await start({ sealingKey: old })
  const check = await findSealingCheck(db)
  expect(await prove({ sealingKey: old })).toMatchObject({ outcome: 'fits', isCurrent: true })
  expect(await prove({ sealingKey: key, sealingKeyPrevious: old })).toMatchObject({ outcome: 'fits', isCurrent: false })
  expect(await prove({ sealingKey: key })).toEqual({ outcome: 'wrong key' })
  expect(await prove({ sealingKey: key, sealingKeyPrevious: other })).toEqual({ outcome: 'wrong key' })
  expect([await findSealingCheck(db), existsSync(dataDir)]).toEqual([check, false])
})

it('a change of the key moves everything, however many pages there are, and says how much once', async () => {
  const { db, query, start, said, addValidator, addExit, addDeposit } = await openStarts()
  const [old, key] = [randomBytes(32), randomBytes(32)]
  const [before, now] = [createSealer(old), createSealer(key, old)]
  await start({ sealingKey: old })
  // More than a page of deposits and of exits; the first deposit alone has a partial signature.
  const [one, two] = [await addDeposit((await addValidator()).id), await addExit((await addValidator()).id)]
  await query(sql`
    with made as (insert into validators (public_key) select decode(lpad(to_hex(n), 96, '0'), 'hex') from generate_series(1, 1000) n returning id)
    insert into messages (validator_id, kind, validator_index, epoch, vault, amount_gwei, validator_type, signing_root, threshold, state)
    select made.id, case when made.id % 2 = 0 then 'exit' else 'deposit' end, 1, 0, m.vault, m.amount_gwei, m.validator_type, m.signing_root, 1, 'collecting'
    from made, messages m where m.id = ${one}`)
  const messages = await query<{ id: number; kind: 'exit' | 'deposit' }>(
    sql`select id::int, kind from messages order by id`,
  )
  const idsOf = (wanted: string) => messages.flatMap(({ id, kind }) => (kind === wanted ? [id] : []))
  const [deposits, exits] = [idsOf('deposit'), idsOf('exit')]
  expect([one, two, deposits.length, exits.length]).toEqual([1, 2, 501, 501])
  const ownKey = randomBytes(32)
  const sealedFor = (ids: readonly number[], place: (id: number) => string) =>
    sql`unnest(${numberArray(ids)}, ${bytesArray(ids.map((id) => before.seal(ownKey, place(id))))}) as s (id, sealed)`
  await query(sql`insert into message_keys (message_id, sealed) select id, sealed from ${sealedFor(exits, keyPlace)}`)
  await query(
    sql`update messages m set signature = s.sealed, state = 'ready' from ${sealedFor(deposits, (id) => signaturePlace(id, 'deposit'))} where m.id = s.id`,
  )
  await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                  values (${one}, 3, 'd', ${Buffer.from(before.seal(ownKey, partialPlace(one, 3, 'deposit')))}, 'verified')`)
  const stored = () =>
    query<{
      sealed: Buffer
    }>(sql`select sealed from message_keys union all select signature from messages where signature is not null
                                  union all select sealed from partial_signatures`)
  said()
  const sealing = await start({ sealingKey: key, sealingKeyPrevious: old })
  const words = 'stored values sealed anew; SEALING_KEY_PREVIOUS is needed no more'
  expect(said()).toEqual([[words, 1003]])
  expect((await stored()).filter(({ sealed }) => !now.isCurrent(sealed))).toEqual([])
  await start({ sealingKey: key, sealingKeyPrevious: old })
  expect(said()).toEqual([])
  const [partial] = await query<{ sealed: Buffer }>(sql`select sealed from partial_signatures`)
  const opener = await sealing.openerFor(db, [one])
  expect(opener.partial({ id: one, kind: 'deposit' }, 3, partial?.sealed ?? Buffer.of())).toEqual(
    new Uint8Array(ownKey),
  )
})

it('an exit that is sealed under SEALING_KEY itself gets a key of its own at the next start, which says so once', async () => {
  const { db, query, start, said, addExitUnder } = await openStarts()
  const key = randomBytes(32)
  const { id, sealed } = await addExitUnder(key)
  const sealing = await start({ sealingKey: key })
  expect(said()).toEqual([['exit signatures sealed under keys of their own', 1]])
  const opener = await sealing.openerFor(db, [id])
  const [row] = await query<{ signature: Buffer; revision: string }>(sql`select signature, revision from messages`)
  expect(opener.signature({ id, kind: 'exit' }, row?.signature ?? Buffer.of())).toHaveLength(96)
  // Once none is left, nobody looks for more.
  await query(sql`update messages set signature = ${sealed}`)
  await start({ sealingKey: key })
  expect(said()).toEqual([])

  // What is forgotten is told to whoever follows the lists.
  expect(await forgetSealed(db)).toBe(1)
  const [after] = await query<{ revision: string }>(sql`select revision from messages`)
  expect(Number(after?.revision)).toBeGreaterThan(Number(row?.revision))
})

it('of two starts at one moment, one gives an exit its own key and the other finds it', async () => {
  const { db, query, start, said, addExitUnder } = await openStarts()
  const key = randomBytes(32)
  const { id } = await addExitUnder(key)
  await db.onOneConnection(async (other) => {
    await other.execute(sql`begin`)
    await lockMessages(other, [id])
    const starts = [start({ sealingKey: key }), start({ sealingKey: key })]
    for (const one of starts) one.catch(() => {})
    // Neither has seen whether there is a key.
    const waiting = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(async () => (await query(waiting)).length).toBe(2)
    await other.execute(sql`commit`)
    const [sealing] = await Promise.all(starts)
    const opener = await sealing?.openerFor(db, [id])
    const [row] = await query<{ signature: Buffer }>(sql`select signature from messages`)
    expect(opener?.signature({ id, kind: 'exit' }, row?.signature ?? Buffer.of())).toHaveLength(96)
  })
  expect(said()).toEqual([['exit signatures sealed under keys of their own', 1]])
})
