/** Clusters and their nodes, as a caller may see them. Pure. */

import type { ReasonCode, StatusCluster, StatusNode } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ExplainedNodeRow } from '@dvt-relayer/db/queries/explain.ts'
import { isRefused, nodeOf } from '../explain/explain.ts'
import type { Snapshot } from './snapshot.ts'

/** A node that is there has so long to sign before it is named. */
const SILENT_SECONDS = 120
/** What was seen of nodes, and when. */
interface Attendance {
  now: number
  nodes: ReadonlyMap<number, ExplainedNodeRow>
}

/** Whose clusters and nodes; undefined is not bound. */
export interface Scope {
  vaults: readonly Uint8Array[] | undefined
  shareIndexes: readonly number[] | undefined
  /** Of a node that signed its request: its own clusters. */
  clusterIds?: ReadonlySet<number> | undefined
}

/** The clusters that a caller's token covers, each with those nodes it may see. */
export function clustersOf(snapshot: Snapshot, attendance: Attendance, scope: Scope): StatusCluster[] {
  const vaults = scope.vaults === undefined ? undefined : new Set<string>(scope.vaults.map(toHex))
  const indexes = scope.shareIndexes === undefined ? undefined : new Set(scope.shareIndexes)
  const strays = strayIndexes(snapshot, attendance)
  const collectingOf = new Map(snapshot.collecting.map((one) => [one.cluster_id, one]))
  const waitingOf = Map.groupBy(snapshot.waiting, (one) => one.cluster_id)
  return snapshot.clusters.flatMap((cluster): StatusCluster[] => {
    if (scope.clusterIds?.has(cluster.id) === false) return []
    if (vaults !== undefined && !cluster.vaults.some((vault) => vaults.has(vault))) return []
    const known = cluster.share_indexes
    const own = known.length > 0 ? known : strays
    const shown = own.filter((index) => indexes?.has(index) ?? true)
    if (indexes !== undefined && known.length > 0 && shown.length === 0) return []
    // Numbers of a cluster that is shared say something of other vaults.
    const isWhole = vaults === undefined || cluster.vaults.every((vault) => vaults.has(vault))
    const asked = collectingOf.get(cluster.id)
    const owed = new Map(waitingOf.get(cluster.id)?.map((one) => [one.share_index, one]))
    const isCounted = isWhole && known.length > 0
    return [
      {
        name: cluster.name,
        source: cluster.source,
        threshold: cluster.threshold,
        validators: isWhole ? cluster.validators : null,
        collecting: isWhole ? (asked?.validators ?? 0) : null,
        nodes: shown.map((index) => nodeIn(index, attendance, { asked, owed: owed.get(index), isCounted })),
      },
    ]
  })
}

/** Where a cluster's nodes are not known: those that were seen and are of no cluster whose nodes are. */
function strayIndexes({ clusters }: Snapshot, { nodes }: Attendance): number[] {
  const known = new Set(clusters.flatMap(({ share_indexes: indexes }) => indexes))
  return [...nodes.keys()].filter((index) => index > 0 && !known.has(index)).sort((a, b) => a - b)
}

/** What is asked for in a cluster, what a node of it owes of that, and whether the asker is told. */
interface Work {
  asked: Snapshot['collecting'][number] | undefined
  owed: Snapshot['waiting'][number] | undefined
  isCounted: boolean
}

function nodeIn(shareIndex: number, attendance: Attendance, { asked, owed, isCounted }: Work): StatusNode {
  // Who has signed some of what is asked for was there before anything was noted of it.
  const hasSigned = asked !== undefined && (owed?.messages ?? 0) < asked.messages
  const signed = hasSigned ? 'verified' : null
  const node = nodeOf({ shareIndex, exitState: signed, depositState: null }, attendance)
  const row = attendance.nodes.get(shareIndex)
  const oldestAt = isCounted ? (owed?.oldest_at ?? null) : null
  return {
    share_index: shareIndex,
    state: node.state,
    reason: reasonOf(node.state, row, isCounted ? owed : undefined, attendance.now),
    online_since_timestamp: node.state === 'there' ? (row?.onlineSince ?? null) : null,
    seen_at_timestamp: node.seen_at_timestamp,
    waiting: isCounted ? (owed?.messages ?? 0) : null,
    oldest_at_timestamp: oldestAt,
    refused_at_timestamp: node.refused_at_timestamp,
    refusal_code: node.refusal_code,
    // Of nodes that cannot be told apart nothing is said.
    ...(row === undefined || row.isShared
      ? { came_by: null, software: null, version: null, clock_difference_seconds: null }
      : {
          came_by: row.cameBy,
          software: row.software,
          version: row.version,
          clock_difference_seconds: row.clockDifferenceSeconds,
        }),
  }
}

/** What is wrong with a node, in the order of explanations. */
function reasonOf(
  state: StatusNode['state'],
  row: ExplainedNodeRow | undefined,
  owed: { oldest_at: number } | undefined,
  now: number,
): ReasonCode | null {
  if (state === 'never') return 'NODE_NEVER_SEEN'
  if (isRefused(row, now)) return 'NODE_REFUSED'
  const isLate = owed !== undefined && now - owed.oldest_at >= SILENT_SECONDS
  // It is there while it runs: between two runs of its cron job nothing is wrong.
  if (row?.cameBy === 'charon' && !row.isShared) return isLate ? 'NODE_RUNS_CHARON' : null
  if (state === 'away') return 'NODE_AWAY'
  if (!isLate) return null
  return state === 'there' ? 'NODE_SILENT' : 'NODE_UNKNOWN'
}

/** Clusters in which something is wrong first, then those that collect. */
export function inOrder(clusters: readonly StatusCluster[]): StatusCluster[] {
  const rank = ({ nodes, collecting }: StatusCluster) =>
    nodes.some(({ reason }) => reason !== null) ? 0 : (collecting ?? 0) > 0 ? 1 : 2
  return clusters.toSorted((one, two) => rank(one) - rank(two))
}
