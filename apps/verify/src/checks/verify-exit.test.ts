import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { encrypt } from 'eciesjs'
import { describe, expect, it } from 'vitest'
import { type MadeShares, makeOracleShares, vectorConfig } from '../../../../test/support/keys/oracle-shares.ts'
import type { Claims } from '../exit-message.ts'
import { findNetwork } from '../networks.ts'
import { readOwnerCopy, readShareSet } from '../read.ts'
import { verifyExit, verifyOwnerCopy } from './verify-exit.ts'

const engine = createBlstEngine()
const made = makeOracleShares()
const network = findNetwork('mainnet') ?? networks.mainnet
const noClaims: Claims = { publicKey: undefined, validatorIndex: undefined, epoch: network.capellaEpoch }
const SEVEN = [1, 2, 4, 5, 7, 9, 11]

interface Given {
  /** Undefined: no set, only what is claimed. */
  answer?: object | undefined
  /** Places whose keys are given. */
  keys?: readonly number[]
  /** Places whose decrypted shares are given. */
  plain?: readonly number[]
  /** Places whose decrypted shares are wrong. */
  wrong?: readonly number[]
  configName?: string
  claims?: Partial<Claims>
}

function judge(given: Given, shares: MadeShares = made) {
  const { config, text, secretKeys } = vectorConfig(given.configName ?? 'eleven oracles, threshold seven')
  const claims = { ...noClaims, ...given.claims }
  const { publicKey, validatorIndex } = shares
  const set = given.answer === undefined ? undefined : readShareSet(JSON.stringify(given.answer), 'set', claims)
  return verifyExit(engine, {
    network,
    given: { config, cid: undefined, content: Buffer.from(text) },
    claims,
    exit: set?.exit ?? { publicKey, validatorIndex, epoch: claims.epoch },
    set,
    secretKeys: (given.keys ?? []).flatMap((place) => secretKeys[place - 1] ?? []),
    shares: (given.plain ?? []).map((place) => ({
      place,
      share: shares.signatureShares[given.wrong?.includes(place) ? place % 11 : place - 1] ?? new Uint8Array(96),
    })),
  })
}

const exit = { epoch: 194048, validatorIndex: made.validatorIndex, signature: made.exitSignature }

describe('shares', () => {
  it('decrypted here give the exit', () => {
    const { report, exit: found } = judge({ answer: made.set, keys: SEVEN })
    expect(report).toMatchObject({ verdict: 'ok', facts: { right_places: SEVEN, wrong_places: [] } })
    expect(found).toEqual(exit)
    expect(JSON.stringify(report)).not.toContain(toHex(made.exitSignature).slice(2))
  })

  it('from files give the exit, with and without the set', () => {
    expect(judge({ plain: SEVEN }).exit).toEqual(exit)
    expect(judge({ answer: made.set, plain: SEVEN.slice(0, 4), keys: SEVEN.slice(4) }).exit).toEqual(exit)
  })

  it('that are wrong are named, and cost nothing while seven are right', () => {
    for (const answer of [made.set, undefined]) {
      const { report, exit: found } = judge({ answer, plain: [1, 2, 3, 4, 5, 6, 7, 8, 9], wrong: [3, 8] })
      expect(report).toMatchObject({ verdict: 'ok', facts: { wrong_places: [3, 8] } })
      expect(found).toEqual(exit)
    }
  })

  it('wrong_shares: too many are', () => {
    const { report, exit: found } = judge({ answer: made.set, plain: SEVEN, wrong: [4] })
    expect(report).toMatchObject({ verdict: 'wrong_shares', facts: { wrong_places: [4] } })
    expect(found).toBeUndefined()
    expect(judge({ plain: SEVEN, wrong: [4] }).report).toMatchObject({
      verdict: 'wrong_shares',
      facts: { wrong_places: [] },
    })
  })

  it('not_enough: six, or seven of which a key is a stranger’s', () => {
    expect(judge({ plain: SEVEN.slice(1) }).report.verdict).toBe('not_enough')
    const { report } = judge({
      answer: { ...made.set, encrypted_exit_signatures: made.set.encrypted_exit_signatures.toReversed() },
      keys: SEVEN,
    })
    expect(report).toMatchObject({
      verdict: 'not_enough',
      facts: { unopened: expect.arrayContaining([expect.stringContaining('place 11')]) },
    })
  })

  it('stale_set: of another set than the config', () => {
    expect(judge({ answer: made.set, keys: SEVEN, configName: 'threshold one' }).report.verdict).toBe('stale_set')
  })

  it('wrong_message: expected otherwise, or of another network', () => {
    expect(judge({ answer: made.set, keys: SEVEN, claims: { validatorIndex: 3 } }).report.verdict).toBe('wrong_message')
    const hoodi = makeOracleShares({ signedFor: networks.hoodi })
    for (const answer of [hoodi.set, undefined])
      expect(judge({ answer, plain: SEVEN }, hoodi).report).toMatchObject({
        verdict: 'wrong_message',
        message: expect.stringContaining('hoodi'),
      })
  })

  it('give the exit though the public key shares are wrong; set_invalid where they do not', () => {
    const public_keys = made.set.public_keys.toReversed()
    const answer = { ...made.set, public_keys }
    expect(judge({ answer, keys: SEVEN })).toMatchObject({
      report: { verdict: 'ok', facts: { set_verdict: 'wrong_order' } },
      exit: { signature: made.exitSignature },
    })
    expect(judge({ answer, plain: SEVEN, wrong: [4] }).report.verdict).toBe('set_invalid')
  })
})

