/** What is taken of a node's exits and deposits, and what of each of the others is said: held against the rows of the lock. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { PartialExit } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import { exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { ApiError, failure } from '../../../apps/relayer/src/errors.ts'
import { createOpenExits } from '../../../apps/relayer/src/services/charon/open-exits.ts'
import {
  createPartialDeposits,
  type PartialDeposit,
} from '../../../apps/relayer/src/services/charon/partial-deposits.ts'
import { createPartialExits } from '../../../apps/relayer/src/services/charon/partial-exits.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { engine, type KeyedValidator } from '../../support/world/nodes.ts'

const NODE = { lockHash: new Uint8Array(32).fill(1), shareIndex: 3 }
const NODE_KEY = new Uint8Array(33).fill(2)
const MOST = 40
const VAULT = new Uint8Array(20).fill(9)
const GWEI = 32_000_000_000
const { hoodi } = networks

/** What a post is answered, by position, and the sentence of the first. */
const answerOf = (error: unknown) => {
  if (!(error instanceof ApiError)) throw error
  const { code, message, failures } = error
  return { code, message, failures: failures.map((one) => `${one.index} ${one.code}`) }
}
/** What is refused of nothing wrong is nothing. */
const answered = (work: Promise<unknown>) => work.then(() => 'taken' as const, answerOf)

/** A database with a lock, and both services on it; what they hand in stands in `posts`, what is verified in `verified`. */
async function openLock() {
  const store = await openMessages()
  const { db, query } = store
  await query(
    sql`insert into clusters (id, name, threshold, lock_hash) values (1, 'ours', 2, ${Buffer.from(NODE.lockHash)})`,
  )
  const posts: unknown[] = []
  const verified: number[] = []
  const stage = {
    /** What the hand-in does. */
    submit: async (): Promise<object[]> => [],
    signer: NODE_KEY as Uint8Array | undefined,
    /** Most exits of the lock. */
    size: MOST,
    isNode: true,
    verify: (triple: Parameters<typeof engine.verifyBatch>[0][number]) => engine.verifyBatch([triple])[0] === true,
  }
  const context = {
    ...{ db, config: { network: hoodi, limits: { shares: MOST } } },
    crypto: {
      exitsSigner: async () => stage.signer,
      async verify(triples: Parameters<typeof engine.verifyBatch>[0]) {
        verified.push(triples.length)
        return triples.map((triple) => stage.verify(triple))
      },
    },
    nodeKeys: { find: async () => (stage.isNode ? NODE_KEY : undefined) },
    knownLocks: {
      async assertExits(_: Uint8Array, exits: number) {
        if (exits > stage.size) throw new ApiError('TOO_MANY_SHARES', 'of the lock')
      },
    },
    signatures: {
      async submit(...post: unknown[]) {
        posts.push(post)
        return stage.submit()
      },
    },
  } as unknown as Parameters<typeof createPartialExits>[0] & Parameters<typeof createPartialDeposits>[0]
  let place = 0
  return {
    ...store,
    ...{ stage, posts, verified },
    exits: createPartialExits(context),
    deposits: createPartialDeposits(context),
    openExits: createOpenExits(context),
    /** A validator of the lock. */
    async addMember({ publicKey }: { publicKey?: Uint8Array } = {}) {
      const added = await store.addValidator()
      const key = publicKey ?? added.publicKey
      await query(
        sql`update validators set cluster_id = 1, place = ${place++}, public_key = ${Buffer.from(key)} where id = ${added.id}`,
      )
      return { id: added.id, publicKey: key }
    },
  }
}
type Lock = Awaited<ReturnType<typeof openLock>>

describe('who posts exits', () => {
  const signature = new Uint8Array(65)
  const exits = (count: number): PartialExit[] =>
    Array.from({ length: count }, () => ({
      ...{ publicKey: new Uint8Array(48), epoch: 0n, validatorIndex: 0n, signature: new Uint8Array(96) },
    }))

  it('is the node whose key has signed them, and nobody else', async () => {
    const { stage, exits: service } = await openLock()
    const assertSigned = (count = 1) => service.assertSigned(NODE, exits(count), signature)
    expect(await assertSigned()).toBe(NODE_KEY)
    expect(await assertSigned(MOST)).toBe(NODE_KEY)
    expect(await answered(assertSigned(MOST + 1))).toMatchObject({
      code: 'TOO_MANY_SHARES',
      message: `at most ${MOST} partial signatures in one request, this one has ${MOST + 1}: the relayer's operator raises MAX_SHARES_PER_REQUEST`,
    })
    stage.size = 1
    expect(await answered(assertSigned(2))).toMatchObject({ code: 'TOO_MANY_SHARES', message: 'of the lock' })
    for (const signer of [undefined, new Uint8Array(33).fill(3)]) {
      stage.signer = signer
      expect(await answered(assertSigned())).toMatchObject({ code: 'NODE_SIGNATURE_WRONG' })
    }
    stage.isNode = false
    expect(await answered(assertSigned())).toMatchObject({ code: 'LOCK_UNKNOWN' })
  })
})

