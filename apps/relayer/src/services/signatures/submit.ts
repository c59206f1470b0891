/**
 * Partial signatures of exits and deposits as nodes post them: stored first, then verified (`verify.ts`), then answered
 * (`POST /exit-signature`, `POST /signatures`).
 *
 * Bytes seen before are recognised by a keyed digest before any point is parsed. A signature without a trusted public key share
 * waits as a candidate until a full signature shows who was right (`finish.ts`). Wrong ones never replace right ones.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Failure } from '@dvt-relayer/api/schemas.ts'
import { accountKey, currentAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { createRate, type Rate } from '@dvt-relayer/common/flow/rate.ts'
import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { MessageKind } from '@dvt-relayer/db/queries/messages/messages.ts'
import type { KeyShareHint, MatchRow } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  countLiveKeys,
  matchPartials,
  storeHints,
  touchCandidates,
  trimHints,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Context, Sealing } from '../../context.ts'
import { CLUSTER_INDEXES } from '../../crypto-workers/tasks.ts'
import type { FailureCode } from '../../errors.ts'
import { ApiError, failure, refuseLong } from '../../errors.ts'
import { CANDIDATE_LIMITS, storeCandidates } from './candidates.ts'
import { type PostedHint, packHint } from './key-share-hints.ts'
import type { Unverified, Verification } from './verify.ts'

/** Which of these validators (lower-case hex) are known, and none that the caller's node may speak for. */
type FindForeign = (publicKeys: readonly Uint8Array[]) => Promise<ReadonlySet<string>>
const findNone: FindForeign = async () => new Set()

/** One posted item, as it came: an exit (generation 3), both (generation 4), or a deposit alone (stock charon). */
interface PostedShare {
  public_key: string
  exit_signature?: string
  deposit_signature?: string
  public_key_shares?: PostedHint[] | null
}

/** Sets of public key shares kept for a validator: more than a usual cluster has nodes. */
const HINTS = 16
/** Candidates posted again are noted at most this often. */
const TOUCH_SECONDS = 10
/** Items stored at once. */
const SLICE = 256
/** Of these, items read in one go, and digests made: some tenths of a millisecond of the event loop. */
const READ_AT_ONCE = 64
/** Lists of public key shares packed in one go: each of as many as the largest cluster takes some tens of microseconds. */
const PACKED_AT_ONCE = 16

/** Posts of one caller that are stored at once; the others wait behind them. Admission bounds how many there are. */
const POSTS_OF_ONE = { depth: 2, waiting: Number.POSITIVE_INFINITY }

/**
 * What is of no use, of one caller, at once and in a second: signatures that were verified and are wrong; and of those that nobody can verify
 * such as are at more share indexes than one has who is a node, or several behind one address, and such as push away another of their own
 * share index. Each costs PostgreSQL a write. Who has sent too many waits, and after some seconds is refused.
 */
const USELESS = { burst: 1000, perSecond: 50, most: 10_000, waitSeconds: 5 }
/** What is of no use of one caller is stored a post at a time, and then nothing for so many times as long as that took: PostgreSQL has others. */
const CROWD = { depth: 1, waiting: Number.POSITIVE_INFINITY, rests: 3 }
/** Posts that are refused, of one caller, come in turns this far apart: each was read and looked up. */
const REFUSED_MS = 500
/** A share index that was not used for so long is a caller's own no more. */
const FORGET_MS = 600_000

/** What all signatures of a post have in common. */
interface Post {
  shareIndex: number
  /** Whether its items bring two signatures, so that a failure must name the kind. */
  isPair: boolean
  /** Whose it is. */
  account: string
  /** Whether its share index is one more than its caller has. */
  isOfCrowd: boolean
  /** How long it may wait for what its caller has sent before. */
  untilMs: number
}

/** One signature of a posted item. */
interface Item {
  /** Of the item in the request. */
  position: number
  kind: MessageKind
  publicKey: Uint8Array
  signature: Uint8Array
  digest: Uint8Array
  /** What the poster says all public key shares are. */
  hint: PostedHint[] | null | undefined
}

/** A signature not seen before, and the message it may be of. */
interface Fresh {
  match: MatchRow
  item: Item
}

