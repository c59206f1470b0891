import { toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { describe, expect, it } from 'vitest'
import { loadFixtureCluster, readFixture, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { type ExitsBody, exitsRoot } from '../../../../test/support/world/charon.ts'
import { parseClusterLock } from './cluster-lock.ts'
import { enrPublicKey } from './enr.ts'
import { recoverNodeKey } from './node-signature.ts'
import { MAX_PARTIAL_EXITS, type PartialExit, partialExitRoot, partialExitsRoot } from './partial-exits.ts'

const requests = (
  readFixtureJson('obol/charon-requests.json') as { made_by: string; what: string; body: ExitsBody | null }[]
).flatMap(({ made_by, what, body }) => (body === null ? [] : [{ name: `${made_by}: ${what}`, body }]))
const lock = parseClusterLock(readFixture(loadFixtureCluster('cluster-4').lockFile), { file: 'lock' })
const keyOf = (shareIndex: number) => enrPublicKey(lock.operators[shareIndex - 1]?.enr ?? '') ?? new Uint8Array()
const bytes = (text: string) => new Uint8Array(Buffer.from(text.slice(2), 'hex'))

const exitsOf = ({ partial_exits }: ExitsBody): PartialExit[] =>
  (partial_exits ?? []).map(({ public_key, signed_exit_message: { message, signature } }) => ({
    publicKey: bytes(public_key),
    epoch: BigInt(message.epoch),
    validatorIndex: BigInt(message.validator_index),
    signature: bytes(signature),
  }))
const signerOf = (exits: readonly PartialExit[], shareIndex: number, signature: string) =>
  recoverNodeKey(bytes(signature), partialExitsRoot(exits.map(partialExitRoot), shareIndex))

describe('the signature of partial exits', () => {
  it.each(requests)('$name is that of the ENR key', ({ body }) => {
    expect(signerOf(exitsOf(body), body.share_idx, body.signature)).toEqual(keyOf(body.share_idx))
  })

  it.each(requests)('$name has the root of the other implementation', ({ body }) => {
    const root = partialExitsRoot(exitsOf(body).map(partialExitRoot), body.share_idx)
    expect(toHex(root)).toBe(toHex(exitsRoot(body.partial_exits ?? [], body.share_idx)))
  })

  it.each(requests)('$name is over every field and the order', ({ body }) => {
    const exits = exitsOf(body)
    const change = (what: Partial<PartialExit>) => exits.map((exit, i) => (i === 0 ? { ...exit, ...what } : exit))
    const changed: [readonly PartialExit[], number][] = [[exits, body.share_idx + 1]]
    const [first] = exits
    if (first !== undefined)
      changed.push(
        [change({ epoch: first.epoch + 1n }), body.share_idx],
        [change({ validatorIndex: first.validatorIndex + 1n }), body.share_idx],
        [change({ publicKey: first.publicKey.map((byte, i) => (i === 47 ? byte ^ 1 : byte)) }), body.share_idx],
        [change({ signature: first.signature.map((byte, i) => (i === 95 ? byte ^ 1 : byte)) }), body.share_idx],
        [exits.slice(1), body.share_idx],
        [[...exits, first], body.share_idx],
      )
    if (exits.length > 1) changed.push([exits.toReversed(), body.share_idx])
    for (const [others, shareIndex] of changed)
      expect(signerOf(others, shareIndex, body.signature)).not.toEqual(keyOf(body.share_idx))
  })

  it('takes what is as long as it is said to be, and no more exits than a list holds', () => {
    const exit = { publicKey: new Uint8Array(48), epoch: 0n, validatorIndex: 0n, signature: new Uint8Array(96) }
    expect(() => partialExitRoot({ ...exit, publicKey: new Uint8Array(47) })).toThrow(RangeError)
    expect(() => partialExitRoot({ ...exit, signature: new Uint8Array(97) })).toThrow(RangeError)
    expect(() => partialExitRoot({ ...exit, epoch: 2n ** 64n })).toThrow(RangeError)
    const roots = Array<Uint8Array>(MAX_PARTIAL_EXITS + 1).fill(new Uint8Array(32))
    expect(() => partialExitsRoot(roots, 1)).toThrow(RangeError)
  })
})

describe('a signature of a node', () => {
  const secretKey = new Uint8Array(32).fill(7)
  const digest = new Uint8Array(32).fill(9)
  const made = secp256k1.sign(digest, secretKey, { prehash: false, format: 'recovered' })
  const signature = Uint8Array.from([...made.subarray(1), made[0] ?? 0])
  const withV = (v: number) => Uint8Array.from([...signature.subarray(0, 64), v])

  it('gives the compressed key, with v from 0 and from 27', () => {
    const key = secp256k1.getPublicKey(secretKey, true)
    const [v = 0] = signature.subarray(64)
    expect(recoverNodeKey(signature, digest)).toEqual(key)
    expect(recoverNodeKey(withV(v + 27), digest)).toEqual(key)
    expect(recoverNodeKey(withV(1 - v), digest)).not.toEqual(key)
  })

  it.each([
    ['v 2', withV(2)],
    ['v 26', withV(26)],
    ['v 29', withV(29)],
    ['no v', signature.subarray(0, 64)],
    ['zeros', new Uint8Array(65)],
    ['r beyond the order', Uint8Array.from([...new Uint8Array(32).fill(0xff), ...signature.subarray(32)])],
    ['nothing', new Uint8Array()],
  ])('is nobody: %s', (_, wrong) => {
    expect(recoverNodeKey(wrong, digest)).toBeUndefined()
  })
})
