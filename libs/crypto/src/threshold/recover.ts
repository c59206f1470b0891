/**
 * From partial signatures to the full one, whatever part of them is wrong (docs/protocol.md#4-threshold-bls,
 * docs/architecture.md#what-a-bad-signature-may-do). A wrong candidate never blocks `threshold` right ones that are found, and is named
 * once the signature is known.
 */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine, IndexedPoint, SignedMessage } from '../bls/bls.ts'
import { scaledLagrangeFactors } from '../bls/lagrange.ts'
import type { RandomBytes } from '../bls/scalar.ts'
import {
  ascending,
  type Candidate,
  cheapestBase,
  type FactorsOf,
  type Judged,
  judge,
  LOOKED_AT_INDEXES,
  rememberingFactors,
  valueAtZero,
} from './recover-judge.ts'
import { subsetsToTry } from './subsets.ts'

/**
 * Attempts that find every recoverable 9 of 13, the largest usual cluster, with all four spare nodes hostile: C(13, 9) subsets, one of
 * which is right. An attempt takes about 2 ms with blst.
 */
export const ATTEMPTS_9_OF_13 = 715

/** Hints come from anybody: so many sets are looked at, and a set only while it has no more candidates than 13 nodes with 4 each. */
const LOOKED_AT_HINTS = 8
const HINT_CANDIDATES = 52

export interface RecoverRequest {
  message: Uint8Array
  publicKey: Uint8Array
  threshold: number
  /** Partial signatures by share index, oldest first; several where it is not known which is right. */
  candidates: ReadonlyMap<bigint, readonly Uint8Array[]>
  /** Public key shares that are trusted *and fit the public key* (`publicKeySharesFit`). */
  knownShares?: ReadonlyMap<bigint, Uint8Array>
  /** Indexes whose first candidate has been verified under its known public key share before: it is not checked again. */
  verified?: ReadonlySet<bigint>
  /** The full signature, where it has been verified before: what gives it again need not be. */
  signature?: Uint8Array
  /** Sets of public key shares of unknown origin: tried first, never a reason to refuse. */
  hints?: readonly ReadonlyMap<bigint, Uint8Array>[]
  /** `threshold` share indexes whose first candidates are tried together before any search: those that were right before. */
  likely?: readonly bigint[]
  maxAttempts: number
  random?: RandomBytes
}

export type RecoverResult =
  | {
      status: 'recovered'
      signature: Uint8Array
      right: Map<bigint, Uint8Array>
      wrong: Candidate[]
      unjudged: Candidate[]
      attempts: number
    }
  | { status: 'not_enough'; right: Map<bigint, Uint8Array>; wrong: Candidate[] }
  | { status: 'not_found'; wrong: Candidate[]; attempts: number }

/** The result of a judgement whose signature has been verified. */
function recovered({ signature, right, wrong, unjudged }: Judged, attempts: number): RecoverResult {
  if (signature === undefined) return { status: 'not_found', wrong: [], attempts }
  return { status: 'recovered', signature, right, wrong, unjudged, attempts }
}

/** Candidates at indexes whose public key share is known, lowest index first. */
function knownCandidates({ candidates, knownShares }: RecoverRequest): (Candidate & { publicKey: Uint8Array })[] {
  return [...(knownShares ?? [])]
    .sort(([a], [b]) => ascending(a, b))
    .flatMap(([index, publicKey]) =>
      (candidates.get(index) ?? []).map((signature) => ({ index, publicKey, signature })),
    )
}

interface Guess {
  base: IndexedPoint[]
  /** What the base says of every candidate: asked for once the base is proven, for many may have been invented. */
  judge(): Judged
  triples: SignedMessage[]
}

/** The first candidate at each of these indexes that has one. */
function firstCandidates({ candidates }: RecoverRequest, indexes: Iterable<bigint>): IndexedPoint[] {
  return [...indexes].flatMap((index) => {
    const [point] = candidates.get(index) ?? []
    return point === undefined ? [] : [{ index, point }]
  })
}

