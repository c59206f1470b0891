import { toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  FIXTURE_CLUSTERS,
  FIXTURE_LOCKS,
  GENESIS_FORK_VERSIONS,
  loadFixtureCluster,
  readFixture,
  readFixtureJson,
} from '../../../../test/support/keys/fixtures.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { type ClusterLock, ClusterLockError, parseClusterLock } from './cluster-lock.ts'
import { configHash, definitionHash, lockHash } from './lock-hash.ts'
import { isPinnedLock, verifyClusterLock } from './lock-verify.ts'

const engine = createBlstEngine()
const hoodi = { genesisForkVersion: GENESIS_FORK_VERSIONS.hoodi, networkName: 'hoodi', file: 'lock.json' }
const mainnet = { genesisForkVersion: GENESIS_FORK_VERSIONS.mainnet, networkName: 'mainnet', file: 'lock.json' }

const check = (json: unknown, expected = hoodi) =>
  verifyClusterLock(engine, parseClusterLock(json, { file: 'lock.json' }), expected)

/** The error that a lock is refused with. */
function refusal(act: () => unknown): ClusterLockError {
  try {
    act()
  } catch (error) {
    if (error instanceof ClusterLockError) return error
    throw error
  }
  throw new Error('the lock was accepted')
}

describe('real locks', () => {
  it.each(FIXTURE_CLUSTERS)('%s passes and says what its keystores say', (name) => {
    const { expected, lockFile, nodes } = loadFixtureCluster(name)
    const lock = parseClusterLock(readFixture(lockFile), { file: lockFile })
    const network = { hoodi, mainnet }[expected.network]
    expect(verifyClusterLock(engine, lock, network)).toEqual({ warnings: [] })
    expect(lock.threshold).toBe(expected.threshold)
    expect(lock.operators).toHaveLength(nodes.length)
    expect(
      lock.validators.map(({ publicKey, publicKeyShares, withdrawalAddress }) => ({
        public_key: toHex(publicKey),
        public_key_shares: publicKeyShares.map((share, position) => ({
          share_index: position + 1,
          public_key_share: toHex(share),
        })),
        withdrawal_address: withdrawalAddress === undefined ? undefined : toHex(withdrawalAddress),
      })),
    ).toEqual(
      expected.validators.map((validator) => ({ ...validator, withdrawal_address: expected.withdrawal_address })),
    )
  })

  it.each(FIXTURE_LOCKS)('%s passes and says the same as the newest version', (path) => {
    const newest = parseClusterLock(readFixture(loadFixtureCluster('cluster-4').lockFile), { file: 'newest' })
    const lock = parseClusterLock(readFixture(path), { file: 'lock.json' })
    const warnings = lock.minor < 5 ? [expect.stringMatching(/^lock\.json: lock_hash was not recomputed/)] : []
    expect(verifyClusterLock(engine, lock, hoodi)).toEqual({ warnings })
    const keys = ({ validators }: ClusterLock) =>
      validators.map(({ publicKey, publicKeyShares, withdrawalAddress }) => ({
        publicKey,
        publicKeyShares,
        withdrawalAddress,
      }))
    expect(keys(lock)).toEqual(keys(newest))
    expect(lock.threshold).toBe(newest.threshold)
  })

  it.each([0, 1])('an old lock (v1.%i.0) without an aggregate passes with one more warning', (minor) => {
    const json = readFixtureJson(FIXTURE_LOCKS[minor] ?? '') as object
    const { warnings } = check({ ...json, signature_aggregate: '' })
    expect(warnings).toHaveLength(2)
    expect(warnings[1]).toContain('signature_aggregate')
  })

  it.each([2, 3, 4, 5, 6, 7, 8, 9, 10])('a lock of v1.%i.0 has an aggregate', (minor) => {
    const json = readFixtureJson(FIXTURE_LOCKS[minor] ?? '') as object
    expect(refusal(() => check({ ...json, signature_aggregate: '0x' }))).toMatchObject({
      code: 'LOCK_MALFORMED',
      meta: { field: 'signature_aggregate' },
    })
  })
})

