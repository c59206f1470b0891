/** What every query needs: something to run SQL on, and rows with named columns. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'

/** A database or a transaction. */
export interface Sql {
  execute(query: SQL): Promise<{ rows: Record<string, unknown>[]; rowCount: number | null }>
}

/** Runs a query and returns its rows, their columns in camelCase: what SQL calls `share_index` is `shareIndex` from here on. */
export async function rows<T>(db: Sql, query: SQL): Promise<T[]> {
  const result = await db.execute(query)
  const [first] = result.rows
  if (first === undefined) return []
  const names = Object.keys(first).map((column) => [column, toCamelCase(column)] as const)
  return result.rows.map((row) => Object.fromEntries(names.map(([column, name]) => [name, row[column]])) as T)
}

const toCamelCase = (column: string): string =>
  column.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())

/** A JavaScript array as one PostgreSQL array parameter. */
export const bytesArray = (values: readonly Uint8Array[]): SQL =>
  sql`${sql.param(values.map((value) => Buffer.from(value.buffer, value.byteOffset, value.byteLength)))}::bytea[]`

/** Numbers as one `bigint[]` parameter. */
export const numberArray = (values: readonly number[]): SQL => sql`${sql.param([...values])}::bigint[]`

/** Texts as one `text[]` parameter. */
export const textArray = (values: readonly (string | null)[]): SQL => sql`${sql.param([...values])}::text[]`

/** Bytes as one `bytea` parameter. */
export const bytesParam = (value: Uint8Array): SQL =>
  sql`${sql.param(Buffer.from(value.buffer, value.byteOffset, value.byteLength))}::bytea`
