/** What PostgreSQL reads for a query, by the plan that it has carried out. */

import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'

interface Plan {
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  'Rows Removed by Join Filter'?: number
  Plans?: Plan[]
}

/** Rows of a table that a plan has looked at. */
function rowsOf(plan: Plan, table: string): number {
  const own =
    plan['Relation Name'] === table
      ? (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0) + (plan['Rows Removed by Index Recheck'] ?? 0)) *
        plan['Actual Loops']
      : 0
  return own + (plan.Plans ?? []).reduce((sum, child) => sum + rowsOf(child, table), 0)
}

/** Rows that a plan has held against each other in vain. */
const comparedBy = (plan: Plan): number =>
  (plan['Rows Removed by Join Filter'] ?? 0) * plan['Actual Loops'] +
  (plan.Plans ?? []).reduce((sum, child) => sum + comparedBy(child), 0)

/** A database that carries out each query twice, the first time to explain it. */
export function createExplaining(db: Sql) {
  const plans: Plan[] = []
  const explaining = {
    async execute(query: SQL) {
      const { rows } = await db.execute(sql`explain (analyze, format json) ${query}`)
      const [explained] = rows as { 'QUERY PLAN': [{ Plan: Plan }] }[]
      if (explained !== undefined) plans.push(explained['QUERY PLAN'][0].Plan)
      return db.execute(query)
    },
  } as unknown as Sql
  return {
    db: explaining,
    /** Of each query so far, how many rows of a table it has read. */
    rowsRead: (table: string): number[] => plans.map((plan) => rowsOf(plan, table)),
    /** Of each query so far, how many pairs of rows it has compared in vain: many where it joins all with all. */
    rowsCompared: (): number[] => plans.map(comparedBy),
  }
}