describe('pins', () => {
  const read = (json: unknown) => parseClusterLock(json, { file: 'lock.json' })
  const newest = read(readFixture(loadFixtureCluster('cluster-4').lockFile))

  it('a lock whose hash was recomputed is known by it', () => {
    check(readFixture(loadFixtureCluster('cluster-4').lockFile))
    expect(isPinnedLock(newest, [new Uint8Array(32), newest.lockHash])).toBe(true)
    expect(isPinnedLock(newest, [new Uint8Array(32)])).toBe(false)
    expect(isPinnedLock(newest, [])).toBe(false)
  })

  it('a lock that claims to be too old for a recomputed hash is none of them, whatever hash it states', () => {
    const forged = {
      ...(readFixtureJson('obol/locks/lock-v1.0.0.json') as object),
      lock_hash: Buffer.from(newest.lockHash).toString('base64'),
      signature_aggregate: '',
    }
    // Nothing else refuses it.
    expect(check(forged).warnings).toHaveLength(2)
    expect(isPinnedLock(read(forged), [newest.lockHash])).toBe(false)
    const old = read(readFixture('obol/locks/lock-v1.4.0.json'))
    expect(isPinnedLock(old, [old.lockHash])).toBe(false)
  })
})

type Path = (string | number)[]
type Tree = Record<string | number, unknown>

/** Every value that is neither object nor list, by its path. Of the validators only the first and the last. */
function leavesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  const entries: [string | number, unknown][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  const perValidator = path.at(-1) === 'distributed_validators' || path.at(-1) === 'validators'
  return entries
    .filter(([position]) => !perValidator || position === 0 || position === entries.length - 1)
    .flatMap(([key, inner]) => leavesOf(inner, [...path, key]))
}

/** A copy in which `change` made something else of one leaf; undefined takes it away. */
function withLeaf(json: unknown, path: Path, change: (leaf: unknown) => unknown): unknown {
  const copy: unknown = structuredClone(json)
  const holder = path.slice(0, -1).reduce((inner, key) => inner[key] as Tree, copy as Tree)
  const key = path.at(-1) ?? ''
  const changed = change(holder[key])
  if (changed === undefined) delete holder[key]
  else holder[key] = changed
  return copy
}

/** Another value of the same form: one digit or letter changed, one more, the opposite, something instead of nothing. */
function mutate(path: Path, leaf: unknown): unknown {
  const name = String(path.at(-1))
  if (typeof leaf === 'number') return leaf + 1
  if (typeof leaf === 'boolean') return !leaf
  if (leaf === null) return ['32000000000']
  if (typeof leaf !== 'string') throw new TypeError('not a leaf')
  if (leaf === '') return name === 'address' ? `0x${'11'.repeat(20)}` : name.includes('signature') ? sixtyFive : 'x'
  const position = leaf.startsWith('enr:') ? 20 : Math.floor(leaf.length / 2)
  const digit = leaf[position] === '1' ? '2' : '1'
  return `${leaf.slice(0, position)}${digit}${leaf.slice(position + 1)}`
}
const sixtyFive = `0x${'22'.repeat(65)}`

/** `a.b[].c`: a path without the places in lists. */
const shapeOf = (path: Path) =>
  path.reduce<string>((text, key) => (typeof key === 'number' ? `${text}[]` : `${text}${text && '.'}${key}`), '')

/** Shapes of the leaves whose change is not noticed. */
const unnoticed = (json: unknown, change: (path: Path, leaf: unknown) => unknown) => {
  const shapes = leavesOf(json)
    .filter((path) => {
      const changed = withLeaf(json, path, (leaf) => change(path, leaf))
      try {
        check(changed)
        return true
      } catch (error) {
        if (!(error instanceof ClusterLockError)) throw error
        expect(error.message).toBe(
          `lock.json: ${error.meta['field'] === '' ? '' : `${error.meta['field']} `}${error.meta['reason']}`,
        )
        return false
      }
    })
    .map(shapeOf)
  return [...new Set(shapes)].sort()
}

const hashed = [...FIXTURE_LOCKS.slice(5), loadFixtureCluster('cluster-3').lockFile]

