/** Share sets that were stored before there were receipts get theirs by SQL: the one that `shareReceipt` makes. */

import { randomBytes } from 'node:crypto'
import { slices, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createTestDatabase } from '../../support/services/postgres.ts'
import { MIGRATIONS, olderMigrations } from '../../support/stages/older-database.ts'

/** Those up to the one before receipts. */
const BEFORE_RECEIPTS = ['0000_first', '0001_generation_4']

it('the migration makes the receipts of what is there', async () => {
  await using database = await createTestDatabase()
  await using db = await connectDatabase({ url: database.url, logger: silentLogger })
  await migrateDatabase(db, await olderMigrations(BEFORE_RECEIPTS))
  const idOf = async (statement: ReturnType<typeof sql>) => Number((await db.execute(statement)).rows[0]?.['id'])

  const sets = [
    { oracles: 1, threshold: 1, epoch: 0, validatorIndex: 0 },
    { oracles: 11, threshold: 7, epoch: 194_048, validatorIndex: Number.MAX_SAFE_INTEGER },
    { oracles: 300, threshold: 299, epoch: Number.MAX_SAFE_INTEGER, validatorIndex: 2 ** 40 + 1 },
  ].map(({ oracles, ...numbers }) => ({
    ...numbers,
    publicKey: randomBytes(48),
    signingRoot: randomBytes(32),
    oracles: randomBytes(oracles * 65),
    publicKeyShares: randomBytes(oracles * 48),
    ciphertexts: randomBytes(oracles * 193),
  }))
  const expected = new Map<number, string>()
  for (const [position, set] of sets.entries()) {
    const oracleSet = await idOf(sql`
      insert into oracle_sets (cid, threshold, public_keys, config, block_number)
      values (${`cid-${position}`}, ${set.threshold}, ${set.oracles}, '{}', 1) returning id`)
    const validator = await idOf(sql`insert into validators (public_key) values (${set.publicKey}) returning id`)
    const message = await idOf(sql`
      insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, signature, revision)
      values (${validator}, 'exit', ${set.validatorIndex}, ${set.epoch}, ${set.signingRoot}, 3, 'ready', ${randomBytes(96)}, ${position + 5})
      returning id`)
    await db.execute(sql`
      insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts)
      values (${message}, ${oracleSet}, ${set.publicKeyShares}, ${set.ciphertexts})`)
    const receipt = shareReceipt({
      ...set,
      oracles: slices(set.oracles, 65),
      publicKeyShares: slices(set.publicKeyShares, 48),
      ciphertexts: slices(set.ciphertexts, 193),
    })
    expected.set(message, `${toHex(receipt)} ${position + 5}`)
  }

  await migrateDatabase(db, MIGRATIONS)
  const { rows } = await db.execute(
    sql`select message_id, '0x' || encode(receipt, 'hex') || ' ' || revision as found from oracle_shares`,
  )
  expect(new Map(rows.map((row) => [Number(row['message_id']), row['found']]))).toEqual(expected)
})
