import type { Whoami } from '@dvt-relayer/api/schemas.ts'
import { describe, expect, it } from 'vitest'
import { doubtsOf, type Held } from './introduction.ts'

const HASH = `0x${'ab'.repeat(32)}`
const lock: Whoami['clusters'][number] = {
  name: 'ours',
  source: 'lock',
  lock_hash: HASH,
  threshold: 3,
  validators: 2,
  share_indexes: [1, 2, 3, 4],
}
const ssv = { ...lock, source: 'ssv' as const, lock_hash: null, share_indexes: [17, 18, 19, 20] }
const list = { ...lock, source: 'list' as const, lock_hash: null, share_indexes: [] }
const who: Whoami = {
  name: 'node-1',
  role: 'sidecar',
  binding: { vaults: null, oracles: null, share_indexes: [1] },
  clusters: [lock],
  takes_any_key: false,
  network: 'hoodi',
  version: '0.2.0',
  time: 0,
}
const held: Held = { shareIndexes: [1], lockHashes: [HASH], isSsv: false }
const unbound = { ...who.binding, share_indexes: null }
const ofSsv = { isSsv: true, shareIndexes: [17], lockHashes: [] }

describe('what a relayer says of us', () => {
  it.each<[string, Partial<Whoami>, Partial<Held>]>([
    ['the token of this node', {}, {}],
    ['a token for every node', { binding: unbound }, {}],
    ['an administrator, or a relayer without tokens', { name: null, role: 'admin', binding: unbound }, {}],
    ['one token for several nodes', { binding: { ...unbound, share_indexes: [1, 2] } }, { shareIndexes: [2, 1] }],
    ['a relayer that takes any key', { takes_any_key: true, clusters: [] }, {}],
    ['a relayer with a list of keys', { clusters: [list] }, {}],
    ['a sidecar that has no keys yet', { clusters: [] }, { shareIndexes: [], lockHashes: [] }],
    ['an operator of an SSV cluster', { clusters: [lock, ssv], binding: unbound }, ofSsv],
    ['so many clusters that not all are named', { clusters: Array.from({ length: 1000 }, () => ssv) }, {}],
  ])('is right of %s', (_what, said, have) => {
    expect(doubtsOf({ ...who, ...said }, { ...held, ...have })).toEqual([])
  })

  it.each<[string, Partial<Whoami>, Partial<Held>, string]>([
    [
      'another node',
      { name: 'node-2', binding: { ...unbound, share_indexes: [2] }, clusters: [] },
      {},
      'the token node-2 is bound to share index 2, and this sidecar signs for 1: it is the token of another node',
    ],
    [
      'an operator',
      { role: 'operator', binding: unbound },
      {},
      'the token node-1 is one of the role operator, which may not sign: make one with --role sidecar',
    ],
    [
      'a cluster it does not know',
      { clusters: [{ ...lock, lock_hash: `0x${'cd'.repeat(32)}` }, ssv] },
      {},
      `the relayer does not know the cluster lock 0x${'ab'.repeat(16)}… (CLUSTER_LOCK_FILES there)`,
    ],
    [
      'an SSV operator it does not know, whatever Obol nodes it has',
      { clusters: [lock, ssv], binding: unbound },
      { ...ofSsv, shareIndexes: [17, 3] },
      'the relayer knows no SSV cluster of operator 3 (SSV_OWNERS, SSV_KEYSHARES_FILES there)',
    ],
  ])('is wrong of %s', (_what, said, have, doubt) => {
    expect(doubtsOf({ ...who, ...said }, { ...held, ...have })).toEqual([doubt])
  })
})
