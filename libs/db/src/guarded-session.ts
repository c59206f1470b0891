/**
 * Drizzle's session with two things added, in the one place every query passes: errors are translated, and `bigint` columns
 * arrive as numbers, or not at all when they are not safe integers.
 */

import { sql } from 'drizzle-orm'
import { NodePgSession, NodePgTransaction } from 'drizzle-orm/node-postgres'
import type { PgDialect } from 'drizzle-orm/pg-core'
import type { PgPreparedQuery, PgTransactionConfig, PreparedQueryConfig } from 'drizzle-orm/pg-core/session'
import pg from 'pg'
import { DatabaseError, translateDatabaseError } from './errors.ts'

type NoSchema = Record<string, never>
export type Transaction = NodePgTransaction<NoSchema, NoSchema>

const INT8 = pg.types.builtins.INT8
const INT8_ARRAY = 1016

/** A PostgreSQL `bigint` as a number. @throws {DatabaseError} DATABASE_NUMBER_UNSAFE */
export function parseSafeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) {
    throw new DatabaseError('DATABASE_NUMBER_UNSAFE', 'the database holds a number above 2^53 − 1')
  }
  return value
}

const orNull = (text: string | null) => (text === null ? null : parseSafeInteger(text))

type Parser = (text: string) => unknown
type GetTypeParser = (oid: number, format?: string) => Parser
interface Typed {
  types: { getTypeParser: GetTypeParser }
}

/** Drizzle overrides the parsers of the pool with those of its own queries, so this is where ours must stand. */
function withSafeIntegers(config: Typed): void {
  const inner = config.types.getTypeParser
  config.types.getTypeParser = (oid, format) => {
    if (format === 'binary') return inner(oid, format)
    if (oid === INT8) return parseSafeInteger
    if (oid === INT8_ARRAY) return (text) => (inner(oid, format)(text) as (string | null)[]).map(orNull)
    return inner(oid, format)
  }
}

/** A session whose every query throws `DatabaseError` only. */
export class GuardedSession extends NodePgSession<NoSchema, NoSchema> {
  readonly #client: pg.Pool | pg.Client | pg.PoolClient
  readonly #dialect: PgDialect
  readonly #host: string

  constructor(client: pg.Pool | pg.Client | pg.PoolClient, dialect: PgDialect, host: string) {
    super(client, dialect, undefined)
    this.#client = client
    this.#dialect = dialect
    this.#host = host
  }

  override prepareQuery<T extends PreparedQueryConfig = PreparedQueryConfig>(
    ...args: Parameters<NodePgSession<NoSchema, NoSchema>['prepareQuery']>
  ): PgPreparedQuery<T> {
    const query = super.prepareQuery<T>(...args) as PgPreparedQuery<T> & { all(values?: object): Promise<T['all']> }
    const { rawQueryConfig, queryConfig } = query as unknown as { rawQueryConfig: Typed; queryConfig: Typed }
    withSafeIntegers(rawQueryConfig)
    withSafeIntegers(queryConfig)
    const execute = query.execute.bind(query)
    const all = query.all.bind(query)
    query.execute = (values) => this.#guard(() => execute(values))
    query.all = (values) => this.#guard(() => all(values))
    return query
  }

  override async transaction<T>(run: (tx: Transaction) => Promise<T>, config?: PgTransactionConfig): Promise<T> {
    if (!(this.#client instanceof pg.Pool)) return this.#transact(this, run, config)
    const pool = this.#client
    const client = await this.#guard(() => pool.connect())
    let broken = true
    try {
      const session = new GuardedSession(client, this.#dialect, this.#host)
      const result = await this.#transact(session, run, config, () => {
        broken = false
      })
      return result
    } finally {
      client.release(broken)
    }
  }

  async #transact<T>(
    session: GuardedSession,
    run: (tx: Transaction) => Promise<T>,
    config: PgTransactionConfig | undefined,
    ended?: () => void,
  ): Promise<T> {
    const tx: Transaction = new NodePgTransaction(this.#dialect, session, undefined)
    await tx.execute(sql`begin`)
    try {
      if (config !== undefined) await tx.setTransaction(config)
      const result = await run(tx)
      await tx.execute(sql`commit`)
      ended?.()
      return result
    } catch (error) {
      // The first error is the one that counts; a connection that cannot even roll back is thrown away.
      await tx.execute(sql`rollback`).then(ended, () => undefined)
      throw error
    }
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw translateDatabaseError(error, this.#host)
    }
  }
}
