import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createBlstEngine } from '../bls/blst.ts'
import {
  depositDataRoot,
  depositDomain,
  depositMessageRoot,
  depositSigningRoot,
  exitDomain,
  exitSigningRoot,
  withdrawalCredentials,
} from './messages.ts'

interface Deposit {
  pubkey: string
  vault: string
  validator_type: '0x01' | '0x02'
  amount_gwei: string
  withdrawal_credentials: string
  hash_tree_root: string
  signing_root: string
}
interface Network {
  network: string
  exit_fork_version: string
  exit_domain: string
  deposit_fork_version: string
  deposit_domain: string
  exits: { epoch: string; validator_index: string; signing_root: string }[]
  deposits: Deposit[]
}
const { networks } = readFixtureJson('vectors/signing_roots.json') as { networks: Network[] }
const deposits = readFixtureJson('vectors/deposit_data.json') as {
  cases: (Deposit & { network: string; secret_key: string; signature: string; deposit_data_root: string })[]
}

/** docs/protocol.md#2-networks. */
const GENESIS_ROOTS: Readonly<Record<string, string>> = {
  mainnet: '0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95',
  hoodi: '0x212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f',
  gnosis: '0xf5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47',
}

function messageOf(deposit: Deposit) {
  return {
    publicKey: fromHex(deposit.pubkey),
    withdrawalCredentials: withdrawalCredentials(deposit.validator_type, fromHex(deposit.vault)),
    amountGwei: BigInt(deposit.amount_gwei),
  }
}

describe.each(networks)('signing roots on $network', (network) => {
  const exitFork = {
    capellaForkVersion: fromHex(network.exit_fork_version),
    genesisValidatorsRoot: fromHex(GENESIS_ROOTS[network.network] ?? ''),
  }
  const depositFork = { genesisForkVersion: fromHex(network.deposit_fork_version) }

  it('has the domains', () => {
    expect(toHex(exitDomain(exitFork))).toBe(network.exit_domain)
    expect(toHex(depositDomain(depositFork))).toBe(network.deposit_domain)
  })

  it.each(network.exits)('exit of validator $validator_index', ({ epoch, validator_index, signing_root }) => {
    const exit = { epoch: BigInt(epoch), validatorIndex: BigInt(validator_index) }
    expect(toHex(exitSigningRoot(exitFork, exit))).toBe(signing_root)
  })

  it.each(network.deposits)('deposit of $amount_gwei to $validator_type', (deposit) => {
    const message = messageOf(deposit)
    expect(toHex(message.withdrawalCredentials)).toBe(deposit.withdrawal_credentials)
    expect(toHex(depositMessageRoot(message))).toBe(deposit.hash_tree_root)
    expect(toHex(depositSigningRoot(depositFork, message))).toBe(deposit.signing_root)
  })
})

it.each(deposits.cases)('deposit data of $amount_gwei on $network', (deposit) => {
  const message = messageOf(deposit)
  const fork = networks.find(({ network }) => network === deposit.network)?.deposit_fork_version ?? ''
  const signingRoot = depositSigningRoot({ genesisForkVersion: fromHex(fork) }, message)
  const signature = createBlstEngine().sign(fromHex(deposit.secret_key), signingRoot)
  expect(toHex(signingRoot)).toBe(deposit.signing_root)
  expect(toHex(signature)).toBe(deposit.signature)
  expect(toHex(depositDataRoot({ ...message, signature }))).toBe(deposit.deposit_data_root)
})

describe('what does not fit', () => {
  const fork = { capellaForkVersion: new Uint8Array(4), genesisValidatorsRoot: new Uint8Array(32) }
  const invalid = expect.objectContaining({ code: 'MESSAGE_INVALID' })

  it.each([2n ** 64n, -1n, 2 ** 53, 1.5, Number.NaN])('refuses %s as uint64', (value) => {
    expect(() => exitSigningRoot(fork, { epoch: 1, validatorIndex: value })).toThrow(invalid)
    expect(() => exitSigningRoot(fork, { epoch: value, validatorIndex: 1 })).toThrow(invalid)
  })

  it('refuses fields of another length', () => {
    const message = { publicKey: new Uint8Array(48), withdrawalCredentials: new Uint8Array(32), amountGwei: 1n }
    expect(() => exitDomain({ ...fork, capellaForkVersion: new Uint8Array(5) })).toThrow(invalid)
    expect(() => exitDomain({ ...fork, genesisValidatorsRoot: new Uint8Array(31) })).toThrow(invalid)
    expect(() => depositMessageRoot({ ...message, publicKey: new Uint8Array(47) })).toThrow(invalid)
    expect(() => depositMessageRoot({ ...message, withdrawalCredentials: new Uint8Array(33) })).toThrow(invalid)
    expect(() => depositDataRoot({ ...message, signature: new Uint8Array(95) })).toThrow(invalid)
    expect(() => withdrawalCredentials('0x01', new Uint8Array(32))).toThrow(invalid)
  })
})

it('gives different roots for different exits', () => {
  const fork = { capellaForkVersion: new Uint8Array(4), genesisValidatorsRoot: new Uint8Array(32) }
  const number = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  fc.assert(
    fc.property(number, number, number, number, (epoch, validatorIndex, otherEpoch, otherIndex) => {
      fc.pre(epoch !== otherEpoch || validatorIndex !== otherIndex)
      expect(exitSigningRoot(fork, { epoch, validatorIndex })).not.toEqual(
        exitSigningRoot(fork, { epoch: otherEpoch, validatorIndex: otherIndex }),
      )
    }),
  )
})
