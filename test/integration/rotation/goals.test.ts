/** How far rounds, requests and plans take a vault, and what a round ends that nobody goes on with. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { createTransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { createRotation } from '../../../apps/relayer/src/services/rotation/rotation.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { startRotationOracle } from '../../support/stages/rotation.ts'

const VAULT = new Uint8Array(20).fill(0xa1)
const OTHER = new Uint8Array(20).fill(0xb2)
const SET = 1
const NOW = 1_800_000_000
const GWEI = 10n ** 9n
const { signal } = new AbortController()
const blockOf = (number: number) => ({
  ...{ number, timestamp: NOW, parentHash: `0x${'00'.repeat(32)}` },
  hash: `0x${number.toString(16).padStart(64, '0')}`,
})
const [LATEST, FINAL] = [blockOf(networks.hoodi.keeperBlock + 9), blockOf(networks.hoodi.keeperBlock + 5)]
const quantity = (value: bigint) => `0x${value.toString(16)}`

/** The service over a database with a set of one oracle that can be asked, and a chain that says what the test says. */
async function setUp() {
  const { db, query, addValidator, addExit } = await openMessages()
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const oracle = stack.use(await startRotationOracle(networks.hoodi))
  oracle.manner = 'refusing'
  const sender = await createTransactionWallet(new Uint8Array(32).fill(1))
  const chain = { nonces: { latest: 0, final: 0 }, baseFee: GWEI, fault: undefined as Error | undefined }
  const word = (value: number) => fromHex(value.toString(16).padStart(64, '0'))
  const execution = {
    ...{ host: 'node.example', each: [] },
    getBlock: async (tag: string) => {
      if (chain.fault !== undefined) throw chain.fault
      return tag === 'latest' ? LATEST : FINAL
    },
    // By the length of the calldata: the nonce of a vault, or how many oracles must approve.
    call: async ({ data, block }: { data: string; block: string }) =>
      word(data.length === 10 ? 1 : chain.nonces[block === FINAL.hash ? 'final' : 'latest']),
    async request(method: string) {
      if (method === 'eth_feeHistory') return { baseFeePerGas: ['0x0', quantity(chain.baseFee)] }
      return method === 'eth_getTransactionCount' ? '0x5' : quantity(GWEI)
    },
    async *scanLogs({ fromBlock, toBlock }: { fromBlock: number; toBlock: number }) {
      yield { ...{ fromBlock, toBlock }, logs: [], undecodable: 0 }
    },
  }
  const onBeacon = new Map<number, { publicKey: string }>()
  const registry = {
    findByIndex: async () => onBeacon,
    finalizedRoot: async () => 'final',
    findFinalized: async () => new Map([...onBeacon.values()].map((validator) => [validator.publicKey, validator])),
  }
  const newest: number[] = []
  const create = ({ isEnabled = true, hasWallet = false } = {}) =>
    createRotation(
      {
        db,
        config: {
          ...{ network: networks.hoodi, rotation: { enabled: isEnabled, maxFeeGwei: 20 }, vaults: undefined },
          ...{ clusters: { signatureThreshold: 1 }, limits: { openExits: 9 }, validatorLifetimeSeconds: 60 },
        },
        chain: { execution, registry },
        events: new Proxy({}, { get: () => () => {} }),
        oracleSets: { newest: async () => newest.push(1) },
      } as unknown as Context & Parameters<typeof createRotation>[0],
      hasWallet ? sender : undefined,
    )
  return {
    ...{ db, query, oracle, chain, create },
    /** How often it was asked for the newest oracles. */
    takeNewest: () => newest.splice(0).length,
    adopt: () =>
      query(sql`
        insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
        values (${SET}, 'a', 1, ${Buffer.from(oracle.publicKey)}, ${JSON.stringify({ oracles: [{ endpoints: oracle.endpoints }], signatureValidityPeriod: 900 })},
                1, now(), true)`),
    /** A registered validator of a vault with an exit that has shares. */
    async add(vault: Uint8Array, index: number) {
      const { id, publicKey } = await addValidator()
      await query(
        sql`update validators set registered_at = now(), beacon_index = ${index}, beacon_vault = ${Buffer.from(vault)} where id = ${id}`,
      )
      const messageId = await addExit(id, { index, state: 'ready' })
      await query(sql`
        insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (${messageId}, ${SET}, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 1)`)
      const validator = { index, publicKey: toHex(publicKey), status: 'active_ongoing' }
      onBeacon.set(
        index,
        Object.assign(validator, { withdrawalCredentials: toHex(withdrawalCredentials('0x01', vault)) }),
      )
      return messageId
    },
    /** An open rotation of these exits, of some age, with a transaction where it has a deadline. */
    async open(
      vault: Uint8Array,
      exits: readonly number[] = [],
      { minutes = 0, deadline = null as number | null } = {},
    ) {
      const call = { to: networks.hoodi.keeper, data: '0x00' as const, chainId: 1, nonce: 5, gas: 1n }
      const { hash, raw } = await sender.sign({ ...call, maxFeePerGas: GWEI, maxPriorityFeePerGas: GWEI })
      const [row] = await query<{ id: number }>(sql`
        insert into rotations (vault, oracle_set_id, nonce, state, deadline, transaction_hash, transaction, created_at)
        values (${Buffer.from(vault)}, ${SET}, 0, 'open', ${deadline}, ${deadline && Buffer.from(hash)}, ${deadline && Buffer.from(raw)},
                now() - make_interval(mins => ${minutes}::int)) returning id::int`)
      for (const [place, id] of exits.entries())
        await query(
          sql`insert into rotation_messages (rotation_id, place, message_id) values (${row?.id}, ${place}, ${id})`,
        )
      return Buffer.from(hash)
    },
    states: async () =>
      (await query<{ state: string }>(sql`select state from rotations order by id`)).map(({ state }) => state),
  }
}

