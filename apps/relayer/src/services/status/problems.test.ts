/** What is said of everything: each thing that can be wrong, alone and before others, and that nothing is. */

import { readFileSync } from 'node:fs'
import type { Explanation, Problem, Status, StatusNode, StatusVault } from '@dvt-relayer/api/schemas.ts'
import { describe, expect, it } from 'vitest'
import { inWords } from '../explain/explain.ts'
import { REASONS } from '../explain/reasons.ts'
import { ANCHORS, findProblems, headlineOf } from './problems.ts'

type Facts = Parameters<typeof findProblems>[0]
const NOW = 1_800_000_000
const VAULT = '0x1111111111111111111111111111111111111111'

const node = (index: number, more: Partial<StatusNode> = {}): StatusNode => ({
  ...{ share_index: index, state: 'there', reason: null, online_since_timestamp: NOW - 900 },
  ...{ seen_at_timestamp: NOW - 3, waiting: 0, oldest_at_timestamp: null, refused_at_timestamp: null },
  ...{
    refusal_code: null,
    software: 'dvt-relayer-sidecar',
    version: '0.2.0',
    clock_difference_seconds: 0,
    came_by: 'token',
  },
  ...more,
})
const cluster = (nodes: StatusNode[], name = 'blue'): Facts['clusters'][number] => ({
  ...{ name, source: 'lock', threshold: 3, validators: 10, collecting: 0, nodes },
})
const vault = (more: Partial<StatusVault> = {}): StatusVault => ({
  ...{ vault: VAULT, registered: 5, exited: 1, outdated: 0, wrong_index: 0, force_exit_at_timestamp: null },
  ...{ keys_free: 50, keys_reserved: 0, rotation: null },
  ...more,
})
const process = (role: 'all' | 'api' | 'worker', more: Partial<Facts['processes'][number]> = {}) => ({
  ...{ role, version: '0.2.0', started_at_timestamp: NOW - 900, heard_at_timestamp: NOW - 5, there: true },
  ...more,
})
const manager = (moved: string, left: string | null, limit: string | null = '100'): Facts['manager'] => ({
  ...{ address: VAULT, limit_gwei: limit },
  vaults: [{ vault: VAULT, signatures: { fund: 1 }, moved_gwei: moved, left_gwei: left, last_at_timestamp: NOW }],
})
const validator = (code: Parameters<typeof inWords>[0]['code']): Explanation =>
  ({ verdict: inWords({ code, shareIndexes: [] }) }) as unknown as Explanation
const THERE = [1, 2, 3, 4].map((index) => node(index))
const ALL_AWAY = [1, 2, 3].map((index) => node(index, { state: 'away', reason: 'NODE_AWAY' }))
const TOTALS = { validators: 20, collecting: 0, ready: 3, unsplit: 0, registered: 5, exited: 1 }

const GOOD: Facts = {
  ...{ network: 'hoodi', version: '0.2.0', time: NOW, counted_at_timestamp: NOW - 60 },
  ...{ caller: { name: 'me', role: 'admin' }, totals: TOTALS, clusters: [cluster(THERE)], clusters_left_out: 0 },
  validators: { items: [], next: null, key: null },
  oracle_set: { cid: 'c', block_number: 1, announced_at_timestamp: 1, threshold: 1, oracles: 1 },
  unserved: [],
  ...{ registry: null, vaults: [vault()], manager: manager('10', '90'), queue: null, processes: [process('all')] },
  ...{ ready: { status: 'ready', checks: { database: { ok: true } } }, unused: {}, doubts: {} },
}

