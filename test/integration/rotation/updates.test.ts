/** Updates of a vault's exit signatures: the Keeper counts them, so an answer that lacks one is noticed. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { createRotationUpdates } from '../../../apps/relayer/src/services/rotation/updates.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'

const network = networks.hoodi
const vault = new Uint8Array(20).fill(7)
/** The Keeper's count at the final block. */
const COUNT = 5
const chain = Array.from({ length: COUNT }, (_, nonce) => ({
  blockNumber: network.keeperBlock + 10 * nonce,
  logIndex: 0,
  args: { nonce: BigInt(nonce), exitSignaturesIpfsHash: `hash ${nonce}` },
}))

/** What is seen where a node leaves some updates out, after `noted` of them were noted. */
function look(
  noted: number | undefined,
  leavesOut: (nonce: bigint) => boolean,
  otherLeavesOut: (nonce: bigint) => boolean = leavesOut,
  overrides: { getBlock?: (tag: string) => Promise<unknown> } = {},
) {
  const block = { number: network.keeperBlock + 1_000, hash: `0x${'ab'.repeat(32)}`, parentHash: '0x', timestamp: 1 }
  const last = noted === undefined ? undefined : chain[noted - 1]
  const value = last && { nonce: noted, block_number: last.blockNumber }
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
    ...overrides,
    // At a block that nobody else has the count is another one.
    call: async ({ block: at }: { block: string }) =>
      fromHex((at === block.hash ? COUNT : 2 * COUNT).toString(16).padStart(64, '0')),
  }
  const context = { config: { network }, db, chain: { execution }, events: {} }
  const updates = createRotationUpdates(context as unknown as Parameters<typeof createRotationUpdates>[0])
  return updates.look(vault, AbortSignal.timeout(PATIENCE_MS))
}

describe('updates of exit signatures', () => {
  it.each([undefined, 1, 2, 4])('are all there after %s were noted', async (noted) => {
    expect((await look(noted, () => false)).sinceBlock).toBe(chain.at(-1)?.blockNumber)
  })

  it.each([
    [undefined, 4],
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