describe('exits', () => {
  const INDEX = 70
  /** An exit of a validator as node 3 posts it, for the epoch and index that are asked for. */
  const exitOf = ({ publicKey }: { publicKey: Uint8Array }, change: Partial<PartialExit> = {}): PartialExit => ({
    ...{ publicKey, epoch: 256n, validatorIndex: BigInt(INDEX), signature: new Uint8Array(96).fill(5) },
    ...change,
  })
  async function addAsked(lock: Lock, of: { publicKey?: Uint8Array } = {}) {
    const validator = await lock.addMember(of)
    const exit = await lock.addExit(validator.id, { index: INDEX })
    await lock.query(sql`update messages set epoch = 256 where id = ${exit}`)
    return validator
  }

  it('are taken where they are what is asked for, and of the others each is told what it is', async () => {
    const lock = await openLock()
    const [asked, idle, registered] = [await addAsked(lock), await lock.addMember(), await lock.addMember()]
    await lock.query(sql`update validators set registered_at = now(), beacon_index = 4 where id = ${registered.id}`)
    const of = { asked: toHex(asked.publicKey), idle: toHex(idle.publicKey), registered: toHex(registered.publicKey) }
    const wrong: [PartialExit, string, string][] = [
      [exitOf({ publicKey: new Uint8Array(48) }), 'KEY_NOT_IN_LOCK', `no validator 0x${'00'.repeat(48)} of the lock`],
      [exitOf(idle), 'EXIT_NOT_OPEN', `no exit of the validator ${of.idle} is asked for now`],
      [exitOf(registered), 'EXIT_NOT_OPEN', `the validator ${of.registered} is registered already`],
      [
        exitOf(asked, { epoch: 255n }),
        'EXIT_EPOCH_WRONG',
        `made for epoch 255, and every exit on hoodi is for epoch 256`,
      ],
      [
        exitOf(asked, { validatorIndex: 71n }),
        'EXIT_INDEX_STALE',
        `made for validator index 71, and it is asked for at index 70`,
      ],
    ]
    for (const [exit, code, words] of wrong)
      expect(await answered(lock.exits.take(NODE, [exit]))).toMatchObject({
        failures: [`0 ${code}`],
        message: expect.stringContaining(words),
      })
    expect(lock.posts).toEqual([])
    const { failures } = (await answered(lock.exits.take(NODE, [...wrong.map(([exit]) => exit), exitOf(asked)]))) as {
      failures: string[]
    }
    expect(failures).toEqual(wrong.map(([, code], position) => `${position} ${code}`))
    expect(lock.posts).toEqual([[3, [{ public_key: of.asked, exit_signature: `0x${'05'.repeat(96)}` }]]])
    expect(await answered(lock.exits.take(NODE, [exitOf(asked)]))).toBe('taken')
    expect(await answered(lock.exits.take(NODE, []))).toBe('taken')
    expect(lock.verified).toEqual([])

    expect(await lock.openExits.find(['no key', of.idle, of.asked])).toMatchObject([{ validatorIndex: INDEX }])

    // One whose index moved while they were looked at is late, and not wrong.
    const [moved, stayed] = [asked, await addAsked(lock)]
    lock.stage.submit = async () => {
      await lock.query(sql`update messages set validator_index = 90 where validator_id = ${moved.id}`)
      return [failure(0, 'SIGNATURE_WRONG'), failure(1, 'SIGNATURE_WRONG')]
    }
    expect(await answered(lock.exits.take(NODE, [exitOf(moved), exitOf(stayed)]))).toMatchObject({
      failures: ['0 EXIT_INDEX_STALE', '1 SIGNATURE_WRONG'],
      message: expect.stringContaining('asked for at index 90 now'),
    })
  })

  it('that are wrong are told why: the share of another node, or another network, as far as that can be known', async () => {
    const lock = await openLock()
    const [keyed, other] = createTestKeys(2, { nodes: 4, threshold: 3 }) as [KeyedValidator, KeyedValidator]
    const [validator] = [await addAsked(lock, keyed), await addAsked(lock, other)]
    const key = toHex(keyed.publicKey)
    const shareOf = (shareIndex: number) => keyed.shares[shareIndex - 1] ?? expect.fail('no share')
    for (const index of [2, 3, 4]) await lock.trust(validator.id, index, shareOf(index).publicKey)
    lock.stage.submit = async () => [failure(0, 'SIGNATURE_WRONG')]
    const sign = (shareIndex: number, fork: Parameters<typeof exitSigningRoot>[0]) =>
      engine.sign(shareOf(shareIndex).secretKey, exitSigningRoot(fork, { epoch: 256, validatorIndex: INDEX }))
    const told = async (signature: Uint8Array) => {
      const answer = await answered(lock.exits.take(NODE, [exitOf(keyed, { signature })]))
      return answer === 'taken' ? answer : answer.message.replace('0 of 1 exit taken; ', '')
    }
    const general = (of: string) =>
      `the signature of the exit of ${of} does not fit the key share that the lock has for node 3: sign with that node's own --validator-keys-dir, against a beacon node of hoodi`
    const ofNode = (node: number) =>
      `the exit of ${key} is signed with the key share of node ${node}, and the request comes from node 3: give the --validator-keys-dir of that node`
    const of = (network: string) =>
      `the exit of ${key} is signed for ${network}, and this relayer works for hoodi: give --beacon-node-endpoints of hoodi`
    expect(await told(sign(2, hoodi))).toBe(ofNode(2))
    expect(await told(sign(4, hoodi))).toBe(ofNode(4))
    expect(await told(sign(3, networks.gnosis))).toBe(of('gnosis'))
    const { genesisValidatorsRoot } = networks.mainnet
    expect(await told(sign(3, { ...hoodi, genesisValidatorsRoot }))).toBe(of('mainnet'))
    // Nothing was the matter with it here, and so there is nothing to tell.
    expect(await told(sign(3, hoodi))).toBe(general(key))
    expect(await told(sign(1, hoodi))).toBe(general(key))

    // Only the first is looked into.
    lock.stage.submit = async () => [failure(0, 'SIGNATURE_WRONG'), failure(1, 'SIGNATURE_WRONG')]
    const both = [exitOf(other), exitOf(keyed, { signature: sign(2, hoodi) })]
    expect(await answered(lock.exits.take(NODE, both))).toMatchObject({
      failures: ['0 SIGNATURE_WRONG', '1 SIGNATURE_WRONG'],
      message: expect.stringContaining(general(toHex(other.publicKey))),
    })
    lock.stage.submit = async () => [failure(1, 'SIGNATURE_WRONG')]
    expect(await answered(lock.exits.take(NODE, both))).toMatchObject({
      failures: ['1 SIGNATURE_WRONG'],
      message: expect.stringContaining(ofNode(2)),
    })
    await lock.query(sql`delete from key_shares where share_index = 3`)
    lock.stage.submit = async () => [failure(0, 'SIGNATURE_WRONG')]
    expect(await told(sign(3, networks.mainnet))).toBe(general(key))
  })
})