describe('one leaf changed', () => {
  it.each(hashed)('is always noticed from v1.5 on: %s', (path) => {
    expect(unnoticed(readFixtureJson(path), mutate)).toEqual([])
  })

  // What carries no weight before v1.5, where no hash is recomputed: names, addresses, ENRs, hashes of the definition.
  const loose = [
    'cluster_definition.config_hash',
    'cluster_definition.definition_hash',
    'cluster_definition.dkg_algorithm',
    'cluster_definition.fee_recipient_address',
    'cluster_definition.name',
    'cluster_definition.operators[].address',
    'cluster_definition.operators[].enr',
    'cluster_definition.uuid',
    'cluster_definition.withdrawal_address',
  ]
  const signatures = ['cluster_definition.operators[].config_signature', 'cluster_definition.operators[].enr_signature']
  const creator = ['cluster_definition.creator.address', 'cluster_definition.creator.config_signature']
  it.each([
    [0, [...loose, 'cluster_definition.operators[].nonce']],
    [1, [...loose, 'cluster_definition.operators[].nonce', 'cluster_definition.timestamp']],
    [2, [...loose, ...signatures, 'cluster_definition.timestamp']],
    [3, [...loose, ...signatures, 'cluster_definition.timestamp']],
    [4, [...loose, ...signatures, ...creator, 'cluster_definition.timestamp']],
  ])('is noticed in v1.%i.0 but for these', (minor, shapes) => {
    const json = readFixtureJson(FIXTURE_LOCKS[minor] ?? '')
    // Changing `version` to a neighbour is no change of substance where nothing is hashed.
    const found = unnoticed(json, (path, leaf) => (path.at(-1) === 'version' ? 'v1.12.0' : mutate(path, leaf)))
    expect(found).toEqual([...shapes].sort())
  })
})

describe('one leaf of a wrong type', () => {
  it.each([...FIXTURE_LOCKS, loadFixtureCluster('cluster-3').lockFile])('is refused by its path: %s', (path) => {
    const json = readFixtureJson(path)
    for (const leaf of leavesOf(json)) {
      if (leaf.at(-1) === 'nonce') continue
      const changed = withLeaf(json, leaf, () => ({ surprise: true }))
      const error = refusal(() => parseClusterLock(changed, { file: 'lock.json' }))
      expect(error.code).toBe('LOCK_MALFORMED')
      expect(String(error.meta['field']).replaceAll(/\[\d+\]/g, '[]')).toBe(shapeOf(leaf))
    }
  })

  it.each(hashed)('or left out is refused, but for what may be left out: %s', (path) => {
    const gone = unnoticed(readFixtureJson(path), () => undefined)
    const optional = ['cluster_definition.consensus_protocol', 'cluster_definition.deposit_amounts']
    expect(gone.filter((shape) => !optional.includes(shape))).toEqual([])
  })
})

/** A lock changed by somebody who can compute hashes. */
function rehashed(
  change: (lock: ClusterLock) => Partial<ClusterLock>,
  path: string = loadFixtureCluster('cluster-3').lockFile,
): ClusterLock {
  const original = parseClusterLock(readFixture(path), { file: 'lock.json' })
  const changed = { ...original, ...change(original) }
  const configured = { ...changed, configHash: configHash(changed) }
  const defined = { ...configured, definitionHash: definitionHash(configured) }
  return { ...defined, lockHash: lockHash(defined) }
}

/** A lock whose first validator has these shares instead. */
const withShares = (
  change: (shares: readonly Uint8Array[], lock: ClusterLock) => readonly (Uint8Array | undefined)[],
) =>
  rehashed((lock) => ({
    validators: lock.validators.map((validator, position) =>
      position === 0
        ? {
            ...validator,
            publicKeyShares: change(validator.publicKeyShares, lock).filter((share) => share !== undefined),
          }
        : validator,
    ),
  }))

interface BadKey {
  name: string
  bytes: string
}
const { bad_public_keys: badKeys } = readFixtureJson('vectors/threshold.json') as { bad_public_keys: BadKey[] }

