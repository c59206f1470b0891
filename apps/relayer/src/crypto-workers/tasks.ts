/**
 * The signature work, as plain functions of bytes: what a worker thread runs, and the types the main thread sends and gets.
 * Nothing here touches the event loop of the main thread, the database or a log.
 */

import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { recoverNodeKey } from '@dvt-relayer/crypto/cluster-lock/node-signature.ts'
import type { PartialExit } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import { partialExitRoot, partialExitsRoot } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import type { Ecies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { type ShareSet, splitExitSignature, verifyShareSets } from '@dvt-relayer/crypto/oracle/oracle-split.ts'
import { findFittingThreshold } from '@dvt-relayer/crypto/threshold/fitting-threshold.ts'
import type { RecoverRequest, RecoverResult } from '@dvt-relayer/crypto/threshold/recover.ts'
import { recoverInTurns, withoutPause } from '@dvt-relayer/crypto/threshold/recover.ts'

/** (public key, message, signature) to verify. */
export interface Triple {
  publicKey: Uint8Array
  message: Uint8Array
  signature: Uint8Array
}

/** One message to finish: to recover unless its signature is there, and, an exit, to split unless no oracle set is given. */
export interface MessageToFinish {
  message: Uint8Array
  publicKey: Uint8Array
  threshold: number
  signature: Uint8Array | undefined
  /** Candidates by share index, verified ones first, then the most recently seen. */
  candidates: readonly { shareIndex: number; signatures: readonly Uint8Array[] }[]
  /**
   * The trusted public key shares of the candidates, all of them, or none where they are not known. They fit the public key: an import of
   * a lock or registration refuses others. A candidate counts only once a check under them holds; of indexes that are `isVerified` the
   * first one has passed it before.
   */
  trusted?: readonly { shareIndex: number; publicKeyShare: Uint8Array; isVerified: boolean }[]
  /** Sets of public key shares that somebody claims, most recently claimed first: where to look first, never a reason to refuse. */
  hints: readonly (readonly { shareIndex: number; publicKeyShare: Uint8Array }[])[]
}

/** The oracle set to split for: 65-byte keys in order. */
export interface OracleSetToSplit {
  threshold: number
  publicKeys: readonly Uint8Array[]
}

/** Data to encrypt to a 65-byte secp256k1 public key. */
export interface DataToEncrypt {
  recipient: Uint8Array
  data: Uint8Array
}

/** What came of one message. Shares are there when an oracle set was given: the parts of all oracles, concatenated in their order. */
export type FinishedMessage =
  | {
      status: 'finished'
      signature: Uint8Array
      right: { shareIndex: number; signature: Uint8Array }[]
      wrong: { shareIndex: number; signature: Uint8Array }[]
      shares: { publicKeyShares: Uint8Array; ciphertexts: Uint8Array } | undefined
      fitting: number | undefined
    }
  | {
      status: 'not_found'
      /** There where some are right under trusted public key shares, and too few. */
      right?: { shareIndex: number; signature: Uint8Array }[]
      wrong: { shareIndex: number; signature: Uint8Array }[]
      /** There, and true, where the attempts were used up before everything was tried. */
      isUnfinished?: boolean
      /** Another threshold than the stated one, which the candidates fit: to be told, and for nothing else. */
      fitting: number | undefined
    }
  /** A fault of ours: this message is left as it is, the others of the batch go on. */
  | { status: 'failed'; reason: string }

/**
 * The most subsets tried in one attempt to find a signature among candidates under unknown public key shares. Every C(13, 9) =
 * 715 subsets of the largest cluster with one candidate an index are covered; at about 2–6 ms each this bounds an attempt to
 * some seconds of one worker thread, and the pause between attempts doubles up to half a minute.
 */
const MAX_RECOVERY_ATTEMPTS = 1000
/** More share indexes than the largest usual cluster has nodes. */
export const CLUSTER_INDEXES = 14
/** Choices among all share indexes of a crowded exit. */
const CROWDED_ATTEMPTS = 200

/** What a worker can be asked. */
export interface Tasks {
  arePublicKeys(keys: readonly Uint8Array[]): boolean[]
  areSignatures(signatures: readonly Uint8Array[]): boolean[]
  verify(triples: readonly Triple[]): boolean[]
  finish(
    exits: readonly MessageToFinish[],
    oracleSet: OracleSetToSplit | undefined,
    maxAttempts?: number,
  ): FinishedMessage[]
  encrypt(items: readonly DataToEncrypt[]): Uint8Array[]
  exitRoots(exits: readonly PartialExit[]): Uint8Array[]
  exitsSigner(exitRoots: readonly Uint8Array[], shareIndex: number, signature: Uint8Array): Uint8Array | undefined
}

/** Tasks that may take seconds, in turns of some milliseconds each: others get between. */
interface TasksInTurns {
  finish(...args: Parameters<Tasks['finish']>): Generator<void, FinishedMessage[]>
}

/** The tasks on an engine. */
export function createTasks(engine: BlsEngine, ecies: Ecies): Tasks & { inTurns: TasksInTurns } {
  const inTurns: TasksInTurns = {
    finish: (exits, oracleSet, maxAttempts = MAX_RECOVERY_ATTEMPTS) =>
      finish(engine, ecies, exits, oracleSet, maxAttempts),
  }
  return {
    inTurns,
    arePublicKeys: (keys) => keys.map((key) => engine.isPublicKey(key)),
    areSignatures: (signatures) => signatures.map((signature) => engine.isSignature(signature)),
    verify: (triples) => engine.verifyBatch(triples),
    finish: (...args) => withoutPause(inTurns.finish(...args)),
    encrypt: (items) => items.map(({ recipient, data }) => ecies.encrypt(recipient, data)),
    exitRoots: (exits) => exits.map(partialExitRoot),
    exitsSigner: (exitRoots, shareIndex, signature) =>
      recoverNodeKey(signature, partialExitsRoot(exitRoots, shareIndex)),
  }
}

/** Recovers, splits and checks a batch together; each exit has an outcome of its own. */
function* finish(
  engine: BlsEngine,
  ecies: Ecies,
  exits: readonly MessageToFinish[],
  oracleSet: OracleSetToSplit | undefined,
  maxAttempts: number,
): Generator<void, FinishedMessage[]> {
  // With a signature at hand candidates are only judged: those that came after it.
  const open = exits.filter(({ candidates, signature }) => candidates.length > 0 || signature === undefined)
  const recovered = yield* recover(engine, open, maxAttempts)
  const results = new Map(recovered.map((result, position) => [open[position], result]))
  yield
  // One that was recovered is asked for all: the messages of a batch have the same clusters. A lock knows its threshold.
  const asked = open.find(
    (exit) => exit.signature === undefined && !isTrusted(exit) && results.get(exit)?.status === 'recovered',
  )
  const finished = exits.map((exit): FinishedMessage => {
    const result = results.get(exit)
    const isUnfinished = result?.status === 'not_found' && (result.attempts >= maxAttempts || isCrowded(exit))
    // Of a search that may go on nothing is said yet.
    const isOver = result?.status === 'not_found' && (!isUnfinished || maxAttempts >= MAX_RECOVERY_ATTEMPTS)
    const isDoubtful = isOver || result?.status === 'not_enough' || exit === asked
    const fitting =
      isDoubtful && !isTrusted(exit)
        ? findFittingThreshold(engine, recoverRequest(exit, maxAttempts), exit === asked)
        : undefined
    const wrong = (result?.wrong ?? []).map(({ index, signature }) => ({ shareIndex: Number(index), signature }))
    const signature = exit.signature ?? (result?.status === 'recovered' ? result.signature : undefined)
    const found = result === undefined || result.status === 'not_found' ? [] : [...result.right]
    const right = found.map(([index, point]) => ({ shareIndex: Number(index), signature: point }))
    if (signature === undefined)
      return {
        status: 'not_found',
        ...(right.length > 0 && { right }),
        wrong,
        fitting,
        ...(isUnfinished && { isUnfinished }),
      }
    return {
      status: 'finished',
      signature,
      right,
      wrong,
      shares: undefined,
      fitting,
    }
  })
  return oracleSet === undefined ? finished : yield* split(engine, ecies, exits, finished, oracleSet)
}

/** Recovers a batch; exits that are crowded with share indexes one by one. */
function* recover(
  engine: BlsEngine,
  exits: readonly MessageToFinish[],
  maxAttempts: number,
): Generator<void, RecoverResult[]> {
  const open = exits.filter((exit) => !isCrowded(exit))
  const together = yield* recoverInTurns(
    engine,
    open.map((exit) => recoverRequest(exit, maxAttempts)),
  )
  const results = new Map(together.map((result, i) => [open[i], result]))
  const all: RecoverResult[] = []
  for (const exit of exits) all.push(results.get(exit) ?? (yield* recoverCrowded(engine, exit, maxAttempts)))
  return all
}

/**
 * More share indexes than any cluster has nodes: most were invented. The lowest are looked at by themselves, then the most recently
 * seen, for true nodes go on posting; then a few choices among all.
 */
function* recoverCrowded(
  engine: BlsEngine,
  exit: MessageToFinish,
  maxAttempts: number,
): Generator<void, RecoverResult> {
  const lowest = exit.candidates.toSorted((a, b) => a.shareIndex - b.shareIndex)
  let attempts = 0
  for (const some of [lowest, exit.candidates]) {
    const candidates = some.slice(0, CLUSTER_INDEXES)
    const result = yield* recoverOne(engine, recoverRequest({ ...exit, candidates }, maxAttempts))
    if (result.status === 'recovered') return result
    if (result.status === 'not_found') attempts += result.attempts
  }
  const few = Math.min(CROWDED_ATTEMPTS, maxAttempts)
  const result = yield* recoverOne(engine, { ...recoverRequest(exit, maxAttempts), maxAttempts: few })
  return result.status === 'not_found' ? { ...result, attempts: attempts + result.attempts } : result
}

const isTrusted = ({ trusted = [] }: MessageToFinish): boolean => trusted.length > 0
/** More share indexes than any cluster has nodes. */
export const isCrowded = (exit: MessageToFinish): boolean =>
  exit.signature === undefined && !isTrusted(exit) && exit.candidates.length > CLUSTER_INDEXES

/** How many attempts finishing a message may make, where so many are allowed: those of a crowd are made in three rounds. */
export const mostAttempts = (exit: MessageToFinish, maxAttempts: number): number =>
  isCrowded(exit) ? 2 * maxAttempts + Math.min(CROWDED_ATTEMPTS, maxAttempts) : maxAttempts

function* recoverOne(engine: BlsEngine, request: RecoverRequest): Generator<void, RecoverResult> {
  const [result] = yield* recoverInTurns(engine, [request])
  if (result === undefined) throw new TypeError('no result for a request')
  return result
}

function recoverRequest(exit: MessageToFinish, maxAttempts: number): RecoverRequest {
  const { message, publicKey, threshold, signature, candidates, hints, trusted = [] } = exit
  return {
    message,
    publicKey,
    threshold,
    candidates: new Map(candidates.map(({ shareIndex, signatures }) => [BigInt(shareIndex), signatures])),
    hints: hints.map(
      (set) => new Map(set.map(({ shareIndex, publicKeyShare }) => [BigInt(shareIndex), publicKeyShare])),
    ),
    ...(isTrusted(exit)
      ? {
          knownShares: new Map(trusted.map(({ shareIndex, publicKeyShare }) => [BigInt(shareIndex), publicKeyShare])),
          verified: new Set(trusted.flatMap(({ shareIndex, isVerified }) => (isVerified ? [BigInt(shareIndex)] : []))),
          ...(signature !== undefined && { signature }),
        }
      : // What gave the signature judges what came after it: no search, whatever was invented around it.
        signature !== undefined && {
          likely: candidates.slice(0, threshold).map(({ shareIndex }) => BigInt(shareIndex)),
        }),
    maxAttempts,
  }
}

/**
 * Splits what is finished, checks the own output of the whole batch, and encrypts what passed: one ephemeral key for each oracle. Nothing
 * of a split is shared between exits; between two of them others may have a turn.
 */
function* split(
  engine: BlsEngine,
  ecies: Ecies,
  exits: readonly MessageToFinish[],
  finished: readonly FinishedMessage[],
  { threshold, publicKeys: oracleKeys }: OracleSetToSplit,
): Generator<void, FinishedMessage[]> {
  const sets: (ShareSet & { position: number })[] = []
  for (const [position, { message, publicKey }] of exits.entries()) {
    const exit = finished[position]
    if (exit?.status !== 'finished') continue
    const request = { message, publicKey, signature: exit.signature, threshold, oracles: oracleKeys.length }
    sets.push({ position, message, publicKey, threshold, ...splitExitSignature(engine, request) })
    yield
  }
  const fits = verifyShareSets(engine, sets)
  const good = sets.filter((_, i) => fits[i] === true)
  const byOracle = oracleKeys.map((key, oracle) =>
    good.length === 0
      ? []
      : ecies.encryptMany(
          key,
          good.map(({ signatureShares }) => signatureShares[oracle] ?? new Uint8Array()),
        ),
  )
  const shares = new Map(
    good.map((set, i) => [
      set.position,
      {
        publicKeyShares: Buffer.concat(set.publicKeyShares),
        ciphertexts: Buffer.concat(byOracle.map((ciphertexts) => ciphertexts[i] ?? new Uint8Array())),
      },
    ]),
  )
  return finished.map((exit, position) => {
    if (exit.status !== 'finished') return exit
    const made = shares.get(position)
    return made === undefined ? { status: 'failed', reason: 'a split failed its own check' } : { ...exit, shares: made }
  })
}
