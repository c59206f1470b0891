import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { encrypt } from 'eciesjs'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { type MadeShares, makeOracleShares, vectorConfig } from '../../../../test/support/keys/oracle-shares.ts'
import type { Claims } from '../exit-message.ts'
import { type ExitNetwork, findNetwork } from '../networks.ts'
import { readConfig, readShares } from '../read.ts'
import { verifyShare } from './verify-share.ts'

const engine = createBlstEngine()
const made = makeOracleShares()
const PLACE = 3

interface Given {
  configName?: string
  place?: number
  secretKey?: Uint8Array
  cid?: string
  claims?: Partial<Claims>
  isNamedConfig?: boolean
  receipt?: Uint8Array
  network?: ExitNetwork | undefined
}

/** The verdict on what the relayer answers, for the oracle at a place of a config. */
function judge(answer: object, given: Given = {}, shares: MadeShares = made) {
  const { config, text, cid: named, secretKeys } = vectorConfig(given.configName ?? 'eleven oracles, threshold seven')
  const network = given.network ?? findNetwork(shares.network.name)
  const secretKey = given.secretKey ?? secretKeys[(given.place ?? PLACE) - 1]
  if (network === undefined || secretKey === undefined) throw new Error('no network or key')
  const claims = { publicKey: undefined, validatorIndex: undefined, epoch: network.capellaEpoch, ...given.claims }
  const read = readShares(JSON.stringify(answer), 'answer', claims)
  const [source] = 'set' in read ? [read.set] : read.items
  if (source === undefined) throw new Error('no share')
  const { cid, receipt, isNamedConfig = source.labels.cid === named } = given
  return verifyShare(
    engine,
    { network, given: { config, cid, content: Buffer.from(text) }, claims, secretKey, isNamedConfig, receipt },
    source,
  )
}

/** A list with another item at a place. */
const at = <T>(list: readonly T[], place: number, item: T | undefined): T[] =>
  list.map((old, i) => (i + 1 === place && item !== undefined ? item : old))
const flipped = (hex: string, byte: number) => {
  const bytes = fromHex(hex)
  bytes[byte] = (bytes[byte] ?? 0) ^ 1
  return toHex(bytes)
}
/** A share encrypted to the oracle at a place. */
const sealed = (place: number, share: Uint8Array | undefined) =>
  toHex(Uint8Array.from(encrypt(made.config.oracles[place - 1]?.publicKey ?? '', share ?? new Uint8Array(96))))
/** The set without what tells its oracles: as the Operator gets it. */
const bare = ({ public_keys, encrypted_exit_signatures } = made.set) => ({ public_keys, encrypted_exit_signatures })
const claims = { publicKey: made.publicKey, validatorIndex: made.validatorIndex }

describe('a true share', () => {
  it('as an item: says what cannot be told from one share', () => {
    expect(judge(made.item(PLACE), { cid: made.cid })).toMatchObject({
      verdict: 'ok',
      facts: {
        network: 'mainnet',
        public_key: toHex(made.publicKey),
        validator_index: 20551,
        epoch: 194048,
        place: PLACE,
        threshold: 7,
        oracles: 11,
        cid: made.cid,
        unchecked: [expect.stringContaining('only one share'), expect.stringContaining('receipt')],
      },
    })
  })

  it('in the whole set: everything is checked', () => {
    expect(judge(made.set, { receipt: fromHex(made.set.receipt) })).toMatchObject({
      verdict: 'ok',
      facts: { unchecked: [] },
    })
  })

  it.each([1, 11])('at place %d as the Operator gets it', (place) => {
    expect(judge(bare(), { place, claims })).toMatchObject({
      verdict: 'ok',
      facts: { unchecked: [expect.stringContaining('receipt')] },
    })
  })

  it.each([
    ['hoodi', networks.hoodi],
    ['gnosis', networks.gnosis],
  ])('of %s', (_, network) => {
    const shares = makeOracleShares({ network, configName: 'threshold one' })
    expect(judge(shares.set, { configName: 'threshold one' }, shares).verdict).toBe('ok')
    expect(judge(shares.item(PLACE), { configName: 'threshold one' }, shares).verdict).toBe('ok')
  })

  it('under a config that may be another one says so', () => {
    const unchecked = expect.arrayContaining([expect.stringContaining(`whether the config is ${made.cid}`)])
    for (const answer of [made.set, made.item(PLACE)])
      expect(judge(answer, { isNamedConfig: false })).toMatchObject({ verdict: 'ok', facts: { unchecked } })
  })

  it('of an outdated set says so', () => {
    expect(judge({ ...made.item(PLACE), is_outdated: true }).facts).toMatchObject({ is_outdated: true })
    const set = { ...made.set, oracle_set: { ...made.set.oracle_set, is_current: false } }
    expect(judge(set).facts).toMatchObject({ is_outdated: true })
  })

  it('never shows a signature', () => {
    const answers = [judge(made.set), judge(made.item(PLACE)), judge({ ...made.set, validator_index: 1 })]
    const text = JSON.stringify(answers)
    for (const signature of [made.exitSignature, ...made.signatureShares])
      expect(text).not.toContain(toHex(signature).slice(2))
  })
})

