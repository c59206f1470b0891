/** Updates of a vault's exit signatures: the Keeper counts them, so an answer that lacks one is noticed. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { createRotationUpdates } from '../../../apps/relayer/src/services/rotation/updates.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { openMessages } from '../../support/stages/messages.ts'

const network = networks.hoodi
const vault = new Uint8Array(20).fill(7)
/** The Keeper's count at the final block. */
const COUNT = 5
const chain = Array.from({ length: COUNT }, (_, nonce) => ({
  blockNumber: network.keeperBlock + 10 * nonce,
  logIndex: 0,
  args: { nonce: BigInt(nonce), exitSignaturesIpfsHash: `hash ${nonce}` },
}))

const word = (value: number) => fromHex(value.toString(16).padStart(64, '0'))

/** What is seen where a node leaves some updates out, after `noted` of them were noted. */
function look(
  noted: number | undefined,
  leavesOut: (nonce: bigint) => boolean,
  otherLeavesOut: (nonce: bigint) => boolean = leavesOut,
  overrides: {
    getBlock?: (tag: string) => Promise<unknown>
    call?: (of: { block: string }) => Promise<Uint8Array>
  } = {},
) {
  const block = { number: network.keeperBlock + 1_000, hash: `0x${'ab'.repeat(32)}`, parentHash: '0x', timestamp: 1 }
  const value = noted === undefined ? undefined : { nonce: noted, block_number: chain[noted - 1]?.blockNumber ?? 0 }
  const db = { select: () => ({ from: () => ({ where: async () => (value === undefined ? [] : [{ value }]) }) }) }
  const nodeOf = (lacks: typeof leavesOut) => ({
    host: 'node.example',
    getBlock: async () => block,
    async *scanLogs({ fromBlock }: { fromBlock: number }) {
      const logs = chain.filter(({ blockNumber, args }) => blockNumber >= fromBlock && !lacks(args.nonce))
      yield { fromBlock, toBlock: block.number, logs, undecodable: 0 }
    },
  })
  const execution = {
    ...nodeOf(leavesOut),
    each: [nodeOf(leavesOut), nodeOf(otherLeavesOut)],
    // At a block that nobody else has the count is another one.
    call: async ({ block: at }: { block: string }) => word(at === block.hash ? COUNT : 2 * COUNT),
    ...overrides,
  }
  const context = { config: { network }, db, chain: { execution }, events: {} }
  const updates = createRotationUpdates(context as unknown as Parameters<typeof createRotationUpdates>[0])
  return updates.look(vault, AbortSignal.timeout(PATIENCE_MS))
}

describe('updates of exit signatures', () => {
  it.each([undefined, 0, 1, 2, 4, 5])('are all there after %s were noted', async (noted) => {
    expect((await look(noted, () => false)).sinceBlock).toBe(chain.at(-1)?.blockNumber)
  })

  it.each([
    [undefined, 4],
    [0, 0],
    [1, 1],
    [2, 3],
    [2, 4],
    [4, 4],
  ])('that an answer lacks have no older one taken in their place: %s noted, %s lacking', async (noted, lacking) => {
    await expect(look(noted, (nonce) => nonce === BigInt(lacking))).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringContaining('node.example does not have all of the last'),
    })
  })

  it('before the last matter to nobody where none was noted', async () => {
    expect((await look(undefined, (nonce) => nonce < COUNT - 1)).sinceBlock).toBe(chain.at(-1)?.blockNumber)
  })

  it('are none of a vault that never had one', async () => {
    // The Keeper wants some oracles all the same.
    const call = async (of: { block: string; data?: string }) => word((of.data ?? '').length > 10 ? 0 : 4)
    const never = { sinceBlock: 0, latestNonce: 0, finalNonce: 0, needed: 4 }
    expect(await look(undefined, () => true, undefined, { call })).toMatchObject(never)
  })

  it('are not fewer than were final before, nor fewer at the newest block than at the final one', async () => {
    const behind = { code: 'EXECUTION_INVALID', message: expect.stringContaining('node.example is behind') }
    await expect(look(COUNT + 1, () => false)).rejects.toMatchObject(behind)
    const block = { number: network.keeperBlock + 1_001, hash: 'newest', parentHash: '0x', timestamp: 1 }
    const final = { ...block, number: network.keeperBlock + 1_000, hash: `0x${'ab'.repeat(32)}` }
    const getBlock = async (tag: string) => (tag === 'latest' ? block : final)
    const call = async (of: { block: string }) => word(of.block === 'newest' ? COUNT - 1 : COUNT)
    await expect(look(2, () => false, undefined, { getBlock, call })).rejects.toMatchObject(behind)
  })

  it.each(['finalized', 'latest'])('are not looked for while there is no %s block', async (lacking) => {
    const block = { number: network.keeperBlock + 1_000, hash: `0x${'ab'.repeat(32)}`, parentHash: '0x', timestamp: 1 }
    const getBlock = async (tag: string) => (tag === lacking ? undefined : block)
    await expect(look(2, () => false, undefined, { getBlock })).rejects.toMatchObject({ code: 'DEPENDENCY_AWAY' })
  })

  it('are those up to a final block that no other node contradicts', async () => {
    const invented = { number: 900_000_000, hash: `0x${'cd'.repeat(32)}`, parentHash: '0x', timestamp: 1 }
    const view = await look(2, () => false, undefined, { getBlock: async () => invented })
    expect(view.finalNonce).toBe(COUNT)
  })

  it.each([undefined, 2])('that one node always lacks are taken from another that has all: %s noted', async (noted) => {
    const isLast = (nonce: bigint) => nonce === BigInt(COUNT - 1)
    expect((await look(noted, isLast, () => false)).sinceBlock).toBe(chain.at(-1)?.blockNumber)
  })
})

