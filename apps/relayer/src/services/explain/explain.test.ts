/** Every state that a validator can be in, and what is said of it. */

import { readFileSync } from 'node:fs'
import { Explanation, REASON_CODES, type ReasonCode } from '@dvt-relayer/api/schemas.ts'
import type { ExplainedNodeRow, ExplainedRow, ExplainedShareRow } from '@dvt-relayer/db/queries/explain.ts'
import { Compile } from 'typebox/compile'
import { describe, expect, it } from 'vitest'
import { explain, type Moment } from './explain.ts'
import { REASONS } from './reasons.ts'

const NOW = 1_800_000_000
const [VAULT, OTHER] = [Buffer.alloc(20, 0x11), Buffer.alloc(20, 0x22)]

const NOT_ASKED_FOR: ExplainedRow = {
  ...{ id: 1, publicKey: Buffer.alloc(48, 1) },
  ...{ clusterName: 'c', clusterSource: 'lock', clusterThreshold: 3 },
  ...{ vault: VAULT, wantedVault: VAULT, boundVault: null },
  ...{ isRegistered: false, hasExited: false, beaconIndex: null, beaconVault: null, isDeposited: false },
  ...{ isErased: false, erasureHeldSince: null, chainSetCid: null, isOutdated: false, forceExitAt: null },
  ...{ exitId: null, exitState: null, exitThreshold: null, exitCreatedAt: null, exitRequestedAt: null },
  ...{ exitReadyAt: null, exitFailedAttempts: null, exitIndex: null },
  ...{ depositId: null, depositState: null, depositThreshold: null, depositCreatedAt: null, depositRequestedAt: null },
  ...{ depositReadyAt: null, depositFailedAttempts: null, depositAmount: null, depositType: null },
  ...{ superseded: 0, hasCurrentShares: false, hasOlderShares: false, newestSharesIndex: null },
  ...{ isInRotation: false, rotationDeadline: null, depositVault: null },
}
const OLD = NOW - 1000
const EXIT: Partial<ExplainedRow> = {
  ...{ exitId: 1, exitState: 'collecting', exitThreshold: 3, exitCreatedAt: OLD, exitRequestedAt: NOW - 10 },
  ...{ exitFailedAttempts: 0, exitIndex: 7 },
}
const READY_EXIT: Partial<ExplainedRow> = { ...EXIT, exitState: 'ready', exitReadyAt: NOW - 5 }
const DEPOSIT: Partial<ExplainedRow> = {
  ...{ depositId: 2, depositState: 'collecting', depositThreshold: 3, depositCreatedAt: OLD },
  ...{ depositRequestedAt: NOW - 20, depositFailedAttempts: 0, depositAmount: 32e9, depositType: '0x01' },
}
const READY_DEPOSIT: Partial<ExplainedRow> = { ...DEPOSIT, depositState: 'ready', depositReadyAt: NOW - 5 }
const REGISTERED: Partial<ExplainedRow> = {
  ...{ isRegistered: true, beaconIndex: 7, beaconVault: VAULT, chainSetCid: 'old', newestSharesIndex: 7 },
  ...READY_EXIT,
}
const OUTDATED: Partial<ExplainedRow> = { ...REGISTERED, isOutdated: true, forceExitAt: NOW + 500 }
const RENEWED: Partial<ExplainedRow> = { ...OUTDATED, hasCurrentShares: true, isInRotation: true }

type State = 'v' | 'u' | 'r' | '-'
const STATES = { v: 'verified', u: 'unverified', r: 'rejected', '-': null } as const
/** One letter a node: what it has handed in for the exit, and for the deposit. */
function sharesOf(exit: string, deposit = '-'.repeat(exit.length), isTrusted = true): ExplainedShareRow[] {
  return [...exit].map((letter, position) => {
    const [e, d] = [STATES[letter as State], STATES[deposit[position] as State]]
    return {
      ...{ validatorId: 1, shareIndex: position + 1, isTrusted },
      ...{ exitState: e, exitAt: e && OLD, depositState: d, depositAt: d && OLD },
    }
  })
}
const node = (shareIndex: number, more: Partial<ExplainedNodeRow> = {}): ExplainedNodeRow => ({
  ...{ shareIndex, seenAt: NOW - 3, postedAt: null, refusedAt: null, refusalCode: null, isShared: false },
  ...{ presentAt: more.seenAt === undefined ? NOW - 3 : more.seenAt, onlineSince: null },
  ...{ software: null, version: null, clockDifferenceSeconds: null, cameBy: null },
  ...more,
})
const THERE = [1, 2, 3, 4].map((index) => node(index))