describe('wrong_key', () => {
  it('is no key of the config', () => {
    const secretKey = new Uint8Array(32).fill(7)
    expect(judge(made.item(PLACE), { secretKey })).toMatchObject({ verdict: 'wrong_key', facts: { place: null } })
    expect(judge(made.set, { secretKey }).verdict).toBe('wrong_key')
  })

  it('is not the key of the place that the item names', () => {
    expect(judge(made.item(5))).toMatchObject({ verdict: 'wrong_key', message: expect.stringContaining('place 5') })
    const beyond = made.item(5)
    expect(judge({ ...beyond, oracle_set: { ...beyond.oracle_set, place: 12 } }).verdict).toBe('wrong_key')
  })
})

describe('wrong_place', () => {
  it('is a share of another place, encrypted to this oracle', () => {
    const item = { ...made.item(5), encrypted_exit_signature: sealed(PLACE, made.signatureShares[4]) }
    expect(judge(item)).toMatchObject({ verdict: 'wrong_place', message: expect.stringContaining('place 5') })
  })

  it('is told by the other public key shares of the set', () => {
    const ciphertexts = at(made.set.encrypted_exit_signatures, PLACE, sealed(PLACE, made.signatureShares[7]))
    const answer = judge({ ...made.set, encrypted_exit_signatures: ciphertexts })
    expect(answer).toMatchObject({ verdict: 'wrong_place', message: expect.stringContaining('place 8') })
  })

  it('is this oracle’s ciphertext somewhere else in the set', () => {
    const [third, sixth] = [made.set.encrypted_exit_signatures[2], made.set.encrypted_exit_signatures[5]]
    const ciphertexts = at(at(made.set.encrypted_exit_signatures, 6, third), 3, sixth)
    const answer = judge({ ...made.set, encrypted_exit_signatures: ciphertexts })
    expect(answer).toMatchObject({ verdict: 'wrong_place', message: expect.stringContaining('stands at place 6') })
  })
})

describe('tampered', () => {
  it.each([0, 40, 70, 90, 192])('is byte %d of the ciphertext', (byte) => {
    const item = made.item(PLACE)
    const ciphertext = flipped(item.encrypted_exit_signature, byte)
    expect(judge({ ...item, encrypted_exit_signature: ciphertext }).verdict).toBe('tampered')
    const ciphertexts = at(made.set.encrypted_exit_signatures, PLACE, ciphertext)
    expect(judge({ ...made.set, encrypted_exit_signatures: ciphertexts }).verdict).toBe('tampered')
  })
})

