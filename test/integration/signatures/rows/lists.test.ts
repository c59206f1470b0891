/** What the lists for sidecars read: each row whole, in the order of changes, beside others that differ from it in one thing each. */

import { findChangedExits, findChangedValidators, findNewestRevision } from '@dvt-relayer/db/queries/messages/lists.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'

const START = { revision: 0, messageId: 0 }
const VAULT = Buffer.alloc(20, 7)

async function openLists() {
  const store = await openMessages()
  const { query, addExit, addDeposit } = store
  /** The revision of a message, and when it was asked for in Unix seconds, and some of a second. */
  async function changed(messageId: number, revision: number, createdAt = 1000 + revision): Promise<number> {
    await query(sql`
      update messages set revision = ${revision}, created_at = to_timestamp(${createdAt + 0.9}::float8) where id = ${messageId}`)
    return messageId
  }
  return {
    ...store,
    exit: async (validatorId: number, revision: number, state = 'collecting') =>
      changed(await addExit(validatorId, { state, index: 100 + revision }), revision),
    deposit: async (validatorId: number, revision: number, state = 'collecting') =>
      changed(await addDeposit(validatorId, { state, vault: VAULT, gwei: revision, type: '0x02' }), revision),
    changed,
    /** What was sent for a message, as in `verified 1, rejected 2`. */
    async send(messageId: number, sent: string) {
      for (const [position, candidate] of sent.split(', ').entries()) {
        const [state, index] = candidate.split(' ')
        await query(sql`
          insert into partial_signatures (message_id, share_index, digest, sealed, state)
          values (${messageId}, ${Number(index)}, ${Buffer.alloc(32, position)}, ${state === 'rejected' ? null : Buffer.of(1)}, ${state})`)
      }
    },
  }
}

it('the newest revision of a list is that of the messages of its kinds, also of those that have ended', async () => {
  const { db, addValidator, exit, deposit } = await openLists()
  expect(await findNewestRevision(db, ['exit', 'deposit'])).toBe(0)
  const { id } = await addValidator()
  await exit(id, 5, 'expired')
  await exit(id, 3)
  await deposit(id, 9, 'superseded')
  await deposit(id, 2)
  expect(await findNewestRevision(db, ['exit'])).toBe(5)
  expect(await findNewestRevision(db, ['exit', 'deposit'])).toBe(9)
})

describe('exits', () => {
  async function openExits() {
    const lists = await openLists()
    const { addValidator, exit, deposit, send } = lists
    const [a, b, c, d] = [await addValidator(), await addValidator(), await addValidator(), await addValidator()]
    const [second, first, third, over] = [
      await exit(a.id, 5, 'ready'),
      await exit(b.id, 3),
      await exit(c.id, 5),
      await exit(d.id, 6, 'expired'),
    ]
    await send(await deposit(a.id, 4), 'verified 3')
    await send(second, 'verified 1, verified 2')
    await send(first, 'verified 1, unverified 2, unverified 2, rejected 2, rejected 10, rejected 4')
    await send(over, 'unverified 1')
    const none = { verified: null, unverified: null, rejected: null }
    const listed = { isListed: true, isReady: false, ...none }
    const row = (id: number, { publicKey }: { publicKey: Uint8Array }, revision: number) => ({
      ...{ id, messageId: id, revision, publicKey: Buffer.from(publicKey) },
      ...{ validatorIndex: 100 + revision, createdAtSeconds: 1000 + revision },
    })
    return {
      ...lists,
      first: { ...row(first, b, 3), ...listed, verified: '1', unverified: '2', rejected: '10,2,4' },
      second: { ...row(second, a, 5), ...listed, isReady: true, verified: '1,2' },
      third: { ...row(third, c, 5), ...listed },
      over: { ...row(over, d, 6), ...listed, isListed: false },
    }
  }

  it('are all that are live at the start, and what changed after a row from then on, the ended ones too', async () => {
    const { db, first, second, third, over } = await openExits()
    expect(await findChangedExits(db, START, 9)).toEqual([first, second, third])
    expect(await findChangedExits(db, START, 2)).toEqual([first, second])
    expect(await findChangedExits(db, { revision: 1, messageId: 0 }, 9)).toEqual([first, second, third, over])
    expect(await findChangedExits(db, second, 9)).toEqual([third, over])
    expect(await findChangedExits(db, over, 9)).toEqual([])
  })
})

