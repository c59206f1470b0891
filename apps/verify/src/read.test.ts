import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../test/support/keys/fixtures.ts'
import { makeOracleShares } from '../../../test/support/keys/oracle-shares.ts'
import { NETWORKS, readNetworkFile } from './networks.ts'
import { readConfig, readPlainShare, readShareSet, readShares } from './read.ts'

const unreadable = expect.objectContaining({ code: 'unreadable' })
const configs = readFixtureJson('vectors/oracle_config.json') as {
  valid: { name: string; config: unknown; addresses: string[] }[]
  invalid: { name: string; config: unknown }[]
}
const made = makeOracleShares({ configName: 'threshold one' })
const noClaims = { publicKey: undefined, validatorIndex: undefined, epoch: 194048 }
const read = (value: unknown, claims = {}) =>
  readShares(JSON.stringify(value), 'answer.json', { ...noClaims, ...claims })

describe('an oracle config', () => {
  it.each(configs.valid)('is read: $name', ({ config, addresses }) => {
    expect(readConfig(JSON.stringify(config), 'config.json').oracles.map(({ address }) => address)).toEqual(addresses)
  })

  it.each(configs.invalid)('is refused: $name', ({ config }) => {
    expect(() => readConfig(JSON.stringify(config), 'config.json')).toThrow(unreadable)
  })

  it('is refused with its name and the reason', () => {
    const message = expect.stringMatching(/^config\.json: .*threshold is 12 with 11 oracles/)
    const config = { ...(configs.valid[0]?.config as object), exit_signature_recover_threshold: 12 }
    expect(() => readConfig(JSON.stringify(config), 'config.json')).toThrow(expect.objectContaining({ message }))
    expect(() => readConfig('{', 'config.json')).toThrow(
      expect.objectContaining({ message: 'config.json: it is not JSON' }),
    )
  })
})

describe('shares', () => {
  it('are an item, a page, a list or a whole set, with whatever fields besides', () => {
    const [one, two] = [made.item(1), made.item(2)]
    expect(read({ ...one, new_field: [1] })).toMatchObject({
      items: [{ place: 1, labels: { oracles: 11, threshold: 1 } }],
    })
    expect(read({ exit_shares: [one, two], cursor: '1.2.3' })).toMatchObject({ items: [{ place: 1 }, { place: 2 }] })
    expect(read([one, two])).toMatchObject({ items: [{ place: 1 }, { place: 2 }] })
    expect(read(made.set)).toMatchObject({ set: { labels: { cid: made.cid, isOutdated: false } } })
  })

  it('of a page are those of the validator claimed', () => {
    const other = { ...made.item(2), public_key: made.item(2).public_key_share.replace('0x', '0X') }
    const page = { exit_shares: [made.item(1), { ...other, public_key: toHex(new Uint8Array(48)) }], cursor: '1.2.3' }
    expect(read(page, { publicKey: made.publicKey })).toMatchObject({ items: [{ place: 1 }] })
    expect(() => read(page, { publicKey: new Uint8Array(48).fill(1) })).toThrow(unreadable)
    expect(() => read({ exit_shares: [], cursor: '1.2.3' })).toThrow(unreadable)
  })

  it('that do not name their validator need it said', () => {
    const { public_keys, encrypted_exit_signatures } = made.set
    const bare = { public_keys, encrypted_exit_signatures }
    expect(read(bare, { publicKey: made.publicKey, validatorIndex: 4 })).toMatchObject({
      set: { exit: { validatorIndex: 4, epoch: 194048 } },
    })
    expect(() => read(bare, { validatorIndex: 4 })).toThrow(/--public-key/)
    expect(() => read(bare, { publicKey: made.publicKey })).toThrow(/--validator-index/)
  })

  const item = made.item(1)
  it.each([
    ['public_key', '0x12'],
    ['validator_index', '20551'],
    ['validator_index', -1],
    ['epoch', 2 ** 53],
    ['public_key_share', undefined],
    ['public_key_share', 'zz'],
    ['encrypted_exit_signature', `${item.encrypted_exit_signature}00`],
    ['oracle_set', 'none'],
    ['oracle_set', { ...item.oracle_set, place: 0 }],
    ['oracle_set', { ...item.oracle_set, threshold: '1' }],
    ['receipt', '0x00'],
  ])('with a wrong %s are refused by its name', (name, value) => {
    expect(() => read({ ...item, [name]: value })).toThrow(
      expect.objectContaining({ code: 'unreadable', message: expect.stringContaining(name) }),
    )
  })

  it.each([['public_keys'], ['encrypted_exit_signatures'], ['oracles']])(
    'of a set without a right %s are refused',
    (name) => {
      const set = JSON.stringify({ ...made.set, [name]: ['0x12'] })
      expect(() => readShareSet(set, 'set.json', noClaims)).toThrow(
        expect.objectContaining({ message: expect.stringContaining(`${name}[0]`) }),
      )
    },
  )

  it('are nothing else', () => {
    for (const value of [{}, null, 'text', 7, [[]]]) expect(() => read(value)).toThrow(unreadable)
    expect(() => readPlainShare('0x12', 'share')).toThrow(unreadable)
  })
})

describe('networks', () => {
  it('are those of the relayer', () => {
    for (const own of NETWORKS) expect(Object.values(networks)).toContainEqual(expect.objectContaining(own))
    expect(NETWORKS.map(({ name }) => name)).toEqual(Object.keys(networks))
  })

  it('can come from its file', () => {
    const file = {
      name: 'devnet',
      chain_id: 7,
      genesis_validators_root: `0x${'ab'.repeat(32)}`,
      genesis_fork_version: '0x10000000',
      capella_fork_version: '0x40000000',
      capella_epoch: 3,
    }
    expect(readNetworkFile(JSON.stringify(file), 'devnet.json')).toMatchObject({ name: 'devnet', capellaEpoch: 3 })
    expect(() => readNetworkFile(JSON.stringify({ ...file, capella_epoch: '3' }), 'devnet.json')).toThrow(
      /capella_epoch/,
    )
  })
})
