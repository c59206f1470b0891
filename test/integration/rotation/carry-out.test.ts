/** What a rotation does of each action, and what is known since: the oracles are asked, exits wanted, rows opened and ended, transactions sent. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { createTransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import type { RotationRequest } from '@dvt-relayer/chain/stakewise/oracle-client.ts'
import { fromHex, slices, toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import { approveRotation, findOpenRotation } from '@dvt-relayer/db/queries/rotations.ts'
import { sql } from 'drizzle-orm'
import { parseAbi } from 'viem'
import { decodeFunctionData } from 'viem/utils'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { createCarryOut, type Errand } from '../../../apps/relayer/src/services/rotation/carry-out.ts'
import type { RotationLocks } from '../../../apps/relayer/src/services/rotation/locks.ts'
import type { Action, RotationState } from '../../../apps/relayer/src/services/rotation/next-step.ts'
import type { VaultView } from '../../../apps/relayer/src/services/rotation/updates.ts'
import { openMessages } from '../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(0xa1)
const OTHER = new Uint8Array(20).fill(0xb2)
const SET = 1
const NOW = 1_800_000_000
const VALIDITY = 900
const GWEI = 10n ** 9n
const { signal } = new AbortController()
const blockOf = (number: number, timestamp = NOW) => ({
  ...{ number, timestamp },
  hash: `0x${number.toString(16).padStart(64, '0')}`,
  parentHash: `0x${'00'.repeat(32)}`,
})
const wallet = createTransactionWallet(new Uint8Array(32).fill(1))
const quantity = (value: bigint | number) => `0x${value.toString(16)}`

type Act = Exclude<Action, { do: 'rest' }>

/** The effects over a database with two oracle sets, three oracles and a chain that do as they are told, and what came of it. */
async function setUp() {
  const store = await openMessages()
  await store.query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select i, i::text, 1, ${Buffer.alloc(195)}, '{}', i, now(), i = ${SET} from generate_series(1, 2) i`)
  const chain = {
    latest: blockOf(900) as ReturnType<typeof blockOf> | undefined,
    /** What the Keeper says of calldata. */
    verdict: undefined as Error | undefined,
    /** Transactions of the wallet by the final block. */
    spent: 5,
    baseFee: GWEI,
    sent: [] as unknown[],
  }
  const execution = {
    host: 'node.example',
    each: [],
    getBlock: async (tag: string) => (tag === 'latest' ? chain.latest : blockOf(800)),
    async call({ data }: { data: string }) {
      // By the length of the calldata: an update, the nonce of a vault, or how many oracles must approve.
      if (data.length > 100 && chain.verdict !== undefined) throw chain.verdict
      return fromHex((data.length > 10 ? 0 : 2).toString(16).padStart(64, '0'))
    },
    async request(method: string, [first, block]: unknown[]) {
      if (method === 'eth_sendRawTransaction') return void chain.sent.push(first)
      if (method === 'eth_getTransactionCount') return quantity(typeof block === 'object' ? chain.spent : 5)
      if (method === 'eth_feeHistory') return { baseFeePerGas: ['0x0', quantity(chain.baseFee)] }
      return method === 'eth_estimateGas' ? '0x186a0' : quantity(GWEI)
    },
  }
  const onBeacon = new Map<number, { publicKey: string; index: number }>()
  const registry = {
    findByIndex: async (indexes: readonly number[]) =>
      new Map([...onBeacon].filter(([index]) => indexes.includes(index))),
    finalizedRoot: async () => 'final',
    findFinalized: async () => new Map([...onBeacon.values()].map((validator) => [validator.publicKey, validator])),
  }
  const told: unknown[][] = []
  const tell =
    (what: string) =>
    (...of: unknown[]) =>
      void told.push([what, ...of])
  const sender = await wallet
  const held: string[] = []
  const context = {
    db: store.db,
    config: {
      ...{ network: networks.hoodi, clusters: { signatureThreshold: 1 }, rotation: { maxFeeGwei: 20 } },
      ...{ limits: { openExits: 9 }, validatorLifetimeSeconds: 60 },
    },
    chain: { execution, registry },
    events: {
      ...{ rotationEnded: tell('ended'), rotationOpened: tell('opened'), rotationSent: tell('sent') },
      ...{ rotationApproved: tell('approved'), exitsRequested: tell('requested') },
    },
  } as unknown as Context
  const locks = {
    holdWallet: async (work: () => Promise<unknown>) => {
      held.push('wallet')
      return work()
    },
  } as unknown as RotationLocks
  const carryOut = createCarryOut(context, locks, sender)
  /** What each oracle names, and the hash it approves; undefined: it is away. */
  const says: { outdated: number[] | undefined; hash: string | undefined }[] = [1, 2, 3].map(() => ({
    ...{ outdated: [], hash: 'QmOne' },
  }))
  const [questions, requests]: [unknown[][], RotationRequest[]] = [[], []]
  const oracles = says.map((of, place) => ({
    // The Keeper wants signatures in another order than the set has its oracles in.
    address: new Uint8Array(20).fill(9 - place),
    client: {
      async findOutdated(...asked: unknown[]) {
        questions.push(asked.slice(0, 2))
        if (of.outdated === undefined) throw new Error('away')
        return { blockNumber: 0, indexes: new Set(of.outdated) }
      },
      async approve(request: RotationRequest) {
        requests.push(request)
        if (of.hash === undefined) throw new Error('away')
        return { ipfsHash: of.hash, signature: new Uint8Array(65).fill(9 - place) }
      },
    },
  }))
  const errand = (
    more: { set?: number; vault?: Uint8Array; batchLimit?: number; validity?: number | undefined } = {},
  ) =>
    ({
      ...{ vault: more.vault ?? VAULT, set: { id: more.set ?? SET }, signal },
      oracles: {
        ...{ oracles, batchLimit: more.batchLimit ?? 2 },
        validitySeconds: 'validity' in more ? more.validity : VALIDITY,
      },
    }) as unknown as Errand
  const view: VaultView = {
    ...{ latest: blockOf(900), finalHash: blockOf(800).hash, latestNonce: 3, finalNonce: 3, needed: 2, sinceBlock: 7 },
  }
  const act = (action: Act, more: Parameters<typeof errand>[0] = {}, by = carryOut) =>
    by.run(action, errand(more), { view } as RotationState)
  let places = 0
  /** A validator with an exit at its index, and its shares for the current set where they are wanted. */
  async function addExit({ hasShares = true } = {}) {
    const { id, publicKey } = await store.addValidator()
    const place = ++places
    const messageId = await store.addExit(id, { index: place, state: 'ready' })
    const shares = [
      Buffer.concat([1, 2, 3].map((oracle) => Buffer.alloc(48, 16 * place + oracle))),
      Buffer.concat([1, 2, 3].map((oracle) => Buffer.alloc(193, 16 * place + oracle))),
    ] as const
    if (hasShares)
      await store.query(sql`
        insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (${messageId}, ${SET}, ${shares[0]}, ${shares[1]}, ${Buffer.alloc(32)}, 1)`)
    onBeacon.set(place, {
      ...{ index: place, publicKey: toHex(publicKey), status: 'active_ongoing' },
      withdrawalCredentials: toHex(withdrawalCredentials('0x01', VAULT)),
    } as never)
    return { messageId, publicKey: Buffer.from(publicKey), validatorIndex: place, shares }
  }
  /** An open rotation of these exits, with a transaction of the wallet under nonce 5 where it has a deadline. */
  async function addOpen(messageIds: readonly number[] = [], deadline: number | null = null) {
    const call = {
      to: networks.hoodi.keeper,
      data: '0x00' as const,
      chainId: networks.hoodi.chainId,
      nonce: 5,
      gas: 1n,
    }
    const { hash, raw } = await sender.sign({ ...call, maxFeePerGas: GWEI, maxPriorityFeePerGas: GWEI })
    const [row] = await store.query<{ id: number }>(sql`
      insert into rotations (vault, oracle_set_id, nonce, state, deadline, transaction_hash, transaction)
      values (${Buffer.from(VAULT)}, ${SET}, 3, 'open', ${deadline}, ${deadline && Buffer.from(hash)}, ${deadline && Buffer.from(raw)})
      returning id::int`)
    for (const [place, id] of messageIds.entries())
      await store.query(
        sql`insert into rotation_messages (rotation_id, place, message_id) values (${row?.id}, ${place}, ${id})`,
      )
    const found = await findOpenRotation(store.db, VAULT)
    if (found === undefined) throw new Error('no rotation')
    return { row: found, raw: toHex(raw) }
  }
  const look = async () => (await carryOut.run({ do: 'look' }, errand(), {} as RotationState)).open
  const states = () =>
    store.query<{ state: string; hash: string | null }>(sql`select state, ipfs_hash as hash from rotations order by id`)
  return {
    ...{ ...store, addExit, addOpen, carryOut, errand, view, act, look, states },
    withoutWallet: createCarryOut(context, locks, undefined),
    ...{ chain, says, questions, requests, held, takeTold: () => told.splice(0) },
  }
}
/** A clock of this process that the test moves. */
function mockClock() {
  const clock = { ms: 1_000_000 }
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock.ms)
  onTestFinished(() => now.mockRestore())
  return clock
}

it('asks the oracles what is outdated, and goes on with what they said for some minutes, or for one where they named none', async () => {
  const { carryOut, errand, view, says, questions, addExit } = await setUp()
  const clock = mockClock()
  const learn = (more: Parameters<typeof errand>[0] = {}, of: Partial<VaultView> = {}) =>
    carryOut.learn(errand(more), { ...view, ...of })
  const timesAsked = () => questions.splice(0).length / 3
  const none = { isEnough: true, exits: [], leftOut: 0 }
  expect(await learn()).toEqual(none)
  expect(questions).toEqual(Array(3).fill([VAULT, 7]))
  expect(timesAsked()).toBe(1)
  clock.ms += 59_999
  expect([await learn(), timesAsked()]).toEqual([none, 0])
  clock.ms += 1
  const exit = await addExit({ hasShares: false })
  for (const one of says) one.outdated = [exit.validatorIndex, 700, 701]
  const { shares: _, ...kept } = exit
  const named = {
    ...{ isEnough: true, leftOut: 2 },
    exits: [{ ...kept, publicKey: new Uint8Array(kept.publicKey), threshold: 1, state: 'kept', isDone: false }],
  }
  expect([await learn(), timesAsked()]).toEqual([named, 1])
  clock.ms += 299_999
  expect([await learn(), timesAsked()]).toEqual([named, 0])
  clock.ms += 1
  expect([await learn(), timesAsked()]).toEqual([named, 1])
  // A vault, a final update or oracles that nobody spoke of yet; and what is forgotten.
  expect([await learn({ vault: OTHER }), timesAsked()]).toEqual([{ isEnough: true, exits: [], leftOut: 3 }, 1])
  expect([await learn({}, { finalNonce: 4 }), timesAsked()]).toEqual([named, 1])
  expect([(await learn({ set: 2 })).isEnough, timesAsked()]).toEqual([true, 1])
  carryOut.forget(VAULT)
  for (const one of says) one.outdated = [700]
  expect([await learn(), timesAsked()]).toEqual([{ isEnough: true, exits: [], leftOut: 1 }, 1])
})

it('learns nothing of too few oracles, and of enough of them the exits of ten batches', async () => {
  const { act, addExit, says, questions } = await setUp()
  const learnt = async () => (await act({ do: 'learn' }, { batchLimit: 1 })).learnt
  const indexes: number[] = []
  for (let exits = 0; exits < 11; exits++) indexes.push((await addExit({ hasShares: false })).validatorIndex)
  says[2]?.outdated?.push(...indexes)
  for (const one of says.slice(0, 2)) one.outdated = undefined
  for (let again = 0; again < 2; again++) expect(await learnt()).toEqual({ isEnough: false, answers: 1 })
  expect(questions).toHaveLength(6)
  for (const one of says.slice(1, 2)) one.outdated = indexes
  const enough = await learnt()
  expect(enough?.isEnough && enough.exits.map(({ validatorIndex }) => validatorIndex)).toEqual(indexes.slice(0, 10))
})

it('finds the open rotation, whether its exits have all shares, and whether its transaction is at its end', async () => {
  const { look, addOpen, addExit, chain, query, view } = await setUp()
  expect(await look()).toBeUndefined()
  const { row } = await addOpen()
  // The age goes on meanwhile.
  const found = { row: { ...row, ageSeconds: expect.any(Number) }, content: undefined, isSpent: false }
  expect(await look()).toEqual(found)
  const put = async (exit: { messageId: number }, place: number) =>
    query(
      sql`insert into rotation_messages (rotation_id, place, message_id) values (${row.id}, ${place}, ${exit.messageId})`,
    )
  const one = await addExit()
  await put(one, 0)
  const { shares, ...of } = one
  expect((await look())?.content).toEqual([{ ...of, publicKeyShares: shares[0], ciphertexts: shares[1] }])
  await put(await addExit({ hasShares: false }), 1)
  expect(await look()).toEqual(found)

  await query(sql`delete from rotation_messages`)
  await query(sql`delete from rotations`)
  await addOpen([], view.latest.timestamp)
  expect((await look())?.isSpent).toBe(false)
  chain.spent = 6
  expect((await look())?.isSpent).toBe(true)
  await query(sql`update rotations set deadline = deadline - 1`)
  expect((await look())?.isSpent).toBe(false)
})

it('gives up, collects, waits, opens and looks for the price as it is told, and says what is known since', async () => {
  const { act, addExit, states, takeTold, query, chain, says, db } = await setUp()
  const exit = await addExit({ hasShares: false })
  for (const one of says) one.outdated = [exit.validatorIndex]
  const { learnt } = await act({ do: 'learn' })
  const exits = learnt?.isEnough ? learnt.exits : []
  expect(await act({ do: 'collect', missing: exits })).toEqual({ isCollected: true })
  expect(await query(sql`select requester from messages`)).toEqual([{ requester: 'rotation:' }])
  expect(await act({ do: 'wait' })).toEqual({ isPatienceOver: false })
  expect(await query(sql`select name from checkpoints`)).toEqual([{ name: `rotation:${toHex(VAULT)}` }])
  expect(await act({ do: 'open', exits, nonce: 3 })).toEqual({
    hasOpened: true,
    open: { row: expect.objectContaining({ nonce: 3, oracleSetId: SET }), content: undefined, isSpent: false },
  })
  const row = (await findOpenRotation(db, VAULT)) as RotationRow
  expect(await act({ do: 'give_up', row, reason: 'so' })).toEqual({ open: undefined })
  expect(await states()).toEqual([{ state: 'void', hash: null }])
  expect(takeTold().slice(-2)).toEqual([
    ['opened', VAULT, 1, 3],
    ['ended', 'void', VAULT, 1, 'so'],
  ])
  expect(await act({ do: 'price' })).toEqual({ isTooDear: false })
  chain.baseFee = 20n * GWEI
  expect(await act({ do: 'price' })).toEqual({ isTooDear: true })
})

it('sends again what is stored, and in the place of it what is new, one process at a time', async () => {
  const { act, addOpen, chain, held, takeTold, db, withoutWallet } = await setUp()
  const { row, raw } = await addOpen([], NOW - 1)
  expect(await act({ do: 'send_again', row })).toEqual({ isSentAgain: true })
  expect([chain.sent.splice(0), held]).toEqual([[raw], []])
  const update = { ...{ data: '0xabcd' as const, deadline: NOW + 9, nonce: 3, ipfsHash: 'Qm' }, validators: [] }
  chain.baseFee = 20n * GWEI
  expect(await act({ do: 'send', row, update })).toEqual({ sent: { step: 'too_dear' } })
  expect([chain.sent, takeTold(), held.splice(0)]).toEqual([[], [], ['wallet']])
  chain.baseFee = GWEI
  const { sent } = await act({ do: 'send', row, update })
  const stored = await findOpenRotation(db, VAULT)
  expect(sent).toEqual({ step: 'sent', transactionHash: stored?.transactionHash })
  expect([stored?.deadline, chain.sent]).toEqual([NOW + 9, [toHex(stored?.transaction ?? new Uint8Array())]])
  expect([takeTold().map(([what]) => what), held]).toEqual([['sent'], ['wallet']])
  await expect(act({ do: 'send', row, update }, {}, withoutWallet)).rejects.toThrow('without a wallet')
})

const ABI = parseAbi(['function updateExitSignatures(address vault, uint256 deadline, string hash, bytes signatures)'])

it('asks for approval of the stored shares until a deadline by the later of two clocks, and has calldata of enough equal ones', async () => {
  const { act, addExit, addOpen, requests, says, states } = await setUp()
  const clock = { ms: 0 }
  const now = vi.spyOn(Date, 'now').mockImplementation(() => clock.ms)
  onTestFinished(() => now.mockRestore())
  const exits = [await addExit(), await addExit()]
  const { row } = await addOpen(exits.map(({ messageId }) => messageId))
  const content = exits.map(({ shares, ...exit }) => ({ ...exit, publicKeyShares: shares[0], ciphertexts: shares[1] }))
  const ask = async () => (await act({ do: 'ask', row, content })).approval
  Object.assign(says[1] ?? {}, { hash: undefined })
  for (const [ms, deadline] of [
    [(NOW - 5) * 1000, NOW + VALIDITY],
    [(NOW + 5) * 1000 + 999, NOW + 5 + VALIDITY],
  ] as const) {
    clock.ms = ms
    const approval = await ask()
    expect(requests.splice(0)).toEqual(
      Array(3).fill({
        ...{ vault: VAULT, deadline, nonce: 3, publicKeys: exits.map(({ publicKey }) => publicKey) },
        publicKeyShares: exits.map(({ shares }) => slices(shares[0], 48)),
        encryptedExitShares: exits.map(({ shares }) => slices(shares[1], 193)),
      }),
    )
    const validators = exits.map(({ publicKey, validatorIndex }) => ({ publicKey, validatorIndex }))
    const update = { data: expect.any(String), deadline, nonce: 3, ipfsHash: 'QmOne', validators }
    expect(approval).toEqual({ step: 'approved', rotationId: row.id, update })
    const { args } = decodeFunctionData({ abi: ABI, data: approval?.step === 'approved' ? approval.update.data : '0x' })
    const signatures = `0x${'07'.repeat(65)}${'09'.repeat(65)}`
    expect(args).toEqual([expect.stringMatching(new RegExp(toHex(VAULT), 'i')), BigInt(deadline), 'QmOne', signatures])
  }
  expect(await states()).toEqual([{ state: 'open', hash: 'QmOne' }])
})

it('has no calldata that is not approved by enough, that the Keeper refuses, or that another process has replaced', async () => {
  const { act, addExit, addOpen, requests, says, states, chain, db, query } = await setUp()
  const exit = await addExit()
  const { row } = await addOpen([exit.messageId])
  const content = [{ ...exit, publicKeyShares: exit.shares[0], ciphertexts: exit.shares[1] }]
  const ask = async (more: { validity?: number | undefined } = {}) =>
    (await act({ do: 'ask', row, content }, more)).approval
  expect(await ask({ validity: undefined })).toEqual({ step: 'no_validity' })
  expect(requests).toEqual([])
  Object.assign(says[0] ?? {}, { hash: 'QmTwo' })
  Object.assign(says[1] ?? {}, { hash: 'QmThree' })
  expect(await ask()).toEqual({ step: 'unapproved', approvals: 1, needed: 2, oracles: 3 })
  for (const one of says) one.hash = 'QmOne'
  chain.verdict = new ChainError('EXECUTION_REVERTED', 'no')
  expect(await ask()).toEqual({ step: 'refused' })
  chain.verdict = undefined
  chain.latest = undefined
  expect(await ask()).toEqual({ step: 'refused' })
  expect(await states()).toEqual([{ state: 'open', hash: null }])
  chain.latest = blockOf(900)
  expect(await ask()).toMatchObject({ step: 'approved', rotationId: row.id })

  // Another hash of the same shares is another rotation, beside the earlier one whose calldata may have been handed out.
  for (const one of says) one.hash = 'QmOther'
  const other = await ask()
  expect(other).toMatchObject({ step: 'approved', update: { ipfsHash: 'QmOther', nonce: 3 } })
  const rotationId = other?.step === 'approved' ? other.rotationId : 0
  expect(await states()).toEqual([
    { state: 'void', hash: 'QmOne' },
    { state: 'open', hash: 'QmOther' },
  ])
  expect(
    await query(sql`select message_id::int as id from rotation_messages where rotation_id = ${rotationId}`),
  ).toEqual([{ id: exit.messageId }])
  expect(await approveRotation(db, rotationId, 'QmOther')).toBe(true)
  // The row that was asked for is over, and another one is open.
  for (const one of says) one.hash = 'QmLate'
  expect(await ask()).toEqual({ step: 'refused' })
  expect(await states()).toHaveLength(2)
})