describe('validators', () => {
  it('are those with both messages, with the later of the two, and a share index counts by both its signatures', async () => {
    const { db, addValidator, exit, deposit, send, query, changed } = await openLists()
    const add = async () => await addValidator()
    const [both, given, alone, left, over] = [await add(), await add(), await add(), await add(), await add()]
    const [exitReady, depositReady, ready] = [await add(), await add(), await add()]
    const [exitOfBoth, depositOfBoth] = [await exit(both.id, 3), await deposit(both.id, 4)]
    await changed(exitOfBoth, 3, 2000)
    await send(exitOfBoth, 'verified 1, verified 2, unverified 3, rejected 3, verified 4')
    await send(depositOfBoth, 'verified 1, unverified 2, rejected 5, rejected 4')
    const exitOfGiven = await exit(given.id, 6)
    const depositOfGiven = await deposit(given.id, 7, 'ready')
    await query(sql`
      insert into lock_deposits (validator_id, vault, validator_type, amount_gwei, signature)
      values (${given.id}, ${VAULT}, '0x02', 7, ${Buffer.alloc(96)})`)
    await send(exitOfGiven, 'verified 1, unverified 2')
    await send(depositOfGiven, 'rejected 1, verified 2')
    await send(await exit(alone.id, 5), 'verified 1, unverified 2')
    await send(await deposit(left.id, 8), 'verified 1, rejected 2')
    await send(await exit(left.id, 9, 'expired'), 'verified 1')
    await exit(over.id, 10)
    await deposit(over.id, 11, 'expired')
    await exit(exitReady.id, 12, 'ready')
    await deposit(exitReady.id, 13)
    await exit(depositReady.id, 14)
    await deposit(depositReady.id, 15, 'ready')
    await exit(ready.id, 16, 'ready')
    await deposit(ready.id, 17, 'ready')

    const ids = new Map(
      (
        await query<{ revision: number; id: number }>(
          sql`select revision::int as revision, id::int as id from messages`,
        )
      ).map(({ revision, id }) => [revision, id]),
    )
    const row = ({ id, publicKey }: { id: number; publicKey: Uint8Array }, revision: number) => ({
      ...{ id, revision, messageId: ids.get(revision), publicKey: Buffer.from(publicKey) },
    })
    const none = { verified: null, unverified: null, rejected: null }
    /** A validator as its two messages of these revisions show it. */
    const listed = (
      of: Parameters<typeof row>[0],
      revision: number,
      [exitAt, depositAt]: readonly [number, number],
    ) => ({
      ...{ ...row(of, revision), isListed: true, isReady: false, validatorIndex: 100 + exitAt, ...none },
      ...{ vault: VAULT, amountGwei: depositAt, validatorType: '0x02', createdAtSeconds: 1000 + depositAt },
    })
    const gone = (of: Parameters<typeof row>[0], revision: number) =>
      expect.objectContaining({ ...row(of, revision), isListed: false, ...none })
    const sorted = (text: string | null) => text?.split(',').toSorted().join() ?? null
    const find = async (after: typeof START, limit = 99) =>
      (await findChangedValidators(db, after, limit)).map((found) => ({
        ...found,
        ...{ verified: sorted(found.verified), unverified: sorted(found.unverified), rejected: sorted(found.rejected) },
      }))
    const sentOfBoth = { createdAtSeconds: 2000, verified: '1', unverified: '2,3', rejected: '3,4,5' }
    const sentOfGiven = { verified: '1', unverified: '2' }
    const rows = [
      { ...listed(both, 3, [3, 4]), ...sentOfBoth },
      { ...listed(both, 4, [3, 4]), ...sentOfBoth },
      { ...listed(given, 6, [6, 7]), ...sentOfGiven },
      { ...listed(given, 7, [6, 7]), ...sentOfGiven },
      gone(left, 8),
      listed(exitReady, 12, [12, 13]),
      listed(exitReady, 13, [12, 13]),
      listed(depositReady, 14, [14, 15]),
      listed(depositReady, 15, [14, 15]),
      { ...listed(ready, 16, [16, 17]), isReady: true },
      { ...listed(ready, 17, [16, 17]), isReady: true },
    ]
    expect(await find(START)).toEqual(rows)
    expect(await find(START, 3)).toEqual(rows.slice(0, 3))
    const changes = [
      ...rows.slice(0, 2),
      gone(alone, 5),
      ...rows.slice(2, 5),
      gone(left, 9),
      gone(over, 10),
      gone(over, 11),
      ...rows.slice(5),
    ]
    expect(await find({ revision: 1, messageId: 0 })).toEqual(changes)
    expect(await find({ revision: 4, messageId: ids.get(4) ?? 0 })).toEqual(changes.slice(2))
    expect(await find({ revision: 4, messageId: (ids.get(4) ?? 0) - 1 })).toEqual(changes.slice(1))
  })
})
