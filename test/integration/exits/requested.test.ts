/** A request for exits, but for the nodes: what is there already, what is made, counted and told, and what keeps it from being. */

import { randomBytes } from 'node:crypto'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createExits } from '../../../apps/relayer/src/services/exits/exits.ts'
import { openMessages } from '../../support/stages/messages.ts'

const HOUR = 3600
const ANYBODY = { name: null, vaults: undefined, mayHaveUnowned: true }

/** Two keys that have exits at 7 and 8. */
async function openExits() {
  const store = await openMessages()
  const seen = { announced: 0, told: [] as unknown[], paid: [] as number[] }
  const nodes = {
    next: async () => 7,
    counted: async (): Promise<number | undefined> => undefined,
    known: async (keys: readonly Uint8Array[]) => keys.map(() => false),
  }
  const { request } = createExits({
    config: {
      clusters: { signatureThreshold: 3 },
      network: networks.hoodi,
      limits: { keys: 10, openExits: 10 },
      validatorLifetimeSeconds: HOUR,
    },
    db: store.db,
    chain: { registry: { nextIndex: () => nodes.next(), knownKeys: (keys: Uint8Array[]) => nodes.known(keys) } },
    crypto: { arePublicKeys: async (keys: readonly Uint8Array[]) => keys.map((key) => key[0] !== 0xee) },
    events: {
      exitsRequested: ({ created, superseded, revived }: Record<string, number>) =>
        seen.told.push({ created, superseded, revived }),
    },
    announced: () => seen.announced++,
    registry: { countIfBegun: () => nodes.counted() },
    messageRate: { assert: (_: string | null, messages: number) => void seen.paid.push(messages) },
  } as unknown as Parameters<typeof createExits>[0])
  const keys = [1, 2].map((first) => new Uint8Array([first, ...randomBytes(47)]))
  const ask = async (of = keys) => (await request(of, ANYBODY)).map(({ messageId }) => messageId)
  const ids = await ask()
  return {
    ...store,
    ask,
    nodes,
    keys,
    ids,
    /** What was announced, told and paid since it was last asked. */
    seen() {
      const { announced, told, paid } = seen
      Object.assign(seen, { announced: 0, told: [], paid: [] })
      return { announced, told, paid }
    },
    indexes: async () =>
      (
        await store.query<{ index: string }>(sql`
          select validator_index as index from messages where state = 'collecting' order by validator_index`)
      ).map(({ index }) => Number(index)),
    setState: (id: number | undefined, state: string) =>
      store.query(sql`update messages set state = ${state} where id = ${id ?? 0}`),
  }
}
const away = async () => {
  throw new Error('away')
}

it('is made once, at the next indexes in order, and is a poll then', async () => {
  const { ask, ids, indexes, seen } = await openExits()
  expect(seen()).toEqual({ announced: 1, told: [{ created: 2, superseded: 0, revived: 0 }], paid: [2] })
  expect(await indexes()).toEqual([7, 8])
  expect(await ask()).toEqual(ids)
  expect(seen()).toEqual({ announced: 0, told: [], paid: [] })
})

it.each([
  ['the consensus node', 9, undefined, [9, 10]],
  ['the deposits of the logs', 7, 8, [8, 9]],
  ['whichever has more', 12, 8, [12, 13]],
])('is made anew where the next index is another one by %s', async (_, predicted, counted, expected) => {
  const { ask, nodes, indexes, seen } = await openExits()
  seen()
  nodes.next = async () => predicted
  nodes.counted = async () => counted
  await ask()
  expect(await indexes()).toEqual(expected)
  expect(seen()).toEqual({ announced: 1, told: [{ created: 2, superseded: 2, revived: 0 }], paid: [2] })
})

it('has the one made that is not there, or revived that has expired, and the other stays', async () => {
  const { ask, ids, seen, setState, indexes } = await openExits()
  seen()
  await setState(ids[1], 'expired')
  expect(await ask()).toEqual(ids)
  expect(seen()).toEqual({ announced: 1, told: [{ created: 0, superseded: 0, revived: 1 }], paid: [0] })
  await setState(ids[1], 'superseded')
  const [kept, made] = await ask()
  expect([kept === ids[0], made === ids[1]]).toEqual([true, false])
  expect(seen()).toEqual({ announced: 1, told: [{ created: 1, superseded: 0, revived: 0 }], paid: [1] })
  expect(await indexes()).toEqual([7, 8])
})

it('is a poll also while the nodes are away, where it is all there and in one row', async () => {
  const { ask, nodes, ids, keys, setState } = await openExits()
  const [first = new Uint8Array(), second = new Uint8Array()] = keys
  const AWAY = expect.objectContaining({ code: 'DEPENDENCY_AWAY' })
  nodes.next = away
  expect(await ask()).toEqual(ids)
  expect(await ask([second])).toEqual([ids[1]])
  await expect(ask([second, first])).rejects.toEqual(AWAY)
  await expect(ask([first, second, new Uint8Array(48).fill(3)])).rejects.toEqual(AWAY)
  await setState(ids[1], 'expired')
  await expect(ask()).rejects.toEqual(AWAY)
  expect(await ask([first])).toEqual([ids[0]])
})

it('is refused as a whole for a key that is none or has a validator, and while nobody knows, and nothing is made', async () => {
  const { ask, nodes, keys, seen, indexes } = await openExits()
  seen()
  const fresh = new Uint8Array(48).fill(3)
  await expect(ask([...keys, new Uint8Array(48).fill(0xee), fresh])).rejects.toMatchObject({
    code: 'PUBLIC_KEY_INVALID',
    failures: [{ index: 2 }],
  })
  nodes.known = async (of) => of.map((key) => key[0] === 3)
  await expect(ask([...keys, fresh])).rejects.toMatchObject({ code: 'VALIDATOR_KNOWN', failures: [{ index: 2 }] })
  nodes.known = away
  await expect(ask([...keys, fresh])).rejects.toMatchObject({ code: 'DEPENDENCY_AWAY' })
  expect(seen()).toEqual({ announced: 0, told: [], paid: [] })
  expect(await indexes()).toEqual([7, 8])
})

it('is noted, of what was not noted for some time', async () => {
  const { ask, query, ids } = await openExits()
  const noted = async () =>
    (
      await query<{ id: string }>(
        sql`select id from messages where requested_at > now() - interval '1 minute' order by id`,
      )
    ).map(({ id }) => Number(id))
  // A twentieth of the lifetime is three minutes.
  await query(sql`update messages set requested_at = now() - interval '2 minutes'`)
  await ask()
  expect(await noted()).toEqual([])
  await query(sql`update messages set requested_at = now() - interval '4 minutes' where id = ${ids[1] ?? 0}`)
  await ask()
  expect(await noted()).toEqual([ids[1]])
})
