/**
 * The sealing key at work: proved at boot by a check value in the database, rotated by sealing anew what the previous key sealed.
 * `message-seals.ts` says what it seals.
 */

import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readTextSync } from '@dvt-relayer/common/files/text-file.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer, SealingError } from '@dvt-relayer/crypto/sealing.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findSealingCheck } from '@dvt-relayer/db/queries/doctor/contents.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { ensureSealingCheck, replaceSealingCheck, voidSealed } from '@dvt-relayer/db/queries/state.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Sealing } from '../../context.ts'
import { createSealing } from './message-seals.ts'
import { giveOwnKeys, resealAll } from './reseal.ts'

const CHECK_PLACE = 'sealing_checks:1:digest-key'
const IF_LOST =
  'If the key is lost for good, "npm run relayer -- void-sealed --yes" forgets all sealed signatures, and sidecars sign again'

/** The key from the settings, or the one in the data folder, which is made at the first start. */
function sealingKey({ storage }: RelayerConfig): { key: Uint8Array; madeFile?: string } {
  if (storage.sealingKey !== undefined) return { key: storage.sealingKey }
  const file = keyFileOf(storage)
  const isNew = !existsSync(file) && makeKey(storage.dataDir, file)
  chmodSync(file, 0o600)
  const key = parseKey(file)
  return isNew ? { key, madeFile: file } : { key }
}

/** Where the first start puts the key it makes. */
export const keyFileOf = ({ dataDir }: Pick<RelayerConfig['storage'], 'dataDir'>): string =>
  join(dataDir, 'sealing.key')

function parseKey(file: string): Uint8Array {
  const key = parseHex(read(file).trim(), 32)
  if (key === undefined)
    throw new BootError(
      'SEALING_KEY_INVALID',
      `${file} does not hold a key of 64 hex digits; put the right one back or set SEALING_KEY`,
    )
  return key
}

function read(file: string): string {
  try {
    return readTextSync(file)
  } catch (error) {
    throw new BootError('SEALING_KEY_INVALID', `${file} cannot be read (${reasonOf(error)})`, { cause: error })
  }
}

/**
 * Makes a key, written aside and linked: a process killed here leaves no half key, and of two that start at once the second takes
 * the key of the first. Returns whether it is ours.
 */
function makeKey(folder: string, file: string): boolean {
  mkdirSync(folder, { recursive: true })
  const fresh = `${file}.${process.pid}`
  writeFileSync(fresh, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flush: true })
  try {
    linkSync(fresh, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  } finally {
    rmSync(fresh)
  }
}

/**
 * Opens the sealing: proves that the key fits the database, and seals anew what the previous key sealed.
 *
 * @throws {BootError} SEALING_KEY_WRONG: nothing is changed then
 */
export async function openSealing(config: RelayerConfig, db: Database, logger: Logger): Promise<Sealing> {
  const { key, madeFile } = sealingKey(config)
  const sealer = createSealer(key, config.storage.sealingKeyPrevious)
  const check = await ensureSealingCheck(db, sealer.seal(randomBytes(32), CHECK_PLACE))
  let digestKey: Uint8Array
  try {
    digestKey = sealer.open(check, CHECK_PLACE)
  } catch (error) {
    if (!(error instanceof SealingError)) throw error
    if (madeFile !== undefined) {
      rmSync(madeFile)
      throw new BootError(
        'SEALING_KEY_WRONG',
        `${madeFile} is missing, and the database holds values sealed with it: put your copy of the key back or set SEALING_KEY. ${IF_LOST}`,
        { cause: error },
      )
    }
    throw new BootError(
      'SEALING_KEY_WRONG',
      `the sealing key does not fit the database: its values were sealed with another key. Set SEALING_KEY to the right one; after a change of keys set SEALING_KEY_PREVIOUS to the old one. ${IF_LOST}`,
      { cause: error },
    )
  }
  if (madeFile !== undefined)
    logger.warn({ file: madeFile }, 'sealing key made; keep a copy elsewhere: without it stored exits cannot be read')
  await giveOwnKeys(db, sealer, logger)
  if (!sealer.isCurrent(check)) {
    await resealAll(db, sealer, logger)
    await replaceSealingCheck(db, sealer.seal(digestKey, CHECK_PLACE))
  }
  return createSealing(sealer, digestKey, logger)
}

/** What the key of the settings opens of a database, which is left as it is. */
export type KeyProof =
  | { outcome: 'fits'; sealing: Sealing; isCurrent: boolean }
  | { outcome: 'no key' | 'no check' | 'wrong key' }

/** Tries the key on a database. Nothing is written, and no key is made. @throws {BootError} SEALING_KEY_INVALID */
export async function proveSealingKey({ storage }: RelayerConfig, db: Sql, logger: Logger): Promise<KeyProof> {
  const file = keyFileOf(storage)
  const key = storage.sealingKey ?? (existsSync(file) ? parseKey(file) : undefined)
  if (key === undefined) return { outcome: 'no key' }
  const check = await findSealingCheck(db)
  if (check === undefined) return { outcome: 'no check' }
  const sealer = createSealer(key, storage.sealingKeyPrevious)
  try {
    const sealing = createSealing(sealer, sealer.open(check, CHECK_PLACE), logger)
    return { outcome: 'fits', sealing, isCurrent: sealer.isCurrent(check) }
  } catch (error) {
    if (!(error instanceof SealingError)) throw error
    return { outcome: 'wrong key' }
  }
}

/** Forgets every sealed value, for when the key is lost: exits are collected again. Oracle shares stay as handed out. */
export async function forgetSealed(db: Database): Promise<number> {
  return db.transaction(async (tx) => {
    const { ids } = await voidSealed(tx)
    await announceMessages(tx, ids)
    return ids.length
  })
}
