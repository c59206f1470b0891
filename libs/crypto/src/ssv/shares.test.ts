import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import fc from 'fast-check'
import { getAddress } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { readFixture, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createTestKeys } from '../../../../test/support/keys/keys.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { createNobleEngine } from '../bls/noble.ts'
import { openOperatorKey } from './operator-key.ts'
import {
  openKeyShare,
  parseSharesData,
  type SharesData,
  type SharesOfOwner,
  ssvThreshold,
  verifyOwnerSignature,
  verifyShares,
} from './shares.ts'

interface Cluster {
  owner: string
  operator_ids: number[]
  threshold: number
  validators: {
    public_key: string
    owner_nonce: number
    public_key_shares: { share_index: number; public_key_share: string }[]
  }[]
}
interface Keyshares {
  shares: { payload: { publicKey: string; operatorIds: number[]; sharesData: string } }[]
}
const CLUSTERS = ['cluster-4', 'cluster-4-gaps', 'cluster-7', 'cluster-4-readded', 'cluster-4-dkg']
const engine = createBlstEngine()
const noble = createNobleEngine()

function parse(bytes: Uint8Array, ids: readonly number[]): SharesData {
  const data = parseSharesData(bytes, ids)
  if ('fault' in data) throw new Error(data.reason)
  return data
}

function loadCluster(name: string): (SharesOfOwner & { bytes: Uint8Array; ids: number[] })[] {
  const { owner, validators } = readFixtureJson(`ssv/${name}/expected.json`) as Cluster
  const { shares } = readFixtureJson(`ssv/${name}/keyshares.json`) as Keyshares
  return shares.map(({ payload }) => {
    const validator = validators.find(({ public_key }) => public_key === payload.publicKey)
    const bytes = fromHex(payload.sharesData)
    return {
      ownerAddress: fromHex(owner),
      nonce: validator?.owner_nonce ?? Number.NaN,
      publicKey: fromHex(payload.publicKey),
      data: parse(bytes, payload.operatorIds),
      bytes,
      ids: payload.operatorIds,
    }
  })
}

const OWNER = fromHex('d0598984990abf4f4ab8fa4d9fe82f561f6f9eb6')

/** A registration made here. `change` may put other bytes in. */
function makeShares(ids: readonly number[], options: { nonce?: number; degreeBelow?: number } = {}): SharesOfOwner {
  const { nonce = 0, degreeBelow = ssvThreshold(ids.length) } = options
  const indexes = ids.map(BigInt)
  const [validator] = createTestKeys(1, { nodes: ids.length, threshold: degreeBelow, indexes })
  if (validator === undefined) throw new Error('no validator')
  const text = `${getAddress(toHex(OWNER))}:${nonce}`
  const signature = noble.sign(validator.secretKey, keccak_256(Buffer.from(text)))
  const points = validator.shares.map(({ publicKey }) => publicKey)
  const bytes = Buffer.concat([signature, ...points, Buffer.alloc(256 * ids.length)])
  return { ownerAddress: OWNER, nonce, publicKey: validator.publicKey, data: parse(new Uint8Array(bytes), ids) }
}

/** The same registration with other bytes at a place of its shares. */
function patched(shares: SharesOfOwner, offset: number, bytes: Uint8Array): SharesOfOwner {
  const copy = Uint8Array.from(shares.data.bytes)
  copy.set(bytes, offset)
  const ids = shares.data.shares.map(({ operatorId }) => operatorId)
  return { ...shares, data: parse(copy, ids) }
}