/** What is so if every first candidate of a base is right, and the triples that prove it. */
function guess(engine: BlsEngine, request: RecoverRequest, factorsOf: FactorsOf): Guess | undefined {
  const { threshold, knownShares, hints } = request
  if (threshold < 1) return undefined
  try {
    if ((knownShares?.size ?? 0) >= threshold) return guessByShares(engine, request, factorsOf)
    // Where something is known that narrows a search, the search begins with it.
    const isBlind = (knownShares?.size ?? 0) === 0 && (hints?.length ?? 0) === 0
    return isBlind ? guessBlindly(engine, request, factorsOf) : undefined
  } catch {
    return undefined
  }
}

/**
 * With the full signature right under the key, and all but one of the base right under their public key shares, the last one is right too;
 * the others are compared with the polynomial. That is `threshold` signatures of one message in one check instead of all candidates, then
 * the full one; of those that were verified before, and of a full signature that is known, nothing is left to check
 * (docs/decisions/0013-verified-together.md).
 */
function guessByShares(engine: BlsEngine, request: RecoverRequest, factorsOf: FactorsOf): Guess | undefined {
  const { message, publicKey, threshold, signature: known } = request
  const { knownShares = new Map<bigint, Uint8Array>(), verified = new Set<bigint>() } = request
  const firsts = firstCandidates(request, knownShares.keys())
  if (firsts.length < threshold) return undefined
  const base = checkedBase(firsts, threshold, verified, factorsOf)
  const unchecked = base.filter(({ index }) => !verified.has(index))
  const last = unchecked.at(-1)
  // A part of small order in the last point could vanish in the sum: its subgroup is checked by itself.
  if (last !== undefined && !engine.isSignature(last.point)) return undefined
  const signature = valueAtZero(engine, base, factorsOf)
  if (signature === undefined || (known !== undefined && !equalBytes(known, signature))) return undefined
  const full = known === undefined ? [{ publicKey, message, signature }] : []
  const shares = unchecked.slice(0, -1).flatMap(({ index, point }) => {
    const key = knownShares.get(index)
    return key === undefined ? [] : [{ publicKey: key, message, signature: point }]
  })
  return {
    base,
    judge: () => judge(engine, request.candidates, base, factorsOf, signature),
    triples: [...full, ...shares],
  }
}

/** Those that were verified before, as far as there are any, then others: what is wrong is among the others. */
function checkedBase(
  firsts: readonly IndexedPoint[],
  threshold: number,
  verified: ReadonlySet<bigint>,
  factorsOf: FactorsOf,
): IndexedPoint[] {
  const checked = firsts.filter(({ index }) => verified.has(index))
  if (checked.length >= threshold) return cheapestBase(checked, threshold, factorsOf)
  if (checked.length === 0) return cheapestBase(firsts, threshold, factorsOf)
  return [...checked, ...firsts.filter(({ index }) => !verified.has(index))].slice(0, threshold)
}

/**
 * What the first attempt of a search would come to: the likely indexes, else the lowest. Candidates that were verified before come first, so
 * as a rule it is right, and the full signatures of a whole batch are verified in one check (docs/decisions/0012-crypto-shortcuts.md).
 */
function guessBlindly(engine: BlsEngine, request: RecoverRequest, factorsOf: FactorsOf): Guess | undefined {
  const { message, publicKey, threshold, candidates, likely, maxAttempts } = request
  if (maxAttempts < 1) return undefined
  const indexes = likely?.length === threshold ? likely : [...candidates.keys()].sort(ascending)
  const base = firstCandidates(request, indexes).slice(0, threshold)
  // Parts of small order could cancel in the sum: each point's subgroup is checked by itself.
  if (base.length < threshold || !base.every(({ point }) => engine.isSignature(point))) return undefined
  const signature = valueAtZero(engine, base, factorsOf)
  return signature === undefined
    ? undefined
    : {
        base,
        judge: () => judge(engine, candidates, base, factorsOf, signature),
        triples: [{ publicKey, message, signature }],
      }
}

