/** Whose an exit is, and how many one requester may have: what is decided where exits are assigned, of keys that may be asked for. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import {
  assignExits,
  MANY_VAULTS,
  ROTATION_REQUESTER,
  requesterOf,
  requesterOfVault,
} from '../../../apps/relayer/src/services/exits/assign.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const LIFETIME_SECONDS = 600
const configOf = (openExits = 100) => ({
  network: networks.hoodi,
  limits: { keys: 100, shares: 100, openExits },
  validatorLifetimeSeconds: LIFETIME_SECONDS,
})

const [FIRST, SECOND] = [new Uint8Array(20).fill(1), new Uint8Array(20).fill(2)]
const [first, second] = [requesterOfVault(FIRST), requesterOfVault(SECOND)]

type Validator = Awaited<ReturnType<MessageStore['addValidator']>>

/** Assigns exits to validators at the indexes from 10 on, or from another one, as one request. */
const assign = (
  { db }: MessageStore,
  validators: readonly Validator[],
  requester: string | null,
  openExits?: number,
  from = 10,
) =>
  db.transaction((tx) => {
    const wanted = validators.map(({ id, publicKey }, position) => ({
      validatorId: id,
      publicKey,
      threshold: 1,
      validatorIndex: from + position,
      requester,
    }))
    return assignExits(tx, configOf(openExits), wanted, 10)
  })

const addMany = (store: MessageStore, count: number) =>
  Promise.all(Array.from({ length: count }, () => store.addValidator()))
const liveOf = async ({ query }: MessageStore, requester: string | null) =>
  (
    await query(sql`
      select from messages where state in ('collecting', 'ready') and requester is not distinct from ${requester}::text`)
  ).length

describe('the requester', () => {
  const of = (vaults: Uint8Array[] | undefined, owner: Uint8Array | null = null, name: string | null = 'any name') =>
    requesterOf({ name, vaults }, owner)

  it('is a vault, whatever the token is called and however many there are of it', () => {
    expect(of([FIRST])).toBe(first)
    expect(of([FIRST, FIRST.slice()], null, 'another name')).toBe(first)
    // Of a key that has a vault it is that one, also where the token is for more.
    expect(of([SECOND, FIRST], FIRST)).toBe(first)
  })

  it('is one for all who may ask for many vaults, and nobody where no tokens are set', () => {
    expect(of(undefined)).toBe(MANY_VAULTS)
    expect(of(undefined, FIRST)).toBe(MANY_VAULTS)
    expect(of([SECOND, FIRST])).toBe(MANY_VAULTS)
    expect(of(undefined, FIRST, null)).toBeNull()
  })
})