describe('consistent hashes do not save a wrong lock', () => {
  const shares = 'distributed_validators[0].public_shares'
  const cases: [string, string, string, ClusterLock][] = [
    [
      'another network',
      'LOCK_NETWORK_WRONG',
      'cluster_definition.fork_version',
      rehashed(() => ({ forkVersion: mainnet.genesisForkVersion })),
    ],
    [
      'fewer validators than stated',
      'LOCK_COUNT_MISMATCH',
      'distributed_validators',
      rehashed((lock) => ({ validators: lock.validators.slice(1) })),
    ],
    [
      'fewer addresses than stated',
      'LOCK_COUNT_MISMATCH',
      'cluster_definition.validators',
      rehashed((lock) => ({ addresses: lock.addresses.slice(1) })),
    ],
    [
      'an operator less',
      'LOCK_COUNT_MISMATCH',
      'node_signatures',
      rehashed((lock) => ({ operators: lock.operators.slice(1) })),
    ],
    ['no operators', 'LOCK_COUNT_MISMATCH', 'cluster_definition.operators', rehashed(() => ({ operators: [] }))],
    ['a share less', 'LOCK_COUNT_MISMATCH', shares, withShares((list) => list.slice(1))],
    [
      'threshold above the number of nodes',
      'LOCK_THRESHOLD_INVALID',
      'cluster_definition.threshold',
      rehashed(() => ({ threshold: 4 })),
    ],
    ['threshold too high', 'LOCK_SHARES_UNFIT', shares, rehashed(() => ({ threshold: 3 }))],
    ['threshold too low', 'LOCK_SHARES_UNFIT', shares, rehashed(() => ({ threshold: 1 }))],
    ['a share twice', 'LOCK_DUPLICATE', `${shares}[1]`, withShares(([a, , c]) => [a, a, c])],
    [
      'a share of another validator',
      'LOCK_DUPLICATE',
      'distributed_validators[1].public_shares[0]',
      withShares(([, b, c], lock) => [lock.validators[1]?.publicKeyShares[0], b, c]),
    ],
    [
      'the validator key as a share',
      'LOCK_DUPLICATE',
      `${shares}[0]`,
      withShares(([, b, c], lock) => [lock.validators[0]?.publicKey, b, c]),
    ],
    ['shares in another order', 'LOCK_SHARES_UNFIT', shares, withShares(([a, b, c]) => [b, a, c])],
    [
      'a valid key that is no share',
      'LOCK_SHARES_UNFIT',
      shares,
      withShares(([a, b]) => [a, b, engine.publicKeyOf(new Uint8Array(32).fill(1))]),
    ],
    ['another aggregate', 'LOCK_SIGNATURE_INVALID', 'signature_aggregate', rehashed(() => ({ name: 'renamed' }))],
  ]
  it.each(cases)('%s', (_, code, field, lock) => {
    const error = refusal(() => verifyClusterLock(engine, lock, hoodi))
    expect({ code: error.code, field: error.meta['field'] }).toEqual({ code, field })
    expect(error.meta['file']).toBe('lock.json')
  })

  it.each([5, 6, 7, 8, 9, 10])('addresses of every validator in v1.%i.0', (minor) => {
    const lock = rehashed(({ addresses }) => ({ addresses: addresses.slice(1) }), FIXTURE_LOCKS[minor])
    expect(refusal(() => verifyClusterLock(engine, lock, hoodi))).toMatchObject({
      code: 'LOCK_COUNT_MISMATCH',
      meta: { field: 'cluster_definition.validators' },
    })
  })

  it('the shares of a validator are its key with threshold 1, and of no other validator', () => {
    const constant = (keys: (lock: ClusterLock) => (Uint8Array | undefined)[]) =>
      rehashed((lock) => ({
        threshold: 1,
        validators: lock.validators.map((validator, position) => {
          const publicKey = keys(lock)[position] ?? validator.publicKey
          return { ...validator, publicKey, publicKeyShares: validator.publicKeyShares.map(() => publicKey) }
        }),
      }))
    // All that is wrong with it is that nobody signed it.
    const alone = refusal(() =>
      verifyClusterLock(
        engine,
        constant(() => []),
        hoodi,
      ),
    )
    expect([alone.code, alone.meta['field']]).toEqual(['LOCK_SIGNATURE_INVALID', 'signature_aggregate'])
    const twice = constant(({ validators: [first] }) => [undefined, first?.publicKey])
    const error = refusal(() => verifyClusterLock(engine, twice, hoodi))
    expect([error.code, error.meta['field']]).toEqual([
      'LOCK_DUPLICATE',
      'distributed_validators[1].distributed_public_key',
    ])
  })

  it.each(badKeys)('a point that must be refused everywhere: $name', ({ bytes }) => {
    const position: Path = ['distributed_validators', 1, 'public_shares', 2]
    const error = refusal(() => check(withLeaf(readFixtureJson('obol/locks/lock-v1.4.0.json'), position, () => bytes)))
    expect(['LOCK_POINT_INVALID', 'LOCK_MALFORMED']).toContain(error.code)
    expect(error.meta['field']).toBe('distributed_validators[1].public_shares[2]')
  })
})