describe('registrations of ssv-keys', () => {
  it.each(CLUSTERS)('%s: parts, threshold and verdict', (name) => {
    const expected = readFixtureJson(`ssv/${name}/expected.json`) as Cluster
    const all = loadCluster(name)
    expect(all).toHaveLength(expected.validators.length)
    for (const { bytes, ids, ...shares } of all) {
      const validator = expected.validators.find(({ public_key }) => public_key === toHex(shares.publicKey))
      expect(shares.data.threshold).toBe(expected.threshold)
      expect(
        shares.data.shares.map(({ operatorId, publicKeyShare }) => ({
          share_index: operatorId,
          public_key_share: toHex(publicKeyShare),
        })),
      ).toEqual(
        validator?.public_key_shares.map(({ share_index, public_key_share }) => ({ share_index, public_key_share })),
      )
      const { ownerSignature, shares: parts } = shares.data
      const points = parts.map(({ publicKeyShare }) => publicKeyShare)
      const ciphertexts = parts.map(({ encryptedKeyShare }) => encryptedKeyShare)
      expect(Buffer.concat([ownerSignature, ...points, ...ciphertexts])).toEqual(Buffer.from(bytes))
      for (const each of [engine, noble]) expect(verifyShares(each, shares)).toBeUndefined()
    }
  })

  it('are signed for one owner and one nonce', () => {
    for (const { ownerAddress, nonce, publicKey, data } of CLUSTERS.flatMap(loadCluster)) {
      const signed = { ownerAddress, nonce, publicKey, signature: data.ownerSignature }
      expect(verifyOwnerSignature(engine, signed)).toBe(true)
      const signature = Uint8Array.from(data.ownerSignature, (byte, position) => (position === 95 ? byte ^ 1 : byte))
      for (const change of [{ nonce: nonce + 1 }, { nonce: nonce - 1 }, { ownerAddress: OWNER }, { signature }])
        expect(verifyOwnerSignature(engine, { ...signed, ...change })).toBe(false)
    }
  })

  it('come out the same for one validator, split anew', () => {
    const [first] = loadCluster('cluster-4')
    const [again] = loadCluster('cluster-4-readded')
    expect(again?.publicKey).toEqual(first?.publicKey)
    if (first === undefined || again === undefined) throw new Error('no shares')
    const swapped = { ...first, data: again.data }
    expect(verifyShares(engine, swapped)).toMatchObject({ fault: 'owner_signature' })
    expect(verifyShares(engine, { ...swapped, nonce: again.nonce })).toBeUndefined()
  })
})

describe('the form of shares', () => {
  const ids = (count: number) => Array.from({ length: count }, (_, position) => position + 1)
  it.each([
    [4, 3, 1312],
    [7, 5, 2224],
    [10, 7, 3136],
    [13, 9, 4048],
  ])('of %i operators: threshold %i, %i bytes, no more and no less', (n, threshold, length) => {
    expect(ssvThreshold(n)).toBe(threshold)
    expect(parseSharesData(new Uint8Array(length), ids(n))).toMatchObject({ threshold })
    for (const other of [0, 96, length - 256, length - 1, length + 1, length + 304])
      expect(parseSharesData(new Uint8Array(other), ids(n))).toEqual({
        fault: 'length',
        reason: `have ${other} bytes, must have ${length} for ${n} operators`,
      })
  })

  it.each([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 64])('is not for %i operators', (n) => {
    expect(parseSharesData(new Uint8Array(96 + 304 * n), ids(n))).toEqual({
      fault: 'operator_count',
      reason: `are of ${n} operators, must be of 4, 7, 10 or 13`,
    })
  })

  it.each([
    [0, 1, 2, 3],
    [-1, 1, 2, 3],
    [1, 2, 3, 2 ** 53],
    [1, 2, 3, Number.POSITIVE_INFINITY],
    [1, 2, 2.5, 3],
    [1, 2, 3, Number.NaN],
  ])('has operator ids that are share indexes: not %i, %i, %d, %d', (...wrong) => {
    const reason = 'are of an operator id that is not from 1 to 2^53 - 1'
    expect(parseSharesData(new Uint8Array(1312), wrong)).toEqual({ fault: 'operator_ids', reason })
  })

  it.each([
    [2, 1, 3, 4],
    [1, 1, 2, 3],
    [1, 2, 4, 3],
    [1, 2, 3, 3],
  ])('has ids that ascend strictly: not %i, %i, %i, %i', (...wrong) => {
    const reason = 'are of operator ids that do not ascend'
    expect(parseSharesData(new Uint8Array(1312), wrong)).toEqual({ fault: 'operator_ids', reason })
  })
})

