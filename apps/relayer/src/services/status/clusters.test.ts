/** Which nodes a cluster has, how each stands, and what of it is whose to see. */

import type { ExplainedNodeRow } from '@dvt-relayer/db/queries/explain.ts'
import { describe, expect, it } from 'vitest'
import { clustersOf, inOrder } from './clusters.ts'
import type { Snapshot } from './snapshot.ts'

const NOW = 1_800_000_000
const [VAULT, OTHER] = [Buffer.alloc(20, 0x11), Buffer.alloc(20, 0x22)]
const hex = (vault: Buffer) => `0x${vault.toString('hex')}`
const EVERYTHING = { vaults: undefined, shareIndexes: undefined }

const cluster = (id: number, more: Partial<Snapshot['clusters'][number]> = {}): Snapshot['clusters'][number] => ({
  ...{ id, name: `c${id}`, source: 'lock', threshold: 2, validators: 10 },
  ...{ share_indexes: [1, 2, 3], vaults: [hex(VAULT)] },
  ...more,
})
const snapshotOf = (clusters: Snapshot['clusters'], more: Partial<Snapshot> = {}): Snapshot => ({
  ...{ clusters, vaults: [], collecting: [], waiting: [], rotations: [], manager: [] },
  totals: { validators: 0, registered: 0, exited: 0, ready: 0, unsplit: 0 },
  ...more,
})
const seen = (shareIndex: number, more: Partial<ExplainedNodeRow> = {}): ExplainedNodeRow => ({
  ...{ shareIndex, seenAt: NOW - 3, presentAt: NOW - 3, onlineSince: NOW - 900, postedAt: null, refusedAt: null },
  ...{ refusalCode: null, software: 'a', version: '1', clockDifferenceSeconds: 0, cameBy: null, isShared: false },
  ...more,
})
const attendance = (...rows: ExplainedNodeRow[]) => ({
  now: NOW,
  nodes: new Map(rows.map((row) => [row.shareIndex, row])),
})