/** What became of signatures that were stored. */
interface Taken {
  unverified: (Unverified & Pick<Item, 'position'> & { mayWait: boolean })[]
  /** Messages of which only a full signature can judge the candidates: one for each candidate. */
  waiting: number[]
  failures: Failure[]
  /** Whether some were not taken, as too many came of no use. */
  isTooMuch: boolean
}
const NOTHING: Taken = { unverified: [], waiting: [], failures: [], isTooMuch: false }

const joined = (all: readonly Taken[]): Taken => ({
  unverified: all.flatMap(({ unverified }) => unverified),
  waiting: all.flatMap(({ waiting }) => waiting),
  failures: all.flatMap(({ failures }) => failures),
  isTooMuch: all.some(({ isTooMuch }) => isTooMuch),
})

/** Creates the service. A post waits `patienceMs` for its verdicts; what is not known by then is found out after the answer. */
export function createSubmission(
  {
    config,
    db,
    crypto,
    sealing,
    events,
    announced,
    patienceMs,
    verification,
  }: Pick<Context, 'config' | 'db' | 'crypto' | 'sealing' | 'events' | 'announced' | 'patienceMs'> & {
    verification: Verification
  },
  nowMs: () => number = () => performance.now(),
  wait: (ms: number) => Promise<unknown> = (ms) => sleep(ms),
) {
  const posts = createKeyedQueue(POSTS_OF_ONE)
  const crowdPosts = createKeyedQueue(CROWD)
  const [crowd, wrongs] = [createRate(USELESS), createRate(USELESS)]
  const ownIndexes = createOwnIndexes(nowMs)

  /** Matches signatures to messages and stores what is new; tells what is wrong without looking at it. */
  async function take(post: Post, items: readonly Item[]): Promise<Taken> {
    if (items.length === 0) return NOTHING
    if (!(await waitFor(wrongs, post, 0))) return { ...NOTHING, isTooMuch: true }
    const { shareIndex } = post
    const sorted = sortOut(post, items, await matchPartials(db, shareIndex, items))
    await touchCandidates(db, shareIndex, sorted.again)
    const { useless = [], others = [] } = Object.groupBy(sorted.fresh, ({ match }) =>
      isUseless(post, match) ? 'useless' : 'others',
    )
    const taken = [{ ...NOTHING, failures: sorted.failures }, await keep(post, others)]
    if (useless.length === 0) return joined(taken)
    if (!(await waitFor(crowd, post, useless.length))) return joined([...taken, { ...NOTHING, isTooMuch: true }])
    await crowdPosts.run(post.account, async () => {
      const startMs = nowMs()
      taken.push(await keep(post, useless))
      const now = nowMs()
      const restMs = Math.min(CROWD.rests * (now - startMs), post.untilMs - now)
      if (restMs > 0) await wait(restMs)
    })
    return joined(taken)
  }

  /** Stores new signatures. */
  async function keep(post: Post, fresh: readonly Fresh[]): Promise<Taken> {
    const { shareIndex } = post
    const { kept, failures } = await dropMalformed(post, fresh)
    const lone = verification.mayWait(shareIndex) ? loneOf(kept) : new Set<Fresh>()
    if (kept.length > 0) {
      await store(shareIndex, kept, lone)
      await keepHints(db, shareIndex, kept)
    }
    return { ...NOTHING, ...divide(shareIndex, kept, lone), failures }
  }

  /** Waits for what its caller has sent of a kind, this many more included from then on; false where that takes too long. */
  async function waitFor(sent: Rate, { account, untilMs }: Post, more: number): Promise<boolean> {
    const now = nowMs()
    const seconds = sent.owe(account, more, now, Math.max(0, untilMs - now) / 1000)
    if (seconds !== undefined && seconds > 0) await wait(seconds * 1000)
    return seconds !== undefined
  }

  /** Candidates nobody can verify yet must at least be points of the group. */
  async function dropMalformed(post: Post, fresh: readonly Fresh[]): Promise<{ kept: Fresh[]; failures: Failure[] }> {
    const unknown = fresh.filter(({ match }) => match.publicKeyShare === null)
    const isPoint = await crypto.areSignatures(unknown.map(({ item }) => item.signature))
    const malformed = new Set(unknown.filter((_, position) => isPoint[position] !== true))
    return {
      kept: fresh.filter((entry) => !malformed.has(entry)),
      failures: [...malformed].map(({ item }) => failed(post, item, 'SIGNATURE_MALFORMED')),
    }
  }

  /** Of those that may wait to be judged with others nobody is told: as a rule they are within the time that telling takes. */
  async function store(shareIndex: number, fresh: readonly Fresh[], lone: ReadonlySet<Fresh>): Promise<void> {
    const candidates = fresh.map((entry) => ({
      ...entry.item,
      messageId: entry.match.messageId,
      isUntold: lone.has(entry),
      isAnother: entry.match.publicKeyShare === null && entry.match.others > 0,
    }))
    const isTold = await db.transaction(async (tx) => {
      await lockMessages(
        tx,
        candidates.map(({ messageId }) => messageId),
      )
      return await storeCandidates(tx, sealing, shareIndex, candidates)
    })
    if (isTold) announced()
  }

  return {
    /**
     * Takes partial signatures of one share index. Commits what came, verifies for at most `patienceMs`, and returns what failed and is
     * known by then. Items of unknown validators are skipped.
     *
     * @param findForeign for a caller that may not speak for every validator of its share index
     * @throws {ApiError} TOO_MANY_SHARES; TOO_BUSY where some were not taken, as too many came that are of no use; SHARES_WRONG when every item of a known validator was verified and is wrong; NODE_BINDING when
     * every one is of another node
     */
    async submit(
      shareIndex: number,
      shares: readonly PostedShare[],
      findForeign: FindForeign = findNone,
    ): Promise<Failure[]> {
      refuseLong('TOO_MANY_SHARES', config.limits.shares, 'partial signatures', shares)
      const account = accountKey(currentAccount())
      const post: Post = {
        shareIndex,
        isPair: shares.some(({ deposit_signature: deposit }) => deposit !== undefined),
        account,
        isOfCrowd: !ownIndexes.has(account, shareIndex),
        untilMs: nowMs() + USELESS.waitSeconds * 1000,
      }
      const items: Item[] = []
      const failures: Failure[] = []
      const waiting: number[] = []
      const verifying: Promise<unknown>[] = []
      let isTooMuch = false
      await posts.run(account, async () => {
        for (let from = 0; from < shares.length; from += SLICE) {
          const read = withoutForeign(
            post,
            await readItems(sealing, post, shares, from),
            await findForeign(keysOf(shares, from)),
          )
          const taken = await take(post, read.items)
          items.push(...read.items)
          failures.push(...read.failures, ...taken.failures)
          waiting.push(...taken.waiting)
          isTooMuch ||= taken.isTooMuch
          events.partialsReceived(shareIndex, taken.unverified.length + taken.waiting.length, read.failures.length)
          if (taken.unverified.length > 0)
            verifying.push(
              verification.verifyPosted(shareIndex, taken.unverified, (wrong) => {
                wrongs.owe(account, wrong.length, nowMs(), USELESS.waitSeconds)
                failures.push(...wrong.map((candidate) => failed(post, candidate, 'SIGNATURE_WRONG')))
              }),
            )
        }
        if (isTooMuch) await wait(REFUSED_MS)
      })
      if (waiting.length > 0) await verification.finishLater([...new Set(waiting)])
      if (verifying.length > 0) await waitAtMost(Promise.all(verifying), patienceMs)
      if (isTooMuch) {
        // Whoever is refused at once comes again at once.
        await wait(Math.max(0, post.untilMs - nowMs()))
        throw new ApiError(
          'TOO_BUSY',
          `wrong signatures, always others for one key, and those at share indexes of more nodes than a cluster has, are ${USELESS.perSecond} a second of one caller; send those that are left again`,
        )
      }
      if (failures.length > 0 && !(await hasAccepted(db, items, failures))) {
        if (failures.every(({ code }) => code === 'NODE_BINDING'))
          throw new ApiError(
            'NODE_BINDING',
            'the key that signed the request is not of a node of these validators with this share index',
            { failures },
          )
        throw new ApiError('SHARES_WRONG', 'every partial signature of a known validator is wrong', { failures })
      }
      return failures.sort((a, b) => a.index - b.index)
    },
  }
}
export type Submission = ReturnType<typeof createSubmission>