describe('not_a_share', () => {
  it('opens, and is a signature of something else', () => {
    const other = makeOracleShares({ validatorIndex: 1 })
    const item = { ...made.item(PLACE), encrypted_exit_signature: other.set.encrypted_exit_signatures[PLACE - 1] }
    expect(judge(item).verdict).toBe('not_a_share')
    const ciphertexts = at(made.set.encrypted_exit_signatures, PLACE, item.encrypted_exit_signature)
    expect(judge({ ...made.set, encrypted_exit_signatures: ciphertexts }).verdict).toBe('not_a_share')
  })

  it('opens, and is no signature', () => {
    const item = { ...made.item(PLACE), encrypted_exit_signature: sealed(PLACE, new Uint8Array(96)) }
    expect(judge(item)).toMatchObject({ verdict: 'not_a_share', message: expect.stringContaining('no signature') })
  })

  it('is a share of another place, where only the item is known', () => {
    const item = { ...made.item(PLACE), encrypted_exit_signature: sealed(PLACE, made.signatureShares[7]) }
    expect(judge(item).verdict).toBe('not_a_share')
  })
})

describe('wrong_message', () => {
  it('is another validator, index or epoch than expected', () => {
    for (const expected of [{ publicKey: new Uint8Array(48) }, { validatorIndex: 20552 }, { epoch: 194049 }])
      expect(judge(made.set, { claims: expected }).verdict).toBe('wrong_message')
    expect(judge({ ...made.item(PLACE), epoch: 5 }).verdict).toBe('wrong_message')
  })

  it('is an exit of another network', () => {
    const shares = makeOracleShares({ signedFor: networks.hoodi })
    for (const answer of [shares.set, shares.item(PLACE)])
      expect(judge(answer, {}, shares)).toMatchObject({
        verdict: 'wrong_message',
        message: expect.stringContaining('hoodi'),
      })
  })

  it('is an exit under the genesis fork version', () => {
    const genesis = { ...networks.mainnet, capellaForkVersion: networks.mainnet.genesisForkVersion }
    const shares = makeOracleShares({ signedFor: genesis })
    expect(judge(shares.set, {}, shares)).toMatchObject({
      verdict: 'wrong_message',
      message: expect.stringContaining('genesis'),
    })
  })
})