/** What is changed, and what is said then: all of it, in order. */
const CASES: readonly [name: string, change: Partial<Facts>, says: readonly (readonly [Problem['level'], string])[]][] =
  [
    ['nothing', {}, []],
    [
      'no worker',
      { processes: [process('api'), process('worker', { there: false })] },
      [['bad', 'no process of the role worker or all is there']],
    ],
    ['no process at all', { processes: [] }, [['bad', 'no process of the role worker or all is there']]],
    [
      'several versions',
      {
        processes: [
          process('all'),
          process('api', { version: '0.3.0' }),
          process('api', { version: '9', there: false }),
        ],
      },
      [['waiting', 'relayers of several versions run on one database: 0.2.0, 0.3.0']],
    ],
    [
      'a process whose heartbeat is late, while it counts as there',
      {
        processes: [
          process('all'),
          process('worker', { heard_at_timestamp: NOW - 31 }),
          process('api', { heard_at_timestamp: NOW - 30 }),
          process('api', { heard_at_timestamp: NOW - 99, there: false }),
        ],
      },
      [
        [
          'waiting',
          'a process of the role worker was last heard at 2027-01-15 07:59:29 UTC: it may have ended, and counts as gone after 60 s',
        ],
      ],
    ],
    ['nothing counted yet', { counted_at_timestamp: null }, [['waiting', 'no worker has counted yet']]],
    [
      'services, and that no worker is there once',
      {
        ready: {
          status: 'not_ready',
          checks: {
            oracle_set: { ok: false, message: 'old' },
            worker: { ok: false, message: 'gone' },
            queue: { ok: true },
          },
        },
      },
      [['bad', 'oracle set is not well: old']],
    ],
    [
      'a node that is away',
      { clusters: [cluster([...THERE.slice(0, 3), node(4, { state: 'away', reason: 'NODE_AWAY' })])] },
      [['bad', 'node 4 of cluster "blue" is away, last seen at 2027-01-15 07:59:57 UTC']],
    ],
    [
      'a cluster that cannot sign',
      {
        clusters: [
          cluster([
            node(1),
            node(2, { state: 'unknown' }),
            ...[3, 4].map((index) =>
              node(index, { state: 'never', reason: 'NODE_NEVER_SEEN', seen_at_timestamp: null }),
            ),
          ]),
        ],
      },
      [
        ['bad', 'cluster "blue" cannot sign: 2 of the 3 nodes it needs are there'],
        ['bad', 'node 3 of cluster "blue" was never seen'],
        ['bad', 'node 4 of cluster "blue" was never seen'],
      ],
    ],
    [
      'a cluster all of whose nodes are needed, and one is away',
      { clusters: [cluster([...THERE.slice(0, 2), node(3, { state: 'away', reason: 'NODE_AWAY' })])] },
      [
        ['bad', 'cluster "blue" cannot sign: 2 of the 3 nodes it needs are there'],
        ['bad', 'node 3 of cluster "blue" is away'],
      ],
    ],
    [
      'nodes of keys of a list, of which others may be there',
      { clusters: [{ ...cluster(ALL_AWAY), source: 'list' }] },
      [1, 2, 3].map((index) => ['bad', `node ${index} of cluster "blue" is away`]),
    ],
    [
      'two nodes of a cluster that needs three, not all of which are known',
      { clusters: [cluster(ALL_AWAY.slice(0, 2))] },
      [1, 2].map((index) => ['bad', `node ${index} of cluster "blue" is away`]),
    ],
    [
      'the own nodes of a node operator, which are three',
      { caller: { name: 'n', role: 'sidecar' }, totals: null, clusters: [cluster(ALL_AWAY)] },
      [1, 2, 3].map((index) => ['bad', `node ${index} of cluster "blue" is away`]),
    ],
    [
      'a node of a node operator, who sees no others',
      {
        caller: { name: 'n', role: 'sidecar' },
        totals: null,
        clusters: [cluster([node(1, { state: 'away', reason: 'NODE_AWAY', seen_at_timestamp: null })])],
      },
      [['bad', 'node 1 of cluster "blue" is away, last seen long ago']],
    ],
    [
      'one node of many clusters, once',
      {
        clusters: ['a', 'b', 'c'].map((name) =>
          cluster([node(1, { reason: 'NODE_REFUSED', refusal_code: 'TOKEN_BINDING' }), ...THERE.slice(1)], name),
        ),
      },
      [['bad', 'what node 1 of 3 clusters sends is refused with TOKEN_BINDING']],
    ],
    [
      'a node that does not sign, and one of which nothing can be told',
      {
        clusters: [
          cluster([
            node(1, { state: 'unknown', reason: 'NODE_UNKNOWN' }),
            node(2, { reason: 'NODE_SILENT', waiting: 4, oldest_at_timestamp: NOW - 600 }),
            ...THERE.slice(2),
          ]),
        ],
      },
      [
        [
          'bad',
          'node 2 of cluster "blue" is there and has not signed what was asked for since 2027-01-15 07:50:00 UTC',
        ],
        ['waiting', 'node 1 of cluster "blue" has not signed, and whether it is there cannot be told'],
      ],
    ],
    [
      'a node that hands in with charon and owes, and nothing of one that is only away between two runs',
      {
        clusters: [
          cluster([
            ...[1, 2].map((index) => node(index, { state: 'away' })),
            node(3, { state: 'away', reason: 'NODE_RUNS_CHARON', waiting: 4, oldest_at_timestamp: NOW - 600 }),
          ]),
        ],
      },
      [
        [
          'waiting',
          'node 3 of cluster "blue" hands in with charon, and has not signed what was asked for since 2027-01-15 07:50:00 UTC',
        ],
      ],
    ],
    [
      'a clock, once however many clusters',
      {
        clusters: ['a', 'b'].map((name) =>
          cluster(
            [node(1, { clock_difference_seconds: -90 }), node(2, { clock_difference_seconds: 5 }), ...THERE.slice(2)],
            name,
          ),
        ),
      },
      [['bad', "the clock of node 1 is 90 s behind the relayer's"]],
    ],
    [
      'a clock that is ahead',
      { clusters: [cluster([node(1, { clock_difference_seconds: 6 }), ...THERE.slice(1)])] },
      [['bad', "the clock of node 1 is 6 s ahead of the relayer's"]],
    ],
    [
      'wrong shares, and not what stands at the nodes',
      {
        validators: {
          items: [
            validator('SHARE_REJECTED'),
            validator('SHARE_REJECTED'),
            validator('NODE_AWAY'),
            validator('COLLECTING'),
          ],
          next: null,
          key: null,
        },
      },
      [['bad', 'of 2 validators: these nodes have handed in signatures that are not of their share']],
    ],
    [
      'shares of earlier oracles',
      { vaults: [vault({ outdated: 2, force_exit_at_timestamp: NOW + 60 })] },
      [
        [
          'bad',
          `2 validators of vault ${VAULT} have shares of earlier oracles: they may be exited by force from 2027-01-15 08:01:00 UTC on`,
        ],
      ],
    ],
    [
      'new shares on their way, and late ones',
      {
        vaults: [
          vault({ outdated: 1, rotation: { state: 'sent', since_timestamp: NOW - 5, deadline: NOW + 5 } }),
          vault({
            outdated: 1,
            force_exit_at_timestamp: NOW,
            rotation: { state: 'sent', since_timestamp: NOW - 5, deadline: NOW + 5 },
          }),
        ],
      },
      [
        ['bad', `1 validator of vault ${VAULT} has shares of earlier oracles: it may be exited by force now`],
        ['waiting', `1 validator of vault ${VAULT} has shares of earlier oracles; new ones are on their way`],
      ],
    ],
    [
      'shares for a wrong index',
      { vaults: [vault({ wrong_index: 1 })] },
      [['bad', `1 validator of vault ${VAULT}: its newest shares were made for another validator index`]],
    ],
    ['no key left', { vaults: [vault({ keys_free: 0 })] }, [['bad', `vault ${VAULT} has no key left`]]],
    [
      'few keys left',
      { vaults: [vault({ keys_free: 0, keys_reserved: 2 }), vault({ keys_free: 1 })] },
      [
        ['waiting', `vault ${VAULT} has 0 free keys left`],
        ['waiting', `vault ${VAULT} has 1 free key left`],
      ],
    ],
    [
      'a vault that asks in vain, unless it is said of it that it has no key left',
      {
        vaults: [vault({ keys_free: 0 })],
        unserved: ['0x2222222222222222222222222222222222222222', VAULT].map((address) => ({
          ...{ vault: address, asked_at_timestamp: NOW - 5, validators: 2, reason: 'no lock names it' },
        })),
      },
      [
        ['bad', `vault ${VAULT} has no key left`],
        [
          'waiting',
          'vault 0x2222222222222222222222222222222222222222 has asked for 2 validators and got none, last at 2027-01-15 07:59:55 UTC: no lock names it',
        ],
      ],
    ],
    [
      'keys left that are just enough, and one less',
      { vaults: [vault({ keys_free: 10 }), vault({ keys_free: 9 })] },
      [['waiting', `vault ${VAULT} has 9 free keys left`]],
    ],
    [
      'keys that were not counted',
      { vaults: [vault({ keys_free: null }), vault({ keys_free: 0, keys_reserved: null })] },
      [],
    ],
    [
      'no key left where the manager has no key any more',
      { vaults: [vault({ keys_free: 0 })], manager: { address: null, limit_gwei: null, vaults: [] } },
      [],
    ],
    ['no key left where nothing is signed for vaults', { vaults: [vault({ keys_free: 0 })], manager: null }, []],
    [
      'the limit reached',
      { manager: manager('100', '0') },
      [['bad', `what the manager may move of vault ${VAULT} within a day is used up`]],
    ],
    [
      'most of the limit',
      { manager: manager('80', '20') },
      [['waiting', `four fifths of what the manager may move of vault ${VAULT} within a day are used`]],
    ],
    ['no limit', { manager: manager('100', null, null) }, []],
    [
      'exits without an oracle set',
      { oracle_set: null, totals: { ...TOTALS, unsplit: 2 } },
      [['bad', '2 exits cannot be split: no oracle config is known yet']],
    ],
    [
      'exits that are split',
      { totals: { ...TOTALS, unsplit: 1 } },
      [['waiting', '1 exit is being split for the oracles in force']],
    ],
    [
      'what is collected',
      { totals: { ...TOTALS, collecting: 2 } },
      [['waiting', '2 validators wait for signatures of nodes']],
    ],
    [
      'what is collected in a cluster of which no number is told',
      { totals: null, clusters: [{ ...cluster(THERE), collecting: null }] },
      [],
    ],
    [
      'what is collected for a vault',
      { totals: null, clusters: [{ ...cluster(THERE), collecting: 1 }] },
      [['waiting', '1 validator waits for signatures of nodes']],
    ],
  ]

