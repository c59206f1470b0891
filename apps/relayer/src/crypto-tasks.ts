/**
 * The signature work, as plain functions of bytes: what a worker thread runs, and the types the main thread sends and gets.
 * Nothing here touches the event loop of the main thread, the database or a log.
 */

import type { BlsEngine } from '@dvt-relayer/crypto/bls.ts'
import type { Ecies } from '@dvt-relayer/crypto/ecies.ts'
import { splitExitSignature, verifyShareSet } from '@dvt-relayer/crypto/oracle-split.ts'
import { recoverSignature } from '@dvt-relayer/crypto/recover.ts'

/** (public key, message, signature) to verify. */
export interface Triple {
  publicKey: Uint8Array
  message: Uint8Array
  signature: Uint8Array
}

/** One exit to finish: to recover unless its signature is there, and to split unless no oracle set is given. */
export interface ExitToFinish {
  message: Uint8Array
  publicKey: Uint8Array
  threshold: number
  signature: Uint8Array | undefined
  /**
   * Candidates by share index, most recently seen first. Under trusted public key shares only verified ones: they need no second
   * check, and the recovered signature is verified in any case.
   */
  candidates: readonly { shareIndex: number; signatures: readonly Uint8Array[] }[]
}

/** The oracle set to split for: 65-byte keys in order. */
export interface OracleSetToSplit {
  threshold: number
  publicKeys: readonly Uint8Array[]
}

/** What came of one exit. Shares are there when an oracle set was given; places concatenated. */
export type FinishedExit =
  | {
      status: 'finished'
      signature: Uint8Array
      right: { shareIndex: number; signature: Uint8Array }[]
      wrong: { shareIndex: number; signature: Uint8Array }[]
      shares: { publicKeyShares: Uint8Array; ciphertexts: Uint8Array } | undefined
    }
  | { status: 'not_found'; wrong: { shareIndex: number; signature: Uint8Array }[] }
  /** A fault of ours: this exit is left as it is, the others of the batch go on. */
  | { status: 'failed'; reason: string }

/**
 * The most subsets tried in one attempt to find a signature among candidates under unknown public key shares. Every C(13, 9) =
 * 715 subsets of the largest cluster with one candidate an index are covered; at about 2–6 ms each this bounds an attempt to
 * some seconds of one worker thread, and the pause between attempts doubles up to a minute.
 */
export const MAX_RECOVERY_ATTEMPTS = 1500

/** What a worker can be asked. */
export interface Tasks {
  arePublicKeys(keys: readonly Uint8Array[]): boolean[]
  areSignatures(signatures: readonly Uint8Array[]): boolean[]
  verify(triples: readonly Triple[]): boolean[]
  finish(exits: readonly ExitToFinish[], oracleSet: OracleSetToSplit | undefined): FinishedExit[]
}

/** The tasks on an engine. */
export function createTasks(engine: BlsEngine, ecies: Ecies): Tasks {
  return {
    arePublicKeys: (keys) => keys.map((key) => engine.isPublicKey(key)),
    areSignatures: (signatures) => signatures.map((signature) => engine.isSignature(signature)),
    verify: (triples) => engine.verifyBatch(triples),
    finish: (exits, oracleSet) =>
      exits.map((exit) => {
        try {
          return finishExit(engine, ecies, exit, oracleSet)
        } catch (error) {
          return { status: 'failed', reason: (error as Error).message }
        }
      }),
  }
}

function finishExit(
  engine: BlsEngine,
  ecies: Ecies,
  exit: ExitToFinish,
  oracleSet: OracleSetToSplit | undefined,
): FinishedExit {
  // With a signature at hand candidates are only judged: one that came after it, or the signature of another attempt.
  const recovered = exit.candidates.length > 0 || exit.signature === undefined ? recover(engine, exit) : undefined
  const signature =
    exit.signature ?? (recovered !== undefined && 'signature' in recovered ? recovered.signature : undefined)
  if (signature === undefined) return { status: 'not_found', wrong: recovered?.wrong ?? [] }
  const right = recovered !== undefined && 'right' in recovered ? recovered.right : []
  const shares = oracleSet === undefined ? undefined : split(engine, ecies, exit, signature, oracleSet)
  return { status: 'finished', signature, right, wrong: recovered?.wrong ?? [], shares }
}

function recover(
  engine: BlsEngine,
  exit: ExitToFinish,
):
  | Omit<Extract<FinishedExit, { status: 'finished' }>, 'status' | 'shares'>
  | Extract<FinishedExit, { status: 'not_found' }> {
  const result = recoverSignature(engine, {
    message: exit.message,
    publicKey: exit.publicKey,
    threshold: exit.threshold,
    candidates: new Map(exit.candidates.map(({ shareIndex, signatures }) => [BigInt(shareIndex), signatures])),
    maxAttempts: MAX_RECOVERY_ATTEMPTS,
  })
  const wrong = ('wrong' in result ? result.wrong : []).map(({ index, signature }) => ({
    shareIndex: Number(index),
    signature,
  }))
  if (result.status !== 'recovered') return { status: 'not_found', wrong }
  const right = [...result.right].map(([index, signature]) => ({ shareIndex: Number(index), signature }))
  return { signature: result.signature, right, wrong }
}

/** Splits, encrypts, and checks the own output before anything is stored. */
function split(
  engine: BlsEngine,
  ecies: Ecies,
  { message, publicKey }: ExitToFinish,
  signature: Uint8Array,
  oracleSet: OracleSetToSplit,
): { publicKeyShares: Uint8Array; ciphertexts: Uint8Array } {
  const { publicKeyShares, signatureShares } = splitExitSignature(engine, {
    message,
    signature,
    publicKey,
    threshold: oracleSet.threshold,
    oracles: oracleSet.publicKeys.length,
  })
  const fits = verifyShareSet(engine, {
    message,
    publicKey,
    threshold: oracleSet.threshold,
    publicKeyShares,
    signatureShares,
    signature,
  })
  if (!fits) throw new Error('the split of an exit signature failed its own check')
  const ciphertexts = oracleSet.publicKeys.map((key, place) =>
    ecies.encrypt(key, signatureShares[place] ?? new Uint8Array()),
  )
  return { publicKeyShares: Buffer.concat(publicKeyShares), ciphertexts: Buffer.concat(ciphertexts) }
}
