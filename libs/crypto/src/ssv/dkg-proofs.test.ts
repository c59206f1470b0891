import { constants, createHash, generateKeyPairSync, sign } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { readFixture, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { byteListRoot, bytesRoot, containerRoot } from '../messages/ssz.ts'
import { type DkgProof, parseProofsFile, verifyProofs } from './dkg-proofs.ts'
import { KeysharesError, type KeysharesItem, parseKeysharesFile } from './keyshares-file.ts'

const file = 'proofs.json'
const items = parseKeysharesFile(readFixture('ssv/cluster-4-dkg/keyshares.json'), { file: 'keyshares.json' })
const text = readFixture('ssv/cluster-4-dkg/proofs.json')
const proofs = parseProofsFile(text, { file })
const validator = toHex(items[0]?.publicKey ?? new Uint8Array())

function refusal(act: () => unknown): { code: string; message: string } {
  try {
    act()
  } catch (error) {
    if (error instanceof KeysharesError) return { code: error.code, message: error.message }
    throw error
  }
  throw new Error('the proofs were accepted')
}

const verify = (changed: readonly DkgProof[], of: readonly KeysharesItem[] = items) =>
  verifyProofs(of, changed, { file })
const withFirst = (change: Partial<DkgProof>) =>
  proofs.map((proof, position) => (position === 0 ? { ...proof, ...change } : proof))

describe('proofs', () => {
  it('signed by another implementation verify, in any order and in a list of lists', () => {
    expect(proofs).toHaveLength(4)
    verify(proofs)
    verify(proofs.toReversed())
    verify(parseProofsFile([JSON.parse(text), JSON.parse(text)], { file }))
  })

  it('of other validators do not count', () => {
    const others = parseKeysharesFile(readFixture('ssv/cluster-4/keyshares.json'), { file: 'keyshares.json' })
    const other = others[0]
    expect(refusal(() => verify(proofs, others))).toEqual({
      code: 'PROOF_MISSING',
      message: `proofs.json: has no proof of operator 263's share of shares[0] (validator ${toHex(other?.publicKey ?? new Uint8Array())})`,
    })
  })

  it.each([0, 1, 2, 3])('of every operator are needed: without that of place %i', (position) => {
    const id = [263, 280, 281, 282][position]
    expect(refusal(() => verify(proofs.filter((_, other) => other !== position)))).toEqual({
      code: 'PROOF_MISSING',
      message: `proofs.json: has no proof of operator ${id}'s share of shares[0] (validator ${validator})`,
    })
  })

  it('of another owner, share, ciphertext or validator are not those asked for', () => {
    const other = proofs[1]
    if (other === undefined) throw new Error('no proof')
    for (const change of [
      { ownerAddress: new Uint8Array(20) },
      { publicKeyShare: other.publicKeyShare },
      { encryptedKeyShare: other.encryptedKeyShare },
      { publicKey: other.publicKeyShare },
    ])
      expect(refusal(() => verify(withFirst(change))).code).toBe('PROOF_MISSING')
  })

  it('count only when the operator itself has signed them', () => {
    const invalid = {
      code: 'PROOF_INVALID',
      message: `proofs.json: has a proof of operator 263's share of shares[0] (validator ${validator}) that this operator has not signed`,
    }
    const [first, second] = proofs
    if (first === undefined || second === undefined) throw new Error('no proofs')
    expect(refusal(() => verify(withFirst({ signature: second.signature })))).toEqual(invalid)
    for (const signature of [
      new Uint8Array(256),
      new Uint8Array(256).fill(0xff),
      first.signature.map((byte) => byte ^ 1),
    ])
      expect(refusal(() => verify(withFirst({ signature })))).toEqual(invalid)
    // A wrong one beside the right one does not take its place.
    verify([{ ...first, signature: second.signature }, ...proofs])
    const keys = items[0]?.operators ?? []
    const swapped = items.map((item) => ({ ...item, operators: [...keys].reverse() }))
    expect(refusal(() => verify(proofs, swapped))).toEqual(invalid)
  })

  it('are signed over the root with PSS, with a salt of any length', () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
    const own = items.map((item) => ({ ...item, operators: item.operators.map(({ id }) => ({ id, publicKey: spki })) }))
    const rootOf = ({ publicKey: key, encryptedKeyShare, publicKeyShare, ownerAddress }: DkgProof) =>
      containerRoot([
        bytesRoot(key, 48),
        byteListRoot(encryptedKeyShare, 512),
        bytesRoot(publicKeyShare, 48),
        bytesRoot(ownerAddress, 20),
      ])
    const signed = (padding: number, saltLength: number, message: (root: Uint8Array) => Uint8Array = (root) => root) =>
      proofs.map((proof) => {
        const key =
          padding === constants.RSA_PKCS1_PADDING
            ? { key: privateKey, padding }
            : { key: privateKey, padding, saltLength }
        return { ...proof, signature: new Uint8Array(sign('sha256', message(rootOf(proof)), key)) }
      })
    const pss = constants.RSA_PKCS1_PSS_PADDING
    for (const saltLength of [0, 32, 222]) verify(signed(pss, saltLength), own)
    expect(refusal(() => verify(signed(constants.RSA_PKCS1_PADDING, 0), own)).code).toBe('PROOF_INVALID')
    const hashed = signed(pss, 222, (root) => createHash('sha256').update(root).digest())
    expect(refusal(() => verify(hashed, own)).code).toBe('PROOF_INVALID')
  })
})

describe('a proofs file is refused, its field named, when', () => {
  const [proof] = JSON.parse(text) as { proof: Record<string, unknown>; signature: unknown }[]
  const changed = (change: object) => [{ ...proof, proof: { ...proof?.proof, ...change } }]
  it.each([
    ['hunter2', 'is not JSON'],
    [{}, 'must be a list'],
    [[], 'is empty'],
    [[5], '[0] must be an object'],
    [[[], [5]], '[1][0] must be an object'],
    [[{}], '[0].proof must be an object'],
    [[{ ...proof, signature: undefined }], '[0].signature is missing'],
    [[{ ...proof, signature: '00' }], '[0].signature has 1 bytes, must have 256'],
    [changed({ validator: '00' }), '[0].proof.validator has 1 bytes, must have 48'],
    [changed({ share_pub: 5 }), '[0].proof.share_pub must be a text'],
    [changed({ owner: 'xx'.repeat(20) }), '[0].proof.owner must be hex'],
    [changed({ encrypted_share: '00'.repeat(255) }), '[0].proof.encrypted_share has 255 bytes, must have 256'],
  ])('it is %j', (json, reason) => {
    expect(refusal(() => parseProofsFile(json, { file }))).toEqual({
      code: 'KEYSHARES_MALFORMED',
      message: `proofs.json: ${reason}`,
    })
  })
})

it('the fixture is what it says', () => {
  const { owner } = readFixtureJson('ssv/cluster-4-dkg/expected.json') as { owner: string }
  for (const proof of proofs) expect(proof.ownerAddress).toEqual(fromHex(owner))
})