describe('problems', () => {
  it.each(CASES)('are said of %s, the worst first', (_name, change, says) => {
    const found = findProblems({ ...GOOD, ...change })
    expect(found.map(({ level, sentence }) => [level, sentence])).toEqual(
      says.map(([level, words]) => [level, expect.stringContaining(words)]),
    )
  })

  it('of a node lead to its reason in the runbook', () => {
    const codes = [
      'NODE_NEVER_SEEN',
      'NODE_AWAY',
      'NODE_REFUSED',
      'NODE_SILENT',
      'NODE_RUNS_CHARON',
      'NODE_UNKNOWN',
    ] as const
    for (const reason of codes) {
      const clusters = [cluster([node(1, { reason }), ...THERE.slice(1)])]
      expect(findProblems({ ...GOOD, clusters })).toMatchObject([{ anchor: REASONS[reason].anchor }])
    }
  })

  it('have each their place in the runbook, or need none', () => {
    const page = readFileSync(new URL('../../../../../docs/operating/runbook.md', import.meta.url), 'utf8')
    const anchors = [...page.matchAll(/^## (.*)$/gm)].map(([, title = '']) => title.toLowerCase().replaceAll(' ', '-'))
    const used = CASES.flatMap(([, change]) => findProblems({ ...GOOD, ...change }).map(({ anchor }) => anchor))
    for (const anchor of [...used, ...Object.values(ANCHORS)]) if (anchor !== null) expect(anchors).toContain(anchor)
  })
})

describe('the headline', () => {
  const of = (change: Partial<Facts>): Pick<Status, 'headline'>['headline'] => {
    const facts = { ...GOOD, ...change }
    return headlineOf(findProblems(facts), facts)
  }

  it('says that nothing is wrong only where nothing is', () => {
    expect(of({})).toEqual({
      level: 'good',
      sentence: 'Nothing is wrong: 4 validators registered, 3 exits ready.',
      anchor: null,
    })
    expect(of({ totals: null }).sentence).toBe('Nothing is wrong that you may see.')
  })

  it('claims no more than is known where nodes cannot be told apart, and is no problem', () => {
    const clusters = [cluster([...THERE.slice(0, 3), node(4, { state: 'unknown' })])]
    expect(findProblems({ ...GOOD, clusters })).toEqual([])
    expect(of({ clusters })).toEqual({
      level: 'waiting',
      sentence:
        'Nothing is wrong that can be seen: 4 validators registered, 3 exits ready; but which nodes are there cannot be told: give each a token of its own, bound to its share index.',
      anchor: 'a-node-is-missing',
    })
    expect(of({ clusters: [cluster(THERE, 'green'), ...clusters] }).level).toBe('waiting')
    expect(of({ clusters, totals: { ...TOTALS, collecting: 2 } }).sentence).toBe(
      '2 validators wait for signatures of nodes.',
    )
  })

  it('says the worst, and how much more of its kind there is', () => {
    const away = [3, 4].map((index) => node(index, { state: 'away', reason: 'NODE_AWAY' }))
    const { level, sentence, anchor } = of({
      clusters: [cluster([...THERE.slice(0, 2), ...away])],
      totals: { ...TOTALS, collecting: 1 },
    })
    expect([level, anchor]).toEqual(['bad', 'a-node-is-missing'])
    expect(sentence).toBe('Cluster "blue" cannot sign: 2 of the 3 nodes it needs are there, and 2 more below.')
    expect(of({ totals: { ...TOTALS, collecting: 1 } })).toMatchObject({ level: 'waiting' })
  })
})
