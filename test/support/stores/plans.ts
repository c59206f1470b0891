/** What PostgreSQL reads for a query, by the plan that it has carried out. */

import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type pg from 'pg'

interface Plan {
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  'Rows Removed by Join Filter'?: number
  Plans?: Plan[]
}

/** Rows of a table, or of all, that a plan has looked at. */
function rowsOf(plan: Plan, table: string | undefined): number {
  const name = plan['Relation Name']
  const own =
    name !== undefined && (table === undefined || name === table)
      ? (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0) + (plan['Rows Removed by Index Recheck'] ?? 0)) *
        plan['Actual Loops']
      : 0
  return own + (plan.Plans ?? []).reduce((sum, child) => sum + rowsOf(child, table), 0)
}

/** Rows that a plan has held against each other in vain. */
const comparedBy = (plan: Plan): number =>
  (plan['Rows Removed by Join Filter'] ?? 0) * plan['Actual Loops'] +
  (plan.Plans ?? []).reduce((sum, child) => sum + comparedBy(child), 0)

const EXPLAIN = 'explain (analyze, format json)'
const planOf = ([explained]: unknown[]): Plan[] =>
  explained === undefined ? [] : [(explained as { 'QUERY PLAN': [{ Plan: Plan }] })['QUERY PLAN'][0].Plan]

/** What was read by plans. */
const readBy = (plans: readonly Plan[]) => ({
  /** Of each query so far, how many rows of a table, or of all, it has read. */
  rowsRead: (table?: string): number[] => plans.map((plan) => rowsOf(plan, table)),
  /** Of each query so far, how many pairs of rows it has compared in vain: many where it joins all with all. */
  rowsCompared: (): number[] => plans.map(comparedBy),
})

/** A database that carries out each query twice, the first time to explain it. It takes SQL alone. */
export function createExplaining(db: Sql) {
  const plans: Plan[] = []
  const explaining = {
    async execute(query: SQL) {
      plans.push(...planOf((await db.execute(sql`${sql.raw(EXPLAIN)} ${query}`)).rows))
      return db.execute(query)
    },
  } as unknown as Sql
  return { db: explaining, ...readBy(plans) }
}

/** The same of a connection, for whatever statements drizzle builds on it. */
export function createExplainingClient<C extends pg.Client>(client: C) {
  const plans: Plan[] = []
  const query = async (statement: { text: string }, values: unknown[]) => {
    plans.push(...planOf((await client.query(`${EXPLAIN} ${statement.text}`, values)).rows))
    return client.query(statement, values)
  }
  const explaining = new Proxy(client, { get: (of, name) => (name === 'query' ? query : Reflect.get(of, name, of)) })
  return { client: explaining, ...readBy(plans) }
}
