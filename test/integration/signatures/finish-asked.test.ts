/** Finishing, but for the signatures' own arithmetic: what a worker thread is asked of each message, and what is made of each answer. */

import { randomBytes } from 'node:crypto'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import type {
  FinishedMessage,
  MessageToFinish,
  OracleSetToSplit,
} from '../../../apps/relayer/src/crypto-workers/tasks.ts'
import { type Concluded, createFinishing } from '../../../apps/relayer/src/services/signatures/finish.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'

type Kind = 'exit' | 'deposit'
const ORACLE_KEYS = [randomBytes(65), randomBytes(65)]
const NOT_FOUND: FinishedMessage = { status: 'not_found', wrong: [], fitting: undefined }
const UNFINISHED: FinishedMessage = { ...NOT_FOUND, isUnfinished: true }
const bytes = (value: Uint8Array) => new Uint8Array(value)

/** A process that finishes, whose worker threads answer what the test says. */
async function setUp() {
  const store = await openMessages()
  const { db, query, sealing } = store
  const asked: { messages: readonly MessageToFinish[]; set: OracleSetToSplit | undefined; attempts?: number }[] = []
  const searched: { messages: readonly MessageToFinish[]; set: OracleSetToSplit | undefined }[] = []
  const told: unknown[][] = []
  const logged: unknown[] = []
  const concluded: Concluded[] = []
  let announcements = 0
  let answer: (message: MessageToFinish) => FinishedMessage = () => NOT_FOUND
  let search = async (messages: readonly MessageToFinish[]) => messages.map(answer)
  const crypto = {
    finish: async (messages: readonly MessageToFinish[], set: OracleSetToSplit | undefined, attempts?: number) => {
      if (messages.length > 0) asked.push({ messages, set, ...(attempts !== undefined && { attempts }) })
      return messages.map(answer)
    },
    search: (messages: MessageToFinish, set: OracleSetToSplit | undefined) => {
      searched.push({ messages: [messages], set })
      return search([messages])
    },
  }
  const log = (fields: unknown, words: string) => void logged.push([words, fields])
  const context = {
    db,
    sealing,
    crypto,
    logger: { error: log, debug: log, warn: log, info: log },
    events: new Proxy(
      {},
      {
        get:
          (_, name) =>
          (...of: unknown[]) =>
            void told.push([name, ...of]),
      },
    ),
    announced: () => void announcements++,
  } as unknown as Context
  const finishing = createFinishing(context, (one) => void concluded.push(one))
  return {
    ...store,
    finishing,
    asked,
    searched,
    told,
    logged,
    concluded,
    announcements: () => announcements,
    answerWith(next: typeof answer) {
      answer = next
    },
    searchWith(next: typeof search) {
      search = next
    },
    /** A candidate of this message, seen so long ago. */
    async addPartial(id: number, kind: Kind, shareIndex: number, state: 'verified' | 'unverified', seconds = 0) {
      const signature = bytes(randomBytes(96))
      const sealed = (await sealing.sealerFor(db, [id])).partial({ id, kind }, shareIndex, signature)
      await query(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state, seen_at)
        values (${id}, ${shareIndex}, ${Buffer.from(sealing.digest(shareIndex, signature))}, ${Buffer.from(sealed ?? [])}, ${state},
                now() - make_interval(secs => ${seconds}))`)
      return signature
    },
    /** Makes a message ready with a full signature. */
    async makeReady(id: number, kind: Kind) {
      const signature = bytes(randomBytes(96))
      const sealed = (await sealing.sealerFor(db, [id])).signature({ id, kind }, signature)
      await query(sql`update messages set state = 'ready', signature = ${Buffer.from(sealed ?? [])} where id = ${id}`)
      return signature
    },
    /** What a node once said of public key shares. */
    async addHint(validatorId: number, shareIndex: number, publicKeyShare: Uint8Array) {
      const packed = Buffer.alloc(56)
      packed.writeBigUInt64BE(BigInt(shareIndex))
      packed.set(publicKeyShare, 8)
      await query(sql`
        insert into key_share_hints (validator_id, share_index, shares) values (${validatorId}, ${shareIndex}, ${packed})`)
    },
    /** The oracle set in force, from now on. */
    async adoptOracles(): Promise<OracleSetToSplit> {
      await query(sql`
        insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
        values ('cid', 2, ${Buffer.concat(ORACLE_KEYS)}, '{}', 1, now(), true)`)
      return { threshold: 2, publicKeys: ORACLE_KEYS.map(bytes) }
    },
    /** As a worker has it that claimed it. */
    claim: (id: number) => query(sql`update messages set queued_at = now() where id = ${id}`),
    async stateOf(id: number) {
      const [message] = await query(sql`
        select state, signature is not null as "isSigned", queued_at is not null as "isClaimed", failed_attempts as attempts
        from messages where id = ${id}`)
      return message
    },
    statesOf: async (id: number) =>
      Object.fromEntries(
        (
          await query<{ index: string; state: string }>(
            sql`select share_index as index, state from partial_signatures where message_id = ${id}`,
          )
        ).map(({ index, state }) => [index, state]),
      ),
  }
}
type Process = Awaited<ReturnType<typeof setUp>>

/** A message of a validator of its own. */
async function addMessage(process: Process, kind: Kind, trusted: readonly number[] = []) {
  const { id: validatorId, publicKey } = await process.addValidator()
  const shares = new Map(trusted.map((shareIndex) => [shareIndex, bytes(randomBytes(48))]))
  for (const [shareIndex, share] of shares) await process.trust(validatorId, shareIndex, share)
  const id = kind === 'exit' ? await process.addExit(validatorId) : await process.addDeposit(validatorId)
  const add = (shareIndex: number, state: 'verified' | 'unverified', seconds = 0) =>
    process.addPartial(id, kind, shareIndex, state, seconds)
  return { id, validatorId, publicKey, shareOf: (shareIndex: number) => shares.get(shareIndex), add }
}

describe('of a message a worker is asked', () => {
  it('by all that counts of it, and is told whose word each signature goes by', async () => {
    const process = await setUp()
    const set = await process.adoptOracles()

    const trusted = await addMessage(process, 'deposit', [1, 2, 3])
    await process.addHint(trusted.validatorId, 1, randomBytes(48))
    const inDoubt = await trusted.add(1, 'unverified', 1)
    const second = await trusted.add(2, 'unverified', 5)
    const sure = await trusted.add(1, 'verified', 9)
    // A share index of which nobody knows that the cluster has it.
    await trusted.add(7, 'unverified', 2)

    // What was verified under a public key share that is not there any more counts as it is, and nothing else does.
    const moved = await addMessage(process, 'deposit', [2, 3])
    const old = await moved.add(1, 'verified')
    const kept = await moved.add(2, 'verified', 1)
    await moved.add(3, 'unverified')

    const unknown = await addMessage(process, 'deposit')
    const hint = bytes(randomBytes(48))
    await process.addHint(unknown.validatorId, 4, hint)
    const guessed = await unknown.add(1, 'unverified')
    const known = await unknown.add(2, 'verified', 1)

    const late = await addMessage(process, 'deposit', [1, 2])
    const lateSignature = await process.makeReady(late.id, 'deposit')
    const before = await late.add(1, 'verified', 1)
    const after = await late.add(2, 'unverified', 2)

    const over = await addMessage(process, 'deposit', [1])
    await process.makeReady(over.id, 'deposit')
    await over.add(1, 'verified')
    await over.add(7, 'unverified')

    const exit = await addMessage(process, 'exit', [1])
    const partial = await exit.add(1, 'unverified')

    // Split for other oracles: what came after the signature is judged in another job.
    const split = await addMessage(process, 'exit', [1])
    const splitSignature = await process.makeReady(split.id, 'exit')
    await split.add(1, 'unverified')

    const bare = await addMessage(process, 'exit')
    const bareSignature = await process.makeReady(bare.id, 'exit')
    await process.addHint(bare.validatorId, 1, randomBytes(48))
    const bareAfter = await bare.add(1, 'unverified')

    const ids = [trusted, moved, unknown, late, over, exit, split, bare].map(({ id }) => id)
    await process.finishing.finish(ids)
    const plain = process.asked.map((call) => ({
      set: call.set && { ...call.set, publicKeys: call.set.publicKeys.map(bytes) },
      messages: call.messages.map(({ publicKey, signature, candidates, trusted: shares, hints }) => ({
        publicKey: bytes(publicKey),
        signature: signature && bytes(signature),
        candidates: candidates.map(({ shareIndex, signatures }) => [shareIndex, signatures.map(bytes)]),
        trusted: shares?.map((share) => ({ ...share, publicKeyShare: bytes(share.publicKeyShare) })),
        hints: hints.map((one) =>
          one.map(({ shareIndex, publicKeyShare }) => [shareIndex, bytes(publicKeyShare)] as const),
        ),
      })),
    }))
    const share = (of: typeof trusted, shareIndex: number, isVerified: boolean) => ({
      shareIndex,
      publicKeyShare: of.shareOf(shareIndex),
      isVerified,
    })
    const none = { signature: undefined, candidates: [], trusted: [], hints: [] }
    expect(plain).toEqual([
      {
        set,
        messages: [
          { ...none, publicKey: exit.publicKey, candidates: [[1, [partial]]], trusted: [share(exit, 1, false)] },
          { ...none, publicKey: split.publicKey, signature: splitSignature },
          { ...none, publicKey: bare.publicKey, signature: bareSignature, candidates: [[1, [bareAfter]]] },
        ],
      },
      {
        set: undefined,
        messages: [
          {
            ...none,
            publicKey: trusted.publicKey,
            candidates: [
              [1, [sure, inDoubt]],
              [2, [second]],
            ],
            trusted: [share(trusted, 1, true), share(trusted, 2, false)],
          },
          {
            ...none,
            publicKey: moved.publicKey,
            candidates: [
              [1, [old]],
              [2, [kept]],
            ],
          },
          {
            ...none,
            publicKey: unknown.publicKey,
            candidates: [
              [2, [known]],
              [1, [guessed]],
            ],
            hints: [[[4, hint]]],
          },
          {
            ...none,
            publicKey: late.publicKey,
            signature: lateSignature,
            candidates: [
              [1, [before]],
              [2, [after]],
            ],
            trusted: [share(late, 1, true), share(late, 2, false)],
          },
        ],
      },
    ])
  })
})

describe('of an answer', () => {
  const signature = bytes(randomBytes(96))
  type Judged = { right: { shareIndex: number; signature: Uint8Array }[]; wrong: Judged['right'] }
  const finished = ({ right = [], wrong = [] }: Partial<Judged> = {}): FinishedMessage => ({
    status: 'finished',
    signature,
    right,
    wrong,
    shares: undefined,
    fitting: undefined,
  })
  const made = { publicKeyShares: randomBytes(96), ciphertexts: randomBytes(2 * 193) }
  const verdict = (shareIndex: number, value: Uint8Array) => ({ shareIndex, signature: value })

  interface Case {
    what: string
    kind?: Kind
    trusted?: number[]
    isReady?: boolean
    hasOracles?: boolean
    /** States of the candidates of share indexes 1, 2, 3. */
    partials: ('verified' | 'unverified' | 'damaged')[]
    answer: (signatures: Uint8Array[]) => FinishedMessage
    state: object
    /** States of the candidates that are left. */
    left: Record<string, string>
    told: unknown[][]
  }
  const ready = { state: 'ready', isSigned: true, isClaimed: false, attempts: 0 }
  const open = { state: 'collecting', isSigned: false, isClaimed: false, attempts: 0 }
  const waiting = { ...open, isClaimed: true, attempts: 1 }
  const cases: Case[] = [
    {
      what: 'the signature of a deposit is kept, with what it says of nodes that nobody knows',
      partials: ['unverified', 'unverified', 'unverified'],
      answer: ([a = signature, b = signature, c = signature]) =>
        finished({ right: [verdict(1, a), verdict(2, b)], wrong: [verdict(3, c)] }),
      state: ready,
      left: { 1: 'verified', 2: 'verified', 3: 'rejected' },
      told: [
        ['partialsRejected', 3, 1],
        ['messagesReady', { exits: 0, deposits: 1, shareSets: 0 }, expect.any(Number)],
      ],
    },
    {
      what: 'the signature of an exit is kept, with the shares of its oracles',
      kind: 'exit',
      trusted: [1, 2, 3],
      hasOracles: true,
      partials: ['unverified', 'verified', 'unverified'],
      answer: ([a = signature, b = signature, c = signature]) => ({
        ...finished({ right: [verdict(1, a), verdict(2, b)], wrong: [verdict(3, c)] }),
        shares: made,
      }),
      state: ready,
      left: { 1: 'verified', 2: 'verified', 3: 'rejected' },
      told: [
        ['partialsRejected', 3, 1],
        ['partialsVerified', 1, 1],
        ['messagesReady', { exits: 1, deposits: 0, shareSets: 1 }, expect.any(Number)],
      ],
    },
    {
      what: 'the signature alone is enough, where each candidate was verified before',
      trusted: [1],
      partials: ['verified'],
      answer: ([a = signature]) => finished({ right: [verdict(1, a)] }),
      state: ready,
      left: { 1: 'verified' },
      told: [['messagesReady', { exits: 0, deposits: 1, shareSets: 0 }, expect.any(Number)]],
    },
    {
      what: 'what was split anew is given back',
      kind: 'exit',
      trusted: [1],
      isReady: true,
      hasOracles: true,
      partials: ['verified'],
      answer: () => ({ ...finished(), shares: made }),
      state: ready,
      left: { 1: 'verified' },
      told: [['messagesReady', { exits: 0, deposits: 0, shareSets: 1 }, expect.any(Number)]],
    },
    {
      what: 'a late candidate that was judged gives the message back',
      trusted: [1, 2],
      isReady: true,
      partials: ['verified', 'unverified'],
      answer: ([, b = signature]) => finished({ right: [verdict(2, b)] }),
      state: ready,
      left: { 1: 'verified', 2: 'verified' },
      told: [['partialsVerified', 2, 1]],
    },
    {
      what: 'a late candidate that nobody could judge has the message wait until its claim is over',
      trusted: [1, 2],
      isReady: true,
      partials: ['verified', 'unverified'],
      answer: () => finished(),
      state: { ...ready, isClaimed: true },
      left: { 1: 'verified', 2: 'unverified' },
      told: [],
    },
    {
      what: 'too few under trusted public key shares wait for others, and for no time',
      trusted: [1, 2],
      partials: ['unverified', 'unverified'],
      answer: ([a = signature, b = signature]) => ({
        ...NOT_FOUND,
        status: 'not_found',
        right: [verdict(1, a)],
        wrong: [verdict(2, b)],
      }),
      state: open,
      left: { 1: 'verified', 2: 'rejected' },
      told: [
        ['partialsRejected', 2, 1],
        ['partialsVerified', 1, 1],
      ],
    },
    {
      what: 'too few, one of which cannot be read, wait for a time where nothing came of the others',
      trusted: [1, 2],
      partials: ['unverified', 'damaged'],
      answer: () => NOT_FOUND,
      state: waiting,
      left: { 1: 'unverified', 2: 'unverified' },
      told: [['recoveryFailed', 1]],
    },
    {
      what: 'too few, one of which cannot be read, wait for others where something came of the rest',
      trusted: [1, 2],
      partials: ['unverified', 'damaged'],
      answer: ([a = signature]) => ({ ...NOT_FOUND, status: 'not_found', right: [verdict(1, a)] }),
      state: open,
      left: { 1: 'verified', 2: 'unverified' },
      told: [['partialsVerified', 1, 1]],
    },
    {
      what: 'nothing found among candidates that nobody can verify has the message wait longer each time',
      partials: ['unverified', 'unverified'],
      answer: () => NOT_FOUND,
      state: waiting,
      left: { 1: 'unverified', 2: 'unverified' },
      told: [['recoveryFailed', 1]],
    },
    {
      what: 'another threshold that would fit is told',
      partials: ['unverified'],
      answer: () => ({ ...NOT_FOUND, fitting: 3 }) as FinishedMessage,
      state: waiting,
      left: { 1: 'unverified' },
      told: [
        ['thresholdDoubtful', 1, 3],
        ['recoveryFailed', 1],
      ],
    },
    {
      what: 'a fault of ours is an attempt that failed, of trusted public key shares too',
      trusted: [1],
      partials: ['unverified'],
      answer: () => ({ status: 'failed', reason: 'a fault' }),
      state: waiting,
      left: { 1: 'unverified' },
      told: [['recoveryFailed', 1]],
    },
  ]

  it.each(cases)('$what', async ({ kind = 'deposit', trusted = [], isReady, hasOracles, partials, ...expected }) => {
    const process = await setUp()
    if (hasOracles) await process.adoptOracles()
    const message = await addMessage(process, kind, trusted)
    const signatures: Uint8Array[] = []
    for (const [position, state] of partials.entries()) {
      const isDamaged = state === 'damaged'
      signatures.push(await message.add(position + 1, isDamaged ? 'unverified' : state, position))
      if (isDamaged)
        await process.query(sql`
          update partial_signatures set sealed = ${randomBytes(124)} where message_id = ${message.id} and share_index = ${position + 1}`)
    }
    if (isReady) await process.makeReady(message.id, kind)
    await process.claim(message.id)
    process.answerWith(() => expected.answer(signatures))
    const started = performance.now()
    await process.finishing.finish([message.id])
    const tookSeconds = (performance.now() - started) / 1000

    expect(await process.stateOf(message.id)).toEqual(expected.state)
    expect(await process.statesOf(message.id)).toEqual(expected.left)
    expect(process.told).toEqual(expected.told)
    for (const [name, , seconds] of process.told)
      if (name === 'messagesReady') expect(seconds).toBeLessThanOrEqual(tookSeconds)
    const judged = Object.entries(expected.left).flatMap(([index, state], position) =>
      state === partials[position] || partials[position] === 'damaged'
        ? []
        : [{ messageId: message.id, shareIndex: Number(index), isRight: state === 'verified' }],
    )
    expect(process.concluded).toMatchObject([{ messageIds: [message.id] }])
    expect(process.concluded[0]?.verdicts).toHaveLength(judged.length)
    expect(process.concluded[0]?.verdicts).toEqual(
      expect.arrayContaining(judged.map((one) => expect.objectContaining(one))),
    )
    expect(process.announcements()).toBe(1)
    const words = process.logged.map((line) => (line as [string])[0])
    expect(words.filter((line) => line.includes('could not be finished'))).toHaveLength(
      expected.answer(signatures).status === 'failed' ? 1 : 0,
    )
    expect(words.filter((line) => line.includes('cannot be opened'))).toHaveLength(
      partials.filter((state) => state === 'damaged').length,
    )
    const shares = await process.query<{ ciphertexts: Buffer }>(sql`select ciphertexts from oracle_shares`)
    expect(shares).toHaveLength(hasOracles ? 1 : 0)
  })
})

describe('among candidates that nobody can verify', () => {
  /** Messages of so many share indexes. */
  async function addAll(process: Process, count: number, indexes: number): Promise<number[]> {
    const ids: number[] = []
    for (let added = 0; added < count; added++) {
      const { id, add } = await addMessage(process, 'deposit')
      for (let shareIndex = 1; shareIndex <= indexes; shareIndex++) await add(shareIndex, 'unverified')
      ids.push(id)
    }
    return ids
  }
  /** How many messages were tried how often, since the last look. */
  const tried = ({ asked }: Process) =>
    asked.splice(0).map(({ messages, attempts }) => [messages.length, attempts === 1 ? 'once' : 'often'])

  it.each([
    // 32 attempts of 500 each, and in three rounds of a crowd.
    { what: 'a cluster', indexes: 5, first: 15, second: 3 },
    { what: 'a crowd', indexes: 15, first: 5, second: 1 },
  ])('of $what a job tries so much in vain, and then each once', async ({ indexes, first, second }) => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const process = await setUp()
    const open = Promise.withResolvers<FinishedMessage[]>()
    process.searchWith(() => open.promise)
    process.answerWith(() => UNFINISHED)
    const ids = await addAll(process, first + second + 1, indexes)
    await process.finishing.finish(ids.slice(0, first))
    expect(tried(process)).toEqual([[first, 'often']])
    // What is begun is for a search, and is not tried again.
    await process.finishing.finish(ids.slice(0, first))
    expect(tried(process)).toEqual([])
    await process.finishing.finish(ids.slice(first, first + second))
    expect(tried(process)).toEqual([[second, 'often']])
    await process.finishing.finish(ids.slice(-1))
    expect(tried(process)).toEqual([[1, 'once']])
    await process.finishing.finish(ids.slice(-1))
    expect(tried(process)).toEqual([])
    expect(process.searched).toHaveLength(1)
    // Where the public key shares are known nothing is searched.
    const { id, add } = await addMessage(process, 'deposit', [1])
    await add(1, 'unverified')
    process.answerWith(() => NOT_FOUND)
    await process.finishing.finish([id])
    expect(tried(process)).toEqual([[1, 'often']])

    // Each is searched once, and no more of one requester wait than sixteen.
    process.answerWith(() => UNFINISHED)
    open.resolve([NOT_FOUND])
    const waited = Math.min(16, ids.length)
    await vi.waitUntil(() => process.searched.length >= waited, { timeout: 60_000 })
    const [next = 0] = await addAll(process, 1, indexes)
    await process.finishing.finish([next])
    await vi.waitUntil(() => process.searched.length > waited, { timeout: 60_000 })
    const rootOf = async (one: number) =>
      (await process.query<{ root: Buffer }>(sql`select signing_root as root from messages where id = ${one}`))[0]?.root
    const roots = await Promise.all([...ids.slice(0, waited), next].map(rootOf))
    expect(process.searched.map(({ messages }) => Buffer.from(messages[0]?.message ?? []))).toEqual(roots)
  })

  it('what a search finds is kept, one after the other, and what it does not find rests until something new comes', async () => {
    const process = await setUp()
    const set = await process.adoptOracles()
    process.answerWith(() => UNFINISHED)
    const deposit = await addMessage(process, 'deposit')
    await deposit.add(1, 'unverified')
    const exit = await addMessage(process, 'exit')
    await exit.add(1, 'unverified')
    const ids = [deposit.id, exit.id]
    const answered = vi.fn<() => FinishedMessage[]>(() => [UNFINISHED])
    let under = 0
    process.searchWith(async () => {
      expect(++under).toBe(1)
      await new Promise((resolve) => setImmediate(resolve))
      under--
      return answered()
    })
    await process.finishing.finish(ids)
    const attempts = async () => {
      const states = (await Promise.all(ids.map(process.stateOf))) as { attempts: number }[]
      return states.map((state) => state.attempts)
    }
    await vi.waitUntil(async () => (await attempts()).every((count) => count === 1), { timeout: 60_000 })
    expect(process.searched.map((one) => one.set?.threshold)).toEqual([set.threshold, undefined])
    expect(process.told).toEqual([
      ['recoveryFailed', 1],
      ['recoveryFailed', 1],
    ])

    // It rests, which is an attempt that failed.
    process.asked.length = 0
    await process.finishing.finish(ids)
    expect(process.asked).toEqual([])
    expect(await attempts()).toEqual([2, 2])
    expect(process.searched).toHaveLength(2)

    // Something new is tried, and then searched.
    await deposit.add(2, 'unverified')
    answered.mockReturnValue([
      { status: 'finished', signature: randomBytes(96), right: [], wrong: [], shares: undefined, fitting: undefined },
    ])
    await process.finishing.finish(ids)
    expect(process.asked.map(({ messages }) => messages.length)).toEqual([1])
    await vi.waitUntil(() => process.told.at(-1)?.[0] === 'messagesReady', { timeout: 60_000 })
    expect(process.told.at(-1)?.[1]).toEqual({ exits: 0, deposits: 1, shareSets: 0 })
    expect(await process.stateOf(deposit.id)).toMatchObject({ state: 'ready', isSigned: true })
    expect(process.searched).toHaveLength(3)
  })

  it('what was tried whole is an attempt that failed, until something new comes', async () => {
    const process = await setUp()
    const { id, add } = await addMessage(process, 'deposit')
    await add(1, 'unverified')
    for (const attempts of [1, 2, 3]) {
      await process.finishing.finish([id])
      expect(await process.stateOf(id)).toMatchObject({ attempts })
    }
    expect(process.asked).toHaveLength(1)
    await add(2, 'unverified')
    await process.finishing.finish([id])
    expect(process.asked).toHaveLength(2)
    expect(process.searched).toEqual([])
  })

  it('what is interrupted is an attempt that failed', async () => {
    const process = await setUp()
    const { id, add } = await addMessage(process, 'deposit')
    await add(1, 'unverified')
    process.answerWith(() => {
      throw new Error('a thread has ended')
    })
    await expect(process.finishing.finish([id])).rejects.toThrow('a thread has ended')
    expect(await process.stateOf(id)).toMatchObject({ state: 'collecting', isClaimed: true, attempts: 1 })
    expect(process.concluded).toEqual([])
  })

  it('waits for who has one of the messages, and keeps none of the others from it meanwhile', async () => {
    const process = await setUp()
    const [first, second] = [await addMessage(process, 'deposit'), await addMessage(process, 'deposit')]
    for (const { add } of [first, second]) await add(1, 'unverified')
    const unjudged = { right: [], wrong: [], shares: undefined, fitting: undefined }
    process.answerWith(({ publicKey }) =>
      bytes(publicKey).toString() === first.publicKey.toString()
        ? NOT_FOUND
        : { ...unjudged, status: 'finished', signature: bytes(randomBytes(96)) },
    )
    const waiting = async () =>
      (await process.query(sql`select from pg_stat_activity where ${sql.raw(WAITS_FOR_ROW)}`)).length
    const { done } = await process.db.transaction(async (tx) => {
      await lockMessages(tx, [first.id])
      const done = process.finishing.finish([second.id, first.id])
      await vi.waitUntil(async () => (await waiting()) === 1, { timeout: 60_000 })
      await tx.execute(sql`set local lock_timeout = '1s'`)
      await lockMessages(tx, [second.id])
      return { done }
    })
    await done
    expect(await process.stateOf(first.id)).toMatchObject({ state: 'collecting', attempts: 1 })
    expect(await process.stateOf(second.id)).toMatchObject({ state: 'ready' })
  })
})