/** Slices of a flat list of verdicts, one for each list of triples. */
function verifyLists(engine: BlsEngine, lists: readonly (readonly SignedMessage[])[]): boolean[][] {
  const triples = lists.flat()
  // A batch of one that fails would be checked again.
  const verdicts =
    triples.length === 1
      ? triples.map(({ publicKey, message, signature }) => engine.verify(publicKey, message, signature))
      : engine.verifyBatch(triples)
  let start = 0
  return lists.map((list) => {
    const slice = verdicts.slice(start, start + list.length)
    start += list.length
    return slice
  })
}

interface Checked {
  right: Map<bigint, Uint8Array>
  wrong: Candidate[]
}

/** The first candidates of the indexes that were verified before. */
const verifiedBefore = (request: RecoverRequest): Map<bigint, Uint8Array> =>
  new Map(firstCandidates(request, request.verified ?? []).map(({ index, point }) => [index, point]))

/** Checks every candidate whose public key share is known, but for those verified before, for all requests in one batch. */
function checkKnown(engine: BlsEngine, requests: readonly RecoverRequest[]): Checked[] {
  const results = requests.map((request): Checked => ({ right: verifiedBefore(request), wrong: [] }))
  const listed = requests.flatMap((request, position) =>
    knownCandidates(request)
      .filter(({ index, signature }) => results[position]?.right.get(index) !== signature)
      .map((candidate) => ({ ...candidate, position, message: request.message })),
  )
  // One hostile node is wrong for every validator: side by side its candidates are found in few checks.
  listed.sort((a, b) => ascending(a.index, b.index))
  const verdicts = engine.verifyBatch(listed)
  listed.forEach(({ position, index, signature }, i) => {
    const result = results[position]
    if (verdicts[i] === true) result?.right.set(index, signature)
    else result?.wrong.push({ index, signature })
  })
  return results
}

/** Recovery from candidates that have each been checked under a known public key share. */
function recoverChecked(
  engine: BlsEngine,
  request: RecoverRequest,
  { right, wrong }: Checked,
  factorsOf: FactorsOf,
): RecoverResult {
  if (right.size < request.threshold) return { status: 'not_enough', right, wrong }
  const shares = [...right].map(([index, point]) => ({ index, point }))
  const judged = judge(engine, request.candidates, cheapestBase(shares, request.threshold, factorsOf), factorsOf)
  if (judged.signature === undefined || !engine.verify(request.publicKey, request.message, judged.signature)) {
    return { status: 'not_found', wrong, attempts: 1 }
  }
  return recovered(judged, 1)
}

/** Well-formed candidates at the lowest indexes; where one has been checked, that one alone, and in front. */
function searchPlaces(
  engine: BlsEngine,
  { candidates }: RecoverRequest,
  { right, wrong }: Checked,
): { positions: { index: bigint; listed: Uint8Array[] }[]; malformed: Candidate[] } {
  const malformed: Candidate[] = []
  const refused = new Set(wrong.map(({ signature }) => signature))
  const positions = [...right].map(([index, signature]) => ({ index, listed: [signature] }))
  const indexes = [...candidates.keys()].filter((index) => !right.has(index)).sort(ascending)
  for (const index of indexes.slice(0, LOOKED_AT_INDEXES)) {
    const listed = (candidates.get(index) ?? []).filter((signature) => {
      if (refused.has(signature)) return false
      if (engine.isSignature(signature)) return true
      malformed.push({ index, signature })
      return false
    })
    if (listed.length > 0) positions.push({ index, listed })
  }
  return { positions, malformed }
}

