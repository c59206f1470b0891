import { type ConsensusOptions, createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import type { SignedMessage } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { describe, expect, it } from 'vitest'
import {
  type Beacon,
  depositOfVector,
  madeUpKey,
  type StandInDeposit,
  startBeacon,
} from '../../support/chain/beacon.ts'
import { startHttpStandIn } from '../../support/chain/http-stand-in.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'

const engine = createBlstEngine()
const network = networks.hoodi
type Vector = Parameters<typeof depositOfVector>[0] & { network: string }
const { cases } = readFixtureJson('vectors/deposit_data.json') as { cases: Vector[] }
const deposits = cases.filter((vector) => vector.network === 'hoodi').map(depositOfVector)
/** Deposits of another network: their signatures are wrong on ours. */
const foreign = cases.filter((vector) => vector.network === 'mainnet').map(depositOfVector)

function depositAt(position: number, list = deposits): StandInDeposit {
  const deposit = list[position]
  if (deposit === undefined) throw new Error('too few vectors')
  return deposit
}

function clientOf(beacons: readonly { url: string }[], options: Partial<ConsensusOptions> = {}) {
  const verified: SignedMessage[] = []
  const client = createConsensusClient({
    endpoints: beacons.map(({ url }) => url),
    timeoutMs: 60_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network,
    verifyBatch: async (triples) => {
      verified.push(...triples)
      return engine.verifyBatch(triples)
    },
    ...options,
  })
  return { client, verified }
}

const keyOf = (deposit: StandInDeposit) => toHex(deposit.publicKey)

describe('the chain of a node', () => {
  it('is accepted when it is ours', async () => {
    await using beacon = await startBeacon({ network })
    await clientOf([beacon]).client.checkChain()
  })

  it('is refused when it is another, at the check and at every use', async () => {
    await using beacon = await startBeacon({ network: networks.mainnet })
    const { client } = clientOf([beacon])
    await expect(client.checkChain()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    for (const use of [client.head(), client.nextValidatorIndex(), client.findValidatorByIndex(1)])
      await expect(use).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    expect(new Set(beacon.requests)).toEqual(new Set(['GET /eth/v1/beacon/genesis']))
  })

  it('is refused when one of several nodes is on another, and used from the right one only', async () => {
    await using wrong = await startBeacon({ network })
    await using right = await startBeacon({ network })
    wrong.setGenesis(new Uint8Array(32))
    const { client } = clientOf([wrong, right])
    await expect(client.checkChain()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    expect((await client.head()).root).toBe(right.headRoot)
  })

  it('is checked as far as nodes answer', async () => {
    await using down = await startBeacon({ network })
    await using up = await startBeacon({ network })
    down.fail('down')
    await clientOf([down, up]).client.checkChain()
    await expect(clientOf([down]).client.checkChain()).rejects.toBeInstanceOf(HttpError)
  })
})

describe('validators', () => {
  it.each([{}, { noPost: true }])('are found by key and by index (%j)', async (quirks) => {
    await using beacon = await startBeacon({ network, validators: 2_500, quirks })
    const [a, b] = [depositAt(0), depositAt(1)]
    const first = beacon.addValidators(a.publicKey)
    const { client } = clientOf([beacon])
    const asked = [...Array.from({ length: 1_100 }, (_, i) => madeUpKey(i * 2)), a.publicKey, b.publicKey]
    const found = await client.findValidators(asked)
    expect(found.size).toBe(1_101)
    expect(found.get(keyOf(a))).toMatchObject({ index: first, publicKey: keyOf(a), status: 'active_ongoing' })
    expect(found.get(toHex(madeUpKey(2_198)))?.index).toBe(2_198)
    expect(found.has(keyOf(b))).toBe(false)
    expect((await client.findValidatorByIndex(first))?.publicKey).toBe(keyOf(a))
    expect(await client.findValidatorByIndex(first + 1)).toBeUndefined()
    const both = await client.findValidatorsByIndex([first, 3, first + 1, 3])
    expect([...both].map(([index, { publicKey }]) => [index, publicKey])).toEqual([
      [first, keyOf(a)],
      [3, toHex(madeUpKey(3))],
    ])
  })

  it('have the credentials, balances and state that the node says, in lower case', async () => {
    await using beacon = await startBeacon({ network })
    const publicKey = depositAt(0).publicKey
    const withdrawalCredentials = new Uint8Array(32).fill(0xab)
    const balanceGwei = 2n ** 53n + 1n
    const index = beacon.addValidator({ publicKey, withdrawalCredentials, balanceGwei, status: 'active_exiting' })
    const found = await clientOf([beacon]).client.findValidatorByIndex(index)
    expect(found).toEqual({
      index,
      publicKey: toHex(publicKey),
      status: 'active_exiting',
      withdrawalCredentials: `0x${'ab'.repeat(32)}`,
      balanceGwei,
      effectiveBalanceGwei: 32_000_000_000n,
    })
  })

  it('that were not asked for, or with a field that is not what it must be, are refused', async () => {
    const good = {
      index: '7',
      balance: '32000000001',
      status: 'active_ongoing',
      pubkey: toHex(madeUpKey(8)),
      withdrawal_credentials: `0x${'AB'.repeat(32)}`,
      effective_balance: '32000000000',
    }
    let answer: object = good
    await using node = await startHttpStandIn(({ path }) => {
      if (path.endsWith('/genesis')) {
        const root = toHex(network.genesisValidatorsRoot)
        const data = { genesis_validators_root: root, genesis_fork_version: toHex(network.genesisForkVersion) }
        return { status: 200, body: { data } }
      }
      if (path.endsWith('/spec')) return { status: 404, body: {} }
      if (path.endsWith('/syncing'))
        return { status: 200, body: { data: { is_syncing: false, head_slot: '1', sync_distance: '0' } } }
      const { pubkey, withdrawal_credentials, effective_balance, ...rest } = answer as typeof good
      const item = { ...rest, validator: { pubkey, withdrawal_credentials, effective_balance } }
      return { status: 200, body: { data: path.endsWith('/validators') ? [item] : item } }
    })
    const { client } = clientOf([node])
    await expect(client.findValidators([madeUpKey(9)])).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    await expect(client.findValidatorByIndex(8)).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    await expect(client.findValidatorsByIndex([8])).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    expect(await client.findValidatorByIndex(7)).toEqual({
      index: 7,
      publicKey: good.pubkey,
      status: 'active_ongoing',
      withdrawalCredentials: `0x${'ab'.repeat(32)}`,
      balanceGwei: 32_000_000_001n,
      effectiveBalanceGwei: 32_000_000_000n,
    })
    const beyond = { index: '9007199254740992', balance: String(2n ** 64n), effective_balance: String(2n ** 64n) }
    for (const [field, value] of Object.entries(beyond)) {
      answer = { ...good, [field]: value }
      await expect(client.findValidators([madeUpKey(8)]), field).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    }
    for (const field of Object.keys(good))
      for (const value of [undefined, null, 7, '', '-1', '1.5', '007', '1e3', '0x1234', `0x${'ab'.repeat(49)}`]) {
        answer = { ...good, [field]: value }
        const what = `${field} ${JSON.stringify(value)}`
        await expect(client.findValidators([madeUpKey(8)]), what).rejects.toMatchObject({ code: 'HTTP_INVALID' })
      }
  })
})

describe('the next validator index', () => {
  it.each([{}, { noStateRoots: true }, { noPost: true }])(
    'counts the state and the pending new keys (%j)',
    async (quirks) => {
      await using beacon = await startBeacon({ network, validators: 1_000, quirks })
      const { client, verified } = clientOf([beacon])
      expect(await client.nextValidatorIndex()).toMatchObject({
        nextIndex: 1_000,
        stateCount: 1_000,
        headRoot: beacon.headRoot,
      })

      const [fresh, registered] = [depositAt(0), depositAt(1)]
      beacon.addValidators(registered.publicKey)
      const topUp = { ...registered, amountGwei: 1n }
      beacon.addPendingDeposits(fresh, fresh, topUp, { ...fresh, amountGwei: 1n })
      const view = await client.nextValidatorIndex()
      expect(view).toMatchObject({ nextIndex: 1_002, stateCount: 1_001, pendingKeys: new Set([keyOf(fresh)]) })
      // A key of the state, and deposits after a good one, cost no signature check.
      expect(verified.map(({ publicKey }) => toHex(publicKey))).toEqual([keyOf(fresh)])

      beacon.processDeposits()
      expect(await client.nextValidatorIndex()).toMatchObject({
        nextIndex: 1_002,
        stateCount: 1_002,
        pendingKeys: new Set(),
      })
    },
  )

  it('does not count keys whose every deposit is badly signed', async () => {
    await using beacon = await startBeacon({ network })
    const { client, verified } = clientOf([beacon])
    const good = depositAt(0)
    const bad = [
      depositAt(0, foreign),
      { ...depositAt(1), amountGwei: 1n },
      { ...depositAt(1), signature: Uint8Array.of(0xc0, ...new Uint8Array(95)) },
      { ...depositAt(1), signature: new Uint8Array(96).fill(0xff) },
      { ...depositAt(2), publicKey: new Uint8Array(48).fill(0xff) },
    ]
    // The second deposit of a key makes the validator when the first is bad.
    beacon.addPendingDeposits(...bad, { ...good, withdrawalCredentials: new Uint8Array(32) }, good)
    expect(await client.nextValidatorIndex()).toMatchObject({ nextIndex: 101, pendingKeys: new Set([keyOf(good)]) })
    const checks = verified.length
    beacon.advance()
    expect((await client.nextValidatorIndex()).nextIndex).toBe(101)
    expect(verified.length).toBe(checks)
  })

  it('reads nothing but the head when the head has not changed, and little when it has', async () => {
    await using beacon = await startBeacon({ network, validators: 20_551 })
    const { client } = clientOf([beacon], { now: () => 0 })
    beacon.addPendingDeposits(depositAt(0))
    const [view, same] = await Promise.all([client.nextValidatorIndex(), client.nextValidatorIndex()])
    expect(same).toBe(view)
    expect(beacon.requests.length).toBeLessThan(45)
    beacon.requests.length = 0
    expect(await client.nextValidatorIndex()).toBe(view)
    expect(beacon.requests).toEqual(['GET /eth/v1/beacon/headers/head'])
    beacon.requests.length = 0
    beacon.advance()
    expect((await client.nextValidatorIndex()).nextIndex).toBe(view.nextIndex)
    expect(beacon.requests.length).toBeLessThanOrEqual(5)
  })

  it('forgets what a reorganisation took away', async () => {
    await using beacon = await startBeacon({ network })
    const { client } = clientOf([beacon])
    const [a, b] = [depositAt(0), depositAt(1)]
    beacon.addPendingDeposits(a, b)
    await client.nextValidatorIndex()
    beacon.processDeposits(1)
    expect(await client.nextValidatorIndex()).toMatchObject({ nextIndex: 102, stateCount: 101 })
    beacon.reorg(1)
    expect(await client.nextValidatorIndex()).toMatchObject({
      nextIndex: 102,
      stateCount: 100,
      pendingKeys: new Set([keyOf(a), keyOf(b)]),
    })
    beacon.addValidators(b.publicKey)
    expect(await client.nextValidatorIndex()).toMatchObject({
      nextIndex: 102,
      stateCount: 101,
      pendingKeys: new Set([keyOf(a)]),
    })
  })

  it('survives a head that moves while its state is read', async () => {
    for (const quirks of [{}, { noStateRoots: true }]) {
      await using beacon = await startBeacon({ network, quirks })
      const { client } = clientOf([beacon], {
        onResult: () => {
          if (beacon.requests.length === 6) beacon.addValidators(depositAt(0).publicKey)
          if (beacon.requests.length === 9) beacon.reorg(1)
        },
      })
      const { nextIndex, stateCount } = await client.nextValidatorIndex()
      expect(nextIndex).toBe(stateCount)
      expect([100, 101]).toContain(stateCount)
    }
  })

  it('never comes from a node that knows no validator, is down, slow, or answers nonsense', async () => {
    await using beacon = await startBeacon({ network, validators: 0 })
    const { client } = clientOf([beacon], { timeoutMs: 1_500 })
    await expect(client.nextValidatorIndex()).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    for (const [how, code] of [
      ['down', 'HTTP_UNREACHABLE'],
      ['slow', 'HTTP_TIMEOUT'],
      ['garbage', 'HTTP_INVALID'],
      [{ status: 500 }, 'HTTP_STATUS'],
    ] as const) {
      beacon.fail(how)
      await expect(client.nextValidatorIndex()).rejects.toMatchObject({ code })
    }
    beacon.fail(undefined)
    beacon.addValidators(depositAt(0).publicKey)
    expect((await client.nextValidatorIndex()).nextIndex).toBe(1)
  })

  it('is read again after a failed signature check', async () => {
    await using beacon = await startBeacon({ network })
    let broken = true
    const { client } = clientOf([beacon], {
      verifyBatch: async (triples) => {
        if (broken) throw new Error('worker lost')
        return engine.verifyBatch(triples)
      },
    })
    beacon.addPendingDeposits(depositAt(0))
    await expect(client.nextValidatorIndex()).rejects.toThrow('worker lost')
    broken = false
    expect((await client.nextValidatorIndex()).nextIndex).toBe(101)
  })

  it('hands signatures over in portions', async () => {
    await using beacon = await startBeacon({ network })
    const many = Array.from({ length: 1_000 }, (_, i) => ({ ...depositAt(0), publicKey: madeUpKey(1_000_000 + i) }))
    beacon.addPendingDeposits(...many)
    const portions: number[] = []
    const { client } = clientOf([beacon], {
      verifyBatch: async (triples) => {
        portions.push(triples.length)
        return triples.map(() => true)
      },
    })
    expect((await client.nextValidatorIndex()).nextIndex).toBe(1_100)
    expect(Math.max(...portions)).toBeLessThanOrEqual(256)
  })
})

describe('known keys', () => {
  it('are those of the state and of good pending deposits', async () => {
    await using beacon: Beacon = await startBeacon({ network })
    const [pending, registered, unknown, bad] = [depositAt(0), depositAt(1), depositAt(2), depositAt(0, foreign)]
    beacon.addValidators(registered.publicKey)
    beacon.addPendingDeposits(pending, bad)
    const { client } = clientOf([beacon])
    const keys = [pending, registered, unknown, bad].map(({ publicKey }) => publicKey)
    expect(await client.findKnown(keys)).toEqual(
      new Map([
        [keyOf(pending), 'pending'],
        [keyOf(registered), 'validator'],
      ]),
    )
    expect(await client.findKnown([])).toEqual(new Map())
  })

  it('are asked for at a head that has just been asked for', async () => {
    await using beacon = await startBeacon({ network })
    let nowMs = 0
    const { client } = clientOf([beacon], { now: () => nowMs })
    const [there, late] = [depositAt(0).publicKey, depositAt(1).publicKey]
    beacon.addValidators(there)
    await client.nextValidatorIndex()
    const asked = async () => {
      beacon.requests.length = 0
      const known = await client.findKnown([late, there])
      return {
        known: [...known.keys()],
        heads: beacon.requests.filter((path) => path.endsWith('/headers/head')).length,
      }
    }
    expect(await asked()).toEqual({ known: [toHex(there)], heads: 0 })
    beacon.addValidators(late)
    nowMs += 500
    expect(await asked()).toEqual({ known: [toHex(late), toHex(there)], heads: 1 })
    // Who asks for the index is always told of the newest head.
    beacon.requests.length = 0
    await client.nextValidatorIndex()
    expect(beacon.requests).toEqual(['GET /eth/v1/beacon/headers/head'])
  })
})

describe('the finalized state', () => {
  it('has what is final, read by its root or by its name', async () => {
    for (const quirks of [{}, { noStateRoots: true }, { noPost: true }]) {
      await using beacon = await startBeacon({ network, quirks })
      const { client } = clientOf([beacon])
      const [settled, fresh] = [depositAt(0).publicKey, depositAt(1).publicKey]
      const index = beacon.addValidators(settled)
      const before = await client.finalizedRoot()
      beacon.finalize()
      beacon.addValidators(fresh)
      const root = await client.finalizedRoot()
      expect(root).not.toBe(before)
      const found = await client.findFinalized([settled, fresh], root)
      expect([...found]).toEqual([[toHex(settled), expect.objectContaining({ index })]])
      // Nodes of old say nothing of what their states are.
      beacon.setStanding({})
      expect(await client.findFinalized([settled], await client.finalizedRoot())).toEqual(found)
    }
  })

  it('is not believed where the node does not vouch for it', async () => {
    for (const quirks of [{}, { noPost: true }]) {
      await using beacon = await startBeacon({ network, quirks })
      const { client } = clientOf([beacon])
      const root = await client.finalizedRoot()
      for (const standing of [{ execution_optimistic: true, finalized: true }, { finalized: false }]) {
        beacon.setStanding(standing)
        await expect(client.finalizedRoot()).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
        await expect(client.findFinalized([madeUpKey(1)], root)).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
      }
      beacon.setStanding(undefined)
      expect((await client.findFinalized([madeUpKey(1)], root)).size).toBe(1)
    }
  })

  it('is not taken for another one, nor the head for it', async () => {
    await using beacon = await startBeacon({ network, quirks: { noStateRoots: true } })
    const { client } = clientOf([beacon])
    const root = await client.finalizedRoot()
    beacon.advance()
    beacon.finalize()
    await expect(client.findFinalized([madeUpKey(1)], root)).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    await using other = await startBeacon({ network })
    other.advance()
    const head = (await clientOf([other]).client.head()).stateRoot
    await expect(clientOf([other]).client.findFinalized([madeUpKey(1)], head)).rejects.toMatchObject({
      code: 'CONSENSUS_INVALID',
    })
  })
})
