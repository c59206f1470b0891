/** The exits of a rotation: of which validators, which are wanted of the nodes, how long they are waited for, and what is opened with them. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { findOpenRotation, findRotationContent } from '@dvt-relayer/db/queries/rotations.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { ROTATION_REQUESTER } from '../../../apps/relayer/src/services/exits/assign.ts'
import { createRotationExits } from '../../../apps/relayer/src/services/rotation/exits.ts'
import { openMessages } from '../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(0xa1)
const OTHER = new Uint8Array(20).fill(0xb2)
const SET = 1
const ROOT = 'final'
const THRESHOLD = 2

interface OnChain {
  status?: string
  credentials?: string
  /** Its index by the final block; null where it is not there. */
  final?: number | null
}

/** The service over a database with two oracle sets, a beacon chain of the validators that were put there, and what was told. */
async function setUp() {
  const store = await openMessages()
  await store.query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select i, i::text, 1, ${Buffer.alloc(65)}, '{}', i, now(), i = ${SET} from generate_series(1, 2) i`)
  const [head, final] = [new Map<number, object>(), new Map<string, object>()]
  const asked: (readonly number[])[] = []
  const told: unknown[][] = []
  const registry = {
    findByIndex: async (indexes: readonly number[]) => {
      asked.push(indexes)
      return new Map(indexes.flatMap((index) => (head.has(index) ? [[index, head.get(index)]] : [])))
    },
    finalizedRoot: async () => ROOT,
    findFinalized: async (keys: readonly Uint8Array[], root: string) =>
      new Map(keys.map(toHex).flatMap((key) => (root === ROOT && final.has(key) ? [[key, final.get(key)]] : []))),
  }
  const config = {
    ...{ network: networks.hoodi, clusters: { signatureThreshold: THRESHOLD as number | undefined } },
    ...{ limits: { openExits: 1 }, validatorLifetimeSeconds: 60 },
  }
  const exits = createRotationExits({
    db: store.db,
    config,
    chain: { registry },
    events: {
      exitsRequested: (...of: unknown[]) => told.push(['requested', ...of]),
      rotationOpened: (...of: unknown[]) => told.push(['opened', ...of]),
    },
  } as unknown as Context)
  const putOnChain = (publicKey: Uint8Array, index: number, more: OnChain = {}) => {
    const key = toHex(publicKey)
    const { status = 'active_ongoing', credentials = toHex(withdrawalCredentials('0x01', VAULT)) } = more
    head.set(index, { publicKey: key, index, status, withdrawalCredentials: credentials })
    if (more.final !== null) final.set(key, { index: more.final ?? index })
  }
  /** A validator that can be renewed, but for what is said. */
  const add = async (index: number, more: OnChain = {}) => {
    const { id, publicKey } = await store.addValidator()
    putOnChain(publicKey, index, more)
    return { id, publicKey: new Uint8Array(publicKey), validatorIndex: index, threshold: THRESHOLD }
  }
  return { ...store, config, exits, add, putOnChain, asked, takeTold: () => told.splice(0) }
}
const renewedOf = ({
  publicKey,
  validatorIndex,
  threshold,
}: Awaited<ReturnType<Awaited<ReturnType<typeof setUp>>['add']>>) => ({
  ...{ publicKey, validatorIndex, threshold },
})

it('are of validators that can leave, are final and ours, in the order of their indexes', async () => {
  const { config, exits, query, add, putOnChain } = await setUp()
  const late = await add(90, { status: 'pending_queued' })
  const compounding = await add(20, { credentials: toHex(withdrawalCredentials('0x02', VAULT)) })
  const early = await add(10, { status: 'pending_initialized' })
  const clustered = await add(30)
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 5)`)
  await query(sql`update validators set cluster_id = 1 where id = ${clustered.id}`)
  for (const status of ['active_exiting', 'exited_unslashed', 'active_slashed'])
    await add(40 + status.length, { status })
  await add(60, { credentials: toHex(withdrawalCredentials('0x01', OTHER)) })
  await add(61, { credentials: `0x00${toHex(withdrawalCredentials('0x01', VAULT)).slice(4)}` })
  await add(62, { final: null })
  await add(63, { final: 64 })
  putOnChain(new Uint8Array(48).fill(7), 65)
  const indexes = Array.from({ length: 100 }, (_, index) => 99 - index)
  const renewable = [early, compounding, { ...clustered, threshold: 5 }, late].map(renewedOf)
  expect(await exits.findRenewable(VAULT, indexes, 100)).toEqual({ renewable, leftOut: 96 })
  // Of the others nobody says how many of their nodes must sign.
  config.clusters.signatureThreshold = undefined
  expect(await exits.findRenewable(VAULT, indexes, 100)).toEqual({ renewable: renewable.slice(2, 3), leftOut: 99 })
})

