/**
 * The signature work, as plain functions of bytes: what a worker thread runs, and the types the main thread sends and gets.
 * Nothing here touches the event loop of the main thread, the database or a log.
 */

import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { Ecies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { splitExitSignature, verifyShareSets } from '@dvt-relayer/crypto/oracle/oracle-split.ts'
import { findFittingThreshold } from '@dvt-relayer/crypto/threshold/fitting-threshold.ts'
import type { RecoverRequest, RecoverResult } from '@dvt-relayer/crypto/threshold/recover.ts'
import { recoverSignature, recoverSignatures } from '@dvt-relayer/crypto/threshold/recover.ts'

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
  /**
   * Candidates by share index, verified ones first, then the most recently seen. Under trusted public key shares only verified ones:
   * they need no second check, and the recovered signature is verified in any case.
   */
  candidates: readonly { shareIndex: number; signatures: readonly Uint8Array[] }[]
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
      wrong: { shareIndex: number; signature: Uint8Array }[]
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
const CLUSTER_INDEXES = 14
/** Choices among all share indexes of a crowded exit. */
const CROWDED_ATTEMPTS = 200

/** What a worker can be asked. */
export interface Tasks {
  arePublicKeys(keys: readonly Uint8Array[]): boolean[]
  areSignatures(signatures: readonly Uint8Array[]): boolean[]
  verify(triples: readonly Triple[]): boolean[]
  finish(exits: readonly MessageToFinish[], oracleSet: OracleSetToSplit | undefined): FinishedMessage[]
  encrypt(items: readonly DataToEncrypt[]): Uint8Array[]
}

/** The tasks on an engine. */
export function createTasks(engine: BlsEngine, ecies: Ecies): Tasks {
  return {
    arePublicKeys: (keys) => keys.map((key) => engine.isPublicKey(key)),
    areSignatures: (signatures) => signatures.map((signature) => engine.isSignature(signature)),
    verify: (triples) => engine.verifyBatch(triples),
    finish: (exits, oracleSet) => finish(engine, ecies, exits, oracleSet),
    encrypt: (items) => items.map(({ recipient, data }) => ecies.encrypt(recipient, data)),
  }
}

/** Recovers, splits and checks a batch together; each exit has an outcome of its own. */
function finish(
  engine: BlsEngine,
  ecies: Ecies,
  exits: readonly MessageToFinish[],
  oracleSet: OracleSetToSplit | undefined,
): FinishedMessage[] {
  // With a signature at hand candidates are only judged: those that came after it.
  const open = exits.filter(({ candidates, signature }) => candidates.length > 0 || signature === undefined)
  const results = new Map(recover(engine, open).map((result, position) => [open[position], result]))
  // One that was recovered is asked for all: the messages of a batch have the same clusters.
  const asked = open.find((exit) => exit.signature === undefined && results.get(exit)?.status === 'recovered')
  const finished = exits.map((exit): FinishedMessage => {
    const result = results.get(exit)
    const fitting =
      result?.status === 'not_found' || result?.status === 'not_enough' || exit === asked
        ? findFittingThreshold(engine, recoverRequest(exit), exit === asked)
        : undefined
    const wrong = (result?.wrong ?? []).map(({ index, signature }) => ({ shareIndex: Number(index), signature }))
    const signature = exit.signature ?? (result?.status === 'recovered' ? result.signature : undefined)
    if (signature === undefined) return { status: 'not_found', wrong, fitting }
    const right = result?.status === 'recovered' ? [...result.right] : []
    return {
      status: 'finished',
      signature,
      right: right.map(([index, point]) => ({ shareIndex: Number(index), signature: point })),
      wrong,
      shares: undefined,
      fitting,
    }
  })
  return oracleSet === undefined ? finished : split(engine, ecies, exits, finished, oracleSet)
}

/** Recovers a batch; exits that are crowded with share indexes one by one. */
function recover(engine: BlsEngine, exits: readonly MessageToFinish[]): RecoverResult[] {
  const isCrowded = ({ signature, candidates }: MessageToFinish) =>
    signature === undefined && candidates.length > CLUSTER_INDEXES
  const open = exits.filter((exit) => !isCrowded(exit))
  const results = new Map(recoverSignatures(engine, open.map(recoverRequest)).map((result, i) => [open[i], result]))
  return exits.map((exit) => results.get(exit) ?? recoverCrowded(engine, exit))
}

/**
 * More share indexes than any cluster has nodes: most were invented. The lowest are looked at by themselves, then the most recently
 * seen, for true nodes go on posting; then a few choices among all.
 */
function recoverCrowded(engine: BlsEngine, exit: MessageToFinish): RecoverResult {
  const lowest = exit.candidates.toSorted((a, b) => a.shareIndex - b.shareIndex)
  for (const some of [lowest, exit.candidates]) {
    const result = recoverSignature(engine, recoverRequest({ ...exit, candidates: some.slice(0, CLUSTER_INDEXES) }))
    if (result.status === 'recovered') return result
  }
  return recoverSignature(engine, { ...recoverRequest(exit), maxAttempts: CROWDED_ATTEMPTS })
}

function recoverRequest({
  message,
  publicKey,
  threshold,
  signature,
  candidates,
  hints,
}: MessageToFinish): RecoverRequest {
  return {
    message,
    publicKey,
    threshold,
    candidates: new Map(candidates.map(({ shareIndex, signatures }) => [BigInt(shareIndex), signatures])),
    hints: hints.map(
      (set) => new Map(set.map(({ shareIndex, publicKeyShare }) => [BigInt(shareIndex), publicKeyShare])),
    ),
    // What gave the signature judges what came after it: no search, whatever was invented around it.
    ...(signature !== undefined && {
      likely: candidates.slice(0, threshold).map(({ shareIndex }) => BigInt(shareIndex)),
    }),
    maxAttempts: MAX_RECOVERY_ATTEMPTS,
  }
}

/** Splits what is finished, checks the own output of the whole batch, and encrypts what passed. */
function split(
  engine: BlsEngine,
  ecies: Ecies,
  exits: readonly MessageToFinish[],
  finished: readonly FinishedMessage[],
  { threshold, publicKeys: oracleKeys }: OracleSetToSplit,
): FinishedMessage[] {
  const sets = exits.flatMap(({ message, publicKey }, position) => {
    const exit = finished[position]
    if (exit?.status !== 'finished') return []
    const request = { message, publicKey, signature: exit.signature, threshold, oracles: oracleKeys.length }
    return [{ position, message, publicKey, threshold, ...splitExitSignature(engine, request) }]
  })
  const fits = verifyShareSets(engine, sets)
  const shares = new Map(
    sets.map((set, i) => [
      set.position,
      fits[i] === true && {
        publicKeyShares: Buffer.concat(set.publicKeyShares),
        ciphertexts: Buffer.concat(
          set.signatureShares.map((share, oracle) => ecies.encrypt(oracleKeys[oracle] ?? new Uint8Array(), share)),
        ),
      },
    ]),
  )
  return finished.map((exit, position) => {
    const made = shares.get(position)
    if (exit.status !== 'finished' || made === undefined) return exit
    return made === false ? { status: 'failed', reason: 'a split failed its own check' } : { ...exit, shares: made }
  })
}
