/**
 * Rows of raw SQL. Each query says by a small table which columns it returns; the rows' type follows from the table, and the table
 * is held against the columns that PostgreSQL really sent.
 */

import type { SQL } from 'drizzle-orm'
import { DatabaseError } from '../errors.ts'
import type { Sql } from './sql.ts'

/** A column: the PostgreSQL types it may be of, and what it is here. */
interface Column<T> {
  readonly oids: readonly number[]
  /** Never there: it carries the type. */
  readonly value?: T
}

/** The columns of a query, by the names that its rows have here. */
export type Columns = Readonly<Record<string, Column<unknown>>>

/** A row of these columns. */
export type RowOf<C extends Columns> = { -readonly [Name in keyof C]: C[Name] extends Column<infer T> ? T : never }

/** `bigint`, `integer` or `double precision`. Not `numeric`: that arrives as text. */
export const number: Column<number> = { oids: [20, 23, 701] }
/** `bytea`. */
export const bytes: Column<Buffer> = { oids: [17] }
/** `bytea[]`. */
export const bytesList: Column<Buffer[]> = { oids: [1001] }
/** `text`. */
export const text: Column<string> = { oids: [25] }
/** `boolean`. */
export const boolean: Column<boolean> = { oids: [16] }
/** `jsonb`. */
export const json: Column<unknown> = { oids: [3802] }
/** `text` that is one of a few words. */
export const oneOf = <Word extends string>(): Column<Word> => text as Column<Word>
/** A column that may be null. */
export const orNull = <T>(column: Column<T>): Column<T | null> => column

/**
 * Runs a query and returns its rows, their columns in camelCase: what SQL calls `share_index` is `shareIndex` from here on.
 *
 * @throws {DatabaseError} DATABASE_QUERY_INVALID where the query returns other columns than it says
 */
export async function rows<C extends Columns>(db: Sql, columns: C, query: SQL): Promise<RowOf<C>[]> {
  const result = await db.execute(query)
  const sent = result.fields.map(({ name }) => name)
  const names = namesOf(columns, result.fields)
  return result.rows.map((row) => {
    const named: Record<string, unknown> = {}
    // By index: this runs for every value of lists with thousands of rows.
    for (let i = 0; i < names.length; i++) named[names[i] as string] = row[sent[i] as string]
    return named as RowOf<C>
  })
}

/** The first row, if there is one. */
export async function firstRow<C extends Columns>(db: Sql, columns: C, query: SQL): Promise<RowOf<C> | undefined> {
  const [row] = await rows(db, columns, query)
  return row
}

/** The row of a statement that always has one: a count, or whether there is something. */
export async function oneRow<C extends Columns>(db: Sql, columns: C, query: SQL): Promise<RowOf<C>> {
  const row = await firstRow(db, columns, query)
  if (row === undefined) throw new Error(`no row where there is always one, of ${Object.keys(columns)}`)
  return row
}

/** The names of the columns that were sent, which are those that were said and of their types. */
function namesOf(columns: Columns, fields: readonly { name: string; dataTypeID: number }[]): string[] {
  const names = fields.map((field) => {
    const name = toCamelCase(field.name)
    if (columns[name]?.oids.includes(field.dataTypeID) === true) return name
    throw wrongColumn(name, `of type ${field.dataTypeID}`)
  })
  if (new Set(names).size < names.length) throw wrongColumn(String(names), 'twice')
  for (const name of Object.keys(columns)) if (!names.includes(name)) throw wrongColumn(name, 'not at all')
  return names
}

const wrongColumn = (name: string, how: string): DatabaseError =>
  new DatabaseError('DATABASE_QUERY_INVALID', `a query returns ${name} ${how}, and says otherwise`)

const toCamelCase = (column: string): string =>
  column.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