it('are looked for some at a time, and no further than they are needed', async () => {
  const { exits, add, asked } = await setUp()
  const found = [await add(0), await add(499), await add(500), await add(999)].map(renewedOf)
  const indexes = Array.from({ length: 1_000 }, (_, index) => index)
  const look = async (limit: number) => {
    const { renewable, leftOut } = await exits.findRenewable(VAULT, indexes, limit)
    return [renewable, leftOut, asked.splice(0)]
  }
  const pieces = [indexes.slice(0, 500), indexes.slice(500)]
  expect(await look(1)).toEqual([found.slice(0, 1), 498, pieces.slice(0, 1)])
  expect(await look(2)).toEqual([found.slice(0, 2), 498, pieces.slice(0, 1)])
  expect(await look(3)).toEqual([found.slice(0, 3), 996, pieces])
  expect(await look(9)).toEqual([found, 996, pieces])
})

it('are as far as what is stored of them', async () => {
  const { exits, query, add, addExit } = await setUp()
  const [split, kept, unsigned, unknown, done] = [await add(1), await add(2), await add(3), await add(4), await add(5)]
  const ids = [
    await addExit(split.id, { index: 1, state: 'ready' }),
    await addExit(kept.id, { index: 2, state: 'ready' }),
    await addExit(unsigned.id, { index: 3 }),
    await addExit(done.id, { index: 5 }),
  ]
  await query(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    values (${ids[0]}, ${SET}, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 1)`)
  await query(sql`insert into rotations (id, vault, oracle_set_id, nonce, state, ended_at)
                  values (1, ${Buffer.from(VAULT)}, ${SET}, 0, 'done', now())`)
  await query(sql`insert into rotation_messages (rotation_id, place, message_id) values (1, 0, ${ids[3]})`)
  const renewed = [unknown, done, unsigned, kept, split].map(renewedOf)
  const is = [
    { messageId: undefined, state: 'collecting', isDone: false },
    { messageId: ids[3], state: 'collecting', isDone: true },
    { messageId: ids[2], state: 'collecting', isDone: false },
    { messageId: ids[1], state: 'kept', isDone: false },
    { messageId: ids[0], state: 'ready', isDone: false },
  ]
  expect(await exits.findExits(renewed, SET)).toEqual(
    renewed.map((validator, place) => ({ ...validator, ...is[place] })),
  )
})

it('that are missing are wanted of the nodes, live and announced, and that is told where it changes something', async () => {
  const { exits, query, add, addExit, message, takeTold } = await setUp()
  const [fresh, gone, kept, clustered] = [await add(1), await add(2), await add(3), await add(4)]
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 5)`)
  await query(sql`update validators set cluster_id = 1 where id = ${clustered.id}`)
  await query(sql`update validators set oracle_set_id = ${SET} where id in (${fresh.id}, ${kept.id})`)
  await query(sql`update validators set oracle_set_id = 2 where id = ${gone.id}`)
  const expired = await addExit(gone.id, { index: 2, state: 'expired' })
  const live = await addExit(kept.id, { index: 3, requester: 'vault:0x01' })
  const stranger = { publicKey: new Uint8Array(48).fill(7), validatorIndex: 9, threshold: 2 }

  await exits.want([kept].map(renewedOf), SET)
  expect(takeTold()).toEqual([])
  expect(await message(live)).toEqual({ state: 'collecting', requester: ROTATION_REQUESTER, revision: 0 })
  const wanted = [fresh, gone, kept].map(renewedOf)
  await exits.want([stranger, ...wanted], SET)
  expect(takeTold()).toEqual([
    ['requested', expect.objectContaining({ created: 1, superseded: 0, revived: 1 }), ROTATION_REQUESTER],
  ])
  const rows = await query(sql`
    select v.id::int, m.validator_index::int as index, m.epoch::int, m.threshold, m.state, m.requester, m.revision > 0 as announced,
           v.oracle_set_id::int as set
    from validators v join messages m on m.validator_id = v.id order by v.id`)
  const row = { epoch: 0, state: 'collecting', requester: ROTATION_REQUESTER }
  expect(rows).toEqual([
    { ...row, id: fresh.id, index: 1, threshold: 2, announced: true, set: null },
    { ...row, id: gone.id, index: 2, threshold: 1, announced: true, set: 2 },
    { ...row, id: kept.id, index: 3, threshold: 1, announced: false, set: null },
  ])
  expect(await message(expired)).toMatchObject({ state: 'collecting' })
  // One more than one requester may have at once: rotations are limited by their batches.
  await exits.want([clustered].map(renewedOf), SET)
  expect(takeTold()).toHaveLength(1)
  expect(await query(sql`select threshold from messages where validator_id = ${clustered.id}`)).toEqual([
    { threshold: 5 },
  ])
})

