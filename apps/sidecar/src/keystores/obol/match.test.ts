import { networks } from '@dvt-relayer/chain/networks.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { describe, expect, it, vi } from 'vitest'
import { keyShareOf } from './lock.ts'
import { matchToLock } from './match.ts'
import type { OpenedKeystore } from './read-keystores.ts'

const bytes = (byte: number, length = 48) => new Uint8Array(length).fill(byte)
const hex = (byte: number, length = 48) => `0x${byte.toString(16).padStart(2, '0').repeat(length)}`

/** A lock of validators 10, 20 …, whose key shares at the nodes are 11, 12 …, 21, 22 …; or the same at all nodes. */
const lockOf = (validators: number, nodes: number, isSame = false) =>
  ({
    operators: Array.from({ length: nodes }, () => ({})),
    validators: Array.from({ length: validators }, (_, at) => ({
      publicKey: bytes(10 * (at + 1)),
      publicKeyShares: Array.from({ length: nodes }, (_, node) => bytes(10 * (at + 1) + (isSame ? 1 : node + 1))),
      withdrawalAddress: bytes(0xee, 20),
    })),
  }) as unknown as ClusterLock

const keystore = (share: number, more: Partial<OpenedKeystore> = {}): OpenedKeystore => ({
  ...{ file: `keystore-${share}.json`, secretKey: bytes(share, 32), publicKey: bytes(share) },
  ...{ isWeak: false, isMislabelled: false, ...more },
})

function setUp({ network = networks.hoodi, nodeIndex }: { network?: typeof networks.hoodi; nodeIndex?: number } = {}) {
  const events = {
    ...{ keystoresSkipped: vi.fn(), keystoresMislabelled: vi.fn(), keystoresWeak: vi.fn() },
    ...{ keysPartial: vi.fn(), nodeFound: vi.fn() },
  }
  const source = { keystoresDir: 'dir', lockFile: undefined, nodeIndex }
  const match = (lock: ClusterLock, keystores: readonly OpenedKeystore[]) =>
    matchToLock(source, lock, keystores, { network, events: events as never })
  return { events, match }
}
const told = (events: ReturnType<typeof setUp>['events']) =>
  Object.entries(events).flatMap(([name, { mock }]) => mock.calls.map((call) => [name, ...call]))

describe('keystores and their lock', () => {
  it('give the key shares of the node at whose place all stand, with its share index from 1', () => {
    const { events, match } = setUp()
    const held = match(lockOf(2, 3), [keystore(22), keystore(12)])
    expect(
      held.map(({ keyShare, secretKey }) => [keyShare.validatorPublicKey, keyShare.shareIndex, secretKey]),
    ).toEqual([
      [hex(20), 2, bytes(22, 32)],
      [hex(10), 2, bytes(12, 32)],
    ])
    expect(held[1]?.keyShare.publicKeyShares).toEqual([
      { share_index: 1, public_key_share: hex(11) },
      { share_index: 2, public_key_share: hex(12) },
      { share_index: 3, public_key_share: hex(13) },
    ])
    expect(told(events)).toEqual([['nodeFound', 'dir', 1, 2]])
  })

  it('of which some fit say what is missing, skipped, mislabelled', () => {
    const { events, match } = setUp()
    const keystores = [keystore(11), keystore(99, { isMislabelled: true })]
    expect(match(lockOf(2, 3), keystores).length).toBe(1)
    expect(told(events)).toEqual([
      ['keystoresSkipped', 'dir', ['keystore-99.json']],
      ['keystoresMislabelled', 'dir', ['keystore-99.json']],
      ['keysPartial', 'dir', 1, 2],
      ['nodeFound', 'dir', 0, 1],
    ])
  })

  it.each([
    ['mainnet', networks.mainnet, true, [['keystoresWeak', 'dir', 1]]],
    ['mainnet', networks.mainnet, false, []],
    ['hoodi', networks.hoodi, true, []],
  ] as const)('that are weak are told where real money is: %s, %#', (_, network, isWeak, expected) => {
    const { events, match } = setUp({ network })
    match(lockOf(1, 3), [keystore(11, { isWeak })])
    expect(told(events).filter(([name]) => name === 'keystoresWeak')).toEqual(expected)
  })

  it('do not fit where none stands in it, or they are of several nodes', () => {
    const { match } = setUp()
    expect(() => match(lockOf(2, 3), [keystore(99)])).toThrow('none of the 1 keystores in dir belongs')
    expect(() => match(lockOf(2, 3), [keystore(11), keystore(23)])).toThrow(
      'dir mixes keystores of several nodes: keystore-11.json of node 0, keystore-23.json of node 2;',
    )
  })

  it('of several nodes are shown by four examples at most', () => {
    const { match } = setUp()
    const keystores = [11, 22, 33, 44, 55].map((share) => keystore(share))
    expect(() => match(lockOf(5, 5), keystores)).toThrow(/keystore-44.json of node 3; keep/)
  })

  it('that all nodes have alike need the node index, which is taken at its word', () => {
    const lock = lockOf(1, 3, true)
    expect(() => setUp().match(lock, [keystore(11)])).toThrow('set OBOL_NODE_INDEX for dir')
    const [held] = setUp({ nodeIndex: 2 }).match(lock, [keystore(11)])
    expect(held?.keyShare.shareIndex).toBe(3)
    // A cluster of one node leaves no doubt.
    expect(setUp().match(lockOf(1, 1, true), [keystore(11)]).length).toBe(1)
  })

  it('of another node than the settings name are refused, with the one they are of', () => {
    expect(setUp({ nodeIndex: 1 }).match(lockOf(1, 3), [keystore(12)]).length).toBe(1)
    expect(() => setUp({ nodeIndex: 0 }).match(lockOf(1, 3), [keystore(12)])).toThrow(
      'the node index is set to 0, but the keys in dir are those of node 1:',
    )
    expect(() => setUp({ nodeIndex: 3 }).match(lockOf(1, 3), [keystore(12)])).toThrow('those of node 1')
  })
})

it.each<[string, Uint8Array | undefined, string | undefined]>([
  ['an address', bytes(0xee, 20), hex(0xee, 20)],
  ['an address with zeros in it', Uint8Array.of(...bytes(0, 19), 1), `0x${'00'.repeat(19)}01`],
  ['the zero address', bytes(0, 20), undefined],
  ['no address', undefined, undefined],
])('a lock with %s names a vault, or none', (_, withdrawalAddress, expected) => {
  const validator = { ...lockOf(1, 3).validators[0], withdrawalAddress }
  expect(keyShareOf(validator as never, 0).withdrawalAddress).toBe(expected)
})
