/**
 * Proofs of an SSV DKG (`proofs.json`, which ssv-dkg leaves beside its keyshares file): each operator has signed which public key share
 * is its own (docs/protocol.md#12-ssv).
 *
 *     root      = hash_tree_root(Proof{validator: Bytes48, encrypted_share: ByteList[512], share_pub: Bytes48, owner: Bytes20})
 *     signature = RSASSA-PSS(SHA-256, MGF1 with SHA-256, salt of any length) over the 32 bytes of root
 */

import { constants, createPublicKey, verify } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { JsonField, parseJson } from '../json-field.ts'
import { byteListRoot, bytesRoot, containerRoot } from '../messages/ssz.ts'
import { KeysharesError, type KeysharesItem } from './keyshares-file.ts'
import { ENCRYPTED_KEY_SHARE_BYTES, type SsvShare } from './shares.ts'

/** What one operator has signed of one validator. */
export interface DkgProof {
  /** The validator's, 48 bytes. */
  publicKey: Uint8Array
  /** 256 bytes. */
  encryptedKeyShare: Uint8Array
  /** 48 bytes. */
  publicKeyShare: Uint8Array
  /** 20 bytes. */
  ownerAddress: Uint8Array
  /** 256 bytes. */
  signature: Uint8Array
}

const MAX_VALIDATORS = 65_536
/** A proof has 8 values, and 1.3 kB at least. */
const BOUNDS = { bytes: 256 << 20, values: 2_000_000 }
const MAX_PROOFS = 64

/**
 * Reads a proofs file: a list of proofs (one validator), or a list of such lists (several).
 *
 * @param json JSON text or its parsed value
 * @throws {KeysharesError} KEYSHARES_MALFORMED
 */
export function parseProofsFile(json: unknown, { file }: { file: string }): DkgProof[] {
  const fault = (path: string, reason: string) => new KeysharesError('KEYSHARES_MALFORMED', file, path, reason)
  const entries = new JsonField(parseJson(json, BOUNDS, fault), '', fault).items(MAX_VALIDATORS)
  if (entries.length === 0) throw fault('', 'is empty')
  return entries.flatMap((entry) =>
    Array.isArray(entry.value) ? entry.items(MAX_PROOFS).map(parseProof) : [parseProof(entry)],
  )
}

function parseProof(entry: JsonField): DkgProof {
  const proof = entry.get('proof')
  return {
    publicKey: proof.get('validator').hex(48),
    encryptedKeyShare: proof.get('encrypted_share').hex(ENCRYPTED_KEY_SHARE_BYTES),
    publicKeyShare: proof.get('share_pub').hex(48),
    ownerAddress: proof.get('owner').hex(20),
    signature: entry.get('signature').hex(256),
  }
}

function proofRoot({ publicKey, encryptedKeyShare, publicKeyShare, ownerAddress }: DkgProof): Uint8Array {
  return containerRoot([
    bytesRoot(publicKey, 48),
    byteListRoot(encryptedKeyShare, 512),
    bytesRoot(publicKeyShare, 48),
    bytesRoot(ownerAddress, 20),
  ])
}

/** What a proof must be of to count, in the place of a comparison of four fields. */
const subjectOf = (
  { publicKey, ownerAddress }: Pick<DkgProof, 'publicKey' | 'ownerAddress'>,
  { publicKeyShare, encryptedKeyShare }: Pick<SsvShare, 'publicKeyShare' | 'encryptedKeyShare'>,
) => [publicKey, ownerAddress, publicKeyShare, encryptedKeyShare].map(toHex).join()

/**
 * Verifies that every operator of every validator has signed the public key share that stands at its place: then the set is what these
 * operators made together. Proofs of other validators do not count.
 *
 * The operators' keys are those that the keyshares file names. Who wrote that file may have made up keys and proofs alike; the proofs bind
 * the set to operators only where the keys are compared with those of the chain's `OperatorAdded`.
 *
 * @param file the proofs file, as errors name it
 * @throws {KeysharesError} PROOF_MISSING, PROOF_INVALID
 */
export function verifyProofs(
  items: readonly KeysharesItem[],
  proofs: readonly DkgProof[],
  { file }: { file: string },
): void {
  const bySubject = Map.groupBy(proofs, (proof) => subjectOf(proof, proof))
  for (const item of items)
    for (const [position, share] of item.data.shares.entries()) {
      const who = `operator ${share.operatorId}'s share of ${item.field} (validator ${toHex(item.publicKey)})`
      const found = bySubject.get(subjectOf(item, share))
      if (found === undefined) throw new KeysharesError('PROOF_MISSING', file, '', `has no proof of ${who}`)
      const key = item.operators[position]?.publicKey ?? new Uint8Array()
      if (!found.some((proof) => isSignedBy(key, proof)))
        throw new KeysharesError('PROOF_INVALID', file, '', `has a proof of ${who} that this operator has not signed`)
    }
}

function isSignedBy(operatorKey: Uint8Array, proof: DkgProof): boolean {
  const key = createPublicKey({ key: Buffer.from(operatorKey), format: 'der', type: 'spki' })
  const options = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
  return verify('sha256', proofRoot(proof), options, proof.signature)
}
