/** What every query needs: something to run on, and JavaScript values as parameters. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { AnyPgColumn } from 'drizzle-orm/pg-core'
import type { Orm } from '../orm.ts'

/** A database or a transaction. */
export type Sql = Orm

/** The same bytes as what `bytea` columns take. */
export const asBuffer = (value: Uint8Array): Buffer => Buffer.from(value.buffer, value.byteOffset, value.byteLength)

/** A JavaScript array as one PostgreSQL array parameter. */
export const bytesArray = (values: readonly Uint8Array[]): SQL => sql`${sql.param(values.map(asBuffer))}::bytea[]`

/** Numbers as one `bigint[]` parameter. */
export const numberArray = (values: readonly number[]): SQL => sql`${sql.param([...values])}::bigint[]`

/** Texts as one `text[]` parameter. */
export const textArray = (values: readonly (string | null)[]): SQL => sql`${sql.param([...values])}::text[]`

/** Bytes as one `bytea` parameter. */
export const bytesParam = (value: Uint8Array): SQL => sql`${sql.param(asBuffer(value))}::bytea`

/** Whether a column is one of many values: one parameter, where drizzle's `inArray` makes one for each of them. */
export const isAny = (column: AnyPgColumn, values: SQL): SQL => sql`${column} = any(${values})`

/**
 * A condition that always holds, and has the commit of this statement, or transaction, not wait for the disk: for rows that are kept for
 * seconds alone. Should PostgreSQL itself die, it may have forgotten those of its last half second; the end of a relayer loses none.
 * https://www.postgresql.org/docs/current/wal-async-commit.html
 */
export const NEED_NOT_LAST = sql`(select set_config('synchronous_commit', 'off', true)) = 'off'`
