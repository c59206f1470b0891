/** How everything stands that a caller may see: for `GET /status`, `GET /status.json` and the command. */

import type { Explanation, Ready, Status, StatusQuery } from '@dvt-relayer/api/schemas.ts'
import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { findProcesses } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { findClusterIds } from '@dvt-relayer/db/queries/clusters.ts'
import { findExplainedNodes, findMoment } from '@dvt-relayer/db/queries/explain.ts'
import { findCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { findByKeyRange, findCollectingPage } from '@dvt-relayer/db/queries/status/validators.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { SILENCE_SECONDS } from '../attendance/heartbeat.ts'
import { describeCurrentSet } from '../beacon-status/vaults.ts'
import { positionOf, REGISTRY_CHECKPOINT } from '../deposit-registry/position.ts'
import { explainMany } from '../explain/explanations.ts'
import type { KeyedNode } from '../identity/node-keys.ts'
import { findUnserved } from '../registrations/unserved.ts'
import { createAnswers } from './answers.ts'
import { clustersOf, inOrder, type Scope } from './clusters.ts'
import { findProblems, headlineOf } from './problems.ts'
import { createSnapshotReader, type Snapshot } from './snapshot.ts'
import { findUnused } from './unused.ts'

/** Validators of a page. */
const PAGE = 25
/** Messages that are looked at for one page of a caller whose token covers few of them. */
const MOST_LOOKED = 2000
const MOST_FOUND_BY_KEY = 500
const MOST_CLUSTERS = 100
const MOST_PROCESSES = 20
/** What is read for one page is good for all that are asked for within so long. */
const FRESH_MS = 1000
/** Of the first page others show only what is wrong with its validators, beside what they list themselves: it is not read anew for each. */
const FRESH_FOR_OTHERS_MS = 10_000
/** Pages of one caller at once, and those that wait: each takes the database a few milliseconds. */
const OF_ONE = { depth: 1, waiting: 16 }
const KEY_DIGITS = 96

/** Who asks. */
interface Asker extends Scope {
  name: string | null
  role: Status['caller']['role']
  /** A node that signed its request sees what it may sign for. */
  node?: KeyedNode | undefined
}
type Query = Pick<StatusQuery, 'after' | 'key'>
type Parts = Pick<Context, 'config' | 'db'>

/** What the process that answers knows beside the database. */
interface Surroundings {
  address: string | null
  queue: Status['queue']
  ready: Ready | null
  /** What may be wrong with what works. */
  doubts: Readonly<Record<string, string>>
}

/** Creates the service. */
export function createStatus(context: Parts & Pick<Context, 'queue'>, now: () => number = () => performance.now()) {
  const readSnapshot = createSnapshotReader(context)
  const sharedAnswers = createAnswers<Shared>(now, FRESH_MS)
  const shared = () => sharedAnswers.get('', FRESH_MS, () => onOwnAccount(() => findShared(context, readSnapshot)))
  // A queue that is away takes its time to say so, and nobody waits in the line of another for it.
  const queueAnswers = createAnswers<Surroundings['queue'] | undefined>(now, FRESH_MS)
  const counts = () => queueAnswers.get('', FRESH_MS, () => onOwnAccount(() => context.queue.counts()))
  /** By what they are of: bindings of tokens come and go. */
  const firstPages = createAnswers<Listed>(now, FRESH_FOR_OTHERS_MS)
  const turns = createKeyedQueue(OF_ONE)

  const firstPage = (asker: Asker, freshMs: number): Promise<Listed> => {
    const { vaults, shareIndexes, clusterIds } = asker
    const key = [vaults?.map(toHex), shareIndexes, clusterIds && [...clusterIds]]
      .map((of) => of?.join() ?? '*')
      .join(' ')
    return firstPages.get(key, freshMs, () =>
      onOwnAccount(async () => listCollecting(context, asker, 0, await shared())),
    )
  }

  return {
    /** What a caller may see. @throws {ApiError} TOO_BUSY */
    async of(caller: Asker, query: Query, surroundings: Omit<Surroundings, 'queue'>): Promise<Status> {
      let status: Status | undefined
      const queue = (await counts()) ?? null
      const turn = await turns.run(caller.name ?? '', async () => {
        const asker = { ...caller, clusterIds: await findOwnClusters(context, caller) }
        const first = await firstPage(asker, isFirst(query) ? FRESH_MS : FRESH_FOR_OTHERS_MS)
        const seen = await shared()
        const listed = isFirst(query) ? first : await list(context, asker, query, seen)
        status = statusOf(context, seen, asker, { first, listed, query }, { ...surroundings, queue })
      })
      if (turn === 'full' || status === undefined) throw new ApiError('TOO_BUSY', 'too many pages at once; ask again')
      return status
    },
  }
}
export type StatusService = ReturnType<typeof createStatus>

/** Everything, for who runs the relayer, from the database alone. */
export async function statusToAdmin(context: Parts, query: Query): Promise<Status> {
  const asker: Asker = { name: null, role: 'admin', vaults: undefined, shareIndexes: undefined }
  const shared = await findShared(context, createSnapshotReader(context))
  const first = await listCollecting(context, asker, 0, shared)
  const listed = isFirst(query) ? first : await list(context, asker, query, shared)
  return statusOf(
    context,
    shared,
    asker,
    { first, listed, query },
    { address: null, queue: null, ready: null, doubts: {} },
  )
}

const isFirst = ({ after, key }: Query) => after === undefined && (key ?? '').trim() === ''

/** The clusters of a node that signed its request; a token is bound to share indexes alone. */
async function findOwnClusters({ db }: Parts, { node }: Asker): Promise<ReadonlySet<number> | undefined> {
  if (node === undefined) return undefined
  return new Set(await findClusterIds(db, 'locks' in node ? node.locks.map(({ lockHash }) => lockHash) : 'ssv'))
}

/** What is the same for all callers. */
async function findShared({ config, db }: Parts, readSnapshot: ReturnType<typeof createSnapshotReader>) {
  const read = await readSnapshot()
  const nodes = await findExplainedNodes(db)
  const processes = await findProcesses(db, SILENCE_SECONDS, MOST_PROCESSES)
  const oracleSet = await describeCurrentSet(db)
  const unserved = await findUnserved(db)
  const position = positionOf(config.network, await findCheckpoint(db, REGISTRY_CHECKPOINT))
  // Last: nothing that was found before is of a later time.
  const { now } = await findMoment(db)
  const byIndex = new Map(nodes.map((node) => [node.shareIndex, node]))
  return { ...read, nodes: byIndex, processes, oracleSet, unserved, position, now }
}
type Shared = Awaited<ReturnType<typeof findShared>>

/** Validators that are listed, and where to go on. */
interface Listed {
  items: Explanation[]
  next: number | null
}

/** What explanations need of it. */
const sightOf = ({ now, oracleSet, processes, nodes }: Shared) => ({
  ...{ now, nodes, currentSetCid: oracleSet?.cid ?? null },
  hasWorker: processes.some(({ isThere, role }) => isThere && role !== 'api'),
})

async function list(context: Parts, asker: Asker, { after, key }: Query, shared: Shared): Promise<Listed> {
  const digits = (key ?? '').trim().replace(/^0x/i, '').toLowerCase()
  if (digits === '') return listCollecting(context, asker, Number(after ?? 0), shared)
  const bound = (filler: string) => Buffer.from(digits.padEnd(KEY_DIGITS, filler), 'hex')
  const range = { from: bound('0'), to: bound('f'), limit: PAGE, mostLooked: MOST_FOUND_BY_KEY }
  const keys = await findByKeyRange(context.db, asker, range)
  return { items: await explainMany(context, keys, asker, sightOf(shared)), next: null }
}

async function listCollecting(context: Parts, asker: Asker, after: number, shared: Shared): Promise<Listed> {
  const isWhole = asker.vaults === undefined && asker.shareIndexes === undefined
  // A validator has two messages at most.
  const mostLooked = isWhole ? 2 * PAGE + 2 : MOST_LOOKED
  const { publicKeys, next } = await findCollectingPage(context.db, asker, { after, limit: PAGE, mostLooked })
  return { items: await explainMany(context, publicKeys, asker, sightOf(shared)), next }
}

/** Puts together what an asker may see. */
function statusOf(
  { config }: Parts,
  shared: Shared,
  asker: Asker,
  { first, listed, query }: { first: Listed; listed: Listed; query: Query },
  { address, queue, ready, doubts }: Surroundings,
): Status {
  const { snapshot, countedAt, now, nodes, processes, oracleSet, unserved, position } = shared
  const isSidecar = asker.role === 'sidecar'
  const isBound = isSidecar || asker.vaults !== undefined
  const clusters = clustersOf(snapshot, { now, nodes }, asker)
  const isOwn = ownVaults(asker)
  const key = (query.key ?? '').trim()
  const facts = {
    network: config.network.name,
    version: VERSION,
    time: now,
    counted_at_timestamp: countedAt,
    caller: { name: asker.name, role: asker.role },
    totals: isBound ? null : totalsOf(snapshot),
    clusters: inOrder(clusters).slice(0, MOST_CLUSTERS),
    clusters_left_out: Math.max(0, clusters.length - MOST_CLUSTERS),
    validators: { ...first, key: null },
    oracle_set: oracleSet,
    registry:
      position === undefined
        ? null
        : {
            next_block: position.nextBlock,
            next_deposit_index: position.nextDepositIndex,
            public_keys: position.count,
          },
    vaults: isSidecar ? [] : vaultsOf(snapshot, isOwn),
    unserved: isSidecar
      ? []
      : unserved
          .filter(({ vault }) => isOwn(vault))
          .map(({ asked_at: at, reason, reasonOfItsOwn, ...rest }) => ({
            ...rest,
            reason: isBound ? reasonOfItsOwn : reason,
            asked_at_timestamp: at,
          })),
    manager: isSidecar ? null : managerOf(snapshot, isOwn, address, config.managerDailyLimitGwei),
    queue: isBound ? null : queue,
    processes: processes.map(({ role, version, startedSeconds, lastSeconds, isThere }) => ({
      role,
      version,
      started_at_timestamp: Math.floor(startedSeconds),
      heard_at_timestamp: Math.floor(lastSeconds),
      there: isThere,
    })),
    ready,
    unused: findUnused(config, position !== undefined),
    doubts,
  }
  const problems = findProblems(facts)
  return {
    ...facts,
    headline: headlineOf(problems, facts),
    problems,
    validators: { ...listed, key: key === '' ? null : key },
  }
}

function totalsOf({ totals, collecting }: Snapshot): NonNullable<Status['totals']> {
  return { ...totals, collecting: collecting.reduce((sum, { validators }) => sum + validators, 0) }
}

/** Whether the asker may see a vault, however it is spelled: the spelling of each of the asker's would cost a hash. */
type IsOwn = (vault: string) => boolean

function ownVaults({ vaults }: Scope): IsOwn {
  if (vaults === undefined) return () => true
  const own = new Set<string>(vaults.map(toHex))
  return (vault) => own.has(vault.toLowerCase())
}

function vaultsOf(snapshot: Snapshot, isOwn: IsOwn): Status['vaults'] {
  // A vault has one open rotation.
  const rotations = new Map(snapshot.rotations.map((one) => [one.vault, one]))
  return snapshot.vaults
    .filter(({ vault }) => isOwn(vault))
    .map((vault) => {
      const rotation = rotations.get(vault.vault)
      return {
        ...vault,
        rotation:
          rotation === undefined
            ? null
            : { state: rotation.state, since_timestamp: rotation.since_timestamp, deadline: rotation.deadline },
      }
    })
}

/** What the manager has signed; without a key, and without signatures, there is nothing to say. */
function managerOf(
  { manager }: Snapshot,
  isOwn: IsOwn,
  address: string | null,
  limitGwei: number | undefined,
): Status['manager'] {
  const own = manager.filter(({ vault }) => isOwn(vault))
  if (address === null && own.length === 0) return null
  const limit = limitGwei === undefined ? null : BigInt(limitGwei)
  return {
    address,
    limit_gwei: limit === null ? null : String(limit),
    vaults: Array.from(
      Map.groupBy(own, ({ vault }) => vault),
      ([vault, signed]) => {
        const moved = signed
          .filter(({ action }) => action !== 'register')
          .reduce((sum, { moved_gwei: gwei }) => sum + BigInt(gwei), 0n)
        const left = limit === null ? null : limit > moved ? limit - moved : 0n
        return {
          vault,
          signatures: Object.fromEntries(signed.map(({ action, signatures }) => [action, signatures])),
          moved_gwei: String(moved),
          left_gwei: left === null ? null : String(left),
          last_at_timestamp: Math.max(...signed.map(({ last_at: at }) => at)),
        }
      },
    ),
  }
}