/** For each hint under which enough candidates verify: those candidates. */
function* hinted(engine: BlsEngine, { message, threshold, candidates, hints = [] }: RecoverRequest) {
  for (const hint of hints.slice(0, LOOKED_AT_HINTS)) {
    const listed = [...hint].flatMap(([index, publicKey]) =>
      (candidates.get(index) ?? []).map((signature) => ({ index, publicKey, message, signature })),
    )
    if (listed.length > HINT_CANDIDATES) continue
    const verdicts = engine.verifyBatch(listed)
    const right = new Map(listed.flatMap(({ index, signature }, i) => (verdicts[i] ? [[index, signature]] : [])))
    if (right.size >= threshold) yield [...right].slice(0, threshold).map(([index, point]) => ({ index, point }))
  }
}

/** Whether the shares give a signature of the key: a whole multiple of it, under the same multiple of the key. */
export function givesSignature(
  engine: BlsEngine,
  { publicKey, message }: RecoverRequest,
  shares: readonly IndexedPoint[],
): boolean {
  const { factors, denominator } = scaledLagrangeFactors(shares.map(({ index }) => index))
  const [multiple] = engine.combineSignatures(
    shares.map(({ point }) => point),
    [factors],
  )
  if (multiple === undefined) return false
  const [key] = denominator === 1n ? [publicKey] : engine.combinePublicKeys([publicKey], [[denominator]])
  return key !== undefined && engine.verify(key, message, multiple)
}

/**
 * The judgement of a base that was searched for, unless it contradicts what was checked under a known public key share: two who collude
 * can add errors that cancel at 0, and their polynomial then gives the signature but says nothing of the other candidates.
 */
function withoutContradiction(judged: Judged, request: RecoverRequest, { right, wrong }: Checked): Judged {
  const isRight = new Set(right.values())
  const isWrong = new Set(wrong.map(({ signature }) => signature))
  const contradicts =
    judged.wrong.some(({ signature }) => isRight.has(signature)) ||
    [...judged.right.values()].some((signature) => isWrong.has(signature))
  if (!contradicts) return judged
  const unjudged = [...request.candidates].flatMap(([index, listed]) =>
    listed.flatMap((signature) => (isRight.has(signature) || isWrong.has(signature) ? [] : [{ index, signature }])),
  )
  return { signature: judged.signature, right, wrong, unjudged }
}

/**
 * Recovery without enough known public key shares: subsets are tried until one gives a signature of the key. After each attempt others
 * may have a turn. A guess that was `refuted` counts as the attempt it is, and is not made again.
 */
function* recoverBySearch(
  engine: BlsEngine,
  request: RecoverRequest,
  checked: Checked,
  refuted: readonly IndexedPoint[],
  factorsOf: FactorsOf,
): Generator<void, RecoverResult> {
  const { threshold, maxAttempts, publicKey, message, random } = request
  const { positions, malformed } = searchPlaces(engine, request, checked)
  const wrong = [...checked.wrong, ...malformed]
  if (positions.length < threshold || !engine.isPublicKey(publicKey)) {
    return { status: 'not_enough', right: checked.right, wrong }
  }
  let attempts = 0
  const refutedAt = new Map(refuted.map(({ index, point }) => [index, point]))
  const attempt = (shares: readonly IndexedPoint[]): RecoverResult | undefined => {
    attempts++
    const isRefuted = shares.every(({ index, point }) => refutedAt.get(index) === point)
    if (isRefuted && shares.length === refuted.length) return undefined
    if (!givesSignature(engine, request, shares)) return undefined
    const judged = judge(engine, request.candidates, shares, factorsOf)
    if (judged.signature === undefined || !engine.verify(publicKey, message, judged.signature)) return undefined
    return recovered(withoutContradiction(judged, request, checked), attempts)
  }
  const likely = positions.flatMap(({ index, listed: [point] }) =>
    point !== undefined && request.likely?.includes(index) === true ? [{ index, point }] : [],
  )
  if (likely.length === threshold && maxAttempts > 0) {
    const result = attempt(likely)
    if (result !== undefined) return result
    yield
  }
  for (const shares of hinted(engine, request)) {
    if (attempts >= maxAttempts) break
    const result = attempt(shares)
    if (result !== undefined) return result
    yield
  }
  const counts = positions.map(({ listed }) => listed.length)
  for (const picks of subsetsToTry(counts, threshold, maxAttempts - attempts, random)) {
    const shares = picks.flatMap(({ position, candidate }) => {
      const { index = 0n, listed = [] } = positions[position] ?? {}
      const point = listed[candidate]
      return point === undefined ? [] : [{ index, point }]
    })
    const result = attempt(shares)
    if (result !== undefined) return result
    yield
  }
  return { status: 'not_found', wrong, attempts }
}

