/** The engine of production: blst, through its native Node binding. */

import { createRequire } from 'node:module'
import type { PublicKey, Signature } from '@chainsafe/blst'
import { CryptoError } from '../errors.ts'
import { type BlsEngine, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SignatureGroup, type SignedMessage } from './bls.ts'
import { createGroup } from './blst-group.ts'
import { createBlstVerifier } from './blst-verify.ts'
import { combinationFactors, createPointOperations } from './points.ts'

type Blst = typeof import('@chainsafe/blst')

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

  /** One triple for a whole group: its keys and signatures combined by the same factors. */
  const combineGroup = (group: SignatureGroup): SignedMessage | undefined => {
    if (group.publicKeys.length === 0 || group.publicKeys.length !== group.signatures.length) return undefined
    const row = combinationFactors(group.publicKeys.length)
    try {
      const [publicKey] = keyOperations.combine(group.publicKeys, [row])
      const [signature] = signatureOperations.combine(group.signatures, [row])
      if (publicKey === undefined || signature === undefined) return undefined
      return { publicKey, message: group.message, signature }
    } catch {
      return undefined
    }
  }

  const verifier = createBlstVerifier(blst, keys, signatures)

  return {
    name: 'blst',
    publicKeyOf: (secretKey) => keys.remember(secretKeyOf(secretKey).toPublicKey()),
    sign: (secretKey, message) => signatures.remember(secretKeyOf(secretKey).sign(message)),
    ...verifier,
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
      const verdicts = verifier.verifyBatch(triples.flatMap((triple) => triple ?? []))
      let next = 0
      return triples.map((triple) => triple !== undefined && verdicts[next++] === true)
    },
  }
}