describe('clusters', () => {
  it('stand first where something is wrong with one node, then where they collect, then as they were', () => {
    const of = (id: number, shareIndexes: number[]) => cluster(id, { name: `c${id}`, share_indexes: shareIndexes })
    const clusters = [of(1, [1, 2]), of(2, [1, 2]), of(3, [1, 2, 3]), of(4, [1, 2]), of(5, [3, 4])]
    const collecting = [2, 3].map((id) => ({ cluster_id: id, validators: 1 }))
    const rows = [seen(1), seen(2), seen(3, { presentAt: null }), seen(4)]
    const found = clustersOf(snapshotOf(clusters), attendance(...rows), EVERYTHING).map((one) => ({
      ...one,
      collecting: collecting.some(({ cluster_id: id }) => one.name === `c${id}`) ? 1 : 0,
    }))
    expect(inOrder(found).map(({ name }) => name)).toEqual(['c3', 'c5', 'c2', 'c1', 'c4'])
  })

  it('have their nodes, each there, away, never seen, or not to be told', () => {
    const rows = [seen(1), seen(2, { presentAt: null }), seen(4, { isShared: true })]
    const snapshot = snapshotOf([cluster(1, { share_indexes: [1, 2, 3, 4] })])
    const [found] = clustersOf(snapshot, attendance(...rows), EVERYTHING)
    expect(
      found?.nodes.map(({ state, reason, online_since_timestamp: at, software }) => [state, reason, at, software]),
    ).toEqual([
      ['there', null, NOW - 900, 'a'],
      ['away', 'NODE_AWAY', null, 'a'],
      ['never', 'NODE_NEVER_SEEN', null, null],
      ['unknown', null, null, null],
    ])
  })

  it('have nodes that cannot be told apart while one comes without a share index, and none of it once it is gone', () => {
    const statesOf = (free: ExplainedNodeRow) =>
      clustersOf(
        snapshotOf([cluster(1)]),
        attendance(free, seen(1, { presentAt: NOW - 500 })),
        EVERYTHING,
      )[0]?.nodes.map(({ state, reason }) => [state, reason])
    expect(statesOf(seen(0))).toEqual([
      ['unknown', null],
      ['unknown', null],
      ['unknown', null],
    ])
    expect(statesOf(seen(0, { seenAt: NOW - 500, presentAt: NOW - 500 }))).toEqual([
      ['away', 'NODE_AWAY'],
      ['never', 'NODE_NEVER_SEEN'],
      ['never', 'NODE_NEVER_SEEN'],
    ])
  })

  it('say which way a node came, but where nodes cannot be told apart', () => {
    const rows = [
      seen(1, { cameBy: 'token' }),
      seen(2, { cameBy: 'charon' }),
      seen(3, { cameBy: 'node_key', isShared: true }),
    ]
    const [found] = clustersOf(snapshotOf([cluster(1)]), attendance(...rows), EVERYTHING)
    expect(found?.nodes.map(({ came_by: cameBy }) => cameBy)).toEqual(['token', 'charon', null])
  })

  it('name a node that owes for too long, and one that is refused', () => {
    const owed = (index: number, seconds: number) => ({
      cluster_id: 1,
      share_index: index,
      messages: 5,
      oldest_at: NOW - seconds,
    })
    const snapshot = snapshotOf([cluster(1)], {
      collecting: [{ cluster_id: 1, validators: 3, messages: 5, oldest_at: NOW - 600 }],
      waiting: [owed(1, 600), owed(2, 60), owed(3, 600)],
    })
    const rows = [seen(1), seen(2), seen(3, { refusedAt: NOW - 5, refusalCode: 'TOKEN_BINDING' })]
    const [found] = clustersOf(snapshot, attendance(...rows), EVERYTHING)
    expect(found?.nodes.map(({ reason, waiting }) => [reason, waiting])).toEqual([
      ['NODE_SILENT', 5],
      [null, 5],
      ['NODE_REFUSED', 5],
    ])
  })

  it('name a node that is there two minutes after what it owes was asked for, and not before', () => {
    const owed = (index: number, seconds: number) => ({
      ...{ cluster_id: 1, share_index: index, messages: 1, oldest_at: NOW - seconds },
    })
    const snapshot = snapshotOf([cluster(1, { share_indexes: [1, 2] })], { waiting: [owed(1, 119), owed(2, 120)] })
    const [found] = clustersOf(snapshot, attendance(seen(1), seen(2)), EVERYTHING)
    expect(found?.nodes.map(({ reason }) => reason)).toEqual([null, 'NODE_SILENT'])
  })

  it('have never seen a node that was not there and owes all, and cannot tell of one that has signed some', () => {
    const owed = (index: number, messages: number) => ({
      ...{ cluster_id: 1, share_index: index, messages, oldest_at: NOW - 600 },
    })
    const statesOf = (messages: number, waiting: Snapshot['waiting']) =>
      clustersOf(
        snapshotOf([cluster(1)], {
          ...{ collecting: [{ cluster_id: 1, validators: 1, messages, oldest_at: NOW - 600 }], waiting },
        }),
        attendance(),
        EVERYTHING,
      )[0]?.nodes.map(({ state }) => state)
    expect(statesOf(5, [owed(1, 5), owed(2, 4)])).toEqual(['never', 'unknown', 'unknown'])
    expect(statesOf(1, [owed(1, 1)])).toEqual(['never', 'unknown', 'unknown'])
  })

  it('are those of a node that signed its request, and no others of its share index', () => {
    const snapshot = snapshotOf([cluster(1), cluster(2), cluster(3)])
    const of = (ids: number[]) =>
      clustersOf(snapshot, attendance(seen(1)), { ...EVERYTHING, shareIndexes: [1], clusterIds: new Set(ids) })
    expect(of([3, 1]).map(({ name }) => name)).toEqual(['c1', 'c3'])
    expect(of([])).toEqual([])
  })

  it('of one known node are as known as others', () => {
    const snapshot = snapshotOf([cluster(1, { share_indexes: [1] })])
    const [found] = clustersOf(snapshot, attendance(seen(1), seen(9)), EVERYTHING)
    expect(found?.nodes).toMatchObject([{ share_index: 1, waiting: 0 }])
    const as = (shareIndexes: number[]) => clustersOf(snapshot, attendance(), { vaults: undefined, shareIndexes })
    expect(as([9])).toEqual([])
    // Any node may be one of a cluster whose nodes are not known.
    const unknown = snapshotOf([cluster(2, { share_indexes: [] })])
    expect(clustersOf(unknown, attendance(), { vaults: undefined, shareIndexes: [9] })).toMatchObject([
      { name: 'c2', nodes: [] },
    ])
  })

  it('of which no number is told stand behind those that collect', () => {
    const found = clustersOf(snapshotOf([cluster(1), cluster(2)]), attendance(seen(1), seen(2), seen(3)), EVERYTHING)
    const [none, some] = [
      { ...found[0], collecting: null },
      { ...found[1], collecting: 1 },
    ] as typeof found
    expect(inOrder([none, some] as typeof found).map(({ name }) => name)).toEqual(['c2', 'c1'])
  })

  it('miss nothing of a node that hands in with charon between two runs, and name it once it owes for too long', () => {
    const rows = [1, 2].map((index) => seen(index, { cameBy: 'charon', seenAt: NOW - 5000, presentAt: NOW - 5000 }))
    const owed = { cluster_id: 1, share_index: 2, messages: 5, oldest_at: NOW - 600 }
    const snapshot = snapshotOf([cluster(1, { share_indexes: [1, 2] })], {
      collecting: [{ cluster_id: 1, validators: 3, messages: 5, oldest_at: NOW - 600 }],
      waiting: [owed],
    })
    const [found] = clustersOf(snapshot, attendance(...rows), EVERYTHING)
    expect(found?.nodes.map(({ state, reason }) => [state, reason])).toEqual([
      ['away', null],
      ['away', 'NODE_RUNS_CHARON'],
    ])
  })

  it('are looked up once each, however many there are', () => {
    let looks = 0
    const counted = <T extends { cluster_id: number }>(one: T): T =>
      Object.defineProperty({ ...one }, 'cluster_id', {
        get() {
          looks++
          return one.cluster_id
        },
      })
    const ids = Array.from({ length: 1000 }, (_, n) => n + 1)
    const since = { messages: 5, oldest_at: NOW - 600 }
    const snapshot = snapshotOf(
      ids.map((id) => cluster(id)),
      {
        collecting: ids.map((id) => counted({ cluster_id: id, validators: id, ...since })),
        waiting: ids.map((id) => counted({ cluster_id: id, share_index: 2, ...since })),
      },
    )
    const found = clustersOf(snapshot, attendance(seen(1), seen(2), seen(3)), EVERYTHING)
    expect(found.map(({ collecting }) => collecting)).toEqual(ids)
    expect(found.every(({ nodes }) => nodes.map(({ waiting }) => waiting).join() === '0,5,0')).toBe(true)
    expect(looks).toBeLessThanOrEqual(4 * ids.length)
  })

  it('whose nodes are not known have those that are of no other cluster', () => {
    const list = cluster(2, { source: 'list', share_indexes: [] })
    const found = clustersOf(snapshotOf([cluster(1), list]), attendance(seen(9), seen(0), seen(1), seen(8)), EVERYTHING)
    expect(found[1]?.nodes).toMatchObject(
      [8, 9].map((index) => ({ share_index: index, state: 'there', waiting: null, reason: null })),
    )
    const alone = clustersOf(snapshotOf([list]), attendance(seen(0), seen(1)), EVERYTHING)
    expect(alone[0]?.nodes.map(({ share_index: index }) => index)).toEqual([1])
  })

  it('are shown with their numbers to whom all of it belongs, without to others, and not to strangers', () => {
    const shared = cluster(2, { vaults: [hex(VAULT), hex(OTHER)] })
    const snapshot = snapshotOf([cluster(1), shared], {
      collecting: [{ cluster_id: 2, validators: 3, messages: 5, oldest_at: NOW - 600 }],
    })
    const of = (vaults: Buffer[]) => clustersOf(snapshot, attendance(seen(1)), { vaults, shareIndexes: undefined })
    expect(of([VAULT]).map(({ name, validators, collecting }) => [name, validators, collecting])).toEqual([
      ['c1', 10, 0],
      ['c2', null, null],
    ])
    expect(of([VAULT, OTHER]).map(({ collecting }) => collecting)).toEqual([0, 3])
    expect(of([Buffer.alloc(20, 0x33)])).toEqual([])
    const node = clustersOf(snapshot, attendance(seen(1)), { vaults: undefined, shareIndexes: [2, 9] })
    expect(node.map(({ nodes }) => nodes.map(({ share_index: index }) => index))).toEqual([[2], [2]])
    expect(clustersOf(snapshot, attendance(seen(1)), { vaults: undefined, shareIndexes: [9] })).toEqual([])
  })
})
