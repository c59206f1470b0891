import { sql } from 'drizzle-orm'
import type pg from 'pg'
import { expect, it } from 'vitest'
import { DatabaseError } from './errors.ts'
import { runTransaction } from './orm.ts'

/** A transaction whose statement fails so: what was sent, and whether its connection was kept. */
async function failing(error: Error) {
  const sent: string[] = []
  let isKept: boolean | undefined
  const client = {
    async query({ text }: { text: string }) {
      sent.push(text)
      if (text === 'select 1') throw error
      return { rows: [] }
    },
    release(isBad: boolean) {
      isKept = !isBad
    },
  }
  const pool = { connect: async () => client } as unknown as pg.Pool
  const work = runTransaction(
    pool,
    'host',
    () => {},
    (tx) => tx.execute(sql`select 1`).then(() => undefined),
  )
  await expect(work).rejects.toThrow()
  return { sent, isKept }
}

it('rolls back what fails, and keeps its connection', async () => {
  const error = new DatabaseError('DATABASE_CHECK_VIOLATION', 'wrong')
  expect(await failing(error)).toEqual({ sent: ['begin', 'select 1', 'rollback'], isKept: true })
})

it('waits for no second answer of a connection that gave none', async () => {
  expect(await failing(new Error('Query read timeout'))).toEqual({ sent: ['begin', 'select 1'], isKept: false })
})