it('a final update ends the rotation that it carried out, or that it came before, once', async () => {
  const { db, query, addValidator, addExit } = await openMessages()
  await query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select i, i::text, 1, ${Buffer.alloc(65)}, '{}', i, now(), i = 2 from generate_series(1, 2) i`)
  const told: unknown[][] = []
  let count = 1
  const block = { number: network.keeperBlock + 1_000, hash: 'final', parentHash: '0x', timestamp: 1 }
  const execution = {
    ...{ host: 'node.example', each: [], getBlock: async () => block, call: async () => word(count) },
    async *scanLogs({ fromBlock }: { fromBlock: number }) {
      const logs = chain.slice(0, count).filter(({ blockNumber }) => blockNumber >= fromBlock)
      yield { fromBlock, toBlock: block.number, logs, undecodable: 0 }
    },
  }
  const { settle } = createRotationUpdates({
    ...{ db, config: { network }, chain: { execution } },
    events: { rotationEnded: (...of: unknown[]) => told.push(of) },
  } as unknown as Context)
  const open = async (nonce: number, ipfsHash: string) => {
    const exit = await addExit((await addValidator()).id)
    await query(sql`
      insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
      values (${exit}, 1, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 0)`)
    await query(sql`
      with r as (insert into rotations (vault, oracle_set_id, nonce, state, ipfs_hash)
                 values (${Buffer.from(vault)}, 1, ${nonce}, 'open', ${ipfsHash}) returning id)
      insert into rotation_messages (rotation_id, place, message_id) select id, 0, ${exit} from r`)
  }
  /** What has come of the rotations, which share sets are shown again, and what is noted. */
  const settled = async () => {
    await settle(vault, AbortSignal.timeout(PATIENCE_MS))
    const [noted] = await query<{ value: unknown }>(sql`select value from checkpoints`)
    const rows = await query<{ state: string; shown: boolean }>(sql`
      select r.state, s.revision > 0 as shown from rotations r join rotation_messages m on m.rotation_id = r.id
      join oracle_shares s on s.message_id = m.message_id order by r.id`)
    return [rows.map(({ state, shown }) => [state, shown]), noted?.value, told.splice(0)]
  }
  const noted = (nonce: number) => ({ nonce, block_number: chain[nonce - 1]?.blockNumber ?? 0 })
  await open(0, 'hash 0')
  const done = ['done', vault, 1, 'the update is final']
  expect(await settled()).toEqual([[['done', true]], noted(1), [done]])
  expect(await settled()).toEqual([[['done', true]], noted(1), []])

  await open(1, 'of ours')
  count = 2
  const overtaken = ['void', vault, 1, 'another update of the vault was final first']
  const rotations = [
    ['done', true],
    ['void', false],
  ]
  expect(await settled()).toEqual([rotations, noted(2), [overtaken]])
  count = 4
  expect(await settled()).toEqual([rotations, noted(4), []])
})