describe('the owner of an exit', () => {
  it.each([
    ['expired', 'collecting', null],
    ['expired', 'ready', null],
    ['expired', 'collecting', MANY_VAULTS],
    ['expired', 'ready', MANY_VAULTS],
  ])('stays its owner when somebody without a vault brings it back: %s, then %s, by %s', async (state, next, other) => {
    const store = await openMessages()
    const validator = await store.addValidator()
    const id = await store.addExit(validator.id, { index: 10, state: next, requester: first })
    await store.query(sql`update messages set state = ${state} where id = ${id}`)
    expect(await assign(store, [validator], other)).toMatchObject({ created: 0, revived: 1, changed: [id] })
    expect(await store.message(id)).toMatchObject({ state: next, requester: first })
    // At another index it is the owner's still.
    await expect(assign(store, [validator], other, 100, 11)).rejects.toMatchObject({ code: 'EXIT_TAKEN' })
    expect(await assign(store, [validator], first)).toMatchObject({ created: 0, revived: 0 })
  })

  it('becomes the vault that brings it back', async () => {
    const store = await openMessages()
    const validator = await store.addValidator()
    const id = await store.addExit(validator.id, { index: 10, state: 'expired', requester: first })
    expect(await assign(store, [validator], second)).toMatchObject({ revived: 1 })
    expect(await store.message(id)).toMatchObject({ state: 'collecting', requester: second })
  })

  it('stays its owner while somebody without a vault polls it, and is the vault that asks', async () => {
    const store = await openMessages()
    const [owned, free] = await addMany(store, 2)
    if (owned === undefined || free === undefined) throw new Error('two were made')
    const ids = [
      await store.addExit(owned.id, { index: 10, requester: first }),
      await store.addExit(free.id, { index: 11 }),
    ]
    const owners = () => Promise.all(ids.map(async (id) => (await store.message(id)).requester))
    expect(await assign(store, [owned, free], null)).toMatchObject({ created: 0, revived: 0, changed: [] })
    expect(await owners()).toEqual([first, null])
    await assign(store, [owned, free], MANY_VAULTS)
    expect(await owners()).toEqual([first, MANY_VAULTS])
    await assign(store, [owned, free], first)
    expect(await owners()).toEqual([first, first])
  })

  it.each([
    ['the name of a token, as earlier versions wrote it', 'operator-1'],
    ['whoever may ask for many vaults', MANY_VAULTS],
    ['nobody', null],
    ['a vault that had the key before', second],
  ])('gives way to the vault that may ask, at any index: %s', async (_, before) => {
    const store = await openMessages()
    const [same, moved] = await addMany(store, 2)
    if (same === undefined || moved === undefined) throw new Error('two were made')
    const kept = await store.addExit(same.id, { index: 10, requester: before })
    const replaced = await store.addExit(moved.id, { index: 12, requester: before })
    expect(await assign(store, [same, moved], first)).toMatchObject({ created: 1, superseded: 1 })
    expect(await store.message(kept)).toMatchObject({ state: 'collecting', requester: first })
    expect(await store.message(replaced)).toMatchObject({ state: 'superseded' })
    expect(await liveOf(store, first)).toBe(2)
  })

  it('is nobody to those without a vault where it is no vault', async () => {
    const store = await openMessages()
    for (const [before, asking] of [
      ['operator-1', MANY_VAULTS],
      ['operator-1', null],
      [MANY_VAULTS, null],
      [null, MANY_VAULTS],
    ]) {
      const validator = await store.addValidator()
      await store.addExit(validator.id, { index: 12, requester: before ?? null })
      expect(await assign(store, [validator], asking ?? null)).toMatchObject({ created: 1, superseded: 1 })
    }
  })
})

describe('the limit of open exits', () => {
  it.each([first, null])('is the last number that is taken, for %s', async (requester) => {
    const store = await openMessages()
    const validators = await addMany(store, 4)
    await assign(store, validators.slice(0, 3), requester, 3)
    expect(await liveOf(store, requester)).toBe(3)
    await expect(assign(store, validators, requester, 3)).rejects.toMatchObject({ code: 'TOO_MANY_EXITS' })
    expect(await liveOf(store, requester)).toBe(3)
    // A poll of what is there asks for nothing more, also where the limit is lower by now.
    expect(await assign(store, validators.slice(0, 3), requester, 1)).toMatchObject({ created: 0, revived: 0 })
    // Others have their own.
    expect(await assign(store, validators.slice(3), second, 3)).toMatchObject({ created: 1 })
  })

  it('counts what comes back', async () => {
    const store = await openMessages()
    const validators = await addMany(store, 3)
    await assign(store, validators, first, 3)
    await store.query(sql`update messages set state = 'expired' where validator_id = ${validators[0]?.id ?? 0}`)
    await expect(assign(store, validators, first, 2)).rejects.toMatchObject({ code: 'TOO_MANY_EXITS' })
    expect(await liveOf(store, first)).toBe(2)
  })

  it('is none of the rotations, however many validators they renew, and they take nothing of it from others', async () => {
    const store = await openMessages()
    const validators = await addMany(store, 6)
    expect(await assign(store, validators.slice(0, 4), ROTATION_REQUESTER, 1)).toMatchObject({ created: 4 })
    await store.query(sql`update messages set state = 'expired' where requester = ${ROTATION_REQUESTER}`)
    expect(await assign(store, validators.slice(0, 4), ROTATION_REQUESTER, 1)).toMatchObject({ revived: 4 })
    expect(await assign(store, validators.slice(4, 5), first, 1)).toMatchObject({ created: 1 })
    await expect(assign(store, validators.slice(5), first, 1)).rejects.toMatchObject({ code: 'TOO_MANY_EXITS' })
  })
})