const momentOf = ({
  nodes = THERE,
  ...more
}: Partial<Omit<Moment, 'nodes'>> & { nodes?: ExplainedNodeRow[] } = {}) => ({
  ...{ now: NOW, currentSetCid: 'new', hasWorker: true, lifetimeSeconds: 3600, erasureDelaySeconds: undefined },
  charon: undefined,
  nodes: new Map(nodes.map((one) => [one.shareIndex, one])),
  ...more,
})

interface Case {
  row?: Partial<ExplainedRow>
  shares?: ExplainedShareRow[]
  moment?: Parameters<typeof momentOf>[0]
  own?: number[]
  /** The reasons in their order; one about nodes as `CODE 2,3`. */
  says: string
}
const of = ({ row = {}, shares = sharesOf('----'), moment, own }: Case) =>
  explain({ validator: { ...NOT_ASKED_FOR, ...row }, shares }, momentOf(moment), own)

const TWO = sharesOf('vv--')
const CASES: Readonly<Record<string, Case>> = {
  'never asked for': { says: 'NOT_ASKED' },
  'whose only exit was erased before it was taken back that it is registered': {
    row: { ...EXIT, exitState: 'erased', isErased: true },
    says: 'NOT_ASKED',
  },
  'expired, generation 3': { row: { ...EXIT, exitState: 'expired' }, says: 'EXPIRED' },
  'expired, generation 4': {
    row: { ...EXIT, exitState: 'expired', ...DEPOSIT, depositState: 'expired' },
    says: 'EXPIRED',
  },
  'whose deposit alone was asked for, and expired': { row: { ...DEPOSIT, depositState: 'expired' }, says: 'EXPIRED' },
  'whose deposit alone is collected': { row: DEPOSIT, says: 'NOT_ASKED' },
  'whose exit alone expired': { row: { ...READY_EXIT, exitState: 'expired', ...READY_DEPOSIT }, says: 'EXPIRED' },
  'whose exit alone was superseded': { row: { ...EXIT, exitState: 'superseded', ...DEPOSIT }, says: 'SUPERSEDED' },
  superseded: { row: { ...EXIT, exitState: 'superseded' }, says: 'SUPERSEDED' },
  'bound to another vault': {
    row: { ...EXIT, exitState: 'expired', boundVault: OTHER },
    says: 'BOUND_ELSEWHERE EXPIRED',
  },
  'bound to its own vault': { row: { boundVault: VAULT }, says: 'NOT_ASKED' },
  'just asked for': { row: { ...EXIT, exitCreatedAt: NOW - 5 }, says: 'COLLECTING 1,2,3,4' },
  'asked for not quite two minutes ago': { row: { ...EXIT, exitCreatedAt: NOW - 119 }, says: 'COLLECTING 1,2,3,4' },
  'asked for two minutes ago': { row: { ...EXIT, exitCreatedAt: NOW - 120 }, says: 'NODE_SILENT 1,2,3,4' },
  'whose node was never seen': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: THERE.slice(0, 3) },
    says: 'NODE_NEVER_SEEN 4, NODE_SILENT 3',
  },
  'just asked for, whose node was never seen': {
    row: { ...EXIT, exitCreatedAt: NOW - 5 },
    shares: sharesOf('vv-'),
    moment: { nodes: [] },
    says: 'NODE_NEVER_SEEN 3',
  },
  'whose node is away': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { seenAt: NOW - 500 }), node(4, { seenAt: NOW - 121 })] },
    says: 'NODE_AWAY 3,4',
  },
  'whose node was heard of two minutes ago': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { seenAt: NOW - 120 }), node(4)] },
    says: 'NODE_SILENT 3,4',
  },
  'whose node may be one whose token names no share index': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(0), node(4, { seenAt: NOW - 500 })] },
    says: 'NODE_UNKNOWN 3,4',
  },
  'all of whose nodes without a share index are away': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(0, { seenAt: NOW - 500 })] },
    says: 'NODE_NEVER_SEEN 3,4',
  },
  'whose nodes came without a share index once, and one of them with its own since': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(0, { seenAt: NOW - 500 }), node(3, { seenAt: NOW - 300 })] },
    says: 'NODE_NEVER_SEEN 4, NODE_AWAY 3',
  },
  'whose node has signed the deposit and is away, with all that have no share index': {
    row: { ...EXIT, ...DEPOSIT },
    shares: sharesOf('vv-', 'vvv'),
    moment: { nodes: [node(0, { seenAt: NOW - 500 })] },
    says: 'NODE_AWAY 3, BEING_FINISHED',
  },
  'whose node may be that of another cluster': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { isShared: true, refusedAt: NOW, refusalCode: 'X' }), node(4)] },
    says: 'NODE_SILENT 4, NODE_UNKNOWN 3',
  },
  'whose node of a share index of another cluster too is away': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { isShared: true, seenAt: NOW - 500 }), node(4)] },
    says: 'NODE_AWAY 3, NODE_SILENT 4',
  },
  'whose node has signed the deposit before anything was noted of nodes': {
    row: { ...EXIT, ...DEPOSIT },
    shares: sharesOf('vv-', 'vvv'),
    moment: { nodes: [] },
    says: 'NODE_UNKNOWN 3, BEING_FINISHED',
  },
  'whose node is refused': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { seenAt: null, refusedAt: NOW - 5, refusalCode: 'TOKEN_BINDING' }), node(4)] },
    says: 'NODE_REFUSED 3, NODE_SILENT 4',
  },
  'whose node was refused and has posted since': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { postedAt: NOW - 4, refusedAt: NOW - 5, refusalCode: 'X' }), node(4)] },
    says: 'NODE_SILENT 3,4',
  },
  'whose node was refused in the second in which it has posted': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { postedAt: NOW - 5, refusedAt: NOW - 5, refusalCode: 'X' }), node(4)] },
    says: 'NODE_REFUSED 3, NODE_SILENT 4',
  },
  'whose node was refused long ago': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { refusedAt: NOW - 600, refusalCode: 'X' }), node(4)] },
    says: 'NODE_SILENT 3,4',
  },
  'whose node hands in with charon, and did not run lately': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { cameBy: 'charon', seenAt: NOW - 5000 }), node(4, { seenAt: NOW - 5000 })] },
    says: 'NODE_AWAY 4, NODE_RUNS_CHARON 3',
  },
  'whose node hands in with charon, just asked for': {
    row: { ...EXIT, exitCreatedAt: NOW - 5 },
    shares: TWO,
    moment: { nodes: [node(3, { cameBy: 'charon', seenAt: NOW - 5000 }), node(4)] },
    says: 'COLLECTING 3,4',
  },
  'whose node hands in with charon and is refused': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { cameBy: 'charon', refusedAt: NOW - 5, refusalCode: 'EXITS_REFUSED' }), node(4)] },
    says: 'NODE_REFUSED 3, NODE_SILENT 4',
  },
  'whose node of charon may be that of another cluster': {
    row: EXIT,
    shares: TWO,
    moment: { nodes: [node(3, { cameBy: 'charon', isShared: true }), node(4)] },
    says: 'NODE_SILENT 4, NODE_UNKNOWN 3',
  },
  'with a rejected share': { row: EXIT, shares: sharesOf('vvr-'), says: 'SHARE_REJECTED 3, NODE_SILENT 4' },
  'with a rejected share that nobody needs': { row: EXIT, shares: sharesOf('vvvr'), says: 'BEING_FINISHED' },
  'with more rejected shares than it can spare': {
    row: EXIT,
    shares: sharesOf('vrr-'),
    says: 'THRESHOLD_UNREACHABLE 2,3, NODE_SILENT 4',
  },
  'with too few public key shares': { row: EXIT, shares: sharesOf('vv'), says: 'NODES_TOO_FEW' },
  'whose exit and deposit lack different shares': {
    row: { ...EXIT, ...DEPOSIT },
    shares: sharesOf('vv--', 'v-v-'),
    says: 'NODE_SILENT 2,3,4',
  },
  'whose deposit alone lacks shares': {
    row: { ...READY_EXIT, ...DEPOSIT, hasCurrentShares: true },
    shares: sharesOf('vvvv', 'vv--'),
    says: 'NODE_SILENT 3,4',
  },
  'of no lock, with too few shares': { row: EXIT, shares: sharesOf('uu', '--', false), says: 'SHARES_TOO_FEW' },
  'of no lock, that nobody has signed': { row: EXIT, shares: [], says: 'SHARES_TOO_FEW' },
  'of no lock, just asked for': { row: { ...EXIT, exitCreatedAt: NOW }, shares: [], says: 'COLLECTING' },
  'of no lock, with a wrong share': {
    row: EXIT,
    shares: sharesOf('vur', '---', false),
    says: 'SHARE_REJECTED 3, SHARES_TOO_FEW',
  },
  'of no lock, with enough shares': { row: EXIT, shares: sharesOf('uuu', '---', false), says: 'BEING_FINISHED' },
  'of no lock, whose shares make nothing': {
    row: { ...EXIT, exitFailedAttempts: 2 },
    shares: sharesOf('uuu', '---', false),
    says: 'NO_SIGNATURE',
  },
  'whose shares have made nothing once': {
    row: { ...EXIT, exitFailedAttempts: 1 },
    shares: sharesOf('vvv-'),
    says: 'NO_SIGNATURE',
  },
  'whose shares wait for their verdict': { row: EXIT, shares: sharesOf('vuu-'), says: 'BEING_VERIFIED' },
  'whose shares wait for a worker': {
    row: EXIT,
    shares: sharesOf('vuu-'),
    moment: { hasWorker: false },
    says: 'NO_WORKER, BEING_VERIFIED',
  },
  'with enough shares': { row: EXIT, shares: sharesOf('vvv-'), says: 'BEING_FINISHED' },
  'with enough shares and no worker': {
    row: EXIT,
    shares: sharesOf('vvv-'),
    moment: { hasWorker: false },
    says: 'NO_WORKER, BEING_FINISHED',
  },
  'with neither enough shares nor a worker': {
    row: EXIT,
    shares: TWO,
    moment: { hasWorker: false },
    says: 'NODE_SILENT 3,4, NO_WORKER',
  },
  'signed, before any oracle set': {
    row: READY_EXIT,
    shares: sharesOf('vvv-'),
    moment: { currentSetCid: null },
    says: 'ORACLE_SET_MISSING',
  },
  'signed and not split': { row: READY_EXIT, shares: sharesOf('vvv-'), says: 'BEING_SPLIT' },
  'signed and not split, without a worker': {
    row: READY_EXIT,
    moment: { hasWorker: false },
    says: 'NO_WORKER, BEING_SPLIT',
  },
  'split for earlier oracles': { row: { ...READY_EXIT, hasOlderShares: true }, says: 'SPLIT_ANEW' },
  'ready, generation 3': { row: { ...READY_EXIT, hasCurrentShares: true }, shares: sharesOf('vvv-'), says: 'READY' },
  'ready, generation 4': { row: { ...READY_EXIT, ...READY_DEPOSIT, hasCurrentShares: true }, says: 'READY' },
  'ready of generation 3, that expired in generation 4': {
    row: { ...READY_EXIT, hasCurrentShares: true, ...DEPOSIT, depositState: 'expired' },
    says: 'READY',
  },
  deposited: { row: { ...READY_EXIT, isDeposited: true }, says: 'DEPOSITED' },
  'deposited while it is bound to another vault': {
    row: { isDeposited: true, boundVault: OTHER },
    says: 'DEPOSITED BOUND_ELSEWHERE',
  },
  registered: { row: REGISTERED, says: 'REGISTERED' },
  'registered, of another vault than it is bound to': {
    row: { ...REGISTERED, beaconVault: OTHER, boundVault: VAULT },
    says: 'VAULT_FOREIGN',
  },
  'registered, with shares of another index': { row: { ...REGISTERED, newestSharesIndex: 6 }, says: 'INDEX_WRONG' },
  'registered and erased': { row: { ...REGISTERED, exitState: 'erased', isErased: true }, says: 'ERASED' },
  'registered, without an exit that is live': { row: { ...REGISTERED, exitState: 'expired' }, says: 'REGISTERED' },
  'registered, with an exit erased before, and another since': {
    row: { ...REGISTERED, isErased: true },
    says: 'REGISTERED',
  },
  outdated: { row: OUTDATED, says: 'SHARES_OUTDATED' },
  'outdated and erased': { row: { ...OUTDATED, exitState: 'erased', isErased: true }, says: 'SHARES_OUTDATED' },
  'outdated, of an oracle set that is not known': { row: { ...OUTDATED, forceExitAt: null }, says: 'SHARES_OUTDATED' },
  'outdated for too long': { row: { ...OUTDATED, forceExitAt: NOW }, says: 'FORCE_EXIT_DUE' },
  'outdated, with shares of another index': {
    row: { ...OUTDATED, newestSharesIndex: 6 },
    says: 'SHARES_OUTDATED, INDEX_WRONG',
  },
  'outdated, with an exit of another index': { row: { ...OUTDATED, ...EXIT, exitIndex: 6 }, says: 'SHARES_OUTDATED' },
  'outdated, whose new exit lacks shares': {
    row: { ...OUTDATED, ...EXIT },
    shares: TWO,
    says: 'NODE_SILENT 3,4, SHARES_OUTDATED',
  },
  'outdated, with new shares': { row: RENEWED, says: 'ROTATION_PREPARED, SHARES_OUTDATED' },
  'outdated, with a transaction': {
    row: { ...RENEWED, rotationDeadline: NOW + 60 },
    says: 'ROTATION_SENT, SHARES_OUTDATED',
  },
  'outdated, with a transaction that came too late': {
    row: { ...RENEWED, rotationDeadline: NOW },
    says: 'ROTATION_PREPARED, SHARES_OUTDATED',
  },
  exiting: { row: { ...OUTDATED, hasExited: true }, says: 'EXITED' },
  'asked for by a node that has signed': { row: EXIT, shares: TWO, own: [1], says: 'OTHER_NODES' },
  'asked for by a node that has not signed': {
    row: EXIT,
    shares: sharesOf('v---'),
    moment: { nodes: [node(3), node(2, { seenAt: OLD })] },
    own: [3],
    says: 'NODE_SILENT 3, OTHER_NODES',
  },
  'asked for by a node, without a worker': {
    row: EXIT,
    shares: TWO,
    moment: { hasWorker: false },
    own: [1],
    says: 'OTHER_NODES, NO_WORKER',
  },
  'asked for by a node when it is ready': { row: { ...READY_EXIT, hasCurrentShares: true }, own: [1], says: 'READY' },
}

