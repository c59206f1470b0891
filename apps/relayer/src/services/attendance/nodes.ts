/**
 * Which nodes are there. Requests note in memory what is seen of a node, and never wait; a round writes it from time to time, all at once.
 * What is noted is bounded: its keys are the tokens with the share indexes they are bound to, and of share indexes that a caller only
 * claims so many.
 */

import { type NodeSeenRow, pruneNodesSeen, storeNodesSeen } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import type { Context } from '../../context.ts'

/** Nodes that have hung up, of which it is remembered. */
const MOST_GONE = 4096
/** Share indexes that callers of one token may claim: more than all its clusters have nodes. */
const MOST_CLAIMED = 256
/** A node that was not seen for three months is none any more: its token was renamed, or its cluster is gone. */
const KEPT_SECONDS = 90 * 86_400

/** Who asks, as far as a request says. */
export interface NodeCaller {
  /** The name of its token or of the key it signs with, or what stands for those who have none. */
  token: string
  /** What the token is bound to; undefined where that is nothing. */
  shareIndexes: readonly number[] | undefined
  /** What it says it is; null where it does not. */
  software: string | null
  version: string | null
}

/** What is remembered of one token and share index until it is written; times are of this process's monotonic clock. */
interface Seen {
  isOurs: boolean
  software: string | null
  version: string | null
  seenAt: number
  listedAt?: number
  postedAt?: number
  refusedAt?: number
  refusalCode?: string
  goneAt?: number
  clockDifferenceSeconds?: number | null
}

/** By token and share index. */
type Notes = Map<string, Map<number, Seen>>

/** Creates the service. */
export function createNodes({ db }: Pick<Context, 'db'>, now: () => number = () => performance.now()) {
  let notes: Notes = new Map()
  /** Requests of each node that wait for a change. */
  const waiting = new Map<string, number>()
  /** Nodes that have hung up and were not seen since, so that their return is told at once. */
  const gone = new Set<string>()
  let isChanged = false

  function note(
    { token, shareIndexes, software, version }: NodeCaller,
    claimed: number | undefined,
    what: Partial<Seen>,
  ) {
    const isOurs = shareIndexes !== undefined || claimed === undefined
    // A claim to the share index of another node says nothing of that one.
    const isClaim = shareIndexes === undefined || (claimed !== undefined && shareIndexes.includes(claimed))
    const ofToken = notes.get(token) ?? new Map<number, Seen>()
    for (const shareIndex of isClaim ? [claimed ?? 0] : shareIndexes) {
      const before = ofToken.get(shareIndex)
      if (before === undefined && !isOurs && ofToken.size >= MOST_CLAIMED) continue
      ofToken.set(shareIndex, { ...before, ...what, isOurs, software, version, seenAt: now() })
    }
    if (ofToken.size > 0) notes.set(token, ofToken)
  }

  /** Writes what was seen since the last time. What could not be written is written with the next. */
  async function write(): Promise<void> {
    const [written, wasChanged] = [notes, isChanged]
    isChanged = false
    if (written.size === 0) return
    notes = new Map()
    try {
      await storeNodesSeen(db, rowsOf(written, now()), MOST_CLAIMED)
      await pruneNodesSeen(db, KEPT_SECONDS)
    } catch (error) {
      notes = merged(written, notes)
      isChanged ||= wasChanged
      throw error
    }
  }

  return {
    /** A node has asked for a list; its clock is so many seconds ahead, null where it does not say. */
    listed: (node: NodeCaller, clockDifferenceSeconds: number | null): void =>
      note(node, undefined, { listedAt: now(), clockDifferenceSeconds }),
    /** A node has handed in signatures of a share index. */
    posted: (node: NodeCaller, shareIndex: number): void => note(node, shareIndex, { postedAt: now() }),
    /** A request of a node, or something in it, was refused. */
    refused: (node: NodeCaller, shareIndex: number | undefined, code: string): void =>
      note(node, shareIndex, { refusedAt: now(), refusalCode: code }),
    /**
     * A request of a node waits for a change. Returns what to call at its end, and whether the node has hung up: where none of its requests
     * waits any more, it is gone until it asks again.
     */
    waits(node: NodeCaller): (hasHungUp: boolean) => void {
      const key = `${node.token} ${node.shareIndexes?.join() ?? ''}`
      waiting.set(key, (waiting.get(key) ?? 0) + 1)
      if (gone.delete(key)) isChanged = true
      return (hasHungUp) => {
        const left = (waiting.get(key) ?? 1) - 1
        if (left > 0) waiting.set(key, left)
        else waiting.delete(key)
        if (!hasHungUp || left > 0) return
        note(node, undefined, { goneAt: now() })
        if (gone.size < MOST_GONE) gone.add(key)
        isChanged = true
      }
    },
    write,
    /** Writes what was seen at once where a node has gone, or has come back. */
    writeChanges: async (): Promise<void> => (isChanged ? write() : undefined),
  }
}
export type Nodes = ReturnType<typeof createNodes>

function rowsOf(notes: Notes, now: number): NodeSeenRow[] {
  const ago = (at: number) => (now - at) / 1000
  return [...notes].flatMap(([token, ofToken]) =>
    [...ofToken].map(([shareIndex, { seenAt, listedAt, postedAt, refusedAt, goneAt, ...seen }]) => ({
      ...seen,
      token,
      shareIndex,
      seenSecondsAgo: ago(seenAt),
      ...(listedAt === undefined ? {} : { listedSecondsAgo: ago(listedAt) }),
      ...(postedAt === undefined ? {} : { postedSecondsAgo: ago(postedAt) }),
      ...(refusedAt === undefined ? {} : { refusedSecondsAgo: ago(refusedAt) }),
      ...(goneAt === undefined ? {} : { goneSecondsAgo: ago(goneAt) }),
    })),
  )
}

/** Earlier notes under later ones, within the same bounds. */
function merged(earlier: Notes, later: Notes): Notes {
  for (const [token, ofToken] of later) {
    const all = earlier.get(token) ?? new Map<number, Seen>()
    for (const [shareIndex, seen] of ofToken) {
      const before = all.get(shareIndex)
      if (before !== undefined || seen.isOurs || all.size < MOST_CLAIMED) all.set(shareIndex, { ...before, ...seen })
    }
    earlier.set(token, all)
  }
  return earlier
}
