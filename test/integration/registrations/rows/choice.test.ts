/** What a vault that asks for keys has already, and what is done, counted and told where it has not. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import {
  type ChosenKey,
  createKeyChoice,
  findChosen,
} from '../../../../apps/relayer/src/services/registrations/choose-keys.ts'
import { createKeysOnChain } from '../../../../apps/relayer/src/services/registrations/keys-on-chain.ts'
import { openMessages } from '../../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(1)
const HOUR = 3600
const ETH32 = 32e9

interface Asked {
  startIndex?: number
  amountsGwei?: number[]
  validatorType?: '0x01' | '0x02'
  requester?: string
}
type Choice = Parameters<typeof findChosen>[1]

/** A vault that was given its three keys, each with an exit from index 7 on and a deposit. */
async function openChoice() {
  const store = await openMessages()
  await store.query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3)`)
  let place = 0
  const add = async () => {
    const { id } = await store.addValidator()
    await store.query(sql`update validators set cluster_id = 1, place = ${place++} where id = ${id}`)
    return id
  }
  const seen = { announced: 0, told: [] as unknown[], paid: [] as number[] }
  let refusal: Error | undefined
  const context = {
    config: { network: networks.hoodi, limits: { keys: 10, openExits: 10 }, validatorLifetimeSeconds: HOUR },
    db: store.db,
    events: { registrationsAssigned: (counts: object, requester: string) => seen.told.push({ ...counts, requester }) },
    announced: () => seen.announced++,
    messageRate: {
      assert: (_: string, messages: number) => {
        seen.paid.push(messages)
        if (refusal !== undefined) throw refusal
      },
    },
  } as unknown as Parameters<typeof createKeyChoice>[0]
  const { choose } = createKeyChoice(context)
  const absent = async (of: readonly Uint8Array[]) => of.map(() => false)
  const view = { isRegistered: absent } as unknown as Parameters<typeof createKeysOnChain>[0]
  const choiceOf = ({ requester = 'vault:1', ...asked }: Asked): Choice => ({
    request: {
      ...{ vault: VAULT, startIndex: 7, amountsGwei: [ETH32, ETH32, ETH32], validatorType: '0x01', caller: null },
      ...asked,
    },
    requester,
    nextIndex: 7,
    onChain: createKeysOnChain(view, { knownKeys: absent }),
  })
  const validators = [await add(), await add(), await add()]
  const first = await choose(choiceOf({}))
  expect(seen).toEqual({
    announced: 1,
    told: [{ reserved: 3, exits: 3, deposits: 3, requester: 'vault:1' }],
    paid: [6],
  })
  return {
    ...store,
    add,
    validators,
    first,
    poll: (asked: Asked = {}) => findChosen(context, choiceOf(asked)),
    choose: (asked: Asked = {}, more: Partial<Choice> = {}) => choose({ ...choiceOf(asked), ...more }),
    /** What was announced, told and paid since it was last asked. */
    seen() {
      const { announced, told, paid } = seen
      Object.assign(seen, { announced: 0, told: [], paid: [] })
      return { announced, told, paid }
    },
    refuseWith(error: Error) {
      refusal = error
    },
    live: () =>
      store.query<object>(sql`
        select kind, validator_index::int as index, amount_gwei::float8 as gwei, validator_type as type, requester from messages
        where state = 'collecting' order by kind desc, validator_index, validator_id`),
  }
}
type Chosen = Awaited<ReturnType<typeof openChoice>>

const expire = ({ query }: Chosen, id: number) => query(sql`update messages set state = 'expired' where id = ${id}`)
const end = ({ query }: Chosen, id: number) => query(sql`update messages set state = 'superseded' where id = ${id}`)
const forget = ({ query }: Chosen, id: number) =>
  query(sql`update messages set requested_at = now() - interval '2 hours' where id = ${id}`)

describe('the same again', () => {
  it('is what there is, also where it is the first of them alone', async () => {
    const chosen = await openChoice()
    expect(await chosen.poll()).toEqual(chosen.first)
    expect(await chosen.poll({ amountsGwei: [ETH32] })).toEqual(chosen.first.slice(0, 1))
    expect(await chosen.choose()).toEqual(chosen.first)
    expect(await chosen.live()).toEqual([
      ...[7, 8, 9].map((index) => ({ kind: 'exit', index, gwei: null, type: null, requester: 'vault:1' })),
      ...[1, 2, 3].map(() => ({ kind: 'deposit', index: null, gwei: ETH32, type: '0x01', requester: 'vault:1' })),
    ])
  })

  it.each<[string, (chosen: Chosen, last: ChosenKey) => unknown, Asked?]>([
    ['at another index', () => {}, { startIndex: 8 }],
    ['of another amount', () => {}, { amountsGwei: [ETH32, ETH32, ETH32 + 1e9] }],
    ['of another type', () => {}, { validatorType: '0x02' }],
    ['for more keys', () => {}, { amountsGwei: [ETH32, ETH32, ETH32, ETH32] }],
    ['by another requester', () => {}, { requester: 'vault:2' }],
    ['whose exit has expired', (chosen, { exitId }) => expire(chosen, exitId)],
    ['whose deposit has expired', (chosen, { depositId }) => expire(chosen, depositId)],
    ['whose exit nobody asked for lately', (chosen, { exitId }) => forget(chosen, exitId)],
    ['whose deposit nobody asked for lately', (chosen, { depositId }) => forget(chosen, depositId)],
    ['whose exit is not there', (chosen, { exitId }) => end(chosen, exitId)],
    ['whose deposit is not there', (chosen, { depositId }) => end(chosen, depositId)],
    [
      'whose deposit is another vault’s',
      ({ query }, { depositId }) =>
        query(sql`update messages set vault = ${Buffer.alloc(20, 9)} where id = ${depositId}`),
    ],
  ])('is not what is asked for %s', async (_, change, asked = {}) => {
    const chosen = await openChoice()
    await change(chosen, chosen.first[2] as ChosenKey)
    expect(await chosen.poll(asked)).toBeUndefined()
  })

  it('is noted, of what was not noted for some time, with its keys', async () => {
    const chosen = await openChoice()
    const [{ exitId } = { exitId: 0 }] = chosen.first
    const written = async () =>
      (
        await chosen.query<{ id: string }>(sql`
        select 'message ' || id as id from messages where requested_at > now() - interval '1 minute' union all
        select 'key ' || id from validators where vault_asked_at > now() - interval '1 minute' order by 1`)
      ).map(({ id }) => id)
    await chosen.query(sql`update validators set vault_asked_at = now() - interval '10 minutes'`)
    // A twentieth of the lifetime is three minutes.
    await chosen.query(sql`update messages set requested_at = now() - interval '2 minutes'`)
    await chosen.poll()
    expect(await written()).toEqual([])
    await chosen.query(sql`update messages set requested_at = now() - interval '4 minutes' where id = ${exitId}`)
    await chosen.poll()
    expect(await written()).toEqual([...chosen.validators.map((id) => `key ${id}`), `message ${exitId}`])
  })
})

describe('of another request', () => {
  it.each<{
    what: string
    change?: (chosen: Chosen, last: ChosenKey) => unknown
    asked?: Asked
    counts: [reserved: number, exits: number, deposits: number]
    paid: number
  }>([
    {
      what: 'one key more',
      change: ({ add }) => add(),
      asked: { amountsGwei: [ETH32, ETH32, ETH32, ETH32] },
      counts: [1, 1, 1],
      paid: 2,
    },
    { what: 'other indexes', asked: { startIndex: 20 }, counts: [0, 3, 0], paid: 3 },
    { what: 'another amount', asked: { amountsGwei: [ETH32, ETH32, ETH32 + 1e9] }, counts: [0, 0, 1], paid: 1 },
    { what: 'an exit that ended', change: (chosen, { exitId }) => end(chosen, exitId), counts: [0, 1, 0], paid: 1 },
    {
      what: 'a deposit that ended',
      change: (chosen, { depositId }) => end(chosen, depositId),
      counts: [0, 0, 1],
      paid: 1,
    },
    {
      what: 'an exit that expired',
      change: (chosen, { exitId }) => expire(chosen, exitId),
      counts: [0, 1, 0],
      paid: 0,
    },
    {
      what: 'a deposit that expired',
      change: (chosen, { depositId }) => expire(chosen, depositId),
      counts: [0, 0, 1],
      paid: 0,
    },
  ])('is made, counted and told: $what', async ({ change = () => {}, asked = {}, counts, paid }) => {
    const chosen = await openChoice()
    chosen.seen()
    await change(chosen, chosen.first[2] as ChosenKey)
    const keys = await chosen.choose(asked)
    const [reserved, exits, deposits] = counts
    expect(chosen.seen()).toEqual({
      announced: 1,
      told: [{ reserved, exits, deposits, requester: 'vault:1' }],
      paid: [paid],
    })
    const amounts = asked.amountsGwei ?? [ETH32, ETH32, ETH32]
    expect(keys.map(({ amountGwei }) => amountGwei)).toEqual(amounts)
    const from = asked.startIndex ?? 7
    expect((await chosen.live()).map((row) => Object.values(row).slice(1, 3))).toEqual([
      ...amounts.map((_, position) => [from + position, null]),
      ...amounts.map((gwei) => [null, gwei]),
    ])
    expect(await chosen.poll(asked)).toEqual(keys)
  })

  it('nothing is made where it is too much', async () => {
    const chosen = await openChoice()
    const before = await chosen.live()
    chosen.seen()
    chosen.refuseWith(new Error('too much'))
    await expect(chosen.choose({ startIndex: 20 })).rejects.toThrow('too much')
    expect(await chosen.live()).toEqual(before)
    expect(chosen.seen()).toEqual({ announced: 0, told: [], paid: [3] })
  })

  it.each<[string, (rows: { id: number; publicKey: Buffer; threshold: number; isReserved: boolean }[]) => unknown[]]>([
    ['fewer', (rows) => rows.slice(0, 2)],
    ['in another order', ([first, second, third]) => [first, third, second]],
    ['others', ([first, second]) => [first, second, { ...first, id: 0 }]],
  ])('nothing is made where the keys that were looked at are %s by then, and it is paid once', async (_, change) => {
    const chosen = await openChoice()
    chosen.seen()
    const rows = chosen.first.map(({ publicKey }, position) => ({
      id: chosen.validators[position] ?? 0,
      publicKey: Buffer.from(publicKey),
      threshold: 3,
      isReserved: true,
    }))
    let looks = 0
    const findAbsent = async () => {
      looks++
      return change(rows) as never
    }
    const choosing = chosen.choose({ startIndex: 20 }, { onChain: { findAbsent, met: [] } })
    await expect(choosing).rejects.toMatchObject({ code: 'TOO_BUSY' })
    expect(looks).toBeGreaterThan(1)
    expect(chosen.seen()).toMatchObject({ announced: 0, told: [], paid: [expect.any(Number)] })
  })

  it('nothing is given where there is no key', async () => {
    const chosen = await openChoice()
    chosen.seen()
    expect(await chosen.choose({}, { onChain: { findAbsent: async () => [], met: [] } })).toEqual([])
    expect(chosen.seen()).toEqual({ announced: 0, told: [], paid: [] })
  })
})
