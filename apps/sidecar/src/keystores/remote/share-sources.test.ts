import { networks } from '@dvt-relayer/chain/networks.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { describe, expect, it, vi } from 'vitest'
import { loadFixtureCluster } from '../../../../../test/support/keys/fixtures.ts'
import { loadSsvCluster, ssvPath } from '../../../../../test/support/keys/ssv.ts'
import { createLockSource, createRegistrationSource } from './share-sources.ts'

const engine = createBlstEngine()
const signal = new AbortController().signal
const { lockFile, expected } = loadFixtureCluster('cluster-4')
const SSV = loadSsvCluster('cluster-4')

const eventsOf = () => ({
  ...{ nodeFound: vi.fn(), keysPartial: vi.fn(), lockRead: vi.fn(), lockDoubtful: vi.fn() },
  ...{ keysharesRead: vi.fn(), anyOwner: vi.fn() },
})
const common = { holder: { name: 'remote signer' }, network: networks.hoodi, engine, lockHashes: [] }

/** The key shares of these nodes, from 0, of so many validators. */
const keysOf = (nodes: readonly number[], validators = 12) =>
  new Set(
    expected.validators
      .slice(0, validators)
      .flatMap(({ public_key_shares }) => nodes.map((node) => public_key_shares[node]?.public_key_share ?? '')),
  )

function lockSource(nodeIndexes: readonly number[] = []) {
  const events = eventsOf()
  const signer = { obol: { lockFile, nodeIndexes: [...nodeIndexes] } }
  return { events, source: createLockSource({ ...common, signer, events: events as never }) }
}

describe('keys of signers that a lock knows', () => {
  it('are key shares of the one node they are of, told where that is new', async () => {
    const { source, events } = lockSource()
    const { found } = (await source(signal))(new Set([...keysOf([1]), `0x${'aa'.repeat(48)}`]))
    expect([found.length, new Set(found.map(({ shareIndex }) => shareIndex))]).toEqual([12, new Set([2])])
    ;(await source(signal))(keysOf([1]))
    expect([events.nodeFound.mock.calls, events.keysPartial.mock.calls]).toEqual([[['remote signer', 1, 12]], []])
    ;(await source(signal))(keysOf([1], 11))
    expect(events.nodeFound.mock.lastCall).toEqual(['remote signer', 1, 11])
    expect(events.keysPartial.mock.calls).toEqual([['remote signer', 11, 12]])
  })

  it('of several nodes are those of the nodes that are named', async () => {
    const { source, events } = lockSource([0, 2])
    const { found } = (await source(signal))(keysOf([0, 1, 2]))
    expect(found.map(({ shareIndex }) => shareIndex)).toEqual([...Array(12).fill(1), ...Array(12).fill(3)])
    expect(events.nodeFound.mock.calls).toEqual([
      ['remote signer', 0, 12],
      ['remote signer', 2, 12],
    ])
  })

  it('may be a single one', async () => {
    for (const nodeIndexes of [[], [1]]) {
      const { found } = (await lockSource(nodeIndexes).source(signal))(keysOf([1], 1))
      expect(found.map(({ shareIndex }) => shareIndex)).toEqual([2])
    }
  })

  it.each<[string, readonly number[], ReadonlySet<string>, string]>([
    ['of several nodes', [], keysOf([2, 0]), 'holds the keys of nodes 0, 2 of the cluster: say which node this is'],
    ['of another node', [1], keysOf([3]), 'is set to 1, but the remote signer holds the keys of node 3:'],
    ['of others', [], new Set([`0x${'aa'.repeat(48)}`]), 'none of the 1 keys of the remote signer stands in'],
    ['that are none', [], new Set(), 'the remote signer lists no keys'],
  ])('are refused where they are those %s', async (_, nodeIndexes, keys, words) => {
    const match = await lockSource(nodeIndexes).source(signal)
    expect(() => match(keys)).toThrow(words)
  })
})

describe('keys of signers that registrations know', () => {
  const ids = SSV.operator_ids
  function registrationSource(
    owners: readonly Uint8Array[] = [],
    keysharesFile = ssvPath('cluster-4/keyshares.json'),
    operators = [ids[0], ids[2]],
  ) {
    const events = eventsOf()
    const ssv = {
      ...{ operators: operators.map((operatorId) => ({ operatorId })), owners },
      ...{ keysharesFiles: [keysharesFile], proofsFiles: [], chain: undefined },
    }
    const options = { ...common, signer: { obol: undefined }, events: events as never }
    return { events, source: createRegistrationSource(options, ssv as never) }
  }
  const sharesOf = (id: number | undefined) =>
    SSV.validators.flatMap(({ public_key_shares }) =>
      public_key_shares.filter(({ share_index }) => share_index === id).map((share) => share.public_key_share),
    )

  it('are key shares of the operators that are named, where the signers hold them', async () => {
    const { source, events } = registrationSource()
    const match = await source(signal)
    const both = match(new Set([...sharesOf(ids[0]), ...sharesOf(ids[2])]))
    expect(both.problem).toBeUndefined()
    expect(new Set(both.found.map(({ shareIndex }) => shareIndex))).toEqual(new Set([ids[0], ids[2]]))
    const { found } = match(new Set(sharesOf(ids[2])))
    expect(found.map(({ shareIndex }) => shareIndex)).toEqual(SSV.validators.map(() => ids[2]))
    expect(events.anyOwner).toHaveBeenCalledTimes(1)
  })

  it('are none of ours where they are those of other operators', async () => {
    const match = await registrationSource().source(signal)
    const { found, problem } = match(new Set(sharesOf(ids[1])))
    expect(found).toEqual([])
    expect(problem?.message).toContain(
      `none of the ${SSV.validators.length} keys of the remote signer is a key share of operator ${ids[0]}, operator ${ids[2]}`,
    )
    expect(match(new Set()).problem?.message).toContain('the remote signer lists no keys')
    // Also where one validator is all there is.
    const one = registrationSource([], ssvPath('cluster-4-gaps/keyshares.json'), [70_001])
    expect((await one.source(signal))(new Set(sharesOf(ids[1]))).problem?.message).toContain('share of operator 70001')
  })

  it('are nobody’s where no validator is registered, and that is no fault of theirs', async () => {
    const owners = [new Uint8Array(20).fill(1)]
    const { source, events } = registrationSource(owners)
    expect((await source(signal))(new Set(sharesOf(ids[0])))).toEqual({ found: [] })
    expect(events.anyOwner).not.toHaveBeenCalled()
  })

  it('leave a file that is missing as what is wrong', async () => {
    const { found, problem } = (await registrationSource([], '/nowhere/keyshares.json').source(signal))(new Set())
    expect([found, problem?.message]).toEqual([[], expect.stringContaining('/nowhere/keyshares.json')])
  })
})
