/** The engine of production: blst, through its native Node binding. */

import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import type { PublicKey, Signature } from '@chainsafe/blst'
import { CryptoError } from '../errors.ts'
import {
  type BlsEngine,
  type FactorRow,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  type SignatureGroup,
  type SignedMessage,
} from './bls.ts'
import { createGroup } from './blst-group.ts'
import { createPointOperations } from './points.ts'
import { namedBad } from './verify-batch.ts'

type Blst = typeof import('@chainsafe/blst')

/** Triples of one message stand together. */
function groupByMessage(triples: readonly SignedMessage[]): SignedMessage[][] {
  const groups = new Map<string, SignedMessage[]>()
  for (const triple of triples) {
    const key = Buffer.from(triple.message).toString('latin1')
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [triple])
    else group.push(triple)
  }
  return [...groups.values()]
}

/** Random factors of 32 bits, never 0: the chance that a fault cancels out is 2^-32. */
function randomRow(length: number): FactorRow {
  const words = randomBytes(4 * length)
  return Array.from({ length }, (_, i) => BigInt(words.readUInt32LE(4 * i) || 1))
}

function loadBlst(): Blst {
  return createRequire(import.meta.url)('@chainsafe/blst') as Blst
}

/**
 * The engine on blst.
 *
 * @param load how the native module is loaded
 * @throws {CryptoError} BLST_UNAVAILABLE when there is none for this platform
 */
export function createBlstEngine(load: () => Blst = loadBlst): BlsEngine {
  let blst: Blst
  try {
    blst = load()
  } catch (cause) {
    throw new CryptoError('BLST_UNAVAILABLE', 'the native module @chainsafe/blst cannot be loaded on this platform', {
      cause,
    })
  }
  const keys = createGroup<PublicKey>({
    length: PUBLIC_KEY_BYTES,
    fromBytes: (bytes, checked) => blst.PublicKey.fromBytes(bytes, checked),
    aggregate: (points) => blst.aggregatePublicKeys(points, false),
  })
  const signatures = createGroup<Signature>({
    length: SIGNATURE_BYTES,
    fromBytes: (bytes, checked) => blst.Signature.fromBytes(bytes, checked, checked),
    aggregate: (points) => blst.aggregateSignatures(points, false),
  })
  const keyOperations = createPointOperations(keys)
  const signatureOperations = createPointOperations(signatures)

  const secretKeyOf = (bytes: Uint8Array) => {
    try {
      return blst.SecretKey.fromBytes(bytes)
    } catch {
      // No cause: an error about a secret key says nothing but that.
      throw new CryptoError('SCALAR_INVALID', 'a secret key must be 32 bytes, above zero and below the group order')
    }
  }

  const verifyOne = ({ publicKey, message, signature }: SignedMessage): boolean => {
    try {
      return blst.verify(message, keys.parseChecked(publicKey).point, signatures.parseChecked(signature).point)
    } catch {
      return false
    }
  }

  /** Whether all triples of well-formed points verify. */
  const verifyAll = (triples: readonly SignedMessage[]): boolean => {
    if (triples.length === 1) return triples.every(verifyOne)
    const sets = groupByMessage(triples).map((group) => {
      const points = group.map(({ publicKey, message, signature }) => ({
        msg: message,
        pk: keys.parseChecked(publicKey).point,
        bytes: signature,
      }))
      const [first] = points
      if (first === undefined || points.length === 1) return { first, pk: first?.pk, sig: undefined }
      return { first, ...blst.aggregateWithRandomness(points.map(({ pk, bytes }) => ({ pk, sig: bytes }))) }
    })
    return blst.verifyMultipleAggregateSignatures(
      sets.flatMap(({ first, pk, sig }) =>
        first === undefined || pk === undefined
          ? []
          : [{ msg: first.msg, pk, sig: sig ?? signatures.parseChecked(first.bytes).point }],
      ),
      false,
      false,
    )
  }

  const tryAll = (triples: readonly SignedMessage[]): boolean => {
    try {
      return triples.every(({ signature }) => signature.length === SIGNATURE_BYTES) && verifyAll(triples)
    } catch {
      return false
    }
  }

  /** One triple for a whole group: its keys and signatures combined by the same random factors. */
  const combineGroup = (group: SignatureGroup): SignedMessage | undefined => {
    if (group.publicKeys.length === 0 || group.publicKeys.length !== group.signatures.length) return undefined
    const row = randomRow(group.publicKeys.length)
    try {
      const [publicKey] = keyOperations.combine(group.publicKeys, [row])
      const [signature] = signatureOperations.combine(group.signatures, [row])
      if (publicKey === undefined || signature === undefined) return undefined
      return { publicKey, message: group.message, signature }
    } catch {
      return undefined
    }
  }

  const verifyBatch = (triples: readonly SignedMessage[]): boolean[] => {
    if (triples.length === 0) return []
    if (tryAll(triples)) return triples.map(() => true)
    const formed = triples.map(
      ({ publicKey, signature }) => keyOperations.isPoint(publicKey) && signatureOperations.isPoint(signature),
    )
    const good = triples.flatMap((_, i) => (formed[i] ? [i] : []))
    const bad = new Set(
      namedBad(good, (part) =>
        tryAll(
          part.flatMap((i) => {
            const triple = triples[i]
            return triple === undefined ? [] : [triple]
          }),
        ),
      ),
    )
    return formed.map((isFormed, i) => isFormed && !bad.has(i))
  }

  return {
    name: 'blst',
    publicKeyOf: (secretKey) => keys.remember(secretKeyOf(secretKey).toPublicKey()),
    sign: (secretKey, message) => signatures.remember(secretKeyOf(secretKey).sign(message)),
    verify: (publicKey, message, signature) => verifyOne({ publicKey, message, signature }),
    verifyBatch,
    verifyAggregate(publicKeys, message, signature) {
      try {
        const points = publicKeys.map((key) => keys.parseChecked(key).point)
        return (
          points.length > 0 &&
          blst.fastAggregateVerify(message, points, signatures.parseChecked(signature).point, false)
        )
      } catch {
        return false
      }
    },
    isPublicKey: keyOperations.isPoint,
    isSignature: signatureOperations.isPoint,
    interpolateSignatures: signatureOperations.interpolate,
    interpolatePublicKeys: keyOperations.interpolate,
    addSignatures: signatureOperations.add,
    addPublicKeys: keyOperations.add,
    combineSignatures: signatureOperations.combine,
    combinePublicKeys: keyOperations.combine,
    verifyCombined(groups) {
      const triples = groups.map(combineGroup)
      const verdicts = verifyBatch(triples.flatMap((triple) => triple ?? []))
      let next = 0
      return triples.map((triple) => triple !== undefined && verdicts[next++] === true)
    },
  }
}