const said = ({ reasons }: Explanation) =>
  reasons.map(({ code, share_indexes: indexes }) => [code, indexes.join()].join(' ').trim()).join(', ')
const plain = (says: string) => says.replaceAll(/([A-Z]) ([A-Z])/g, '$1, $2')

describe('a validator', () => {
  const check = Compile(Explanation)

  it.each(Object.entries(CASES))('%s', (_, one) => {
    const explanation = of(one)
    expect(said(explanation)).toBe(plain(one.says))
    expect(explanation.verdict).toEqual(explanation.reasons[0])
    expect(check.Check(explanation)).toBe(true)
  })

  it('can be in no state of which nothing is said: every reason is in the table', () => {
    const codes = new Set(Object.values(CASES).flatMap((one) => of(one).reasons.map(({ code }) => code)))
    // Of a key that nobody has there are no facts.
    expect([...codes, 'KEY_UNKNOWN'].toSorted()).toEqual([...REASON_CODES].toSorted())
  })

  it('has a verdict in whatever combination of facts', () => {
    const states = [null, 'collecting', 'ready', 'superseded', 'expired', 'erased'] as const
    const switches = [false, true]
    let count = 0
    for (const exitState of states)
      for (const depositState of states)
        for (const isRegistered of switches)
          for (const isOutdated of switches)
            for (const hasCurrentShares of switches)
              for (const hasWorker of switches)
                for (const shares of [
                  [],
                  TWO,
                  sharesOf('vvvv', 'vvvv'),
                  sharesOf('rrrr', 'uuuu'),
                  sharesOf('uru', 'uuu', false),
                ]) {
                  const exit = exitState === null ? {} : { ...EXIT, exitState }
                  const deposit = depositState === null ? {} : { ...DEPOSIT, depositState }
                  const more = { isRegistered, isOutdated: isRegistered && isOutdated, hasCurrentShares }
                  const row = { ...NOT_ASKED_FOR, ...exit, ...deposit, ...more, beaconIndex: isRegistered ? 7 : null }
                  const explanation = explain({ validator: row, shares }, momentOf({ hasWorker }))
                  expect(explanation.reasons.length).toBeGreaterThan(0)
                  expect(check.Check(explanation)).toBe(true)
                  count++
                }
    expect(count).toBe(2880)
  })
})

