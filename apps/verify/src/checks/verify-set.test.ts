import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { expect, it } from 'vitest'
import { makeOracleShares, vectorConfig } from '../../../../test/support/keys/oracle-shares.ts'
import { NETWORKS } from '../networks.ts'
import { readShareSet } from '../read.ts'
import type { Verdict } from '../verdicts.ts'
import { verifySet } from './verify-set.ts'

const engine = createBlstEngine()
const made = makeOracleShares()

function judge(
  answer: object,
  { configName = 'eleven oracles, threshold seven', ...given }: Record<string, string> = {},
) {
  const { config, text } = vectorConfig(configName)
  const [network] = NETWORKS
  if (network === undefined) throw new Error('no network')
  const claims = {
    publicKey: given['publicKey'] === undefined ? undefined : fromHex(given['publicKey']),
    validatorIndex: given['validatorIndex'] === undefined ? undefined : Number(given['validatorIndex']),
    epoch: network.capellaEpoch,
  }
  const set = readShareSet(JSON.stringify(answer), 'answer', claims)
  const receipt = given['receipt'] === undefined ? undefined : fromHex(given['receipt'])
  const content = Buffer.from(text)
  return verifySet(engine, { network, given: { config, cid: given['cid'], content }, claims, set, receipt })
}

const { set } = made
const [first = '', second = '', ...others] = set.public_keys
const bare = { public_keys: set.public_keys, encrypted_exit_signatures: set.encrypted_exit_signatures }
const claims = { publicKey: set.public_key, validatorIndex: String(set.validator_index) }
const zeros = '00'.repeat(32)

it('ok: the set shares the key, and gives its receipt', () => {
  expect(judge(set, { cid: made.cid, receipt: set.receipt })).toMatchObject({
    verdict: 'ok',
    facts: { receipt: set.receipt, threshold: 7, oracles: 11, unchecked: [expect.stringContaining('verify-share')] },
  })
})

it('ok: as the Operator gets it, with what could not be compared', () => {
  expect(judge(bare, claims).facts['unchecked']).toEqual([
    expect.stringContaining('verify-share'),
    expect.stringContaining('receipt'),
  ])
})

const wrong: [Exclude<Verdict<'verify-set'>, 'ok'>, string, object, Record<string, string>?][] = [
  ['stale_set', 'another CID', set, { cid: 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG' }],
  ['stale_set', 'another threshold', set, { configName: 'threshold one' }],
  ['stale_set', 'other oracles', set, { configName: 'five oracles replaced' }],
  ['wrong_message', 'another validator', set, { publicKey: '00'.repeat(48) }],
  ['wrong_message', 'another index', set, { validatorIndex: '1' }],
  ['wrong_message', 'another epoch', { ...set, epoch: 1 }],
  [
    'wrong_count',
    'a ciphertext is missing',
    { ...bare, encrypted_exit_signatures: set.encrypted_exit_signatures.slice(1) },
    claims,
  ],
  ['wrong_count', 'a public key share too many', { ...bare, public_keys: [...set.public_keys, first] }, claims],
  ['invalid_point', 'bytes that are no point', { ...set, public_keys: [first, toHex(new Uint8Array(48)), ...others] }],
  ['wrong_order', 'the order of the oracles', set, { configName: 'other order' }],
  ['wrong_order', 'the order of the public key shares', { ...set, public_keys: [second, first, ...others] }],
  ['wrong_validator_key', 'shares of another key', { ...set, public_key: first }],
  ['degree_too_high', 'eight would be needed', makeOracleShares({ threshold: 8 }).set],
  ['degree_too_low', 'six suffice', makeOracleShares({ threshold: 6 }).set],
  ['wrong_shares', 'one twice', { ...set, public_keys: [first, first, ...others] }],
  ['wrong_receipt', 'in the file', { ...set, receipt: zeros }],
  ['wrong_receipt', 'given', set, { receipt: zeros }],
  ['wrong_receipt', 'of the same shares for another index', { ...set, validator_index: 1 }],
]

it.each(wrong)('%s: %s', (verdict, _, answer, given = {}) => {
  expect(judge(answer, given).verdict).toBe(verdict)
})
