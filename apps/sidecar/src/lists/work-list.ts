/**
 * What this sidecar still owes the relayer by one of its lists: one entry for each key share it holds, with what was last listed
 * for its validator. `GET /exits` has a work list and `GET /validators` has one.
 *
 * Only the verbs below change an entry; a step that cannot follow from the entry's state throws. Pure state: no clock, no I/O. Its
 * size is bounded by the keys held, whatever a relayer lists: unknown keys leave nothing behind, a second item for the same key in
 * one list is left out, and each key share remembers its last signatures only.
 */

import type { KeyShare } from '../keystores/keystore.ts'
import { isSameWanted, type Wanted } from '../policy/wanted.ts'
import {
  type Entry,
  isInFlight,
  isOpen,
  type Job,
  type Listing,
  type Signatures,
  type WorkState,
} from './work-entry.ts'

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

/** What is posted again while the relayer has it but cannot use it: this many poll intervals. */
const WAITING_INTERVALS = 5
/** What was refused or rejected is tried again after this many poll intervals. */
const REFUSED_INTERVALS = 5

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }
/**
 * `jobId` is that of the job which is at it. `wasWanted`: at any time; `settledPost`: of the last post that the relayer was seen to have
 * taken; `isMet`: whether the list that is taken over has had it.
 */
type OwnEntry = Mutable<Entry> & {
  jobId: number | undefined
  wasWanted: boolean
  settledPost: number | undefined
  isMet: boolean
}

const never = () => false