/** The share indexes of callers: those that each was the first to use, as many as a cluster has, until it uses them no more. */
function createOwnIndexes(nowMs: () => number) {
  const ofAccounts = new Map<string, Map<number, number>>()
  return {
    /** Whether a share index is one of an account's, which it becomes where there is room. */
    has(account: string, shareIndex: number): boolean {
      const now = nowMs()
      const own = ofAccounts.get(account) ?? new Map<number, number>()
      ofAccounts.delete(account)
      ofAccounts.set(account, own)
      const [longestAgo] = ofAccounts.size > USELESS.most ? ofAccounts.keys() : []
      if (longestAgo !== undefined) ofAccounts.delete(longestAgo)
      for (const [index, usedAt] of own) if (now - usedAt > FORGET_MS) own.delete(index)
      const isOwn = own.has(shareIndex) || own.size < CLUSTER_INDEXES
      if (isOwn) own.set(shareIndex, now)
      return isOwn
    },
  }
}

/** Whether nobody can verify a signature that pushes away others. A node has one of a message, and those of a few mistakes have room. */
const isUseless = ({ isOfCrowd }: Post, { publicKeyShare, others }: MatchRow): boolean =>
  publicKeyShare === null && (isOfCrowd || others >= CANDIDATE_LIMITS.perIndex)

