/** Whose an exit is, and how many one requester may have: what is decided where exits are assigned. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { assignExits, ROTATION_REQUESTER } from '../../../apps/relayer/src/services/exits/assign.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const LIFETIME_SECONDS = 600
const configOf = (openExits = 100) => ({
  network: networks.hoodi,
  limits: { keys: 100, shares: 100, openExits },
  validatorLifetimeSeconds: LIFETIME_SECONDS,
})

type Validator = Awaited<ReturnType<MessageStore['addValidator']>>

/** Assigns exits to validators at the indexes from 10 on, as one request. */
const assign = ({ db }: MessageStore, validators: readonly Validator[], requester: string | null, openExits?: number) =>
  db.transaction((tx) => {
    const wanted = validators.map(({ id, publicKey }, position) => ({
      validatorId: id,
      publicKey,
      threshold: 1,
      validatorIndex: 10 + position,
    }))
    return assignExits(tx, configOf(openExits), wanted, 10, requester)
  })

const addMany = (store: MessageStore, count: number) =>
  Promise.all(Array.from({ length: count }, () => store.addValidator()))
const liveOf = async ({ query }: MessageStore, requester: string | null) =>
  (
    await query(sql`
      select from messages where state in ('collecting', 'ready') and requester is not distinct from ${requester}::text`)
  ).length

describe('the owner of an exit', () => {
  it.each([
    ['expired', 'collecting'],
    ['expired', 'ready'],
  ])('stays its owner when somebody without a name brings it back: %s, then %s', async (state, next) => {
    const store = await openMessages()
    const validator = await store.addValidator()
    const id = await store.addExit(validator.id, { index: 10, state: next, requester: 'first' })
    await store.query(sql`update messages set state = ${state} where id = ${id}`)
    expect(await assign(store, [validator], null)).toMatchObject({ created: 0, revived: 1, changed: [id] })
    expect(await store.message(id)).toMatchObject({ state: next, requester: 'first' })
    // So a third one that has a name is still refused, and the owner is not.
    await expect(assign(store, [validator], 'third')).rejects.toMatchObject({ code: 'EXIT_TAKEN' })
    expect(await assign(store, [validator], 'first')).toMatchObject({ created: 0, revived: 0 })
  })

  it('becomes who has a name and brings it back', async () => {
    const store = await openMessages()
    const validator = await store.addValidator()
    const id = await store.addExit(validator.id, { index: 10, state: 'expired', requester: 'first' })
    expect(await assign(store, [validator], 'second')).toMatchObject({ revived: 1 })
    expect(await store.message(id)).toMatchObject({ state: 'collecting', requester: 'second' })
  })

  it('stays its owner while somebody without a name polls it, and is whoever first has one', async () => {
    const store = await openMessages()
    const [owned, free] = await addMany(store, 2)
    if (owned === undefined || free === undefined) throw new Error('two were made')
    const ids = [
      await store.addExit(owned.id, { index: 10, requester: 'first' }),
      await store.addExit(free.id, { index: 11 }),
    ]
    const owners = () => Promise.all(ids.map(async (id) => (await store.message(id)).requester))
    expect(await assign(store, [owned, free], null)).toMatchObject({ created: 0, revived: 0, changed: [] })
    expect(await owners()).toEqual(['first', null])
    await assign(store, [owned, free], 'first')
    expect(await owners()).toEqual(['first', 'first'])
  })
})

describe('the limit of open exits', () => {
  it.each(['first', null])('is the last number that is taken, for %s', async (requester) => {
    const store = await openMessages()
    const validators = await addMany(store, 4)
    await assign(store, validators.slice(0, 3), requester, 3)
    expect(await liveOf(store, requester)).toBe(3)
    await expect(assign(store, validators, requester, 3)).rejects.toMatchObject({ code: 'TOO_MANY_EXITS' })
    expect(await liveOf(store, requester)).toBe(3)
    // A poll of what is there asks for nothing more, also where the limit is lower by now.
    expect(await assign(store, validators.slice(0, 3), requester, 1)).toMatchObject({ created: 0, revived: 0 })
    // Others have their own.
    expect(await assign(store, validators.slice(3), 'second', 3)).toMatchObject({ created: 1 })
  })

  it('counts what comes back', async () => {
    const store = await openMessages()
    const validators = await addMany(store, 3)
    await assign(store, validators, 'first', 3)
    await store.query(sql`update messages set state = 'expired' where validator_id = ${validators[0]?.id ?? 0}`)
    await expect(assign(store, validators, 'first', 2)).rejects.toMatchObject({ code: 'TOO_MANY_EXITS' })
    expect(await liveOf(store, 'first')).toBe(2)
  })

  it('is none of the rotations, however many validators they renew, and they take nothing of it from others', async () => {
    const store = await openMessages()
    const validators = await addMany(store, 6)
    expect(await assign(store, validators.slice(0, 4), ROTATION_REQUESTER, 1)).toMatchObject({ created: 4 })
    await store.query(sql`update messages set state = 'expired' where requester = ${ROTATION_REQUESTER}`)
    expect(await assign(store, validators.slice(0, 4), ROTATION_REQUESTER, 1)).toMatchObject({ revived: 4 })
    expect(await assign(store, validators.slice(4, 5), 'first', 1)).toMatchObject({ created: 1 })
    await expect(assign(store, validators.slice(5), 'first', 1)).rejects.toMatchObject({ code: 'TOO_MANY_EXITS' })
  })
})