it('a round gives up after half an hour what is of nobody here, unless its transaction may still come', async () => {
  const { adopt, create, open, states } = await setUp()
  await adopt()
  const some = [{ minutes: 29 }, { minutes: 31 }, { minutes: 31, deadline: NOW }, { minutes: 31, deadline: NOW - 1 }]
  for (const [place, of] of some.entries()) await open(new Uint8Array(20).fill(place), [], of)
  await create({ isEnabled: false }).round(signal)
  expect(await states()).toEqual(['open', 'open', 'open', 'open'])
  await create().round(signal)
  expect(await states()).toEqual(['open', 'void', 'open', 'void'])
})

it('a round prepares without a wallet, and with one sends, once that is cheap enough', async () => {
  const { adopt, add, open, create, chain, oracle } = await setUp()
  await adopt()
  await open(VAULT, [await add(VAULT, 1)])
  const [poor, rich] = [create(), create({ hasWallet: true })]
  expect([poor.sender, rich.sender]).toEqual([null, expect.stringMatching(/^0x/)])
  chain.baseFee = 20n * GWEI
  expect([await poor.round(signal), oracle.asked]).toEqual([undefined, []])
  expect(await rich.round(signal)).toBe(
    `${checksumAddress(VAULT)}: the chain asks for more than ROTATION_MAX_FEE_GWEI; nothing is sent until it is cheaper`,
  )
  expect(oracle.asked).toEqual([])
  // Without a wallet nothing is paid, so nothing is too dear.
  expect(await poor.advance(VAULT, 'send', signal)).toMatchObject({ step: 'unapproved', approvals: 0 })
  chain.baseFee = GWEI
  expect(await rich.round(signal)).toContain('0 of 1 oracles approve')
  expect(oracle.asked).toHaveLength(2)
})

it('an update that is asked for is one of a vault that is known, for the newest oracles', async () => {
  const { adopt, add, create, chain, takeNewest, oracle } = await setUp()
  const { request } = create()
  await adopt()
  const nothing = { code: 'ROTATION_NOTHING', message: 'nothing is outdated' }
  await add(OTHER, 1)
  await expect(request(VAULT, signal)).rejects.toMatchObject(nothing)
  expect(takeNewest()).toBe(0)
  await add(VAULT, 2)
  oracle.manner = 'honest'
  await expect(request(VAULT, signal)).rejects.toMatchObject(nothing)
  expect(takeNewest()).toBe(1)
  chain.fault = new ChainError('EXECUTION_INVALID', 'no JSON')
  const away = { code: 'DEPENDENCY_AWAY', message: 'the chain cannot be asked: no JSON', cause: chain.fault }
  await expect(request(VAULT, signal)).rejects.toMatchObject(away)
  chain.fault = new TypeError('a mistake of ours')
  await expect(request(VAULT, signal)).rejects.toBe(chain.fault)
})

it('a plan says what would be handed in, or the step that a vault stands at', async () => {
  const { adopt, add, open, create, chain, oracle, query } = await setUp()
  const plan = () => create().plan(VAULT, signal)
  const at = (step: object) => ({ step, batch: [], leftOut: 0 })
  expect(await plan()).toEqual(at({ step: 'no_oracle_set' }))
  await adopt()
  oracle.manner = 'honest'
  expect(await plan()).toEqual(at({ step: 'nothing', leftOut: 0 }))
  const messageId = await add(VAULT, 7)
  oracle.outdated = [7, 8]
  expect(await plan()).toEqual({
    ...{ step: undefined, leftOut: 1 },
    batch: [expect.objectContaining({ messageId, validatorIndex: 7, state: 'ready' })],
  })
  expect(await query(sql`select from rotations`)).toEqual([])
  chain.nonces.latest = 1
  expect(await plan()).toEqual(at({ step: 'sent', transactionHash: undefined }))
  chain.nonces.latest = 0
  await open(VAULT, [messageId])
  expect(await plan()).toEqual(at({ step: 'open', validators: 1 }))
  await query(sql`delete from rotation_messages`)
  await query(sql`delete from rotations`)
  const transactionHash = await open(VAULT, [messageId], { deadline: NOW })
  expect(await plan()).toEqual(at({ step: 'sent', transactionHash }))
  await query(sql`update rotations set deadline = deadline - 1`)
  expect(await plan()).toEqual(at({ step: 'open', validators: 1 }))
})