/** Creates the work list of these key shares. */
export function createWorkList(keyShares: readonly KeyShare[], pollIntervalMs: number) {
  let all: readonly OwnEntry[] = keyShares.map(emptyEntry)
  let entries = byValidator(all)
  /** Jobs so far: each has a number of its own. */
  let jobs = 0
  let hasNews = false
  /** Whether there are key shares that no whole list was taken over for. */
  let isListDue = true

  /** The entry of a job that is current; undefined for another job. @throws {TypeError} the entry is in none of these states */
  function entryOf(job: Job, verb: string, states: readonly WorkState[]): OwnEntry | undefined {
    const entry = job.entry as OwnEntry
    if (entry.jobId !== job.id) return undefined
    if (!states.includes(entry.state)) throw new TypeError(`work list: ${verb}, while the entry is ${entry.state}`)
    return entry
  }

  /** Also where something else is wanted by now: the key share has worked, and rests. */
  function tried(job: Job, now: number): void {
    const entry = job.entry as OwnEntry
    entry.triedAt = now
  }

  function applyItem(entry: OwnEntry, item: Listed): void {
    if (entry.wanted === undefined || !isSameWanted(entry.wanted, item.wanted)) {
      forget(entry, item.wanted)
      // A relayer that wants something else in every answer costs one look at a key in an interval, and one set of signatures.
      entry.notBefore = entry.triedAt === undefined ? 0 : entry.triedAt + pollIntervalMs
    }
    entry.listing = listingOf(item, entry.keyShare.shareIndex)
    entry.isMet = true
    noteNews(entry)
  }

  /** News are a key share that is wanted for the first time, and a post that is settled: no more than there are keys and posts. */
  function noteNews(entry: OwnEntry): void {
    if (isOpen(entry) && !entry.wasWanted) hasNews = entry.wasWanted = true
    const { postedAt, settledPost } = entry
    if (entry.listing !== 'settled' || postedAt === undefined || postedAt === settledPost) return
    entry.settledPost = postedAt
    hasNews = true
  }

  function startList(): void {
    isListDue = false
    for (const entry of all) entry.isMet = false
  }

  function endList(): void {
    for (const entry of all) if (!entry.isMet) entry.listing = 'unlisted'
  }

  /** Takes the items over, the first of each key. Returns how many were left out. */
  function applyAll(items: readonly Listed[]): number {
    const seen = new Set<string>()
    let repeated = 0
    for (const item of items) {
      const held = entries.get(item.publicKey)
      if (held === undefined) continue
      if (seen.has(item.publicKey)) repeated++
      else for (const entry of held) applyItem(entry, item)
      seen.add(item.publicKey)
    }
    return repeated
  }

  function dueAt(entry: Entry, isHeldBack: (entry: Entry) => boolean): number {
    if (!isOpen(entry) || isInFlight(entry) || isHeldBack(entry)) return Number.POSITIVE_INFINITY
    const intervals = entry.listing === 'wanted' ? 1 : WAITING_INTERVALS
    const again = entry.postedAt === undefined ? 0 : entry.postedAt + intervals * pollIntervalMs
    return Math.max(entry.notBefore, again)
  }

  const dueEntries = (now: number, isHeldBack: (entry: Entry) => boolean) =>
    all.filter((entry) => dueAt(entry, isHeldBack) <= now)

  const find = ({ validatorPublicKey, shareIndex }: KeyShare): OwnEntry | undefined =>
    entries.get(validatorPublicKey)?.find(({ keyShare }) => keyShare.shareIndex === shareIndex)

  return {
    // What keys there are, and what the relayer lists.

    /**
     * Takes other key shares over. What is known of a share that stays, the same object, is kept; one that went is wanted no more,
     * whatever job is at it; one that came is wanted by the next full list.
     */
    setKeyShares(next: readonly KeyShare[]): void {
      const known = new Map(all.map((entry) => [entry.keyShare, entry]))
      all = next.map((keyShare) => known.get(keyShare) ?? emptyEntry(keyShare))
      entries = byValidator(all)
      isListDue ||= all.some((entry) => !known.has(entry.keyShare))
      const kept = new Set(all)
      for (const entry of known.values())
        if (!kept.has(entry)) {
          forget(entry, undefined)
          entry.listing = 'unlisted'
        }
    },
    /** Takes a full list over: what it lacks is not wanted any more. Returns how many items were left out as repeats. */
    applyList(items: readonly Listed[]): number {
      startList()
      const repeated = applyAll(items)
      endList()
      return repeated
    },
    /** Takes a list of changes over, or a page of a list. Returns how many items were left out as repeats. */
    applyChanges: applyAll,
    /** Whether the lists since the last call brought what was not known: a relayer cannot go on for ever bringing that. */
    takeNews(): boolean {
      const had = hasNews
      hasNews = false
      return had
    },
    /** Takes over that these validators are listed no more. */
    applyGone(publicKeys: readonly string[]): void {
      for (const entry of publicKeys.flatMap((key) => entries.get(key) ?? [])) entry.listing = 'unlisted'
    },
    /** A full list begins, which comes page by page. */
    startList,
    /** All pages of a full list were taken over: what none of them had is not wanted any more. */
    endList,
    /** Whether a full list is to be asked for, because key shares came. */
    isListDue: (): boolean => isListDue,
    /** Validator indexes of what was posted and the relayer lists as wrong, by share index; each once. */
    takeRejections(): Map<number, number[]> {
      const news = all.filter(
        ({ listing, postedAt, warned }) => listing === 'rejected' && postedAt !== undefined && warned === undefined,
      )
      for (const entry of news) entry.warned = 'LISTED'
      const groups = Map.groupBy(news, ({ keyShare }) => keyShare.shareIndex)
      return new Map(
        Array.from(groups, ([index, group]) => [index, group.flatMap(({ wanted }) => wanted?.validatorIndex ?? [])]),
      )
    },

    // Who looks.

    /** The entry of a key share. */
    find: (keyShare: KeyShare): Entry | undefined => find(keyShare),
    /** What is to be signed or posted now, but for what is held back. */
    due: (now: number, isHeldBack: (entry: Entry) => boolean = never): readonly Entry[] => dueEntries(now, isHeldBack),
    /** When something is due next, Infinity when nothing is. */
    nextDueAt: (isHeldBack: (entry: Entry) => boolean = never): number =>
      all.reduce((next, entry) => Math.min(next, dueAt(entry, isHeldBack)), Number.POSITIVE_INFINITY),
    /** Entries that wait for a signature of this sidecar. */
    openCount: (): number => all.filter(isOpen).length,
    /** Entries of which something is wanted and was refused when it was last looked at. */
    refusedNow: (): readonly Entry[] => all.filter((entry) => entry.refusal !== undefined && isOpen(entry)),
    /** Whether the job still has its entry: what another answer has changed meanwhile is dropped. */
    isCurrent: ({ id, entry }: Job): boolean => (entry as OwnEntry).jobId === id,

    // The work, in its order. Each of these is for one job; a job that is not current changes nothing.

    /** Takes what is due: each of these entries is in flight until its job ends. */
    take(now: number, isHeldBack: (entry: Entry) => boolean = never): Job[] {
      return dueEntries(now, isHeldBack).flatMap((entry) => {
        const { keyShare, wanted } = entry
        if (wanted === undefined) return []
        entry.jobId = ++jobs
        entry.state = entry.signatures === undefined ? 'taken' : 'signed'
        return [{ id: entry.jobId, entry, keyShare, wanted }]
      })
    },
    /** The policy allows it. */
    judged(job: Job, now: number): void {
      const entry = entryOf(job, 'judged', ['taken'])
      if (entry === undefined) return
      entry.triedAt = now
      entry.state = 'judged'
    },
    /** Its vault is on disk, or it has no deposit: it may be signed. */
    bound(job: Job): void {
      const entry = entryOf(job, 'bound', ['judged'])
      if (entry === undefined) return
      entry.refusal = undefined
      entry.state = 'bound'
    },
    /** It is not signed, for a reason that a later look may find gone. Ends the job. Returns whether the reason is a new one. */
    refused(job: Job, reason: string, now: number): boolean {
      const entry = entryOf(job, 'refused', ['taken', 'judged'])
      if (entry === undefined) return false
      entry.triedAt = now
      entry.refusal = reason
      return endLater(entry, now + REFUSED_INTERVALS * pollIntervalMs, reason)
    },
    /** Its signatures are made. Returns whether they are still wanted: they are kept only then. */
    signed(job: Job, signatures: Signatures, now: number): boolean {
      tried(job, now)
      const entry = entryOf(job, 'signed', ['bound'])
      if (entry === undefined) return false
      entry.signatures = signatures
      entry.state = 'signed'
      return true
    },
    /** Its signatures could not be had. Ends the job. Returns whether the reason is a new one. */
    notSigned(job: Job, now: number, intervals: number, reason?: string): boolean {
      tried(job, now)
      const entry = entryOf(job, 'not signed', ['bound'])
      return entry !== undefined && endLater(entry, now + intervals * pollIntervalMs, reason)
    },
    /** The relayer has taken its signatures. Ends the job. */
    posted(job: Job, now: number): void {
      const entry = entryOf(job, 'posted', ['signed'])
      if (entry === undefined) return
      entry.postedAt = now
      end(entry)
    },
    /** The relayer says that its signatures are wrong. Ends the job. Returns whether the code is a new one. */
    rejected(job: Job, code: string, now: number): boolean {
      const entry = entryOf(job, 'rejected', ['signed'])
      if (entry === undefined) return false
      entry.postedAt = now
      return endLater(entry, now + REFUSED_INTERVALS * pollIntervalMs, code)
    },
    /** The job ends; its entry is due again after some poll intervals. Returns whether the reason is a new one. */
    defer(job: Job, now: number, intervals: number, reason?: string): boolean {
      const entry = entryOf(job, 'deferred', ['taken', 'judged', 'bound', 'signed'])
      return entry !== undefined && endLater(entry, now + intervals * pollIntervalMs, reason)
    },
    /** The job ends; its entry is due again as if it had never been taken. */
    release(job: Job): void {
      const entry = entryOf(job, 'released', ['taken', 'judged', 'bound', 'signed'])
      if (entry !== undefined) end(entry)
    },
    /** A job of the other list has posted the exit of this validator index by this key share. Ends the job of this list. */
    postedByOther(keyShare: KeyShare, validatorIndex: number, exit: string, now: number): void {
      const entry = find(keyShare)
      if (entry?.wanted?.validatorIndex !== validatorIndex) return
      entry.postedAt = now
      entry.signatures ??= { exit }
      end(entry)
    },
  }
}
export type WorkList = ReturnType<typeof createWorkList>