describe('stale_set', () => {
  it.each([
    ['another CID', { cid: 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG' }],
    ['another threshold', { configName: 'threshold equal to the number of oracles' }],
    ['another number of oracles', { configName: 'one oracle', place: 1 }],
  ])('is told by %s', (_, given) => {
    expect(judge(made.item(PLACE), given).verdict).toBe('stale_set')
    expect(judge(made.set, given).verdict).toBe('stale_set')
  })

  it('is told by the oracles that the set names', () => {
    for (const configName of ['five oracles replaced', 'other order'])
      expect(judge(made.set, { configName }).verdict).toBe('stale_set')
  })

  it('is told by the number of shares', () => {
    expect(judge(bare(), { configName: 'one oracle', place: 1, claims }).verdict).toBe('stale_set')
  })

  it('is told by where the share stands, in a set that does not name its oracles', () => {
    const answer = judge(bare(), {
      configName: 'other order',
      secretKey: made.secretKeys[0] ?? new Uint8Array(),
      claims,
    })
    expect(answer.verdict).toBe('stale_set')
  })

  it('is told by the receipt where nothing else tells', () => {
    // The key's place is the same in both configs; other oracles differ.
    const next = vectorConfig('five oracles replaced')
    const place = made.config.oracles.findIndex(({ address }, i) => address === next.config.oracles[i]?.address) + 1
    const answer = { ...bare(), receipt: made.set.receipt }
    expect(judge(answer, { claims, place })).toMatchObject({ verdict: 'ok' })
    expect(judge(answer, { configName: 'five oracles replaced', claims, place }).verdict).toBe('stale_set')
  })
})

describe('set_invalid', () => {
  it('says what verify-set says of the public key shares', () => {
    const keys = at(made.set.public_keys, 9, made.set.public_keys[0])
    expect(judge({ ...made.set, public_keys: keys })).toMatchObject({
      verdict: 'set_invalid',
      facts: { set_verdict: 'wrong_shares', places: [9], share_opens: true, share_verifies: true },
    })
    const tooFew = makeOracleShares({ threshold: 6 })
    expect(judge(tooFew.set, {}, tooFew)).toMatchObject({
      verdict: 'set_invalid',
      facts: { set_verdict: 'degree_too_low' },
    })
  })

  it("is a public key share that is the validator's own key", () => {
    const item = {
      ...made.item(PLACE),
      public_key_share: toHex(made.publicKey),
      encrypted_exit_signature: sealed(PLACE, made.exitSignature),
    }
    expect(judge(item)).toMatchObject({ verdict: 'set_invalid', facts: { share_verifies: true } })
  })
})

describe('wrong_receipt', () => {
  it('is a receipt of something else, in the file or given', () => {
    const receipt = flipped(made.set.receipt, 0)
    expect(judge({ ...made.set, receipt }).verdict).toBe('wrong_receipt')
    expect(judge(made.set, { receipt: fromHex(receipt) }).verdict).toBe('wrong_receipt')
    expect(judge({ ...bare(), receipt }, { claims, isNamedConfig: true }).verdict).toBe('wrong_receipt')
    expect(judge(made.item(PLACE), { receipt: fromHex(receipt) }).verdict).toBe('wrong_receipt')
    expect(judge(made.item(PLACE), { receipt: fromHex(made.set.receipt) }).verdict).toBe('ok')
  })

  it('is what an altered ciphertext of another oracle leaves', () => {
    const [first = ''] = made.set.encrypted_exit_signatures
    const ciphertexts = at(made.set.encrypted_exit_signatures, 1, flipped(first, 100))
    expect(judge({ ...made.set, encrypted_exit_signatures: ciphertexts }).verdict).toBe('wrong_receipt')
  })
})

describe('vectors of other implementations', () => {
  const ecies = readFixtureJson('vectors/ecies.json') as {
    cases: { recipient_secret_key: string; recipient_public_keys: Record<string, string>; ciphertext: string }[]
    must_fail: { name: string; recipient_secret_key: string; ciphertext: string }[]
  }
  const judgeCiphertext = (key: string, publicKeyText: string, ciphertext: string) => {
    const config = readConfig(
      JSON.stringify({ oracles: [{ public_key: publicKeyText }], exit_signature_recover_threshold: 1 }),
      'config',
    )
    const network = findNetwork('mainnet')
    if (network === undefined) throw new Error('no mainnet')
    const item = {
      ...made.item(1),
      oracle_set: { place: 1 },
      public_key_share: toHex(made.publicKey),
      encrypted_exit_signature: ciphertext,
    }
    const all = { publicKey: undefined, validatorIndex: undefined, epoch: network.capellaEpoch }
    const read = readShares(JSON.stringify(item), 'item', all)
    if (!('items' in read) || read.items[0] === undefined) throw new Error('no item')
    const given = { config, cid: undefined, content: new Uint8Array() }
    const request = { network, given, claims: all, secretKey: fromHex(key), isNamedConfig: false, receipt: undefined }
    return verifyShare(engine, request, read.items[0]).verdict
  }

  it('open, whatever the spelling of the key, and hold no share of this exit', () => {
    for (const { recipient_secret_key, recipient_public_keys, ciphertext } of ecies.cases)
      for (const text of Object.values(recipient_public_keys))
        expect(judgeCiphertext(recipient_secret_key, text, ciphertext)).toBe('not_a_share')
  })

  it.each(ecies.must_fail)('are refused: $name', ({ recipient_secret_key, ciphertext }) => {
    const text = keyTextOf(recipient_secret_key)
    if (ciphertext.length === 2 + 2 * 193)
      expect(judgeCiphertext(recipient_secret_key, text, ciphertext)).toBe('tampered')
    else
      expect(() => judgeCiphertext(recipient_secret_key, text, ciphertext)).toThrow(
        expect.objectContaining({ code: 'unreadable' }),
      )
  })

  /** The public key of a vector's secret key. */
  function keyTextOf(secretKey: string): string {
    return toHex(secp256k1.getPublicKey(fromHex(secretKey), false))
  }
})