/** A failure of one signature. */
const failed = ({ isPair }: Post, { position, kind }: Pick<Item, 'position' | 'kind'>, code: FailureCode): Failure => ({
  ...failure(position, code),
  ...(isPair && { kind }),
})

/** What was read of items: their signatures, and what failed at once. */
interface ReadItems {
  items: Item[]
  failures: Failure[]
}

/** Reads the texts of a slice of the items. Those that are no hex of the right length fail at once; unknown keys are told apart later. */
async function readItems(
  sealing: Sealing,
  post: Post,
  shares: readonly PostedShare[],
  from: number,
): Promise<ReadItems> {
  const read = await mapInPieces(shares.slice(from, from + SLICE), READ_AT_ONCE, (share, i) =>
    readItem(sealing, post, share, from + i),
  )
  return { items: read.flatMap(({ items }) => items), failures: read.flatMap(({ failures }) => failures) }
}

function readItem(sealing: Sealing, post: Post, share: PostedShare, position: number): ReadItems {
  const items: Item[] = []
  const failures: Failure[] = []
  const publicKey = parseHex(share.public_key, 48)
  if (publicKey === undefined) return { items, failures: [failure(position, 'PUBLIC_KEY_INVALID')] }
  const { exit_signature: exit, deposit_signature: deposit, public_key_shares: hint } = share
  for (const [kind, text] of [['exit', exit] as const, ['deposit', deposit] as const]) {
    if (text === undefined) continue
    const signature = parseHex(text, 96)
    if (signature === undefined) {
      // An item is a pair by what itself brings, not by what others of the post do.
      const isPair = deposit !== undefined
      failures.push(failed({ ...post, isPair }, { position, kind }, 'SIGNATURE_MALFORMED'))
      continue
    }
    const digest = sealing.digest(post.shareIndex, signature)
    items.push({ position, kind, publicKey, signature, digest, hint })
  }
  return { items, failures }
}

/** The validators of a slice of the items. */
const keysOf = (shares: readonly PostedShare[], from: number): Uint8Array[] =>
  shares.slice(from, from + SLICE).flatMap(({ public_key: text }) => parseHex(text, 48) ?? [])

/** The items without those that the caller may not speak for: these fail unread. */
function withoutForeign(post: Post, { items, failures }: ReadItems, foreign: ReadonlySet<string>): ReadItems {
  if (foreign.size === 0) return { items, failures }
  const { ours = [], others = [] } = Object.groupBy(items, ({ publicKey }) =>
    foreign.has(toHex(publicKey)) ? 'others' : 'ours',
  )
  return { items: ours, failures: [...failures, ...others.map((item) => failed(post, item, 'NODE_BINDING'))] }
}

