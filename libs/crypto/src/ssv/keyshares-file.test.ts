import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { readFixture, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { KeysharesError, parseKeysharesFile, verifyKeysharesItem } from './keyshares-file.ts'
import { parseOperatorPublicKey } from './operator-key.ts'

type Json = Record<string, unknown>
interface Cluster {
  owner: string
  operator_ids: number[]
  validators: { public_key: string; owner_nonce: number }[]
}
const CLUSTERS = ['cluster-4', 'cluster-4-gaps', 'cluster-7', 'cluster-4-readded', 'cluster-4-dkg']
const engine = createBlstEngine()
const file = 'keyshares-1732147200.json'
const { operators } = readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] }

function refusal(act: () => unknown): KeysharesError {
  try {
    act()
  } catch (error) {
    if (error instanceof KeysharesError) return error
    throw error
  }
  throw new Error('the file was accepted')
}

/** Reads and verifies a whole file. */
function check(json: unknown) {
  const items = parseKeysharesFile(json, { file })
  for (const item of items) verifyKeysharesItem(engine, item, { file })
  return items
}

/** The file of `cluster-4` with the value at a path changed; undefined leaves it out. */
function changed(path: string, value: unknown): unknown {
  const copy = readFixtureJson('ssv/cluster-4/keyshares.json') as Json
  const names = path.split('.')
  const last = names.pop() ?? ''
  const holder = names.reduce((inner, name) => inner[name] as Json, copy)
  holder[last] = value
  return copy
}

describe('files of ssv-keys and ssv-dkg', () => {
  it.each(CLUSTERS)('%s is read and verifies', (name) => {
    const expected = readFixtureJson(`ssv/${name}/expected.json`) as Cluster
    const items = check(readFixture(`ssv/${name}/keyshares.json`))
    expect(
      items.map(({ publicKey, ownerNonce }) => ({ public_key: toHex(publicKey), owner_nonce: ownerNonce })),
    ).toEqual(expected.validators.map(({ public_key, owner_nonce }) => ({ public_key, owner_nonce })))
    for (const [position, item] of items.entries()) {
      expect(item.field).toBe(`shares[${position}]`)
      expect(toHex(item.ownerAddress)).toBe(expected.owner)
      expect(item.data.shares.map(({ operatorId }) => operatorId)).toEqual(expected.operator_ids)
      expect(item.operators).toEqual(
        expected.operator_ids.map((id) => ({
          id,
          publicKey: parseOperatorPublicKey(operators.find((operator) => operator.id === id)?.public_key ?? ''),
        })),
      )
    }
  })

  it('may have the owner address in any letter case', () => {
    const owner = 'a4f91b1f8eaaae1396bd088561d29fe99357b305'
    for (const typed of [
      owner,
      owner.toUpperCase(),
      `0x${owner.toUpperCase()}`,
      `0x${owner.slice(0, 20)}${owner.slice(20).toUpperCase()}`,
    ])
      expect(check(changed('shares.0.data.ownerAddress', typed))).toHaveLength(2)
  })
})

describe('files of ssv-keys before 1.1, of one validator', () => {
  const [share] = (readFixtureJson('ssv/cluster-4/keyshares.json') as { shares: { data: Json; payload: Json }[] })
    .shares
  const old = { version: 'v1.0.4', createdAt: '2023-09-01T00:00:00.000Z', ...share }

  it('of 1.0 are read as what they hold', () => {
    const [whole] = check(readFixtureJson('ssv/cluster-4/keyshares.json'))
    expect(check(old)).toEqual([{ ...whole, field: '' }])
    const bent = structuredClone(old)
    Object.assign(bent.data ?? {}, { ownerNonce: 77 })
    expect(refusal(() => check(bent)).message).toMatch(/^keyshares-1732147200\.json: payload\.sharesData /)
  })

  it.each([
    ['v2', 'version v2'],
    ['v3', 'version v3'],
    ['hunter2', 'an old version'],
    [undefined, 'an old version'],
  ])('of %s are named', (version, words) => {
    const v3 = { version, data: { publicKey: '0x12', shares: {} }, payload: { readable: {}, raw: 'hunter2' } }
    const { message } = refusal(() => check(v3))
    expect(message).toContain(`this is a keyshares file of ${words}; make it anew with ssv-keys 1.1 or later`)
    expect(message).not.toContain('hunter2')
  })
})

