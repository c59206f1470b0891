import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import fc from 'fast-check'
import { hashTypedData, recoverAddress } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { recoverSigner } from '../execution/recover-signer.ts'
import { networks } from '../networks.ts'
import { joinSignatures, registrationDigest, rotationDigest } from './keeper-approvals.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const word = (value: number | bigint) => fromHex(BigInt(value).toString(16).padStart(64, '0'), 32)
const address = (value: Uint8Array) => Buffer.concat([new Uint8Array(12), value])
const text = (value: string) => new TextEncoder().encode(value)
const hash = (...parts: Uint8Array[]) => keccak_256(Buffer.concat(parts))
const digestOf = ({ chainId, keeper }: { chainId: number; keeper: Uint8Array }, struct: Uint8Array) => {
  const type = 'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)'
  const domain = hash(hash(text(type)), hash(text('KeeperOracles')), hash(text('1')), word(chainId), address(keeper))
  return hash(Uint8Array.of(0x19, 0x01), domain, struct)
}
const approval = fc.record({
  vault: bytes(20),
  ipfsHash: fc.string({ unit: 'grapheme', maxLength: 80 }),
  nonce: fc.maxSafeNat(),
  deadline: fc.maxSafeNat(),
})

describe('what oracles sign', () => {
  it('of a rotation is the digest by hand', async () => {
    const type = 'KeeperValidators(address vault,string exitSignaturesIpfsHash,uint256 nonce,uint256 deadline)'
    const run = fc.asyncProperty(approval, fc.constantFrom(...Object.values(networks)), async (item, network) => {
      const { vault, ipfsHash, nonce, deadline } = item
      const struct = hash(hash(text(type)), address(vault), hash(text(ipfsHash)), word(nonce), word(deadline))
      expect(toHex(await rotationDigest(network, item))).toBe(toHex(digestOf(network, struct)))
    })
    await fc.assert(run, { numRuns: 30 })
  })

  it('of a registration is the digest by hand', async () => {
    const type =
      'KeeperValidators(bytes32 validatorsRegistryRoot,address vault,bytes validators,string exitSignaturesIpfsHash,uint256 deadline)'
    const item = fc.record({ root: bytes(32), validators: fc.uint8Array({ maxLength: 400 }), approval })
    const run = fc.asyncProperty(item, async ({ root, validators, approval: { vault, ipfsHash, deadline } }) => {
      const message = { validatorsRegistryRoot: root, vault, validators, ipfsHash, deadline }
      const content = [hash(validators), hash(text(ipfsHash)), word(deadline)]
      const struct = hash(hash(text(type)), root, address(vault), ...content)
      expect(toHex(await registrationDigest(networks.hoodi, message))).toBe(toHex(digestOf(networks.hoodi, struct)))
    })
    await fc.assert(run, { numRuns: 30 })
  })

  it('is what viem makes of the typed data', async () => {
    const item = { vault: new Uint8Array(20).fill(7), ipfsHash: 'bafybeigdyrzt', nonce: 3, deadline: 1_800_000_000 }
    const expected = hashTypedData({
      domain: { name: 'KeeperOracles', version: '1', chainId: 1, verifyingContract: toHex(networks.mainnet.keeper) },
      types: {
        KeeperValidators: [
          { name: 'vault', type: 'address' },
          { name: 'exitSignaturesIpfsHash', type: 'string' },
          { name: 'nonce', type: 'uint256' },
          { name: 'deadline', type: 'uint256' },
        ],
      },
      primaryType: 'KeeperValidators',
      message: { vault: toHex(item.vault), exitSignaturesIpfsHash: item.ipfsHash, nonce: 3n, deadline: 1_800_000_000n },
    })
    expect(toHex(await rotationDigest(networks.mainnet, item))).toBe(expected)
    for (const change of [{ nonce: 4 }, { deadline: 1_800_000_001 }, { ipfsHash: 'bafybeigdyrzu' }])
      expect(toHex(await rotationDigest(networks.mainnet, { ...item, ...change }))).not.toBe(expected)
    expect(toHex(await rotationDigest(networks.hoodi, item))).not.toBe(expected)
  })
})

describe('who signed', () => {
  const secretKey = new Uint8Array(32).fill(9)
  const digest = new Uint8Array(32).fill(5)
  const { r, s, recovery } = secp256k1.Signature.fromBytes(
    secp256k1.sign(digest, secretKey, { prehash: false, format: 'recovered' }),
    'recovered',
  )
  const signature = (v: number, sValue = s) => new Uint8Array([...word(r), ...word(sValue), v])
  const v = 27 + (recovery ?? 0)

  it('is told for a low s and v 27 or 28 only, at once and as viem does', async () => {
    const signer = recoverSigner(digest, signature(v))
    expect(signer).toBe(await recoverAddress({ hash: toHex(digest), signature: toHex(signature(v)) }))
    expect(recoverSigner(digest, signature(55 - v))).not.toBe(signer)
    const refused = [signature(v - 27), signature(55 - v, secp256k1.Point.Fn.ORDER - s), signature(29)]
    for (const other of [...refused, signature(v).subarray(0, 64), new Uint8Array(65), new Uint8Array()])
      expect(recoverSigner(digest, other)).toBeUndefined()
  })
})

describe('signatures as the Keeper takes them', () => {
  const oracle = (first: number) => ({
    address: new Uint8Array(20).fill(first),
    signature: new Uint8Array(65).fill(first),
  })

  it('stand in ascending order of address, exactly as many as are needed', () => {
    const all = [0xf0, 0x01, 0x80, 0x7f].map(oracle)
    expect([...joinSignatures(all, 4)]).toEqual([0x01, 0x7f, 0x80, 0xf0].flatMap((byte) => Array(65).fill(byte)))
    expect(joinSignatures(all, 2)).toHaveLength(130)
    expect(joinSignatures(all, 2)[65]).toBe(0x7f)
    expect(joinSignatures([oracle(1)], 1)).toHaveLength(65)
  })

  it('are refused when they are too few, twice of one oracle, or of another length', () => {
    const short = { ...oracle(3), signature: new Uint8Array(64) }
    for (const [list, count] of [
      [[oracle(1)], 2],
      [[oracle(1), oracle(1)], 2],
      [[oracle(1), short], 2],
      [[oracle(1)], 0],
    ] as const)
      expect(() => joinSignatures(list, count)).toThrow(expect.objectContaining({ code: 'APPROVALS_INVALID' }))
  })
})