describe('what is told beside the reasons', () => {
  it('is how each share stands, and its node', () => {
    const { shares } = of({
      row: { ...EXIT, ...DEPOSIT },
      shares: sharesOf('vr-', 'u--'),
      moment: { nodes: [node(1), node(2, { seenAt: NOW - 500, refusedAt: NOW - 400, refusalCode: 'SHARES_WRONG' })] },
      says: '',
    })
    const never = { state: 'never', seen_at_timestamp: null, refused_at_timestamp: null, refusal_code: null }
    const missing = { state: 'missing', received_at_timestamp: null }
    expect(shares).toEqual([
      {
        share_index: 1,
        exit: { state: 'verified', received_at_timestamp: OLD },
        deposit: { state: 'unverified', received_at_timestamp: OLD },
        node: { ...never, state: 'there', seen_at_timestamp: NOW - 3 },
      },
      {
        share_index: 2,
        exit: { state: 'rejected', received_at_timestamp: OLD },
        deposit: missing,
        node: {
          ...{ state: 'away', seen_at_timestamp: NOW - 500 },
          ...{ refused_at_timestamp: NOW - 400, refusal_code: 'SHARES_WRONG' },
        },
      },
      { share_index: 3, exit: missing, deposit: missing, node: never },
    ])
  })

  it('is only the own share of who asks for it', () => {
    const { shares, reasons } = of({ row: EXIT, shares: sharesOf('v-r-'), own: [2, 9], says: '' })
    expect(shares.map(({ share_index: index }) => index)).toEqual([2])
    expect(new Set(reasons.flatMap(({ share_indexes: indexes }) => indexes))).toEqual(new Set([2]))
  })

  it('is not what a node of the same share index of another cluster was refused', () => {
    const { shares } = of({
      row: EXIT,
      shares: TWO,
      moment: { nodes: [node(1, { isShared: true, refusedAt: NOW, refusalCode: 'TOKEN_BINDING' })] },
      says: '',
    })
    expect(shares[0]?.node).toMatchObject({ state: 'unknown', refused_at_timestamp: null, refusal_code: null })
  })

  it('is which way a node came, where that is known', () => {
    const nodes = [
      node(1, { cameBy: 'token' }),
      node(2, { cameBy: 'charon' }),
      node(3, { cameBy: 'node_key', isShared: true }),
    ]
    const { shares } = of({ row: EXIT, shares: sharesOf('----'), moment: { nodes }, says: '' })
    expect(shares.map(({ node: { came_by: cameBy } }) => cameBy)).toEqual(['token', 'charon', undefined, undefined])
    expect(shares[3]?.node).not.toHaveProperty('came_by')
  })

  it('is what a node without a sidecar runs for what its share lacks, the deposit to the very vault that asks', () => {
    const charon = { relayer: 'https://relayer.example', epoch: 194_048 }
    const nodes = [node(1, { cameBy: 'charon' }), node(2, { cameBy: 'node_key' }), node(3, { cameBy: 'charon' })]
    const row = {
      ...EXIT,
      ...DEPOSIT,
      depositVault: OTHER,
      depositType: '0x02',
      depositAmount: 33_500_000_000,
    } as const
    const commandsOf = (one: Omit<Case, 'says'>) =>
      of({ ...one, says: '' }).shares.map(({ charon_commands: commands }) => commands)
    const to = '--publish-address=https://relayer.example'
    const exit = `charon exit sign --all --exit-epoch=194048 --beacon-node-endpoints=https://relayer.example/obol ${to}`
    const key = '01'.repeat(48)
    const credentials = `0x02${'00'.repeat(11)}${'22'.repeat(20)}`
    const deposit = `charon deposit sign --validator-public-keys=0x${key} --deposit-amounts=33.5 --withdrawal-addresses=${credentials} ${to}`
    // Node 2 has a sidecar; node 4 was never seen in any way.
    expect(commandsOf({ row, shares: sharesOf('--r-', '--v-'), moment: { nodes, charon } })).toEqual([
      [exit, deposit],
      undefined,
      [exit],
      [exit, deposit],
    ])
    const shares = sharesOf('v--u')
    expect(commandsOf({ row: EXIT, shares, moment: { nodes, charon } })).toEqual([
      undefined,
      undefined,
      [exit],
      undefined,
    ])
    // A registered one is not in the stand-in's list, and its index is the chain's.
    const command = `charon exit sign --validator-public-key=0x${key} --validator-index=7 --exit-epoch=194048 --beacon-node-endpoints=<a beacon node> ${to}`
    expect(commandsOf({ row: { ...OUTDATED, ...EXIT }, shares, moment: { nodes, charon } })[2]).toEqual([command])
    for (const other of [
      { row, moment: { nodes } },
      { row: { ...row, clusterSource: 'ssv' as const }, moment: { nodes, charon } },
      { row: { ...READY_EXIT, ...READY_DEPOSIT }, moment: { nodes, charon } },
      { row: { ...EXIT, exitState: 'expired' as const }, moment: { nodes, charon } },
      { row, moment: { nodes, charon }, shares: sharesOf('----', '----', false) },
    ])
      expect(commandsOf(other)).toEqual([undefined, undefined, undefined, undefined])
  })

  it('is its cluster and its vault, where it is of one', () => {
    expect(of({ says: '' })).toMatchObject({
      cluster: { name: 'c', source: 'lock', threshold: 3 },
      vault: `0x${'11'.repeat(20)}`,
    })
    const none = { clusterName: null, clusterSource: null, clusterThreshold: null, vault: null }
    expect(of({ row: none, says: '' })).toMatchObject({ cluster: null, vault: null })
  })

  it('is of which generation it was asked for, also once that has ended', () => {
    const generationOf = (row: Partial<ExplainedRow>) => of({ row, says: '' }).generation
    const [exit, deposit] = [
      { ...EXIT, exitState: 'expired' } as const,
      { ...DEPOSIT, depositState: 'expired' } as const,
    ]
    expect(generationOf({})).toBeNull()
    expect([generationOf(EXIT), generationOf(exit), generationOf({ ...EXIT, ...deposit })]).toEqual([3, 3, 3])
    expect([generationOf(DEPOSIT), generationOf(deposit), generationOf({ ...exit, ...deposit })]).toEqual([4, 4, 4])
  })

  it('is what comes next, the first first', () => {
    const nextOf = (row: Partial<ExplainedRow>, moment: Case['moment'] = {}) => of({ row, moment, says: '' }).next
    expect(nextOf({ ...EXIT, ...DEPOSIT })).toEqual([{ what: 'expires', at_timestamp: NOW - 20 + 3600 }])
    expect(nextOf({ ...EXIT, exitState: 'expired' })).toEqual([])
    expect(nextOf({ ...RENEWED, rotationDeadline: NOW + 60 })).toEqual([
      { what: 'rotation_deadline', at_timestamp: NOW + 60 },
      { what: 'force_exit', at_timestamp: NOW + 500 },
      { what: 'expires', at_timestamp: NOW - 10 + 3600 },
    ])
    expect(nextOf({ ...REGISTERED, exitState: 'expired', forceExitAt: NOW + 500 })).toEqual([])
    const held = { ...REGISTERED, exitState: 'expired', erasureHeldSince: NOW - 100 } as const
    expect(nextOf(held)).toEqual([])
    expect(nextOf(held, { erasureDelaySeconds: 86_400 })).toEqual([
      { what: 'erased', at_timestamp: NOW - 100 + 86_400 },
    ])
    expect(nextOf({ ...held, isErased: true }, { erasureDelaySeconds: 86_400 })).toEqual([])
    expect(nextOf({ ...OUTDATED, exitState: 'expired', forceExitAt: 1e300 })).toEqual([])
  })

  it('is the index the chain gave it before the one that was expected', () => {
    expect(of({ row: EXIT, says: '' }).validator_index).toBe(7)
    expect(of({ row: { ...REGISTERED, exitIndex: 6 }, says: '' }).validator_index).toBe(7)
    expect(of({ says: '' }).validator_index).toBeNull()
  })
})

describe('the table of reasons', () => {
  const page = readFileSync(new URL('../../../../../docs/operating/runbook.md', import.meta.url), 'utf8')

  it.each(Object.entries(REASONS) as [ReasonCode, (typeof REASONS)[ReasonCode]][])(
    '%s has a sentence, a remedy, and its place in the runbook, which names it',
    (code, { sentence, remedy, anchor }) => {
      for (const text of [sentence, remedy]) expect(text).toMatch(/^\S[\s\S]{10,200}[^.\s]$/)
      const section = page
        .split(/^## /m)
        .find((part) => part.split('\n')[0]?.toLowerCase().replaceAll(' ', '-') === anchor)
      expect(section).toContain(`\`${code}\``)
    },
  )
})
