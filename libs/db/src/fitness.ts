/** Whether a database that answers can do the work: it takes writes, and each connection is a session of its own. */

import { sql } from 'drizzle-orm'
import type { DatabaseClient } from './client.ts'
import { DatabaseError, pooled } from './errors.ts'
import type { Orm } from './orm.ts'

const NO_SESSION = 'it hands one connection to several sessions, so that notifications and locks are lost'

/**
 * Sees that what runs here may write. Returns the number of the server's process behind the connection.
 *
 * @throws {DatabaseError} DATABASE_READ_ONLY, and what a query throws
 */
export async function assertWritable(on: Pick<Orm, 'execute'>, host: string): Promise<number> {
  const { rows } = await on.execute<{ pid: number; standby: boolean; read_only: boolean }>(
    sql`select pg_backend_pid() as pid, pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as read_only`,
  )
  const [state] = rows
  const readOnly = (words: string) => new DatabaseError('DATABASE_READ_ONLY', words, { meta: { host } })
  if (state?.standby === true)
    throw readOnly('the database is a hot standby, which takes no writes: name the primary, or make this one it')
  if (state?.read_only === true)
    throw readOnly('the database is set read-only (default_transaction_read_only), for all or for this user')
  return state?.pid ?? 0
}

/** The same session as before? @throws {DatabaseError} DATABASE_POOLED */
export function assertSameSession(before: number, now: number, host: string): void {
  if (before !== now) throw pooled(NO_SESSION, { host })
}

/**
 * Sees that two connections are two sessions, and the first still what it was after the second has been given one: a pooler that pools by
 * transaction or statement lends one connection of its own to both.
 *
 * @throws {DatabaseError} DATABASE_POOLED, and what connecting throws
 */
export async function assertOwnSessions(open: () => Promise<DatabaseClient>, host: string): Promise<void> {
  const opened: DatabaseClient[] = []
  try {
    const [one, other] = [await open().then(keep), await open().then(keep)]
    const first = await pidOf(one)
    // Holds what the first has left, where there is a pooler.
    await other.query('begin')
    if ((await pidOf(other)) === first) throw pooled(NO_SESSION, { host })
    assertSameSession(first, await pidOf(one), host)
  } finally {
    await Promise.all(opened.map((client) => client.end().catch(() => undefined)))
  }

  function keep(client: DatabaseClient): DatabaseClient {
    opened.push(client)
    return client
  }
}

async function pidOf(client: DatabaseClient): Promise<number> {
  const { rows } = (await client.query('select pg_backend_pid() as pid')) as { rows: { pid: number }[] }
  return rows[0]?.pid ?? 0
}