describe('deposits', () => {
  const depositOf = (
    { publicKey }: { publicKey: Uint8Array },
    isRight = true,
    change: Partial<PartialDeposit> = {},
  ): PartialDeposit => ({
    ...{ publicKey, withdrawalCredentials: withdrawalCredentials('0x01', VAULT), amountGwei: BigInt(GWEI) },
    signature: new Uint8Array(96).fill(isRight ? 1 : 2),
    ...change,
  })
  async function addAsked(lock: Lock, hasShare = true) {
    const validator = await lock.addMember()
    await lock.addDeposit(validator.id, { vault: VAULT, gwei: GWEI })
    if (hasShare) await lock.trust(validator.id, NODE.shareIndex, new Uint8Array(48).fill(6))
    return validator
  }
  async function openDeposits() {
    const lock = await openLock()
    lock.stage.verify = ({ signature }) => signature[0] === 1
    return { ...lock, lock, asked: await addAsked(lock) }
  }
  const postedOf = (posts: readonly unknown[]) =>
    (posts as [number, { public_key: string; deposit_signature: string }[]][]).flatMap(([, shares]) => shares)

  it('are taken where they are what is asked for, and of the others each is told what it is', async () => {
    const { lock, asked, deposits, posts, verified } = await openDeposits()
    const [idle, shareless] = [await lock.addMember(), await addAsked(lock, false)]
    const key = toHex(asked.publicKey)
    const another = `another deposit of ${key} is asked for: run charon deposit sign --validator-public-keys=${key} --deposit-amounts=32 --withdrawal-addresses=${toHex(withdrawalCredentials('0x01', VAULT))},`
    const wrong: [PartialDeposit, string, string][] = [
      [
        depositOf({ publicKey: new Uint8Array(48) }),
        'KEY_NOT_IN_LOCK',
        `no validator 0x${'00'.repeat(48)} of the lock`,
      ],
      [depositOf(idle), 'DEPOSIT_NOT_OPEN', `no deposit of the validator ${toHex(idle.publicKey)} is asked for now`],
      [depositOf(shareless), 'SHARE_INDEX_UNKNOWN', `the validator ${toHex(shareless.publicKey)} has no node 3`],
      [depositOf(asked, true, { amountGwei: 1n }), 'DEPOSIT_NOT_OPEN', another],
      [
        depositOf(asked, true, { withdrawalCredentials: withdrawalCredentials('0x02', VAULT) }),
        'DEPOSIT_NOT_OPEN',
        another,
      ],
      [depositOf(asked, false), 'SIGNATURE_WRONG', `the signature of the deposit of ${key} does not fit`],
    ]
    for (const [deposit, code, words] of wrong)
      expect(await answered(deposits.take(NODE, [deposit]))).toMatchObject({
        failures: [`0 ${code}`],
        message: expect.stringContaining(words),
      })
    expect(posts).toEqual([])
    expect(verified).toEqual([1])
    expect(await answered(deposits.take(NODE, [...wrong.map(([deposit]) => deposit), depositOf(asked)]))).toMatchObject(
      {
        code: 'DEPOSITS_REFUSED',
        failures: wrong.map(([, code], position) => `${position} ${code}`),
      },
    )
    expect(posts).toEqual([[3, [{ public_key: key, deposit_signature: `0x${'01'.repeat(96)}` }]]])
  })

  it('are verified sixteen at once, up to sixteen that are all wrong, and are of a node, and not too many', async () => {
    const { lock, asked, deposits, stage, posts, verified } = await openDeposits()
    /** Posts as many, of which these positions are right; the positions that were handed in, and what was verified. */
    const take = async (count: number, ...right: number[]) => {
      posts.length = 0
      verified.length = 0
      const of = (position: number) => new Uint8Array(96).fill(right.includes(position) ? 1 : 2).with(1, position)
      const all = Array.from({ length: count }, (_, i) => depositOf(asked, true, { signature: of(i) }))
      const answer = await answered(deposits.take(NODE, all))
      return {
        taken: answer === 'taken' ? 'all' : answer.message.split(';')[0],
        posted: postedOf(posts).map((share) => Number.parseInt(share.deposit_signature.slice(4, 6), 16)),
        verified: [...verified],
      }
    }
    const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)
    expect(await take(32, ...upTo(32))).toEqual({ taken: 'all', posted: upTo(32), verified: [16, 16] })
    expect(await take(33, 15, 16, 32)).toEqual({
      taken: '3 of 33 deposits taken',
      posted: [15, 16, 32],
      verified: [16, 16, 1],
    })
    expect(await take(33, 3, 32)).toEqual({ taken: '1 of 33 deposits taken', posted: [3], verified: [16, 16] })
    expect(await take(33, 32)).toEqual({ taken: '0 of 33 deposits taken', posted: [], verified: [16] })
    expect(await take(0)).toEqual({ taken: 'all', posted: [], verified: [] })

    posts.length = 0
    const some = (count: number) => Array<PartialDeposit>(count).fill(depositOf(asked))
    expect(await answered(deposits.take(NODE, some(MOST)))).toBe('taken')
    expect(postedOf(posts)).toHaveLength(MOST)
    expect(await answered(deposits.take(NODE, some(MOST + 1)))).toMatchObject({ code: 'TOO_MANY_SHARES' })
    expect(posts).toHaveLength(1)

    // Of one, something else was asked for meanwhile.
    const second = await addAsked(lock)
    stage.submit = async () => [failure(1, 'SIGNATURE_WRONG')]
    expect(await answered(deposits.take(NODE, [depositOf(asked), depositOf(second)]))).toMatchObject({
      failures: ['1 DEPOSIT_NOT_OPEN'],
      message: expect.stringContaining(`no deposit of the validator ${toHex(second.publicKey)} is asked for now`),
    })
    stage.isNode = false
    expect(await answered(deposits.take(NODE, some(1)))).toMatchObject({ code: 'LOCK_UNKNOWN' })
  })
})
