/** What tests of imports share: that one waits for the import under way. */

import { lockClusterImport } from '@dvt-relayer/db/queries/clusters.ts'
import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import type { MessageStore } from '../stages/messages.ts'

/** The order in which `work` and an import that is under way when it begins come to their ends. */
export async function orderBeside({ db, query }: Pick<MessageStore, 'db' | 'query'>, work: () => Promise<unknown>) {
  const order: string[] = []
  const waiting = async () =>
    (
      await query(sql`select from pg_locks where locktype = 'advisory' and not granted
                      and database = (select oid from pg_database where datname = current_database())`)
    ).length
  const { second } = await db.transaction(async (tx) => {
    await lockClusterImport(tx)
    const second = work().then(() => order.push('second'))
    await expect.poll(async () => order.length + (await waiting())).toBe(1)
    order.push('first')
    return { second }
  })
  await second
  return order
}