it('that are missing are waited for ten minutes from the first question on, anew for other oracles and after each rotation', async () => {
  const { exits, query, add, addExit, db, takeTold } = await setUp()
  const clock = { seconds: 1_800_000_000 }
  const now = vi.spyOn(Date, 'now').mockImplementation(() => clock.seconds * 1000 + 999)
  onTestFinished(() => now.mockRestore())
  const isOver = (after: number, oracleSetId = SET, vault = VAULT) => {
    clock.seconds += after
    return exits.isPatienceOver(vault, oracleSetId)
  }
  expect(await isOver(0)).toBe(false)
  expect(await isOver(600)).toBe(false)
  expect(await isOver(1)).toBe(true)
  expect(await isOver(0, SET, OTHER)).toBe(false)
  expect([await isOver(0, 2), await isOver(601, 2), await isOver(0, SET)]).toEqual([false, true, false])
  expect(await isOver(601)).toBe(true)

  const { publicKey, validatorIndex, id, threshold } = await add(8)
  const messageId = await addExit(id, { index: 8, state: 'ready' })
  const ready = { publicKey, validatorIndex, threshold, messageId, state: 'ready', isDone: false } as const
  const rotation = { vault: VAULT, oracleSetId: SET, nonce: 3 }
  await exits.open(rotation, [ready, { ...ready, messageId: undefined }])
  const open = await findOpenRotation(db, VAULT)
  expect(open).toMatchObject({ oracleSetId: SET, nonce: 3, ipfsHash: null })
  expect((await findRotationContent(db, open?.id ?? 0)).map((row) => row.messageId)).toEqual([messageId])
  expect(takeTold()).toEqual([['opened', VAULT, 1, 3]])
  expect([await isOver(0), await isOver(601)]).toEqual([false, true])
  // Another process was faster.
  await exits.open({ ...rotation, nonce: 4 }, [ready])
  expect(takeTold()).toEqual([])
  expect(await query(sql`select nonce::int from rotations`)).toEqual([{ nonce: 3 }])
})
