import type { Whoami } from '@dvt-relayer/api/schemas.ts'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createIntroduction, doubtsOf, type Held } from './introduction.ts'

afterEach(() => vi.restoreAllMocks())

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
    ['a relayer with a list of keys beside another cluster', { clusters: [ssv, list] }, {}],
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
      'another node whose key it knows',
      { identity: 'node_key', name: null, binding: { ...unbound, share_indexes: [2, 3] } },
      {},
      'the key is bound to share index 2, 3, and this sidecar signs for 1: it is the key of another node',
    ],
    [
      'another operator whose key it knows',
      { identity: 'operator_key', binding: { ...unbound, share_indexes: [18] } },
      ofSsv,
      'the key node-1 is bound to share index 18, and this sidecar signs for 17: it is the key of another node',
    ],
    [
      'a token that is none of a node',
      { role: 'oracle', name: null, binding: { ...unbound, share_indexes: [2] } },
      {},
      'the token is one of the role oracle, which may not sign: make one with --role sidecar',
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

/** What is told where a relayer answers so, and the question takes two seconds of our time, from second 1000 on. */
async function introduced(...answers: (Whoami | Error)[]) {
  const events = { found: vi.fn(), whoamiMissing: vi.fn() }
  const clock = vi.spyOn(Date, 'now')
  const stop = new AbortController()
  const left = [...answers]
  const relayer = {
    async getWhoami() {
      const answer = left.shift()
      if (answer instanceof Error) throw answer
      return answer as Whoami
    },
  }
  const config = { relayer: { endpoint: new URL('https://user:secret@relayer.example/path') } }
  const introduce = createIntroduction({ config: config as never, relayer, events, held: () => held })
  const ask = async () => {
    clock.mockReturnValueOnce(1_000_000).mockReturnValueOnce(1_002_000)
    await introduce(stop.signal)
  }
  return { ask, events, stop }
}

describe('an introduction', () => {
  it('says whom the relayer takes us for, once as long as that stays', async () => {
    const said = { ...who, time: 1001 }
    const { ask, events } = await introduced(said, said, { ...said, name: null, role: 'admin' }, said)
    for (let time = 0; time < 4; time++) await ask()
    const good = { check: 'relayer', status: 'good', details: [], facts: {} }
    const asNode = { ...good, message: 'relayer.example is dvt-relayer 0.2.0 and takes us for node-1 (sidecar)' }
    const asAnybody = { ...good, message: 'relayer.example is dvt-relayer 0.2.0 and takes us for anybody (admin)' }
    expect(events.found.mock.calls).toEqual([[asNode], [asAnybody], [asNode]])
    expect(events.whoamiMissing).not.toHaveBeenCalled()
  })

  it('has every doubt in it', async () => {
    const { ask, events } = await introduced({ ...who, role: 'operator', time: 900 })
    await ask()
    expect(events.found.mock.calls).toMatchObject([
      [
        {
          status: 'problem',
          details: [
            'the token node-1 is one of the role operator, which may not sign: make one with --role sidecar',
            "the relayer's clock is 99 s behind this machine's: set both by NTP",
          ],
        },
      ],
    ])
  })

  it.each<[number, string | undefined]>([
    [994, undefined],
    [993, 'is 6 s behind'],
    [1007, undefined],
    [1008, 'is 6 s ahead of'],
    [1002, undefined],
    [0, 'is 999 s behind'],
    [11_002, 'is 10000 s ahead of'],
  ])('takes a clock that says %i for %s', async (time, off) => {
    const { ask, events } = await introduced({ ...who, time })
    await ask()
    const doubt = `the relayer's clock ${off} this machine's: set both by NTP`
    expect(events.found.mock.calls[0]?.[0].details).toEqual(off === undefined ? [] : [doubt])
  })

  it('that fails is told of, unless it was given up', async () => {
    const sorry = new Error('sorry')
    const { ask, events, stop } = await introduced(sorry, sorry)
    await ask()
    stop.abort()
    await ask()
    expect([events.whoamiMissing.mock.calls, events.found.mock.calls]).toEqual([[[sorry]], []])
  })
})
