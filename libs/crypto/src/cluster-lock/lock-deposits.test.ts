import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import {
  FIXTURE_CLUSTERS,
  FIXTURE_LOCKS,
  GENESIS_FORK_VERSIONS,
  loadFixtureCluster,
  readFixture,
} from '../../../../test/support/keys/fixtures.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { createNobleEngine } from '../bls/noble.ts'
import { depositSigningRoot, withdrawalCredentials } from '../messages/messages.ts'
import { type ClusterLock, type LockDeposit, type LockValidator, parseClusterLock } from './cluster-lock.ts'
import { readDeposits, type WholeDeposit } from './lock-deposits.ts'

const engine = createBlstEngine()
const hoodi = { genesisForkVersion: GENESIS_FORK_VERSIONS.hoodi }
const mainnet = { genesisForkVersion: GENESIS_FORK_VERSIONS.mainnet }
const GWEI = 1_000_000_000n
const all = () => true
const of32 = (_: string, amount: bigint) => amount === 32n * GWEI
const brief = ({ position, type, vault, amountGwei }: WholeDeposit) =>
  `${position} ${type} ${toHex(vault)} ${amountGwei / GWEI}`
const lockOf = (file: string) => parseClusterLock(readFixture(file), { file })

describe('the deposits of real locks', () => {
  it.each(FIXTURE_LOCKS)('%s', (path) => {
    const lock = lockOf(path)
    const { deposits, wrong } = readDeposits(engine, lock, hoodi, of32)
    const vault = loadFixtureCluster('cluster-4').expected.withdrawal_address
    const expected = lock.minor < 6 ? [] : lock.validators.map((_, position) => `${position} 0x01 ${vault} 32`)
    expect({ deposits: deposits.map(brief), wrong }).toEqual({ deposits: expected, wrong: [] })
  })

  it.each(FIXTURE_CLUSTERS)('%s, of every amount', (name) => {
    const { expected, lockFile } = loadFixtureCluster(name)
    const { deposits, wrong } = readDeposits(engine, lockOf(lockFile), { hoodi, mainnet }[expected.network], all)
    const amounts = name === 'cluster-3' ? [1, 31] : [1, 32]
    const each = expected.validators.flatMap((_, position) =>
      amounts.map((ether) => `${position} 0x01 ${expected.withdrawal_address} ${ether}`),
    )
    expect({ deposits: deposits.map(brief), wrong }).toEqual({ deposits: each, wrong: [] })
  })

  it('verify with another implementation', () => {
    const lock = lockOf(loadFixtureCluster('cluster-dkg').lockFile)
    const { deposits, wrong } = readDeposits(createNobleEngine(), lock, hoodi, of32)
    expect([deposits.length, wrong.length]).toEqual([lock.validators.length, 0])
  })

  it.each(FIXTURE_LOCKS.slice(6))('%s, are all wrong on another network', (path) => {
    const lock = lockOf(path)
    const { deposits, wrong } = readDeposits(engine, lock, mainnet, of32)
    expect([deposits.length, wrong.length]).toEqual([0, lock.validators.length])
    expect(wrong[3]).toBe(`distributed_validators[3].${lock.minor < 8 ? 'deposit_data' : 'partial_deposit_data[1]'}`)
  })
})

describe('a deposit that is not what it says', () => {
  const secretKeys = [1, 2].map((last) => Uint8Array.from({ length: 32 }, (_, i) => (i === 31 ? last : 0)))
  const [key, other] = secretKeys.map((secretKey) => ({ secretKey, publicKey: engine.publicKeyOf(secretKey) }))
  if (key === undefined || other === undefined) throw new Error('no keys')
  const vault = new Uint8Array(20).fill(0xaa)

  const signed = (change: Partial<LockDeposit> = {}, by = key, fork = hoodi): LockDeposit => {
    const deposit = {
      publicKey: key.publicKey,
      withdrawalCredentials: withdrawalCredentials('0x02', vault),
      amountGwei: 32n * GWEI,
      ...change,
    }
    return { signature: engine.sign(by.secretKey, depositSigningRoot(fork, deposit)), ...deposit, ...change }
  }
  const read = (...deposits: LockDeposit[]) => {
    const validator = { publicKey: key.publicKey, deposits } as unknown as LockValidator
    const lock: Pick<ClusterLock, 'validators' | 'minor'> = { validators: [validator], minor: 11 }
    const found = readDeposits(engine, lock, hoodi, all)
    return { right: found.deposits.map(brief), wrong: found.wrong.length }
  }
  const right = `0 0x02 ${toHex(vault)} 32`
  const credentials = (change: (bytes: Uint8Array) => void) => {
    const bytes = withdrawalCredentials('0x02', vault)
    change(bytes)
    return bytes
  }

  it('is told from one that is', () => {
    expect(read(signed())).toEqual({ right: [right], wrong: 0 })
    expect(read(signed({}, other), signed(), signed({ signature: new Uint8Array(96) }))).toEqual({
      right: [right],
      wrong: 2,
    })
  })

  it.each<[string, LockDeposit]>([
    ['signed by another key', signed({}, other)],
    ['of another key, whose signature is right', signed({ publicKey: other.publicKey }, other)],
    ['signed for another network', signed({}, key, mainnet)],
    ['with the amount changed', { ...signed(), amountGwei: 33n * GWEI }],
    ['with the type changed', { ...signed(), withdrawalCredentials: withdrawalCredentials('0x01', vault) }],
    [
      'with the vault changed',
      { ...signed(), withdrawalCredentials: withdrawalCredentials('0x02', new Uint8Array(20)) },
    ],
    ['with the point at infinity', signed({ signature: Uint8Array.of(0xc0, ...new Uint8Array(95)) })],
  ])('is wrong: %s', (_, deposit) => {
    expect(read(deposit)).toEqual({ right: [], wrong: 1 })
  })

  it.each<[string, LockDeposit]>([
    ['not signed', signed({ signature: new Uint8Array() })],
    ['to a BLS withdrawal key', signed({ withdrawalCredentials: credentials((bytes) => bytes.fill(0, 0, 1)) })],
    ['with a byte before the address', signed({ withdrawalCredentials: credentials((bytes) => bytes.fill(1, 5, 6)) })],
    ['of a type to come', signed({ withdrawalCredentials: credentials((bytes) => bytes.fill(3, 0, 1)) })],
  ])('is left out: %s', (_, deposit) => {
    expect(read(deposit)).toEqual({ right: [], wrong: 0 })
  })

  it('is found among many of one lock', () => {
    const many = Array.from({ length: 300 }, (_, place) => signed({}, place % 100 === 7 ? other : key))
    expect(read(...many)).toEqual({ right: Array(297).fill(right), wrong: 3 })
  })
})