describe('signatures of the nodes', () => {
  const lock = parseClusterLock(readFixture(loadFixtureCluster('cluster-4').lockFile), { file: 'lock.json' })
  const refused = (change: Partial<ClusterLock>) =>
    refusal(() => verifyClusterLock(engine, { ...lock, ...change }, hoodi))
  const withFirst = (change: (signature: Uint8Array) => Uint8Array) => ({
    nodeSignatures: lock.nodeSignatures.map((signature, node) => (node === 0 ? change(signature) : signature)),
  })

  it.each([7, 8, 9, 10])('are of every node in v1.%i.0', (minor) => {
    const whole = parseClusterLock(readFixture(FIXTURE_LOCKS[minor] ?? ''), { file: 'lock.json' })
    const lacking = { ...whole, nodeSignatures: whole.nodeSignatures.slice(1) }
    expect(refusal(() => verifyClusterLock(engine, lacking, hoodi))).toMatchObject({
      code: 'LOCK_COUNT_MISMATCH',
      meta: { field: 'node_signatures' },
    })
  })

  it('may have v as 27 or 28', () => {
    const nodeSignatures = lock.nodeSignatures.map((signature) => signature.with(64, (signature[64] ?? 0) + 27))
    expect(verifyClusterLock(engine, { ...lock, nodeSignatures }, hoodi).warnings).toEqual([])
  })

  it.each([
    ['those of other nodes', { nodeSignatures: [...lock.nodeSignatures].reverse() }],
    ['r changed', withFirst((signature) => signature.with(5, (signature[5] ?? 0) ^ 1))],
    ['s changed', withFirst((signature) => signature.with(50, (signature[50] ?? 0) ^ 1))],
    ['the other v', withFirst((signature) => signature.with(64, (signature[64] ?? 0) ^ 1))],
    ['a v that does not exist', withFirst((signature) => signature.with(64, 2))],
    ['zeros', withFirst(() => new Uint8Array(65))],
    ['r beyond the order', withFirst(() => new Uint8Array(65).fill(255, 0, 64))],
  ])('are refused: %s', (_, change) => {
    const error = refused(change)
    expect(error.code).toBe('LOCK_SIGNATURE_INVALID')
    expect(error.meta['field']).toBe('node_signatures[0]')
  })
})

interface WalletCase {
  name: string
  operators: { address: string; config_signature: string; enr_signature: string }[]
  creator: { address: string; config_signature: string }
  config_hash: string
  definition_hash: string
  lock_hash: string
}
const { cases: wallets } = readFixtureJson('vectors/lock_signatures.json') as { cases: WalletCase[] }

/** A copy with other operators and another creator, the ENRs as they were. */
const withWallets = (json: unknown, { operators, creator }: Pick<WalletCase, 'operators' | 'creator'>) => {
  const lock = structuredClone(json) as { cluster_definition: { operators: object[]; creator: object } }
  const { cluster_definition: definition } = lock
  definition.operators = definition.operators.map((operator, node) => ({ ...operator, ...operators[node] }))
  definition.creator = creator
  return lock
}

