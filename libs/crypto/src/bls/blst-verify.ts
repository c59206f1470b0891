/** Verification with blst: one signature, many at once, many of one message. No bytes make it throw: it says no. */

import type { PublicKey, Signature } from '@chainsafe/blst'
import { type BlsEngine, SIGNATURE_BYTES, type SignedMessage } from './bls.ts'
import type { Parsed } from './blst-group.ts'
import type { PointGroup } from './points.ts'
import { namedBad } from './verify-batch.ts'

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

/** The verifying part of the engine. */
export function createBlstVerifier(
  blst: typeof import('@chainsafe/blst'),
  keys: PointGroup<Parsed<PublicKey>>,
  signatures: PointGroup<Parsed<Signature>>,
): Pick<BlsEngine, 'verify' | 'verifyBatch' | 'verifyAggregate'> {
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

  const isFormed = ({ publicKey, signature }: SignedMessage): boolean => {
    try {
      keys.parseChecked(publicKey)
      signatures.parseChecked(signature)
      return true
    } catch {
      return false
    }
  }

  const verifyBatch = (triples: readonly SignedMessage[]): boolean[] => {
    if (triples.length === 0) return []
    if (tryAll(triples)) return triples.map(() => true)
    const formed = triples.map(isFormed)
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
    return formed.map((isOne, i) => isOne && !bad.has(i))
  }

  return {
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
  }
}
