/**
 * What this sidecar still owes the relayer by one of its lists: one entry for each key share it holds, with what was last listed
 * for its validator. `GET /exits` has a book and `GET /validators` has one.
 *
 * Pure state: no clock, no I/O. Its size is bounded by the keys held, whatever a relayer lists: unknown keys leave nothing
 * behind, a second item for the same key in one list is left out, and each key share remembers its last signatures only.
 */

import type { ValidatorType } from '@dvt-relayer/api/schemas.ts'
import type { KeyShare } from '../keystores/obol/keystore.ts'

/** A deposit somebody wants signed. */
export interface WantedDeposit {
  /** 20 bytes, lower-case hex with `0x`. */
  readonly vault: string
  readonly amountGwei: number
  readonly validatorType: ValidatorType
}

/** What is wanted for a validator: its exit, and by `GET /validators` its deposit too. */
export interface Wanted {
  readonly validatorIndex: number
  readonly deposit: WantedDeposit | undefined
}

/** One item of a list, whichever list it is. */
export interface Listed {
  readonly publicKey: string
  readonly wanted: Wanted
  /** The relayer needs no share any more. */
  readonly isReady: boolean
  readonly shareIndexesReady: readonly number[]
  readonly shareIndexesUnverified: readonly number[]
  readonly shareIndexesRejected: readonly number[]
}

/** Signatures for what is wanted, lower-case hex. */
export interface Signatures {
  readonly exit: string
  readonly deposit?: string
}

/** A key share, what it is wanted for, and how far that has come. Times are milliseconds of one monotonic clock. */
export interface Entry {
  readonly keyShare: KeyShare
  /** Another object as soon as anything in it is another; undefined before it was ever listed. */
  wanted: Wanted | undefined
  /** Whether the newest full list has it. */
  isListed: boolean
  /** The relayer has verified signatures of this share, or needs none any more. */
  isSettled: boolean
  /** The relayer has a signature of this share that it could not verify yet, or has refused one. */
  isWaiting: boolean
  /** The relayer lists this share index as one that sent a wrong signature. */
  isRejected: boolean
  /** What is wanted, once it is signed. */
  signatures: Signatures | undefined
  /** When it was last judged or signed, whatever was wanted then. */
  triedAt: number | undefined
  postedAt: number | undefined
  /** Somebody is at it: from being found due to the answer to its post. */
  isInHand: boolean
  /** Not before this, whatever else. */
  notBefore: number
  /** What was last warned of for what is wanted. */
  warned: string | undefined
}

/** What is posted again while the relayer has it but cannot use it: this many poll intervals. */
const WAITING_INTERVALS = 5

const never = () => false