describe('signatures of wallets', () => {
  const json = readFixtureJson(loadFixtureCluster('cluster-3').lockFile)

  it.each(wallets)('enter the hashes as another implementation has it: $name', (wallet) => {
    const lock = parseClusterLock(withWallets(json, wallet), { file: 'lock.json' })
    // The definition's hash covers the configuration's as the lock states it.
    const configured = { ...lock, configHash: configHash(lock) }
    expect(toHex(configured.configHash)).toBe(wallet.config_hash)
    expect(toHex(definitionHash(configured))).toBe(wallet.definition_hash)
    expect(toHex(lockHash(configured))).toBe(wallet.lock_hash)
    expect(lock.operators.map(({ configSignature }) => toHex(configSignature))).toEqual(
      wallet.operators.map(({ config_signature: text }) => (text === '' ? '0x' : text)),
    )
  })

  it('give another hash each, also in another order', () => {
    expect(new Set(wallets.map(({ lock_hash: hash }) => hash)).size).toBe(wallets.length)
  })

  const [whole] = wallets
  const of = (bytes: number) => `0x${'11'.repeat(bytes)}`
  const places = (['config_signature', 'enr_signature'] as const).map(
    (field) => ['cluster_definition', 'operators', 0, field] satisfies Path,
  )
  const creatorPlace: Path = ['cluster_definition', 'creator', 'config_signature']
  const allPlaces: Path[] = [...places, creatorPlace]

  it('are 32 at most, and whole', () => {
    if (whole === undefined) throw new Error('there are cases')
    for (const place of allPlaces) {
      const parse = (bytes: number) =>
        parseClusterLock(
          withLeaf(withWallets(json, whole), place, () => of(bytes)),
          { file: 'lock.json' },
        )
      for (const bytes of [65, 130, 32 * 65]) expect(() => parse(bytes)).not.toThrow()
      for (const bytes of [1, 64, 66, 129, 131, 33 * 65])
        expect(refusal(() => parse(bytes))).toMatchObject({ code: 'LOCK_MALFORMED' })
    }
  })

  it('are one before v1.11', () => {
    for (const place of allPlaces) {
      const parse = (bytes: number) =>
        parseClusterLock(
          withLeaf(readFixtureJson('obol/locks/lock-v1.10.0.json'), place, () => of(bytes)),
          { file: 'lock.json' },
        )
      expect(() => parse(65)).not.toThrow()
      expect(refusal(() => parse(130))).toMatchObject({ code: 'LOCK_MALFORMED' })
    }
  })
})

describe('the creator', () => {
  it.each([0, 1, 2, 3])('may be left out of v1.%i.0', (minor) => {
    const json = withLeaf(
      readFixtureJson(FIXTURE_LOCKS[minor] ?? ''),
      ['cluster_definition', 'creator'],
      () => undefined,
    )
    expect(check(json).warnings).toHaveLength(1)
    expect(parseClusterLock(json, { file: 'lock.json' }).creator).toEqual({
      address: new Uint8Array(),
      configSignature: new Uint8Array(),
    })
  })

  it.each([4, 5, 6, 7, 8, 9, 10])('may not be left out of v1.%i.0', (minor) => {
    const json = withLeaf(
      readFixtureJson(FIXTURE_LOCKS[minor] ?? ''),
      ['cluster_definition', 'creator'],
      () => undefined,
    )
    const error = refusal(() => check(json))
    expect(error.code).toBe('LOCK_MALFORMED')
    expect(error.meta['field']).toMatch(/^cluster_definition\.creator/)
  })
})