describe("an owner's copy", () => {
  const secretKey = new Uint8Array(32).fill(5)
  const ownerKey = secp256k1.getPublicKey(secretKey, false)
  const signed = (changes: { epoch?: string; index?: string; signature?: Uint8Array } = {}) => ({
    message: { epoch: changes.epoch ?? '194048', validator_index: changes.index ?? String(made.validatorIndex) },
    signature: toHex(changes.signature ?? made.exitSignature),
  })
  const seal = (plaintext: unknown) => toHex(Uint8Array.from(encrypt(ownerKey, Buffer.from(JSON.stringify(plaintext)))))
  const item = (plaintext: unknown = signed()) => ({
    public_key: made.set.public_key,
    validator_index: made.validatorIndex,
    epoch: 194048,
    owner_public_key: toHex(ownerKey),
    ciphertext: seal(plaintext),
    created_at_timestamp: 1_732_147_200,
  })
  const open = (file: object | string, key = secretKey, expected: Partial<Claims> = {}) => {
    const claims = { ...noClaims, ...expected }
    const copy = readOwnerCopy(typeof file === 'string' ? file : JSON.stringify(file), 'copy', claims)
    return verifyOwnerCopy(engine, { network, claims, copy, secretKey: key })
  }

  it('ok: as an item, in a page, or as the ciphertext alone', () => {
    const { ciphertext } = item()
    const publicKey = made.publicKey
    const other = { ...item(), public_key: made.set.public_keys[0] }
    expect(open(item())).toMatchObject({ report: { verdict: 'ok' }, exit })
    expect(open({ owner_copies: [item()], cursor: 1 }).exit).toEqual(exit)
    expect(open({ owner_copies: [other, item()], cursor: 2 }, secretKey, { publicKey }).exit).toEqual(exit)
    expect(open(`${ciphertext}\n`, secretKey, { publicKey }).exit).toEqual(exit)
  })

  it('is not taken from a page by chance', () => {
    const refused = expect.objectContaining({ code: 'unreadable' })
    expect(() => open({ owner_copies: [item(), item()], cursor: 2 })).toThrow(refused)
    expect(() => open({ owner_copies: [], cursor: 0 })).toThrow(refused)
    expect(() => open(item().ciphertext)).toThrow(refused)
  })

  it('wrong_key, tampered: it does not open', () => {
    const stranger = new Uint8Array(32).fill(6)
    expect(open(item(), stranger).report.verdict).toBe('wrong_key')
    expect(open({ ...item(), owner_public_key: undefined }, stranger).report.verdict).toBe('tampered')
    const bytes = fromHex(item().ciphertext)
    bytes[150] = (bytes[150] ?? 0) ^ 1
    expect(open({ ...item(), ciphertext: toHex(bytes) }).report.verdict).toBe('tampered')
    expect(open({ ...item(), ciphertext: '0x04' }).report.verdict).toBe('tampered')
  })

  it.each([
    ['text', 'hello'],
    ['another object', { epoch: '1' }],
    ['an exit with a number for a text', { ...signed(), message: { epoch: 194048, validator_index: '1' } }],
    ['a signature of another key', signed({ signature: made.signatureShares[0] ?? new Uint8Array() })],
  ])('not_an_exit: it holds %s', (_, plaintext) => {
    const { report, exit: found } = open(item(plaintext))
    expect(report.verdict).toBe('not_an_exit')
    expect(found).toBeUndefined()
  })

  it('wrong_message: an exit that is not the one told, expected, or of this network', () => {
    expect(open(item(signed({ index: '7' }))).report.verdict).toBe('wrong_message')
    expect(open(item(signed({ epoch: '7' }))).report.verdict).toBe('wrong_message')
    expect(open(item(), secretKey, { validatorIndex: 7 }).report.verdict).toBe('wrong_message')
    const hoodi = makeOracleShares({ signedFor: networks.hoodi })
    expect(open(item(signed({ signature: hoodi.exitSignature }))).report).toMatchObject({
      verdict: 'wrong_message',
      message: expect.stringContaining('hoodi'),
    })
  })
})