describe('verification', () => {
  const good = makeShares([5, 128, 1402, 70001])
  const infinity = new Uint8Array(48)
  infinity[0] = 0xc0
  const badPoints = (
    readFixtureJson('vectors/threshold.json') as { bad_public_keys: { name: string; bytes: string }[] }
  ).bad_public_keys

  it('accepts what is made by the rules, of every size and with any ids', () => {
    const size = fc.constantFrom(4, 7, 10, 13)
    const id = fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }))
    const ids = size.chain((n) => fc.uniqueArray(id, { minLength: n, maxLength: n }))
    fc.assert(
      fc.property(ids, fc.nat(), (unsorted, nonce) => {
        const shares = makeShares(
          [...unsorted].sort((a, b) => a - b),
          { nonce },
        )
        expect(verifyShares(engine, shares)).toBeUndefined()
        expect(verifyShares(engine, { ...shares, nonce: nonce + 1 })?.fault).toBe('owner_signature')
      }),
      { numRuns: 12 },
    )
  })

  it('names what is wrong', () => {
    const other = makeShares([5, 128, 1402, 70001])
    const share = (position: number, of = good) => of.data.shares[position]?.publicKeyShare ?? new Uint8Array()
    expect(verifyShares(engine, good)).toBeUndefined()
    const unfit = { fault: 'polynomial', reason: 'do not belong to the validator key with threshold 3' }
    for (const position of [0, 1, 2, 3])
      expect(verifyShares(engine, patched(good, 96 + 48 * position, share(position, other)))).toEqual(unfit)
    expect(verifyShares(engine, patched(good, 96, Buffer.concat([share(1), share(0)])))).toEqual(unfit)
    expect(verifyShares(engine, { ...good, publicKey: other.publicKey })).toEqual(unfit)
    expect(verifyShares(engine, { ...good, data: parse(good.data.bytes, [5, 128, 1402, 70002]) })).toEqual(unfit)
    expect(verifyShares(engine, patched(good, 96 + 48, infinity))).toEqual({
      fault: 'point',
      reason: 'have a public key share of operator 128 that is no BLS public key',
    })
    expect(verifyShares(engine, { ...good, publicKey: infinity })).toEqual({
      fault: 'point',
      reason: 'are of a key that is no BLS public key',
    })
    const unsigned = {
      fault: 'owner_signature',
      reason: 'are not signed by the validator key for this owner and nonce 0',
    }
    expect(verifyShares(engine, patched(good, 0, other.data.ownerSignature))).toEqual(unsigned)
    expect(verifyShares(engine, patched(good, 0, new Uint8Array(96)))).toEqual(unsigned)
    const ciphertexts = new Uint8Array(4 * 256).fill(7)
    expect(verifyShares(engine, patched(good, 96 + 4 * 48, ciphertexts))).toBeUndefined()
  })

  it.each(badPoints.filter(({ bytes }) => bytes.length === 98))('refuses a point that is none: $name', ({ bytes }) => {
    expect(verifyShares(engine, patched(good, 96 + 3 * 48, fromHex(bytes)))).toMatchObject({ fault: 'point' })
    expect(verifyShares(engine, { ...good, publicKey: fromHex(bytes) })).toMatchObject({ fault: 'point' })
  })

  it('refuses a lower degree: fewer operators than the threshold could sign', () => {
    for (const degreeBelow of [1, 2])
      expect(verifyShares(engine, makeShares([1, 2, 3, 4], { degreeBelow }))?.fault).toBe('polynomial')
    expect(verifyShares(engine, makeShares([1, 2, 3, 4], { degreeBelow: 4 }))?.fault).toBe('polynomial')
  })
})

describe('an operator’s own share', () => {
  it('opens when it has the public key share beside it', async () => {
    const key = await openOperatorKey(readFixture('ssv/operators/70001/private_key'))
    for (const name of ['cluster-4-gaps', 'cluster-4-readded']) {
      const [registration] = loadCluster(name)
      const [stranger, , , own] = registration?.data.shares ?? []
      if (own === undefined || stranger === undefined) throw new Error('no shares')
      const secret = openKeyShare(engine, key, own)
      expect(engine.publicKeyOf(secret ?? new Uint8Array())).toEqual(own.publicKeyShare)
      expect(openKeyShare(engine, key, { ...own, publicKeyShare: stranger.publicKeyShare })).toBeUndefined()
      expect(openKeyShare(engine, key, { ...own, encryptedKeyShare: stranger.encryptedKeyShare })).toBeUndefined()
    }
  })
})