describe('hostile files', () => {
  const file = { file: 'lock.json' }
  it.each([
    ['not JSON', 'my password'],
    ['null', 'null'],
    ['a list', '[]'],
    ['nothing in it', '{}'],
    ['inherited fields', Object.create(readFixtureJson('obol/locks/lock-v1.9.0.json') as object)],
    ['a prototype as a field', '{"__proto__": {"cluster_definition": {"version": "v1.9.0"}}}'],
    ['nested without end', '['.repeat(100_000)],
  ])('are refused: %s', (_, json) => {
    const error = refusal(() => parseClusterLock(json, file))
    expect(error.code).toBe('LOCK_MALFORMED')
    expect(error.message).not.toContain('password')
  })

  it.each(['v1.12.0', 'v2.0.0', 'v1.9.1', '1.9.0', 'v1.09.0', 'v1.100.0', '', 'v1.9.0\n'])(
    'version %j is unknown',
    (version) => {
      const json = withLeaf(
        readFixtureJson('obol/locks/lock-v1.9.0.json'),
        ['cluster_definition', 'version'],
        () => version,
      )
      expect(refusal(() => parseClusterLock(json, file)).code).toBe('LOCK_VERSION_UNKNOWN')
    },
  )

  it.each<[string, Path, unknown]>([
    ['a million operators', ['cluster_definition', 'operators'], Array.from({ length: 1_000_000 })],
    ['257 shares', ['distributed_validators', 0, 'public_shares'], Array.from({ length: 257 }, () => '')],
    ['65,537 validators', ['distributed_validators'], Array.from({ length: 65_537 })],
    ['a long name', ['cluster_definition', 'name'], 'é'.repeat(129)],
    ['a negative number', ['cluster_definition', 'num_validators'], -1],
    ['a number beyond 2^53', ['cluster_definition', 'target_gas_limit'], 2 ** 53],
    ['a fraction', ['cluster_definition', 'threshold'], 2.5],
    ['threshold 0', ['cluster_definition', 'threshold'], 0],
    ['an amount of 2^64', ['distributed_validators', 0, 'partial_deposit_data', 0, 'amount'], String(1n << 64n)],
    ['an amount in hex', ['distributed_validators', 0, 'partial_deposit_data', 0, 'amount'], '0x10'],
    ['half a signature of several', ['cluster_definition', 'operators', 0, 'config_signature'], `0x${'00'.repeat(66)}`],
  ])('are refused: %s', (_, path, value) => {
    const json = withLeaf(readFixtureJson(loadFixtureCluster('cluster-3').lockFile), path, () => value)
    const error = refusal(() => parseClusterLock(json, file))
    expect(error.code).toBe('LOCK_MALFORMED')
    expect(error.meta['field']).toBe(
      path.reduce<string>(
        (text, key) => (typeof key === 'number' ? `${text}[${key}]` : `${text}${text && '.'}${key}`),
        '',
      ),
    )
  })

  const definitionOf = (field: string): Path => ['cluster_definition', field]
  const registrationOf = (field: string): Path => [
    'distributed_validators',
    0,
    'builder_registration',
    'message',
    field,
  ]
  it.each<[Path, { kept: unknown[]; refused: unknown[] }]>([
    [registrationOf('gas_limit'), { kept: [0, Number.MAX_SAFE_INTEGER], refused: [-1, 2 ** 53] }],
    [registrationOf('timestamp'), { kept: [0, Number.MAX_SAFE_INTEGER], refused: [-1, 2 ** 53] }],
    [definitionOf('target_gas_limit'), { kept: [0, Number.MAX_SAFE_INTEGER], refused: [-1, 2 ** 53] }],
    [definitionOf('num_validators'), { kept: [1, 65_536], refused: [0, 65_537] }],
    [definitionOf('threshold'), { kept: [1, 256], refused: [0, 257] }],
    [definitionOf('name'), { kept: ['', 'x'.repeat(256)], refused: ['x'.repeat(257)] }],
    [definitionOf('uuid'), { kept: ['', 'x'.repeat(64)], refused: ['x'.repeat(65)] }],
    [definitionOf('timestamp'), { kept: ['', 'x'.repeat(32)], refused: ['x'.repeat(33)] }],
    [definitionOf('dkg_algorithm'), { kept: ['', 'x'.repeat(32)], refused: ['x'.repeat(33)] }],
    [definitionOf('consensus_protocol'), { kept: ['', 'x'.repeat(256)], refused: ['x'.repeat(257)] }],
    [['cluster_definition', 'operators', 0, 'enr'], { kept: ['x'.repeat(1_024)], refused: ['x'.repeat(1_025)] }],
    [definitionOf('fork_version'), { kept: ['0x00000000'], refused: ['0x000000', '0x0000000000'] }],
    [definitionOf('deposit_amounts'), { kept: [null, Array(256).fill('1')], refused: [Array(257).fill('1')] }],
  ])('are read to the last value that the format allows: %j', (path, { kept, refused }) => {
    const json = readFixtureJson(loadFixtureCluster('cluster-3').lockFile)
    const parse = (value: unknown) =>
      parseClusterLock(
        withLeaf(json, path, () => value),
        file,
      )
    for (const value of kept) expect(() => parse(value)).not.toThrow()
    for (const value of refused) expect(refusal(() => parse(value)).code).toBe('LOCK_MALFORMED')
  })

  it('anything in place of anything is an error of ours or no fault at all', () => {
    const json = readFixtureJson(loadFixtureCluster('cluster-3').lockFile)
    const subtrees = (value: unknown, path: Path): Path[] =>
      typeof value === 'object' && value !== null
        ? [path, ...Object.entries(value).flatMap(([key, inner]) => subtrees(inner, [...path, key]))]
        : [path]
    const paths = subtrees(json, []).filter((path) => path.length > 0)
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.anything(), (path, value) => {
        try {
          check(withLeaf(json, path, () => value))
        } catch (error) {
          expect(error).toBeInstanceOf(ClusterLockError)
        }
      }),
      { numRuns: 500 },
    )
  })
})
