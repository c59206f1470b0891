/** Looks whether the database can do the work, for `/ready`: on a connection of its own, so that it waits behind nobody's work. */

import { CHECK_MS, withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { sql } from 'drizzle-orm'
import { DatabaseClient } from './client.ts'
import type { Database } from './connect.ts'
import { DatabaseError, translateDatabaseError } from './errors.ts'
import { assertSameSession, assertWritable } from './fitness.ts'
import { createOrm } from './orm.ts'

/** More than a pool has. */
const STALE_SESSIONS = 20

/** Ended by `await using`. */
export interface DatabaseCheck extends AsyncDisposable {
  /**
   * Looks once, within 5 s. What work has met (a full disk, no connections, no writes) counts until a write like theirs is seen to go through.
   *
   * @throws {DatabaseError} why the database cannot work, in words
   */
  check(): Promise<void>
}

/** Creates the check. Its connection is made when it is first needed, and anew after every failure. */
export function createDatabaseCheck(db: Database, url: string, timeoutMs = CHECK_MS): DatabaseCheck {
  const { host } = db
  let client: DatabaseClient | undefined
  let pid: number | undefined

  async function look(): Promise<void> {
    if (client === undefined) {
      pid = undefined
      client = new DatabaseClient({ connectionString: url, application_name: 'dvt-relayer-check' })
      await client.connect()
    }
    const now = await assertWritable(createOrm(client, host), host)
    assertSameSession(pid ?? now, now, host)
    pid = now
    if (db.trouble() === undefined) return
    await untilWritten()
    db.troubleIsOver()
  }

  /** Sessions that were begun while the database took no writes stay so: each that is met is thrown away, see `runTransaction`. */
  async function untilWritten(): Promise<void> {
    for (let left = STALE_SESSIONS; ; left--) {
      try {
        return await probeWrite(db)
      } catch (error) {
        if (left === 0 || !(error instanceof DatabaseError) || error.code !== 'DATABASE_READ_ONLY') throw error
      }
    }
  }

  /** Also ends what still waits on it. */
  function drop(): Promise<void> {
    const dropped = client
    client = undefined
    return dropped?.end().catch(() => undefined) ?? Promise.resolve()
  }

  return {
    async check() {
      try {
        await withTimeout(
          look(),
          timeoutMs,
          () =>
            new DatabaseError(
              'DATABASE_TIMEOUT',
              `the database has not answered within ${Math.round(timeoutMs / 1000)} s`,
              { meta: { host } },
            ),
        )
      } catch (error) {
        void drop()
        throw translateDatabaseError(error, host)
      }
    },
    [Symbol.asyncDispose]: drop,
  }
}

/**
 * Writes as work does, some pages, and takes it back: what a full disk or a database without writes refuses.
 *
 * @throws {DatabaseError}
 */
async function probeWrite(db: Pick<Database, 'transaction'>): Promise<void> {
  const done = new Error('written')
  try {
    await db.transaction(async (tx) => {
      await tx.execute(sql`
        insert into checkpoints (name, value)
        select 'probe', to_json(string_agg(md5(random()::text), '')) from generate_series(1, 1000)`)
      throw done
    })
  } catch (error) {
    if (error !== done) throw error
  }
}