const byValidator = (entries: readonly OwnEntry[]): Map<string, OwnEntry[]> =>
  Map.groupBy(entries, ({ keyShare }) => keyShare.validatorPublicKey)

function emptyEntry(keyShare: KeyShare): OwnEntry {
  return {
    keyShare,
    wanted: undefined,
    listing: 'unlisted',
    state: 'idle',
    signatures: undefined,
    triedAt: undefined,
    postedAt: undefined,
    notBefore: 0,
    warned: undefined,
    refusal: undefined,
    jobId: undefined,
    wasWanted: false,
    settledPost: undefined,
    isMet: false,
  }
}

function listingOf(item: Listed, shareIndex: number): Listing {
  if (item.isReady || item.shareIndexesReady.includes(shareIndex)) return 'settled'
  if (item.shareIndexesRejected.includes(shareIndex)) return 'rejected'
  return item.shareIndexesUnverified.includes(shareIndex) ? 'unverified' : 'wanted'
}

/** Begins anew with what is wanted now. A job that is at it has nothing to say any more, and no signature of before is left. */
function forget(entry: OwnEntry, wanted: Wanted | undefined): void {
  entry.wanted = wanted
  entry.signatures = undefined
  entry.postedAt = undefined
  entry.warned = undefined
  entry.refusal = undefined
  end(entry)
}

function end(entry: OwnEntry): void {
  entry.jobId = undefined
  entry.state = entry.signatures === undefined ? 'idle' : 'kept'
}

/** Ends the job and lets the entry rest. Returns whether there is a reason to be told, and it was not told last. */
function endLater(entry: OwnEntry, notBefore: number, reason: string | undefined): boolean {
  entry.notBefore = notBefore
  end(entry)
  if (reason === undefined || entry.warned === reason) return false
  entry.warned = reason
  return true
}
