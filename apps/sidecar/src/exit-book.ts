/**
 * What this sidecar still owes the relayer: one entry for each key share it holds, with the exit last listed for its validator.
 *
 * Pure state: no clock, no I/O. Its size is bounded by the keys held, whatever a relayer lists: unknown keys leave nothing
 * behind, a second item for the same key in one list is left out, and each key share remembers one signature only.
 */

import type { ExitItem } from '@dvt-relayer/api/schemas.ts'
import type { KeyShare } from './keystores/keystore.ts'

/** A key share, the exit it is wanted for, and how far that has come. Times are milliseconds of one monotonic clock. */
export interface Entry {
  readonly keyShare: KeyShare
  validatorIndex: number
  /** Whether the newest full list has it. */
  isListed: boolean
  /** The relayer has a verified signature of this share, or needs none any more. */
  isSettled: boolean
  /** The relayer has a signature of this share that it could not verify yet, or has refused one. */
  isWaiting: boolean
  /** The relayer lists this share index as one that sent a wrong signature. */
  isRejected: boolean
  /** The signature for `validatorIndex`, lower-case hex, once it is made. */
  signature: string | undefined
  signedAt: number | undefined
  postedAt: number | undefined
  /** A post with it is on its way. */
  isPosting: boolean
  /** Not before this, whatever else. */
  notBefore: number
  /** What was last warned of for this exit. */
  warned: string | undefined
}

/** What is posted again while the relayer has it but cannot use it: this many poll intervals. */
const WAITING_INTERVALS = 5

/** Creates the book of these key shares. */
export function createExitBook(keyShares: readonly KeyShare[], pollIntervalMs: number) {
  const entries = new Map<string, Entry[]>()
  for (const keyShare of keyShares) {
    const entry: Entry = {
      keyShare,
      validatorIndex: -1,
      isListed: false,
      isSettled: false,
      isWaiting: false,
      isRejected: false,
      signature: undefined,
      signedAt: undefined,
      postedAt: undefined,
      isPosting: false,
      notBefore: 0,
      warned: undefined,
    }
    const others = entries.get(keyShare.validatorPublicKey)
    if (others === undefined) entries.set(keyShare.validatorPublicKey, [entry])
    else others.push(entry)
  }
  const all = [...entries.values()].flat()

  function apply(entry: Entry, item: ExitItem): void {
    const { shareIndex } = entry.keyShare
    if (entry.validatorIndex !== item.validator_index) {
      entry.validatorIndex = item.validator_index
      entry.signature = undefined
      entry.postedAt = undefined
      entry.isPosting = false
      entry.warned = undefined
      // A relayer that names another index in every answer costs one signature a key and interval.
      entry.notBefore = entry.signedAt === undefined ? 0 : entry.signedAt + pollIntervalMs
    }
    entry.isListed = true
    entry.isSettled = item.is_exit_signature_ready || item.share_indexes_ready.includes(shareIndex)
    entry.isRejected = item.share_indexes_rejected?.includes(shareIndex) === true
    entry.isWaiting = entry.isRejected || item.share_indexes_unverified?.includes(shareIndex) === true
  }

  /** Takes the items over, the first of each key. Returns how many were left out. */
  function applyAll(items: readonly ExitItem[]): number {
    const seen = new Set<string>()
    let repeated = 0
    for (const item of items) {
      const held = entries.get(item.public_key)
      if (held === undefined) continue
      if (seen.has(item.public_key)) repeated++
      else for (const entry of held) apply(entry, item)
      seen.add(item.public_key)
    }
    return repeated
  }

  function dueAt(entry: Entry): number {
    if (!entry.isListed || entry.isSettled || entry.isPosting) return Number.POSITIVE_INFINITY
    const intervals = entry.isWaiting ? WAITING_INTERVALS : 1
    const again = entry.postedAt === undefined ? 0 : entry.postedAt + intervals * pollIntervalMs
    return Math.max(entry.notBefore, again)
  }

  return {
    /** Takes a full list over: what it lacks is not wanted any more. Returns how many items were left out as repeats. */
    applyList(items: readonly ExitItem[]): number {
      for (const entry of all) entry.isListed = false
      return applyAll(items)
    },
    /** Takes a list of changes over. */
    applyChanges: applyAll,
    /** What is to be signed or posted now. */
    due: (now: number): Entry[] => all.filter((entry) => dueAt(entry) <= now),
    /** When something is due next, Infinity when nothing is. */
    nextDueAt: (): number => all.reduce((next, entry) => Math.min(next, dueAt(entry)), Number.POSITIVE_INFINITY),
    /** Validator indexes of exits whose posted signature the relayer lists as wrong, by share index; each exit once. */
    takeRejections(): Map<number, number[]> {
      const rejected = all.filter((entry) => entry.isListed && entry.isRejected && !entry.isSettled)
      const news = rejected.filter(({ postedAt, warned }) => postedAt !== undefined && warned === undefined)
      for (const entry of news) entry.warned = 'LISTED'
      const groups = Map.groupBy(news, ({ keyShare }) => keyShare.shareIndex)
      return new Map(Array.from(groups, ([index, group]) => [index, group.map((entry) => entry.validatorIndex)]))
    },
    /** Entries that wait for a signature of this sidecar. */
    openCount: (): number => all.filter(({ isListed, isSettled }) => isListed && !isSettled).length,
  }
}
export type ExitBook = ReturnType<typeof createExitBook>