describe('a file is refused, its file and field named, when', () => {
  const item = (path: string) => `shares.0.${path}`
  const key = 'payload.publicKey'
  it.each([
    ['shares', undefined, 'shares is missing'],
    ['shares', {}, 'shares must be a list'],
    ['shares', [], 'shares is empty'],
    ['shares', [5], 'shares[0] must be an object'],
    [item('data'), undefined, 'shares[0].data must be an object'],
    [item('payload'), null, 'shares[0].payload must be an object'],
    [item(key), '0x12', `shares[0].${key} has 1 bytes, must have 48`],
    [item('data.publicKey'), `0x${'ab'.repeat(48)}`, 'shares[0].data.publicKey is another key than payload.publicKey'],
    [item('data.ownerNonce'), '0', 'shares[0].data.ownerNonce must be a whole number from 0 to 9007199254740991'],
    [item('data.ownerNonce'), -1, 'shares[0].data.ownerNonce must be a whole number from 0 to 9007199254740991'],
    [item('data.ownerAddress'), '0x12', 'shares[0].data.ownerAddress has 1 bytes, must have 20'],
    [
      item('payload.operatorIds'),
      ['263'],
      'shares[0].payload.operatorIds[0] must be a whole number from 1 to 9007199254740991',
    ],
    [item('payload.operatorIds'), [263, 280, 281], 'shares[0].payload.operatorIds are not those of data.operators'],
    [
      item('payload.operatorIds'),
      [263, 280, 281, 282, 283],
      'shares[0].payload.operatorIds are not those of data.operators',
    ],
    [
      item('payload.operatorIds'),
      [263, 280, 281, 283],
      'shares[0].payload.operatorIds are not those of data.operators',
    ],
    [item('data.operators.1.id'), 279, 'shares[0].payload.operatorIds are not those of data.operators'],
    [
      item('data.operators.1.operatorKey'),
      'hunter2',
      'shares[0].data.operators[1].operatorKey is not the base64 of an RSA-2048 public key',
    ],
    [item('data.operators.1.operatorKey'), undefined, 'shares[0].data.operators[1].operatorKey is missing'],
    [item('payload.sharesData'), '0xhunter2', 'shares[0].payload.sharesData must be hex'],
    [
      item('payload.sharesData'),
      `0x${'00'.repeat(1056)}`,
      'shares[0].payload.sharesData have 1056 bytes, must have 1312 for 4 operators',
    ],
    [item('payload.sharesData'), `0x${'00'.repeat(4049)}`, 'shares[0].payload.sharesData is longer than 8098 bytes'],
  ])('%s is %j', (path, value, message) => {
    const error = refusal(() => check(changed(path, value)))
    expect([error.code, error.message]).toEqual(['KEYSHARES_MALFORMED', `${file}: ${message}`])
  })

  it('it is not JSON, and is not repeated', () => {
    const error = refusal(() => parseKeysharesFile('hunter2', { file }))
    expect([error.code, error.message]).toEqual(['KEYSHARES_MALFORMED', `${file}: is not JSON`])
    expect(refusal(() => parseKeysharesFile('null', { file })).message).toBe(`${file}: must be an object`)
  })

  it('one validator stands in it twice', () => {
    const { shares } = readFixtureJson('ssv/cluster-4/keyshares.json') as { shares: unknown[] }
    const error = refusal(() => check({ shares: [...shares, shares[0]] }))
    expect([error.code, error.message]).toEqual([
      'KEYSHARES_DUPLICATE',
      `${file}: shares[2] is of the same validator as shares[0]`,
    ])
  })

  it.each([
    ['the nonce is another', 'data.ownerNonce', 2, 'are not signed by the validator key for this owner and nonce 2'],
    [
      'the owner is another',
      'data.ownerAddress',
      `0x${'11'.repeat(20)}`,
      'are not signed by the validator key for this owner and nonce 1',
    ],
    [
      'the shares are zero',
      'payload.sharesData',
      `0x${'00'.repeat(1312)}`,
      'have a public key share of operator 263 that is no BLS public key',
    ],
  ])('%s', (_, path, value, reason) => {
    const error = refusal(() => check(changed(`shares.1.${path}`, value)))
    expect([error.code, error.message]).toEqual([
      'KEYSHARES_INVALID',
      `${file}: shares[1].payload.sharesData ${reason}`,
    ])
    expect(error.meta).toEqual({ file, field: 'shares[1].payload.sharesData', reason })
  })

  it('its shares are another validator’s', () => {
    const { shares } = readFixtureJson('ssv/cluster-4/keyshares.json') as { shares: { payload: Json }[] }
    const sharesData = shares[1]?.payload['sharesData']
    const error = refusal(() => check(changed('shares.0.payload.sharesData', sharesData)))
    expect(error.message).toBe(
      `${file}: shares[0].payload.sharesData do not belong to the validator key with threshold 3`,
    )
  })
})