/** Creates the book of these key shares. */
export function createBook(keyShares: readonly KeyShare[], pollIntervalMs: number) {
  let all: readonly Entry[] = keyShares.map(emptyEntry)
  let entries = byValidator(all)

  function apply(entry: Entry, item: Listed): void {
    const { shareIndex } = entry.keyShare
    if (entry.wanted === undefined || !isSame(entry.wanted, item.wanted)) {
      entry.wanted = item.wanted
      entry.signatures = undefined
      entry.postedAt = undefined
      entry.isInHand = false
      entry.warned = undefined
      // A relayer that wants something else in every answer costs one look at a key in an interval, and one set of signatures.
      entry.notBefore = entry.triedAt === undefined ? 0 : entry.triedAt + pollIntervalMs
    }
    entry.isListed = true
    entry.isSettled = item.isReady || item.shareIndexesReady.includes(shareIndex)
    entry.isRejected = item.shareIndexesRejected.includes(shareIndex)
    entry.isWaiting = entry.isRejected || item.shareIndexesUnverified.includes(shareIndex)
  }

  /** Takes the items over, the first of each key. Returns how many were left out. */
  function applyAll(items: readonly Listed[]): number {
    const seen = new Set<string>()
    let repeated = 0
    for (const item of items) {
      const held = entries.get(item.publicKey)
      if (held === undefined) continue
      if (seen.has(item.publicKey)) repeated++
      else for (const entry of held) apply(entry, item)
      seen.add(item.publicKey)
    }
    return repeated
  }

  function dueAt(entry: Entry, isHeldBack: (entry: Entry) => boolean): number {
    if (!entry.isListed || entry.isSettled || entry.isInHand || isHeldBack(entry)) return Number.POSITIVE_INFINITY
    const intervals = entry.isWaiting ? WAITING_INTERVALS : 1
    const again = entry.postedAt === undefined ? 0 : entry.postedAt + intervals * pollIntervalMs
    return Math.max(entry.notBefore, again)
  }

  return {
    /**
     * Takes other key shares over. What is known of a share that stays, the same object, is kept; one that went is wanted no more,
     * whoever has it in hand; one that came is wanted by the next full list.
     */
    setKeyShares(next: readonly KeyShare[]): void {
      const known = new Map(all.map((entry) => [entry.keyShare, entry]))
      all = next.map((keyShare) => known.get(keyShare) ?? emptyEntry(keyShare))
      entries = byValidator(all)
      const kept = new Set(all)
      for (const entry of known.values())
        if (!kept.has(entry)) {
          entry.wanted = undefined
          entry.isListed = false
        }
    },
    /** Takes a full list over: what it lacks is not wanted any more. Returns how many items were left out as repeats. */
    applyList(items: readonly Listed[]): number {
      for (const entry of all) entry.isListed = false
      return applyAll(items)
    },
    /** Takes a list of changes over. */
    applyChanges: applyAll,
    /** The entry of a key share. */
    find: ({ validatorPublicKey, shareIndex }: KeyShare): Entry | undefined =>
      entries.get(validatorPublicKey)?.find(({ keyShare }) => keyShare.shareIndex === shareIndex),
    /** What is to be signed or posted now, but for what is held back. */
    due: (now: number, isHeldBack: (entry: Entry) => boolean = never): Entry[] =>
      all.filter((entry) => dueAt(entry, isHeldBack) <= now),
    /** When something is due next, Infinity when nothing is. */
    nextDueAt: (isHeldBack: (entry: Entry) => boolean = never): number =>
      all.reduce((next, entry) => Math.min(next, dueAt(entry, isHeldBack)), Number.POSITIVE_INFINITY),
    /** Validator indexes of what was posted and the relayer lists as wrong, by share index; each once. */
    takeRejections(): Map<number, number[]> {
      const rejected = all.filter((entry) => entry.isListed && entry.isRejected && !entry.isSettled)
      const news = rejected.filter(({ postedAt, warned }) => postedAt !== undefined && warned === undefined)
      for (const entry of news) entry.warned = 'LISTED'
      const groups = Map.groupBy(news, ({ keyShare }) => keyShare.shareIndex)
      return new Map(
        Array.from(groups, ([index, group]) => [index, group.flatMap(({ wanted }) => wanted?.validatorIndex ?? [])]),
      )
    },
    /** Entries that wait for a signature of this sidecar. */
    openCount: (): number => all.filter(({ isListed, isSettled }) => isListed && !isSettled).length,
  }
}
export type Book = ReturnType<typeof createBook>

const byValidator = (entries: readonly Entry[]): Map<string, Entry[]> =>
  Map.groupBy(entries, ({ keyShare }) => keyShare.validatorPublicKey)

function emptyEntry(keyShare: KeyShare): Entry {
  return {
    keyShare,
    wanted: undefined,
    isListed: false,
    isSettled: false,
    isWaiting: false,
    isRejected: false,
    signatures: undefined,
    triedAt: undefined,
    postedAt: undefined,
    isInHand: false,
    notBefore: 0,
    warned: undefined,
  }
}

/** Whether the same signatures serve both. */
function isSame(a: Wanted, b: Wanted): boolean {
  return (
    a.validatorIndex === b.validatorIndex &&
    a.deposit?.vault === b.deposit?.vault &&
    a.deposit?.amountGwei === b.deposit?.amountGwei &&
    a.deposit?.validatorType === b.deposit?.validatorType
  )
}
