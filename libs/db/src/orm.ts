/** Drizzle on a connection or a pool of them, and transactions. */

import { is, sql } from 'drizzle-orm'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import { drizzle } from 'drizzle-orm/node-postgres'
import { PgInsertBuilder, PgSelectBuilder, PgUpdateBuilder } from 'drizzle-orm/pg-core'
import type pg from 'pg'
import { type DatabaseError, isPassing, translateDatabaseError } from './errors.ts'

/** What statements run on: drizzle's builder over `schema.ts`, and `execute` for SQL. */
export type Orm = Pick<NodePgDatabase, 'execute' | 'select' | 'insert' | 'update' | 'delete'>

/** Drizzle on this connection, or on any one of this pool for each statement. Every statement fails with `DatabaseError` only. */
export function createOrm(
  client: pg.Pool | pg.Client | pg.PoolClient,
  host: string,
  onFailure: OnFailure = () => {},
): NodePgDatabase {
  return guard(drizzle(client), host, onFailure)
}

/** Told of every statement that fails. */
export type OnFailure = (error: DatabaseError) => void

/**
 * The same builder, whose statements fail with `DatabaseError` only.
 *
 * Whatever the client throws drizzle wraps in an error that prints the statement and every parameter, signatures too, and it has no
 * option against that. A statement begins to run in a method `execute` (awaiting it calls that), so there the wrapping is taken off.
 */
function guard<T extends object>(target: T, host: string, onFailure: OnFailure): T {
  return new Proxy(target, {
    get(of, name, receiver) {
      const value: unknown = Reflect.get(of, name, receiver)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const result: unknown = value.apply(receiver, args)
        if (name === 'execute' && result instanceof Promise) {
          return result.catch((error: unknown) => {
            const translated = translateDatabaseError(error, host)
            onFailure(translated)
            throw translated
          })
        }
        return result !== receiver && isStatement(result) ? guard(result, host, onFailure) : result
      }
    },
  })
}

/** Whether this is a statement, prepared or not, or the beginning of one. */
function isStatement(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  return 'execute' in value || is(value, PgSelectBuilder) || is(value, PgInsertBuilder) || is(value, PgUpdateBuilder)
}

/** Whether a transaction is rolled back and its connection good for another one. */
async function isRolledBack(tx: Orm, error: unknown): Promise<boolean> {
  // A connection that gave no answer gives none to this either, and whoever waits would wait twice as long.
  if (isPassing(error) && error.code === 'DATABASE_UNREACHABLE') return false
  const isDone = await tx.execute(sql`rollback`).then(
    () => true,
    () => false,
  )
  // One that was made while the database was read-only stays so.
  return isDone && !isPassing(error)
}

/**
 * Runs `work` in a transaction on a connection of the pool. The first error is the one that counts, and a connection that cannot even
 * roll back is thrown away: drizzle's own `transaction` does neither.
 */
export async function runTransaction<T>(
  pool: pg.Pool,
  host: string,
  onFailure: OnFailure,
  work: (tx: Orm) => Promise<T>,
): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    const translated = translateDatabaseError(error, host)
    onFailure(translated)
    throw translated
  })
  let isUsable = false
  try {
    const tx = createOrm(client, host, onFailure)
    await tx.execute(sql`begin`)
    try {
      const result = await work(tx)
      await tx.execute(sql`commit`)
      isUsable = true
      return result
    } catch (error) {
      isUsable = await isRolledBack(tx, error)
      throw error
    }
  } finally {
    client.release(!isUsable)
  }
}
