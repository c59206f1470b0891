/** Candidates in the database: which of them stay in a flood, whose verdicts count, and who is told. */

import { randomBytes } from 'node:crypto'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { type ExitListRow, findChangedExits } from '@dvt-relayer/db/queries/messages/lists.ts'
import {
  claimFinishable,
  claimUnverified,
  findCandidates,
  findFinishable,
  findHints,
  findStillTrusted,
  storeHints,
  trimCandidates,
  trimHints,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { giveBackMessages } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import {
  storeCandidates,
  type TrustedVerdict,
  writeFinishedVerdicts,
  writeTrustedVerdicts,
} from '../../../apps/relayer/src/services/signatures/candidates.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

/** A store with one exit that is collected, and what is done to its candidates. */
async function openExit() {
  const store = await openMessages()
  const { id: validatorId } = await store.addValidator()
  const messageId = await store.addExit(validatorId)
  return { ...store, validatorId, messageId, ...candidatesOf(store, messageId) }
}

function candidatesOf({ db, query, sealing }: MessageStore, messageId: number) {
  const candidate = (digest: Uint8Array) => ({
    messageId,
    kind: 'exit' as const,
    digest,
    signature: new Uint8Array(96).fill(7),
  })
  /** Stores one candidate as a post of its own, and says how long ago that was. */
  async function store(shareIndex: number, digest: Uint8Array, secondsAgo = 0): Promise<boolean> {
    const [trusted] = await query(sql`select from key_shares where share_index = ${shareIndex} limit 1`)
    const isAnother = trusted === undefined && (await kept()).some(([index]) => index === shareIndex)
    const isTold = await db.transaction(async (tx) => {
      await lockMessages(tx, [messageId])
      return await storeCandidates(tx, sealing, shareIndex, [{ ...candidate(digest), isUntold: false, isAnother }])
    })
    await query(sql`
      update partial_signatures set seen_at = now() - make_interval(secs => ${secondsAgo}::float8)
      where message_id = ${messageId} and share_index = ${shareIndex} and digest = ${Buffer.from(digest)}`)
    return isTold
  }
  /** Share index, state and digest of all, in the order of share indexes and digests. */
  async function kept(): Promise<[index: number, state: string, digest: string][]> {
    const rows = await query<{ share_index: string; state: string; digest: Buffer }>(sql`
      select share_index, state, digest from partial_signatures where message_id = ${messageId} order by share_index, digest`)
    return rows.map(({ share_index, state, digest }) => [Number(share_index), state, digest.toString('hex')])
  }
  return {
    store,
    kept,
    verdict: (
      shareIndex: number,
      digest: Uint8Array,
      publicKeyShare: Uint8Array,
      isRight: boolean,
    ): TrustedVerdict => ({
      ...candidate(digest),
      shareIndex,
      publicKeyShare,
      isRight,
    }),
    judge: (verdicts: readonly TrustedVerdict[]) =>
      db.transaction(async (tx) => {
        await lockMessages(tx, [messageId])
        return writeTrustedVerdicts(tx, sealing, verdicts)
      }),
    /** Makes one of another state of it. */
    set: (shareIndex: number, digest: Uint8Array, state: 'verified' | 'rejected') =>
      query(sql`
        update partial_signatures set state = ${state}, sealed = case when ${state} = 'rejected' then null else sealed end
        where message_id = ${messageId} and share_index = ${shareIndex} and digest = ${Buffer.from(digest)}`),
  }
}

const digestOf = (number: number) => new Uint8Array(32).fill(number)
const text = (number: number) => Buffer.from(digestOf(number)).toString('hex')
const upTo = (count: number) => Array.from({ length: count }, (_, position) => position + 1)

describe('a verdict', () => {
  it.each([
    ['right', true, 'verified'],
    ['wrong', false, 'rejected'],
  ])(
    'of %s counts only while the public key share at its index is the one it was made under',
    async (_, isRight, state) => {
      const exit = await openExit()
      const [old, next] = [randomBytes(48), randomBytes(48)]
      await exit.trust(exit.validatorId, 1, old)
      await exit.store(1, digestOf(1))
      // The operator at the same index has another key since: what fitted the old one is no share of the validator.
      await exit.trust(exit.validatorId, 1, next)
      expect(await exit.judge([exit.verdict(1, digestOf(1), old, isRight)])).toEqual([])
      expect(await exit.kept()).toEqual([[1, 'unverified', text(1)]])
      const judged = exit.verdict(1, digestOf(1), next, isRight)
      expect(await exit.judge([judged])).toEqual([judged])
      expect(await exit.kept()).toEqual([[1, state, text(1)]])
    },
  )

  it('is told apart by validator, index and key among others', async () => {
    const exit = await openExit()
    const shares = upTo(3).map(() => randomBytes(48))
    const [one = shares[0], two, three] = shares
    if (one === undefined || two === undefined || three === undefined) throw new Error('three keys were made')
    await exit.trust(exit.validatorId, 1, one)
    await exit.trust(exit.validatorId, 2, two)
    const other = await exit.addValidator()
    const otherExit = await exit.addExit(other.id)
    await exit.trust(other.id, 1, three)
    const judged = [
      { messageId: exit.messageId, shareIndex: 1, publicKeyShare: two },
      { messageId: exit.messageId, shareIndex: 1, publicKeyShare: one },
      { messageId: exit.messageId, shareIndex: 2, publicKeyShare: one },
      { messageId: exit.messageId, shareIndex: 3, publicKeyShare: three },
      { messageId: otherExit, shareIndex: 1, publicKeyShare: one },
      { messageId: otherExit, shareIndex: 1, publicKeyShare: three },
    ]
    expect(await findStillTrusted(exit.db, judged)).toEqual(new Set([1, 5]))
  })

  it.each([
    ['right', true],
    ['wrong', false],
  ])('of %s is announced: who follows the list reads the message again', async (_, isRight) => {
    const exit = await openExit()
    const share = randomBytes(48)
    await exit.trust(exit.validatorId, 1, share)
    await exit.store(1, digestOf(1))
    const { revision } = await exit.message(exit.messageId)
    await exit.judge([exit.verdict(1, digestOf(1), share, isRight)])
    expect((await exit.message(exit.messageId)).revision).toBeGreaterThan(revision)
  })

  it('of a full signature is announced, with what it completed', async () => {
    const exit = await openExit()
    const { id } = await exit.addValidator()
    const [judged, completed] = [exit.messageId, await exit.addExit(id)]
    await exit.store(1, digestOf(1))
    const revisions = async () => [(await exit.message(judged)).revision, (await exit.message(completed)).revision]
    const [first = 0, second = 0] = await revisions()
    await exit.db.transaction(async (tx) => {
      await lockMessages(tx, [judged, completed])
      const verdicts = [{ messageId: judged, shareIndex: 1, digest: digestOf(1), isRight: false }]
      await writeFinishedVerdicts(
        tx,
        exit.sealing,
        [judged, completed].map((messageId) => ({ id: messageId, kind: 'exit' })),
        { recovered: verdicts, trusted: [] },
        [completed],
      )
    })
    const [newFirst, newSecond] = await revisions()
    expect(newFirst).toBeGreaterThan(first)
    expect(newSecond).toBeGreaterThan(second)
  })

  it('that is stored as a candidate is announced as well', async () => {
    const exit = await openExit()
    const { revision } = await exit.message(exit.messageId)
    await exit.store(1, digestOf(1))
    expect((await exit.message(exit.messageId)).revision).toBeGreaterThan(revision)
  })
})

describe('a claim', () => {
  /** An exit of two indexes whose public key shares are trusted; one signature is enough for it. */
  async function openTrusted() {
    const exit = await openExit()
    for (const index of [1, 2]) await exit.trust(exit.validatorId, index, randomBytes(48))
    return { ...exit, finishable: () => claimFinishable(exit.db, [exit.messageId], 9) }
  }

  it('to finish counts a share index that has sent one thing alone, before anybody has verified it', async () => {
    const exit = await openTrusted()
    expect(await exit.finishable()).toEqual([])
    await exit.store(1, digestOf(1))
    expect(await exit.finishable()).toEqual([exit.messageId])
    // A worker has it now.
    expect(await exit.finishable()).toEqual([])
  })

  it('to finish counts no share index that has sent several things, or one that was wrong, until one is verified', async () => {
    const exit = await openTrusted()
    await exit.store(1, digestOf(1))
    await exit.store(1, digestOf(2))
    expect(await exit.finishable()).toEqual([])
    await exit.set(1, digestOf(1), 'rejected')
    expect(await exit.finishable()).toEqual([])
    await exit.set(1, digestOf(2), 'verified')
    expect(await exit.finishable()).toEqual([exit.messageId])
  })

  it('to finish counts no share index without a trusted public key share beside others that have one', async () => {
    const exit = await openTrusted()
    await exit.store(3, digestOf(1))
    expect(await exit.finishable()).toEqual([])
  })

  it.each(['collecting', 'ready'])(
    'to finish leaves what is %s beside one that was verified under a public key share of before, and the claim to verify takes it',
    async (state) => {
      const exit = await openTrusted()
      await exit.query(sql`
        update messages set state = ${state}, threshold = 2, signature = case when ${state} = 'ready' then ${randomBytes(96)}::bytea end`)
      await exit.store(3, digestOf(1))
      await exit.set(3, digestOf(1), 'verified')
      await exit.store(1, digestOf(2), 60)
      // Whoever took it could not judge it, and gave it back only when its time was over.
      expect(await exit.finishable()).toEqual([])
      expect(await claimUnverified(exit.db, 8, 9)).toEqual([exit.messageId])
      await exit.trust(exit.validatorId, 3, randomBytes(48))
      expect(await exit.finishable()).toEqual([exit.messageId])
    },
  )

  it('to verify leaves what a worker has, for as long as its own claim holds', async () => {
    const exit = await openTrusted()
    await exit.store(1, digestOf(1), 60)
    const queued = (secondsAgo: number) =>
      exit.query(sql`update messages set queued_at = now() - make_interval(secs => ${secondsAgo}::float8)`)
    await queued(20)
    expect(await claimUnverified(exit.db, 8, 9)).toEqual([])
    await queued(30)
    expect(await claimUnverified(exit.db, 8, 9)).toEqual([exit.messageId])
  })
})

describe('of another candidate of a share index', () => {
  it('nobody is told while the lists show what they showed', async () => {
    const exit = await openExit()
    const revision = async () => (await exit.message(exit.messageId)).revision
    expect(await exit.store(1, digestOf(1))).toBe(true)
    const first = await revision()
    for (const number of [2, 3, 4, 5, 6]) expect(await exit.store(1, digestOf(number))).toBe(false)
    expect(await revision()).toBe(first)
    // Another share index is news, and so is another candidate where all were found wrong.
    expect(await exit.store(2, digestOf(1))).toBe(true)
    await exit.set(2, digestOf(1), 'rejected')
    expect(await exit.store(2, digestOf(2))).toBe(true)
    expect(await exit.store(2, digestOf(3))).toBe(false)
    // What pushed the last wrong one over the limit is news as well.
    expect(await exit.store(2, digestOf(4))).toBe(false)
    expect(await exit.store(2, digestOf(5))).toBe(true)
    expect(await revision()).toBeGreaterThan(first)
  })

  it('whoever looks for what is to be finished is told where a worker has had the message', async () => {
    const exit = await openExit()
    await exit.store(1, digestOf(1))
    await exit.query(sql`update messages set queued_at = now()`)
    expect(await exit.store(1, digestOf(2))).toBe(true)
    await giveBackMessages(exit.db, [exit.messageId])
    expect(await exit.store(1, digestOf(3))).toBe(true)
  })

  it('the other messages of the post are told of for themselves', async () => {
    const exit = await openExit()
    const { id } = await exit.addValidator()
    const other = await exit.addExit(id)
    await exit.store(1, digestOf(1))
    const before = await exit.message(exit.messageId)
    const candidate = { kind: 'exit' as const, digest: digestOf(2), signature: new Uint8Array(96), isUntold: false }
    const isTold = await exit.db.transaction(async (tx) => {
      await lockMessages(tx, [exit.messageId, other])
      return await storeCandidates(tx, exit.sealing, 1, [
        { ...candidate, messageId: exit.messageId, isAnother: true },
        { ...candidate, messageId: other, isAnother: false },
      ])
    })
    expect(isTold).toBe(true)
    expect(await exit.message(exit.messageId)).toEqual(before)
    expect((await exit.message(other)).revision).toBeGreaterThan(before.revision)
  })

  it('whoever follows the changes has what the list shows, whatever comes in which order', async () => {
    const exit = await openExit()
    const whole = async () => (await findChangedExits(exit.db, { revision: 0, messageId: 0 }, 9)).map(shownOf)
    const shownOf = ({ verified, unverified, rejected }: ExitListRow) => ({ verified, unverified, rejected })
    // From revision 0 on all that is live would be told of.
    let seen = { revision: 1, messageId: 0 }
    let shown = await whole()
    let told = 0
    let finishable: number[] = []
    const share = randomBytes(48)
    for (let turn = 0; turn < 120; turn++) {
      const index = [1, 2, 70][((turn * 5) % 7) % 3] ?? 1
      const [stored] = (await exit.kept()).filter(([at, state]) => at === index && state === 'unverified')
      // At first nothing can be judged.
      if (stored !== undefined && turn > 60 && turn % 3 === 2) {
        await exit.trust(exit.validatorId, index, share)
        // Right ones at the end alone: nothing comes beside them.
        await exit.judge([exit.verdict(index, Buffer.from(stored[2], 'hex'), share, turn > 100)])
      } else if (!(await exit.store(index, randomBytes(32))))
        expect(await findFinishable(exit.db, [exit.messageId])).toEqual(finishable)
      finishable = await findFinishable(exit.db, [exit.messageId])
      const changed = await findChangedExits(exit.db, seen, 9)
      for (const row of changed) {
        seen = { revision: row.revision, messageId: row.messageId }
        shown = [shownOf(row)]
        told++
      }
      expect(shown).toEqual(await whole())
    }
    expect(told).toBeGreaterThan(20)
    expect(told).toBeLessThan(110)
  })
})

describe('in a flood', () => {
  it('the four newest candidates of a share index stay', async () => {
    const exit = await openExit()
    for (const number of upTo(4)) await exit.store(1, digestOf(number), 100 - number)
    expect((await exit.kept()).map(([, , digest]) => digest)).toEqual(upTo(4).map(text))
    await exit.store(1, digestOf(5))
    expect((await exit.kept()).map(([, , digest]) => digest)).toEqual([2, 3, 4, 5].map(text))
    await exit.store(2, digestOf(1))
    expect(await exit.kept()).toHaveLength(5)
  })

  it('what was rejected goes first, whenever it was seen', async () => {
    const exit = await openExit()
    for (const number of upTo(4)) await exit.store(1, digestOf(number), 100 - number)
    await exit.set(1, digestOf(4), 'rejected')
    await exit.store(1, digestOf(5))
    expect((await exit.kept()).map(([, , digest]) => digest)).toEqual([1, 2, 3, 5].map(text))
  })

  it('the 64 share indexes seen last stay, whatever their numbers, and every verified signature', async () => {
    const exit = await openExit()
    // The lowest index was seen first, and so on; the verified one before all.
    await exit.store(1, digestOf(1), 1000)
    await exit.set(1, digestOf(1), 'verified')
    for (const index of upTo(64)) await exit.store(index + 1, digestOf(1), 500 - index)
    expect(await exit.kept()).toHaveLength(65)
    await exit.store(66, digestOf(1))
    const indexes = (await exit.kept()).map(([index]) => index)
    expect(indexes).toEqual([1, ...upTo(66).slice(2)])
    // Where the newest is the lowest, the highest go.
    const reversed = await openExit()
    for (const index of upTo(65).toReversed()) await reversed.store(index, digestOf(1), index)
    expect((await reversed.kept()).map(([index]) => index)).toEqual(upTo(64))
  })

  it('a share index is as new as its newest candidate', async () => {
    const exit = await openExit()
    await exit.store(1, digestOf(1), 50)
    await exit.store(1, digestOf(2), 1)
    await exit.store(2, digestOf(1), 10)
    await exit.store(3, digestOf(1), 20)
    await exit.db.transaction((tx) => trimCandidates(tx, [exit.messageId], { perIndex: 2, indexes: 2 }))
    expect((await exit.kept()).map(([index]) => index)).toEqual([1, 1, 2])
  })

  it('one message costs another nothing', async () => {
    const exit = await openExit()
    const { id } = await exit.addValidator()
    const otherId = await exit.addExit(id)
    const other = candidatesOf(exit, otherId)
    await other.store(1, digestOf(1), 1000)
    await exit.store(1, digestOf(1))
    await exit.store(2, digestOf(1))
    await exit.db.transaction((tx) => trimCandidates(tx, [exit.messageId, otherId], { perIndex: 1, indexes: 1 }))
    expect([await exit.kept(), await other.kept()].map((kept) => kept.length)).toEqual([1, 1])
  })
})

describe('what nodes say of public key shares', () => {
  const shares = (byte: number) => Buffer.alloc(56, byte)

  it('is kept where they are not known, the last of each share index', async () => {
    const store = await openMessages()
    const [unknown, known] = [await store.addValidator(), await store.addValidator()]
    const exit = await store.addExit(unknown.id)
    await store.trust(known.id, 1, randomBytes(48))
    const say = (shareIndex: number, byte: number) =>
      storeHints(
        store.db,
        shareIndex,
        [unknown, known].map(({ id }) => ({ validatorId: id, shares: shares(byte) })),
      )
    await say(1, 1)
    await say(2, 2)
    await say(1, 3)
    const kept = () =>
      store.query<{ validator: number; index: number; byte: number; seen: Date }>(
        sql`select validator_id::int as validator, share_index::int as index, get_byte(shares, 0) as byte, seen_at::text as seen
            from key_share_hints order by share_index`,
      )
    const rows = await kept()
    expect(rows).toMatchObject([
      { validator: unknown.id, index: 1, byte: 3 },
      { validator: unknown.id, index: 2, byte: 2 },
    ])
    // The newest first; the same again is not newer.
    await say(2, 2)
    expect(await kept()).toEqual(rows)
    expect((await findHints(store.db, [exit])).map(({ shares: [byte] }) => byte)).toEqual([3, 2])
  })

  it('is kept of those share indexes that were heard last, of each validator by itself', async () => {
    const store = await openMessages()
    const [{ id }, other] = [await store.addValidator(), await store.addValidator()]
    for (const [position, index] of [5, 1, 3].entries()) {
      await storeHints(store.db, index, [{ validatorId: id, shares: shares(1) }])
      await store.query(sql`update key_share_hints set seen_at = now() - make_interval(secs => ${100 - position})
                            where share_index = ${index}`)
    }
    await storeHints(store.db, 9, [{ validatorId: other.id, shares: shares(1) }])
    await trimHints(store.db, [id], 2)
    const left = await store.query(
      sql`select validator_id::int as id, share_index::int as index from key_share_hints order by 1, 2`,
    )
    expect(left).toEqual([
      { id, index: 1 },
      { id, index: 3 },
      { id: other.id, index: 9 },
    ])
  })
})

it('are read a few hundred rows at a time, each message whole, however many were invented', async () => {
  const store = await openMessages()
  const ids: number[] = []
  for (const count of [300, 300, 700, 0, 5, 300]) {
    const { id } = await store.addValidator()
    const messageId = await store.addExit(id)
    ids.push(messageId)
    await store.query(sql`
      insert into partial_signatures (message_id, share_index, digest, sealed, state, seen_at)
      select ${messageId}, n, sha256(n::text::bytea), 'x'::bytea, 'unverified', now() - make_interval(secs => n)
      from generate_series(1, ${count}::int) n`)
  }
  const read: number[] = []
  const counting = new Proxy(store.db, {
    get: (db, name) =>
      name === 'execute'
        ? async (query: Parameters<typeof db.execute>[0]) => {
            const result = await db.execute(query)
            read.push(result.rows.length)
            if (read.length > 20) throw new Error('it is read for ever')
            return result
          }
        : Reflect.get(db, name),
  })
  const found = await findCandidates(counting, ids)
  const counts = ids.map((id) => found.filter(({ messageId }) => messageId === id).length)
  expect(counts).toEqual([300, 300, 700, 0, 5, 300])
  expect(found.map(({ messageId }) => messageId)).toEqual(
    found.map(({ messageId }) => messageId).toSorted((a, b) => a - b),
  )
  // The most recently seen first.
  expect(found.slice(300, 303).map(({ shareIndex }) => shareIndex)).toEqual([1, 2, 3])
  // One that has more than there may be is read whole all the same.
  expect(read.filter((count) => count > 512)).toEqual([700])
  expect(read).toHaveLength(5)
  // What fits in one go is asked for once.
  read.length = 0
  await findCandidates(counting, ids.slice(3))
  expect(read).toEqual([305])
})
