/**
 * Whether this database is the one that relayers worked with before, or a copy of it. Two relayers on two copies each give out keys, record and
 * limit by themselves, so that one on a copy starts only where nobody can be left on the first: each relayer notes in the database where that
 * is, and compares.
 *
 * | what happened | seen as |
 * |---|---|
 * | a dump restored, of a time when a relayer ran | a copy: refused, until somebody says that the first relayer is gone for good |
 * | a dump restored, of a time when all had been stopped in order | a database that has moved: noted, and worked with |
 * | PostgreSQL upgraded, by dump or pg_upgrade | the same two |
 * | either, under the address of a relayer that goes on running | moved: whoever works here is not left on the first one |
 * | a standby that takes over, a base backup or a snapshot of the files | the same place: nothing can tell these apart, and the first is wanted |
 */

import { BootError } from '@dvt-relayer/common/errors.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { countLeftRunning, findOwnPlace, lockPlace, type Place } from '@dvt-relayer/db/queries/attendance/place.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../context.ts'
import { SILENCE_SECONDS } from './attendance/heartbeat.ts'

const CHECKPOINT = 'place'
const noted = Compile(Type.Object({ system: Type.String(), database: Type.Integer() }))

const isAt = (before: unknown, here: Place): boolean =>
  noted.Check(before) && before.system === here.system && before.database === here.database

/** How many relayers may be left on the database that this is a copy of; 0 where it is none, or nothing is known of it. Nothing is written. */
export async function countLeftOnFirst(db: Sql): Promise<number> {
  const here = await findOwnPlace(db)
  const before = here === undefined ? undefined : await findCheckpoint(db, CHECKPOINT)
  return here === undefined || before === undefined || isAt(before, here) ? 0 : countLeftRunning(db, SILENCE_SECONDS)
}

/**
 * Notes where the database is, so that a copy of it is known as one.
 *
 * @param isAdopted somebody has said that no relayer is left on the database that this is a copy of
 * @returns `unknown` where PostgreSQL does not say
 * @throws {BootError} DATABASE_COPIED; nothing is changed then
 */
export async function takePlace(
  db: Database,
  logger: Logger,
  isAdopted = false,
): Promise<'same' | 'new' | 'moved' | 'unknown'> {
  const here = await findOwnPlace(db)
  if (here === undefined) return 'unknown'
  // Processes that start together: the second finds what the first has noted.
  return db.transaction(async (tx) => {
    await lockPlace(tx)
    const before = await findCheckpoint(tx, CHECKPOINT)
    if (isAt(before, here)) return 'same'
    const running = before === undefined || isAdopted ? 0 : await countLeftRunning(tx, SILENCE_SECONDS)
    if (running > 0) throw refusal(db, running)
    await storeCheckpoint(tx, CHECKPOINT, here)
    if (before === undefined) return 'new'
    logger.info(
      { host: db.host },
      'the database was moved here: a relayer on the one it was copied from must not start again',
    )
    return 'moved'
  })
}

/** Looks, time and again, whether the database has moved under this process: what follows it has not been left behind. */
export function createPlaceWatch({ db, logger }: Pick<Context, 'db' | 'logger'>): () => Promise<void> {
  let known: Place | undefined
  return async () => {
    const here = await findOwnPlace(db)
    if (known !== undefined && here !== undefined && !isAt(known, here)) await takePlace(db, logger, true)
    known = here ?? known
  }
}

const refusal = ({ host }: Database, running: number) =>
  new BootError(
    'DATABASE_COPIED',
    `the database at ${host} is a copy of another one, made while ${running === 1 ? 'a relayer' : `${running} relayers`} ran on that: two that work on two copies each give out keys and count limits by themselves. Is the first one stopped for good? Then run npm run relayer -- adopt-copy --yes, once. To look at a copy, use check-backup`,
  )
