import { expect, it, onTestFinished, vi } from 'vitest'
import { ChainError } from '../errors.ts'
import { networks } from '../networks.ts'
import { lookAtHead } from './head-look.ts'

const NOW = 1_800_000_000
/** A node whose newest block is so old, and what it says to eth_syncing. */
const nodeOf = (ageSeconds: number, syncing: unknown) => ({
  getBlock: async () => ({ number: 7, hash: '0x', parentHash: '0x', timestamp: NOW - ageSeconds }),
  request: async (method: string) => {
    if (method !== 'eth_syncing' || syncing instanceof Error) throw syncing
    return syncing as never
  },
})
const look = (ageSeconds: number, syncing: unknown, network = networks.hoodi) =>
  lookAtHead(nodeOf(ageSeconds, syncing), { host: 'h', network, unixMs: NOW * 1000 })

it('asks for no reason while the newest block is young', async () => {
  const asked = new Error('asked')
  expect(await look(60, asked)).toMatchObject({ ageSeconds: 60, block: { number: 7 } })
  // A clock that is behind the chain's is none of this.
  expect(await look(-30, asked)).not.toHaveProperty('problem')
})

it('tells a node that is catching up from a chain that makes no blocks', async () => {
  for (const syncing of [{ currentBlock: '0x1', highestBlock: '0x2' }, true])
    expect((await look(61, syncing)).problem).toBe(
      'the newest block of the execution node at h is of 2027-01-15T07:58:59Z: it is still catching up (eth_syncing)',
    )
  const refused = new ChainError('EXECUTION_REFUSED', 'no such method')
  for (const silent of [false, null, refused])
    expect(await look(86_400, silent)).toEqual({
      ...{ block: expect.anything(), ageSeconds: 86_400 },
      doubt:
        "the newest block of the execution node at h is of 2027-01-14T08:00:00Z, and it does not say that it is catching up: the chain makes no blocks, the node hears of none, or this machine's clock is wrong",
    })
})

it('believes no chain with real stake to make no blocks for minutes', async () => {
  expect(await look(300, false, networks.mainnet)).toHaveProperty('doubt')
  expect((await look(301, false, networks.gnosis)).problem).toContain('is its consensus client away')
})

it('has a node without a block', async () => {
  const node = { ...nodeOf(0, false), getBlock: async () => undefined }
  expect((await lookAtHead(node, { host: 'h', network: networks.hoodi })).problem).toBe(
    'the execution node at h has no block yet',
  )
})

it('takes a question that hangs for one that is not known', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const node = { ...nodeOf(86_400, false), request: () => new Promise<never>(() => {}) }
  const looked = lookAtHead(node, { host: 'h', network: networks.hoodi, unixMs: NOW * 1000 })
  await vi.advanceTimersByTimeAsync(2_000)
  expect(await looked).toHaveProperty('doubt')
})