/**
 * Recovers the full signatures of many messages at once; what can be checked together is.
 *
 * - `threshold` or more public key shares known: candidates are checked under them and only right ones are interpolated. Candidates at
 *   other indexes do not take part and are judged by the polynomial afterwards.
 * - Fewer known: subsets of candidates are tried, the likely one first, those that verify under a hint next, then `subsetsToTry`, at most `maxAttempts`.
 *   Where nothing is known and no hint given, the first of them is tried for the whole batch in one check; those it fails for are searched by themselves.
 *
 * `recovered` means that the signature verifies under the public key. Then every candidate is right (equal to the polynomial at its
 * index) or wrong. With `threshold` known shares that is proven. Where subsets were searched it is the verdict of the polynomial that gave
 * the signature: one wrong share cannot be part of it, but two or more nodes that collude can bend it without moving its value at 0, and
 * then have others named wrong. The signature is right all the same. `not_enough`: fewer than `threshold` indexes have a candidate that may count. `not_found`: no attempt succeeded.
 *
 * @throws {CryptoError} SHARE_INDEX_ZERO, SHARE_INDEX_DUPLICATE for indexes that are 0 or equal modulo the group order
 */
export function recoverSignatures(engine: BlsEngine, requests: readonly RecoverRequest[]): RecoverResult[] {
  return withoutPause(recoverInTurns(engine, requests))
}

/** What turns come to, all taken at once. */
export function withoutPause<T>(turns: Generator<void, T>): T {
  for (;;) {
    const turn = turns.next()
    if (turn.done === true) return turn.value
  }
}

/** The same in turns of one attempt: a search of seconds does not keep others from a thread. */
export function* recoverInTurns(
  engine: BlsEngine,
  requests: readonly RecoverRequest[],
): Generator<void, RecoverResult[]> {
  const factorsOf = rememberingFactors()
  const guesses = requests.map((request) => guess(engine, request, factorsOf))
  const guessed = verifyLists(
    engine,
    guesses.map((made) => made?.triples ?? []),
  )
  const results = guesses.map((made, i) =>
    made !== undefined && guessed[i]?.every((verdict) => verdict) ? recovered(made.judge(), 1) : undefined,
  )
  const open = requests.flatMap((request, i) => (results[i] === undefined ? [request] : []))
  const checked = new Map(checkKnown(engine, open).map((result, i) => [open[i], result]))
  const all: RecoverResult[] = []
  for (const [i, request] of requests.entries()) {
    const known = checked.get(request) ?? { right: new Map<bigint, Uint8Array>(), wrong: [] }
    const result =
      results[i] ??
      ((request.knownShares?.size ?? 0) >= request.threshold
        ? recoverChecked(engine, request, known, factorsOf)
        : yield* recoverBySearch(engine, request, known, guesses[i]?.base ?? [], factorsOf))
    all.push(result)
  }
  return all
}

/** Recovers the full signature of one message: {@link recoverSignatures} of one. */
export function recoverSignature(engine: BlsEngine, request: RecoverRequest): RecoverResult {
  const [result] = recoverSignatures(engine, [request])
  if (result === undefined) throw new TypeError('no result for a request')
  return result
}