/** Which signatures are new, which were seen before, and which are wrong by what is known already. */
function sortOut(
  post: Post,
  items: readonly Item[],
  matches: readonly MatchRow[],
): { fresh: Fresh[]; again: { messageId: number; digest: Uint8Array }[]; failures: Failure[] } {
  const failures: Failure[] = []
  const fresh: Fresh[] = []
  const again: { messageId: number; digest: Uint8Array }[] = []
  for (const match of matches) {
    const item = items[match.position]
    if (item === undefined) continue
    if (match.same === 'rejected' || match.hasVerified) failures.push(failed(post, item, 'SIGNATURE_WRONG'))
    else if (match.hasKeyShares && match.publicKeyShare === null)
      failures.push(failed(post, item, 'SHARE_INDEX_UNKNOWN'))
    else if (match.same === null) fresh.push({ match, item })
    else if ((match.seenSeconds ?? 0) > TOUCH_SECONDS) again.push({ messageId: match.messageId, digest: item.digest })
  }
  return { fresh, again, failures }
}

/**
 * Of new signatures those that may be judged together with what other nodes send for a live message: under a trusted public key share,
 * and all that the share index has ever sent for it.
 */
function loneOf(fresh: readonly Fresh[]): Set<Fresh> {
  const ofMessage = Map.groupBy(fresh, ({ match }) => match.messageId)
  return new Set(
    fresh.filter(
      ({ match: { messageId, publicKeyShare, others, state } }) =>
        publicKeyShare !== null && others === 0 && state !== 'expired' && ofMessage.get(messageId)?.length === 1,
    ),
  )
}

/** What was stored: that which can be verified now, or soon with others, and that which must wait for a full signature. */
function divide(
  shareIndex: number,
  fresh: readonly Fresh[],
  lone: ReadonlySet<Fresh>,
): Pick<Taken, 'unverified' | 'waiting'> {
  const unverified: Taken['unverified'] = []
  const waiting: number[] = []
  for (const entry of fresh) {
    const { messageId, publicKeyShare, signingRoot } = entry.match
    if (publicKeyShare === null) waiting.push(messageId)
    else {
      const { position, kind, digest, signature } = entry.item
      const candidate = { messageId, kind, shareIndex, digest, signature, publicKeyShare, signingRoot }
      unverified.push({ ...candidate, position, mayWait: lone.has(entry) })
    }
  }
  return { unverified, waiting }
}

/** Keeps what was said of public key shares that the relayer does not know, once for each validator. */
async function keepHints(db: Sql, shareIndex: number, fresh: readonly Fresh[]): Promise<void> {
  // The exit and the deposit of an item have one list.
  const posted = new Map<readonly PostedHint[], number>()
  for (const { match, item } of fresh) if (item.hint && !match.hasKeyShares) posted.set(item.hint, match.validatorId)
  const hints = new Map<number, KeyShareHint>()
  await mapInPieces([...posted], PACKED_AT_ONCE, ([list, validatorId]) => {
    const shares = packHint(list)
    if (shares !== undefined) hints.set(validatorId, { validatorId, shares })
  })
  await storeHints(db, shareIndex, [...hints.values()])
  await trimHints(db, [...hints.keys()], HINTS)
}

/** Whether any signature of a known validator did not fail. */
async function hasAccepted(db: Sql, items: readonly Item[], failures: readonly Failure[]): Promise<boolean> {
  const isFailed = new Set(failures.map(({ index, kind }) => `${index} ${kind ?? 'exit'}`))
  const others = items.filter(({ position, kind }) => !isFailed.has(`${position} ${kind}`))
  if (others.length === 0) return false
  return (
    (await countLiveKeys(
      db,
      others.map(({ publicKey }) => publicKey),
    )) > 0
  )
}

/** Waits for work to end, or for the time to be up: the work goes on then. */
async function waitAtMost(work: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController()
  await Promise.race([work, pause(ms, timer.signal)])
  timer.abort()
}
