/** Each query of partial signatures by itself: beside the rows it is about stand others that differ from them in one thing each. */

import { randomBytes } from 'node:crypto'
import {
  bindDeposits,
  claimFinishable,
  claimToFinish,
  claimUnverified,
  countLiveKeys,
  findCandidates,
  findFinishable,
  findHints,
  findOutcomes,
  findShown,
  findStarving,
  findStillTrusted,
  insertCandidates,
  matchPartials,
  storeHints,
  touchCandidates,
  trimCandidates,
  trimHints,
  writeVerdicts,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'

type State = 'unverified' | 'verified' | 'rejected'
const digestOf = (byte: number) => Buffer.alloc(32, byte)
const keyOf = (byte: number) => Buffer.alloc(48, byte)

async function openSignatures() {
  const store = await openMessages()
  const { query } = store
  /** A candidate of a digest of this byte, which is its sealed signature as well. */
  const sign = (messageId: number, shareIndex: number, byte: number, state: State = 'unverified', secondsAgo = 0) =>
    query(sql`
      insert into partial_signatures (message_id, share_index, digest, sealed, state, seen_at)
      values (${messageId}, ${shareIndex}, ${digestOf(byte)}, ${state === 'rejected' ? null : Buffer.of(byte)}, ${state},
              now() - make_interval(secs => ${secondsAgo}::float8))`)
  return {
    ...store,
    sign,
    /** An exit of a validator of its own. */
    addOwnExit: async (state = 'collecting') => store.addExit((await store.addValidator()).id, { state }),
    change: (messageId: number, what: SQL) => query(sql`update messages set ${what} where id = ${messageId}`),
    /** Message, share index, byte and state of all candidates; of those that meet a condition alone where it is given. */
    async kept(condition = sql`true`): Promise<[messageId: number, shareIndex: number, byte: number, state: State][]> {
      const rows = await query<{ message: number; index: number; byte: number; state: State }>(sql`
        select message_id::int as message, share_index::int as index, get_byte(digest, 0) as byte, state
        from partial_signatures where ${condition} order by 1, 2, 3`)
      return rows.map(({ message, index, byte, state }) => [message, index, byte, state])
    },
  }
}

describe('a posted signature', () => {
  it('is matched with its own validator’s message of its kind, and with what its share index has sent for that', async () => {
    const { db, addValidator, addExit, addDeposit, trust, sign, query } = await openSignatures()
    const [a, b, c, d] = [await addValidator(), await addValidator(), await addValidator(), await addValidator()]
    const exitA = await addExit(a.id)
    const depositA = await addDeposit(a.id, { state: 'expired' })
    const exitB = await addExit(b.id, { state: 'ready' })
    await addDeposit(b.id, { state: 'superseded' })
    await addExit(c.id, { state: 'expired' })
    const exitD = await addExit(d.id)
    await trust(a.id, 1, keyOf(1))
    await trust(a.id, 2, keyOf(2))
    await trust(b.id, 2, keyOf(3))
    await sign(exitA, 1, 1, 'unverified', 100)
    await sign(exitA, 1, 2, 'rejected', 50)
    await sign(exitA, 2, 3, 'verified')
    await sign(depositA, 1, 1, 'verified')
    await sign(depositA, 1, 4, 'unverified', 10)
    await sign(exitB, 1, 5, 'verified')
    const post = ({ publicKey }: { publicKey: Uint8Array }, kind: 'exit' | 'deposit', byte: number) => ({
      publicKey,
      kind,
      digest: digestOf(byte),
    })
    const posted = [
      post(a, 'exit', 1),
      post(a, 'exit', 9),
      // Verified already: nothing is left to be done.
      post(b, 'exit', 5),
      post(b, 'exit', 6),
      post({ publicKey: randomBytes(48) }, 'exit', 1),
      post(a, 'deposit', 4),
      post(b, 'deposit', 1),
      post(c, 'exit', 1),
      post(d, 'exit', 1),
      post(a, 'exit', 2),
      // Another share index has sent it.
      post(a, 'exit', 3),
    ]
    const roots = await query<{ id: number; root: Buffer }>(
      sql`select id::int as id, signing_root as root from messages order by id`,
    )
    const rootOf = (messageId: number) => roots.find(({ id }) => id === messageId)?.root
    const ofA = { validatorId: a.id, publicKeyShare: keyOf(1), hasKeyShares: true }
    const ofExitA = { messageId: exitA, ...ofA, state: 'collecting', signingRoot: rootOf(exitA), hasVerified: false }
    const found = await matchPartials(db, 1, posted)
    expect(found.map(({ seenSeconds, ...row }) => ({ ...row, seen: Math.round((seenSeconds ?? -10) / 10) }))).toEqual([
      { position: 0, ...ofExitA, same: 'unverified', others: 1, seen: 10 },
      { position: 1, ...ofExitA, same: null, others: 2, seen: -1 },
      {
        ...{ position: 3, messageId: exitB, validatorId: b.id, state: 'ready', signingRoot: rootOf(exitB) },
        ...{ publicKeyShare: null, hasKeyShares: true, same: null, hasVerified: true, others: 1, seen: -1 },
      },
      {
        ...{ position: 5, messageId: depositA, ...ofA, state: 'expired', signingRoot: rootOf(depositA) },
        ...{ same: 'unverified', hasVerified: true, others: 1, seen: 1 },
      },
      {
        ...{ position: 8, messageId: exitD, validatorId: d.id, state: 'collecting', signingRoot: rootOf(exitD) },
        ...{ publicKeyShare: null, hasKeyShares: false, same: null, hasVerified: false, others: 0, seen: -1 },
      },
      { position: 9, ...ofExitA, same: 'rejected', others: 1, seen: 5 },
      { position: 10, ...ofExitA, same: null, others: 2, seen: -1 },
    ])
  })

  it('is of a live key where anything of that is still asked for, which counts once', async () => {
    const { db, addValidator, addExit, addDeposit } = await openSignatures()
    const [both, over, other] = [await addValidator(), await addValidator(), await addValidator()]
    await addExit(both.id, { state: 'ready' })
    await addDeposit(both.id)
    await addDeposit(over.id, { state: 'expired' })
    await addExit(other.id)
    expect(await countLiveKeys(db, [both.publicKey, over.publicKey, randomBytes(48)])).toBe(1)
    expect(await countLiveKeys(db, [both.publicKey, over.publicKey, other.publicKey])).toBe(2)
    expect(await countLiveKeys(db, [])).toBe(0)
  })

  it('is stored where it is still taken and its own share index has no verified one', async () => {
    const { db, addValidator, addExit, addDeposit, sign, kept } = await openSignatures()
    const exit = async (state: string) => addExit((await addValidator()).id, { state })
    const deposit = async (state: string) => addDeposit((await addValidator()).id, { state })
    const [collecting, ready, late] = [await exit('collecting'), await exit('ready'), await deposit('expired')]
    const [over, superseded, settled] = [await exit('expired'), await deposit('superseded'), await exit('collecting')]
    const [elsewhere, open, unposted] = [await exit('collecting'), await exit('collecting'), await exit('collecting')]
    await sign(settled, 1, 2, 'verified')
    await sign(elsewhere, 2, 2, 'verified')
    await sign(open, 1, 2)
    await sign(open, 1, 1)
    const posted = [collecting, ready, late, over, superseded, settled, elsewhere, open]
    await insertCandidates(
      db,
      1,
      posted.map((messageId) => ({ messageId, digest: digestOf(1), sealed: Buffer.of(7) })),
    )
    expect(await kept(sql`sealed = '\\x07' and state = 'unverified'`)).toEqual(
      [collecting, ready, late, elsewhere].map((id) => [id, 1, 1, 'unverified']),
    )
    expect(await kept(sql`message_id in (${over}, ${superseded}, ${settled}, ${open}, ${unposted})`)).toEqual([
      [settled, 1, 2, 'verified'],
      [open, 1, 1, 'unverified'],
      [open, 1, 2, 'unverified'],
    ])
  })

  it('that came again is as new as its last post, and no other is', async () => {
    const { db, addOwnExit, sign, kept } = await openSignatures()
    const [one, other] = [await addOwnExit(), await addOwnExit()]
    for (const [id, index, byte] of [
      [one, 1, 1],
      [one, 1, 2],
      [one, 2, 1],
      [other, 1, 1],
    ] as const)
      await sign(id, index, byte, 'unverified', 1000)
    await touchCandidates(db, 1, [])
    expect(await kept(sql`seen_at > now() - interval '500 seconds'`)).toEqual([])
    await db.transaction(async (tx) => {
      await tx.execute(sql`set local synchronous_commit = on`)
      await touchCandidates(tx, 1, [{ messageId: one, digest: digestOf(1) }])
      // It is a hint: nobody waits for the disk.
      expect((await tx.execute(sql`show synchronous_commit`)).rows).toEqual([{ synchronous_commit: 'off' }])
    })
    expect(await kept(sql`seen_at > now() - interval '500 seconds'`)).toEqual([[one, 1, 1, 'unverified']])
  })
})

it('over the limits are the oldest of each share index, and the share indexes of each message that were seen least lately', async () => {
  const { db, addOwnExit, sign, kept } = await openSignatures()
  const [one, two, unnamed] = [await addOwnExit(), await addOwnExit(), await addOwnExit()]
  await sign(one, 1, 1, 'unverified', 1)
  await sign(one, 1, 2, 'unverified', 10)
  await sign(one, 1, 3, 'unverified', 500)
  await sign(one, 1, 4, 'rejected')
  await sign(one, 2, 1, 'verified', 900)
  await sign(one, 2, 3, 'unverified', 30)
  await sign(one, 2, 4, 'unverified', 31)
  await sign(one, 3, 1, 'unverified', 40)
  await sign(one, 3, 2, 'verified', 900)
  for (const [index, byte] of [
    [1, 3],
    [1, 4],
    [3, 1],
  ] as const)
    await sign(two, index, byte, 'unverified', 100)
  for (const byte of [1, 2, 3]) await sign(unnamed, 1, byte)
  await trimCandidates(db, [one, two], { perIndex: 2, indexes: 2 })
  expect((await kept()).map(([id, index, byte]) => [id, index, byte])).toEqual([
    [one, 1, 1],
    [one, 1, 2],
    [one, 2, 1],
    [one, 2, 3],
    [one, 2, 4],
    [one, 3, 2],
    [two, 1, 3],
    [two, 1, 4],
    [two, 3, 1],
    [unnamed, 1, 1],
    [unnamed, 1, 2],
    [unnamed, 1, 3],
  ])
})

it('lists show each state of each share index once, and nothing is said of what a worker has', async () => {
  const { db, addOwnExit, sign, change } = await openSignatures()
  const [some, none, queued, unnamed] = [await addOwnExit(), await addOwnExit(), await addOwnExit(), await addOwnExit()]
  await sign(some, 1, 1)
  await sign(some, 1, 2)
  await sign(some, 2, 1, 'rejected')
  for (const id of [queued, unnamed]) await sign(id, 3, 1)
  await change(queued, sql`queued_at = now()`)
  const shown = await findShown(db, [some, none, queued])
  expect(shown).toEqual(
    new Map([
      [some, 'rejected 2,unverified 1'],
      [none, ''],
    ]),
  )
})

describe('verdicts', () => {
  it('are of one message, share index and digest; what is right replaces its rivals, what was judged before stays', async () => {
    const { db, addOwnExit, sign, kept } = await openSignatures()
    const [one, two] = [await addOwnExit(), await addOwnExit()]
    await sign(one, 1, 1)
    await sign(one, 1, 2)
    await sign(one, 1, 3, 'rejected')
    for (const index of [2, 3]) for (const byte of [1, 2]) await sign(one, index, byte)
    for (const byte of [1, 2]) await sign(two, 1, byte)
    await sign(two, 2, 1, 'rejected')
    await sign(two, 2, 2)
    const before = await kept()
    expect(await writeVerdicts(db, [])).toBe(0)
    expect(await kept()).toEqual(before)
    const verdict = (messageId: number, shareIndex: number, isRight: boolean) => ({
      ...{ messageId, shareIndex, digest: digestOf(1), isRight },
    })
    expect(await writeVerdicts(db, [verdict(one, 1, true), verdict(one, 2, false), verdict(two, 2, true)])).toBe(2)
    expect(await kept()).toEqual([
      [one, 1, 1, 'verified'],
      [one, 2, 1, 'rejected'],
      [one, 2, 2, 'unverified'],
      [one, 3, 1, 'unverified'],
      [one, 3, 2, 'unverified'],
      [two, 1, 1, 'unverified'],
      [two, 1, 2, 'unverified'],
      [two, 2, 1, 'rejected'],
      [two, 2, 2, 'unverified'],
    ])
    // Wrong bytes are forgotten, right ones are what they were.
    expect(await kept(sql`sealed is null`)).toEqual([
      [one, 2, 1, 'rejected'],
      [two, 2, 1, 'rejected'],
    ])
    expect(await kept(sql`message_id = ${one} and share_index = 1 and sealed = '\\x01'`)).toHaveLength(1)
    expect(await writeVerdicts(db, [verdict(two, 1, true)])).toBe(1)
    expect(await kept(sql`message_id = ${two} and share_index = 1`)).toEqual([[two, 1, 1, 'verified']])
  })

  it('stand while the public key share of this validator at this share index is the one they were made under', async () => {
    const { db, addValidator, addExit, trust } = await openSignatures()
    const [one, other] = [await addValidator(), await addValidator()]
    const [exit, otherExit] = [await addExit(one.id), await addExit(other.id)]
    await trust(one.id, 1, keyOf(1))
    await trust(one.id, 2, keyOf(2))
    await trust(other.id, 1, keyOf(3))
    const judged = [
      [exit, 1, 2],
      [exit, 1, 1],
      [exit, 2, 1],
      [exit, 3, 3],
      [otherExit, 1, 1],
      [otherExit, 2, 2],
      [otherExit, 1, 3],
    ] as const
    const found = await findStillTrusted(
      db,
      judged.map(([messageId, shareIndex, byte]) => ({ messageId, shareIndex, publicKeyShare: keyOf(byte) })),
    )
    expect([...found].toSorted()).toEqual([1, 6])
  })

  it('that are awaited are told of by position, and whether a worker is at the message', async () => {
    const { db, addOwnExit, sign, change } = await openSignatures()
    const [held, left, free] = [await addOwnExit(), await addOwnExit(), await addOwnExit()]
    await sign(held, 1, 1)
    await sign(held, 2, 1, 'rejected')
    await sign(left, 1, 1, 'verified')
    await sign(free, 2, 2)
    const candidates = (
      [
        [free, 1, 2],
        [held, 1, 1],
        [held, 1, 2],
        [left, 1, 1],
        [held, 2, 1],
        [free, 2, 2],
      ] as const
    ).map(([messageId, shareIndex, byte]) => ({ messageId, shareIndex, digest: digestOf(byte) }))
    // In one transaction no time passes.
    const outcomes = await db.transaction(async (tx) => {
      await tx.execute(sql`update messages set queued_at = now() - interval '24.999 seconds' where id = ${held}`)
      await tx.execute(sql`update messages set queued_at = now() - interval '25 seconds' where id = ${left}`)
      return findOutcomes(tx, candidates)
    })
    expect(outcomes.toSorted((one, two) => one.position - two.position)).toEqual([
      { position: 1, state: 'unverified', isWithWorker: true },
      { position: 3, state: 'verified', isWithWorker: false },
      { position: 4, state: 'rejected', isWithWorker: true },
      { position: 5, state: 'unverified', isWithWorker: false },
    ])
    await change(held, sql`queued_at = null`)
    expect((await findOutcomes(db, candidates)).map(({ isWithWorker }) => isWithWorker)).not.toContain(true)
  })
})

describe('a worker', () => {
  /** A message, of which share indexes 1 to 3 are trusted or none, and what was sent, as in `unverified 1, verified 2`. */
  interface Case {
    kind?: 'exit' | 'deposit'
    state?: string
    isTrusted?: boolean
    sent?: string
    more?: SQL
  }

  /** Messages of validators of their own, of a threshold of 2; at share index 9 another validator alone has a trusted public key share. */
  async function openCases<Name extends string>(cases: Record<Name, Case>) {
    const store = await openSignatures()
    await store.trust((await store.addValidator()).id, 9, keyOf(9))
    const ids = new Map<string, number>()
    for (const [name, { kind = 'exit', state = 'collecting', isTrusted, sent, more }] of Object.entries<Case>(cases)) {
      const { id: validatorId } = await store.addValidator()
      if (isTrusted === true) for (const index of [1, 2, 3]) await store.trust(validatorId, index, keyOf(index))
      const add = kind === 'exit' ? store.addExit : store.addDeposit
      const id = await add(validatorId, { state })
      await store.change(id, sql`threshold = 2`)
      if (more !== undefined) await store.change(id, more)
      for (const [position, candidate] of (sent?.split(', ') ?? []).entries()) {
        const [of, index] = candidate.split(' ')
        await store.sign(id, Number(index), position, of as State)
      }
      ids.set(name, id)
    }
    const idOf = (name: Name) => ids.get(name) ?? 0
    const namesOf = (found: readonly number[]) => [...ids].filter(([, id]) => found.includes(id)).map(([name]) => name)
    return { ...store, ids: [...ids.values()], idOf, namesOf }
  }

  it('finishes what has enough share indexes that count', async () => {
    const both = 'unverified 1, unverified 2'
    const { db, ids, idOf, namesOf } = await openCases({
      enough: { sent: both },
      'two of one index': { sent: 'unverified 1, unverified 1' },
      'a verified one and an open one': { sent: 'verified 1, unverified 2' },
      'a wrong one and an open one': { sent: 'rejected 1, unverified 2' },
      'one more beside a wrong one': { sent: 'rejected 1, unverified 1, unverified 2' },
      'trusted and enough': { isTrusted: true, sent: both },
      'trusted and one alone': { isTrusted: true, sent: 'unverified 1' },
      'trusted and more than enough': { isTrusted: true, sent: `${both}, unverified 3` },
      'trusted and one of two': { isTrusted: true, sent: 'unverified 1, unverified 2, unverified 2' },
      'trusted and one beside a wrong one': { isTrusted: true, sent: 'unverified 1, unverified 2, rejected 2' },
      'trusted and a wrong one': { isTrusted: true, sent: 'unverified 1, rejected 2' },
      'trusted, verified and open': { isTrusted: true, sent: 'verified 1, unverified 2' },
      'trusted and verified': { isTrusted: true, sent: 'verified 1, verified 2' },
      'trusted and an open one of a stranger': { isTrusted: true, sent: 'unverified 1, unverified 9' },
      'trusted, and one verified under a key that is gone': { isTrusted: true, sent: 'unverified 1, verified 9' },
      'trusted, and verified under a key that is gone': { isTrusted: true, sent: 'verified 1, verified 9' },
      'enough, and named by nobody': { sent: both },
    })
    const unnamed = idOf('enough, and named by nobody')
    const found = await findFinishable(
      db,
      ids.filter((id) => id !== unnamed),
    )
    expect(namesOf(found)).toEqual([
      'enough',
      'a verified one and an open one',
      'one more beside a wrong one',
      'trusted and enough',
      'trusted and more than enough',
      'trusted, verified and open',
      'trusted and verified',
      'trusted, and verified under a key that is gone',
    ])
    expect(await claimFinishable(db, null, 99)).toEqual([...found, unnamed])
  })

  it('judges by the signature of what is ready what came after it', async () => {
    const ready = { kind: 'deposit', state: 'ready' } as const
    const trusted = { ...ready, isTrusted: true }
    const { db, ids, namesOf } = await openCases({
      nothing: ready,
      open: { ...ready, sent: 'unverified 3' },
      verified: { ...ready, sent: 'verified 1' },
      wrong: { ...ready, sent: 'rejected 1' },
      'trusted and open': { ...trusted, sent: 'unverified 1' },
      'trusted and verified': { ...trusted, sent: 'verified 1' },
      'trusted and an open one of a stranger': { ...trusted, sent: 'unverified 9' },
      'trusted, open and verified': { ...trusted, sent: 'unverified 1, verified 2' },
      'trusted, open, and an open one of a stranger': { ...trusted, sent: 'unverified 1, unverified 9' },
      'trusted, open, and one verified under a key that is gone': { ...trusted, sent: 'unverified 1, verified 9' },
    })
    expect(namesOf(await findFinishable(db, ids))).toEqual([
      'open',
      'trusted and open',
      'trusted, open and verified',
      'trusted, open, and an open one of a stranger',
    ])
  })

  it('binds the key by a deposit that nobody asks for any more, where its job names that and only a full signature can judge', async () => {
    const sent = 'unverified 1, unverified 2'
    const late = { kind: 'deposit', state: 'expired', sent } as const
    const { db, ids, idOf, namesOf } = await openCases({
      late,
      live: { kind: 'deposit', sent },
      trusted: { ...late, isTrusted: true },
      exit: { ...late, kind: 'exit' },
      superseded: { ...late, state: 'superseded' },
      'with a signature': { ...late, more: sql`signature = ${randomBytes(96)}` },
      'verified already': { ...late, sent: 'verified 1, verified 2' },
    })
    expect(namesOf(await findFinishable(db, ids))).toEqual(['late', 'live'])
    expect(namesOf(await claimFinishable(db, null, 99))).toEqual(['live'])
    expect(await claimFinishable(db, ids, 99)).toEqual([idOf('late')])
  })

  it('splits ready exits that have no shares of the oracle set in force', async () => {
    const ready = { state: 'ready' }
    const { db, ids, idOf, namesOf, query } = await openCases({
      new: ready,
      split: ready,
      'split for the set before': ready,
      registered: ready,
      'registered, and in a rotation': { ...ready, more: sql`requester = 'rotation:'` },
      deposit: { ...ready, kind: 'deposit' },
      collecting: {},
    })
    for (const name of ['registered', 'registered, and in a rotation'] as const)
      await query(sql`
        update validators v set registered_at = now(), beacon_index = 7 from messages m
        where m.validator_id = v.id and m.id = ${idOf(name)}`)
    const adopt = async (cid: string, isCurrent: boolean) => {
      const [set] = await query<{ id: string }>(sql`
        insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
        values (${cid}, 1, ${randomBytes(65)}, '{}', 1, now(), ${isCurrent}) returning id`)
      return Number(set?.id)
    }
    const split = (name: Parameters<typeof idOf>[0], set: number) =>
      query(sql`
        insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (${idOf(name)}, ${set}, ${randomBytes(48)}, ${randomBytes(193)}, ${randomBytes(32)}, 1)`)
    await split('split for the set before', await adopt('before', false))
    expect(await findFinishable(db, ids)).toEqual([])
    await split('split', await adopt('now', true))
    expect(namesOf(await findFinishable(db, ids))).toEqual([
      'new',
      'split for the set before',
      'registered, and in a rotation',
    ])
  })

  it('that has a message is waited for, twice as long after each attempt in vain and half a minute at most', async () => {
    const { db, addOwnExit, sign } = await openSignatures()
    const id = await addOwnExit()
    await sign(id, 1, 1, 'verified')
    /** Whether it is found, so long after it was queued, and a moment later. In one transaction no time passes. */
    const isFound = (attempts: number, seconds: number) =>
      db.transaction(async (tx) => {
        const found: boolean[] = []
        for (const secondsAgo of [seconds, seconds + 0.001]) {
          await tx.execute(sql`
            update messages set failed_attempts = ${attempts}, queued_at = now() - make_interval(secs => ${secondsAgo}::float8)`)
          found.push((await findFinishable(tx, [id])).length > 0)
        }
        return found
      })
    // The first attempt may stand in a queue.
    for (const [attempts, seconds] of [
      [0, 21],
      [1, 2],
      [2, 4],
      [4, 16],
      [5, 30],
      [100, 30],
    ] as const)
      expect([attempts, await isFound(attempts, seconds)]).toEqual([attempts, [false, true]])
  })

  it('has what it has claimed, each with its validator, and nothing else', async () => {
    const { db, addValidator, addExit, sign, query } = await openSignatures()
    const [one, two, three] = [await addValidator(), await addValidator(), await addValidator()]
    const exits: number[] = []
    for (const { id } of [three, one, two]) exits.push(await addExit(id))
    for (const id of exits) await sign(id, 1, 1, 'verified')
    const [first = 0, second = 0, third = 0] = exits
    expect(await claimToFinish(db, [second, first], 9)).toEqual([
      { id: first, validatorId: three.id },
      { id: second, validatorId: one.id },
    ])
    expect(await query(sql`select id::int as id from messages where queued_at is not null order by id`)).toEqual([
      { id: first },
      { id: second },
    ])
    expect(await claimToFinish(db, null, 1)).toEqual([{ id: third, validatorId: two.id }])
  })

  it('is not waited for longer than its claim holds where candidates wait to be verified by themselves', async () => {
    const open = { isTrusted: true, sent: 'unverified 1' } as const
    const late = { ...open, state: 'expired' }
    const { db, idOf, namesOf, query, kept } = await openCases({
      waiting: open,
      'for longest': open,
      'not long enough': open,
      verified: { isTrusted: true, sent: 'verified 1' },
      wrong: { isTrusted: true, sent: 'rejected 1' },
      'expired exit': late,
      'expired deposit': { ...late, kind: 'deposit' },
      'of a stranger': { isTrusted: true, sent: 'unverified 9' },
      'with a worker': open,
      'with a worker that is gone': open,
    })
    await query(sql`update partial_signatures set seen_at = now() - interval '1 hour'`)
    await query(sql`
      update partial_signatures set seen_at = now() - interval '2 hours' where message_id = ${idOf('for longest')}`)
    const claimed = await db.transaction(async (tx) => {
      await tx.execute(sql`
        update partial_signatures set seen_at = now() - interval '8 seconds' where message_id = ${idOf('not long enough')}`)
      await tx.execute(sql`
        update partial_signatures set seen_at = now() - interval '8.001 seconds' where message_id = ${idOf('waiting')}`)
      const queue = (secondsAgo: number, name: Parameters<typeof idOf>[0]) =>
        tx.execute(
          sql`update messages set queued_at = now() - make_interval(secs => ${secondsAgo}::float8) where id = ${idOf(name)}`,
        )
      await queue(25, 'with a worker')
      await queue(25.001, 'with a worker that is gone')
      const first = await claimUnverified(tx, 8, 1)
      return [first, await claimUnverified(tx, 8, 99)]
    })
    expect(claimed.map(namesOf)).toEqual([
      ['for longest'],
      ['waiting', 'expired deposit', 'with a worker that is gone'],
    ])
    expect(claimed[1]).toEqual(claimed[1]?.toSorted((one, two) => one - two))
    expect(namesOf((await kept(sql`seen_at > now() - interval '1 minute'`)).map(([id]) => id))).toEqual([
      'waiting',
      'for longest',
      'not long enough',
      'expired deposit',
      'with a worker that is gone',
    ])
  })

  it('hears of what collects for long with some share indexes and fewer than it wants, the newest first', async () => {
    const [one, two] = ['unverified 1', 'unverified 1, verified 2']
    const old = sql`threshold = 3, created_at = now() - interval '1 hour'`
    const { db, idOf, namesOf } = await openCases({
      deposit: { kind: 'deposit', sent: one, more: old },
      one: { sent: one, more: old },
      two: { sent: two, more: old },
      none: { more: old },
      enough: { sent: `${two}, unverified 3`, more: old },
      new: { sent: one, more: old },
      ready: { state: 'ready', sent: one, more: old },
      expired: { state: 'expired', sent: one, more: old },
      trusted: { isTrusted: true, sent: one, more: old },
      'all wrong': { sent: 'rejected 1', more: old },
      'two and a wrong one': { sent: `${two}, rejected 3`, more: old },
      'one index twice': {
        sent: 'unverified 1, unverified 1',
        more: sql`threshold = 2, created_at = now() - interval '1 hour'`,
      },
      'as old': { sent: one, more: old },
    })
    const find = (limit: number) =>
      db.transaction(async (tx) => {
        const age = (seconds: number, name: Parameters<typeof idOf>[0]) =>
          tx.execute(
            sql`update messages set created_at = now() - make_interval(secs => ${seconds}::float8) where id = ${idOf(name)}`,
          )
        await age(60, 'new')
        await age(60.001, 'as old')
        return findStarving(tx, 60, limit)
      })
    const found = await find(99)
    expect(namesOf(found)).toEqual(['deposit', 'one', 'two', 'two and a wrong one', 'one index twice', 'as old'])
    expect(found).toEqual(found.toSorted((a, b) => b - a))
    expect(await find(2)).toEqual(found.slice(0, 2))
  })
})

describe('candidates', () => {
  it('are read with all that judges them, each with the public key share of its own validator and share index', async () => {
    const { db, addValidator, addExit, addDeposit, trust, sign, query } = await openSignatures()
    const [one, other] = [await addValidator(), await addValidator()]
    const exit = await addExit(one.id)
    const deposit = await addDeposit(other.id)
    const unnamed = await addDeposit(one.id)
    await trust(one.id, 1, keyOf(1))
    await trust(other.id, 2, keyOf(2))
    await sign(exit, 1, 1, 'unverified', 5)
    await sign(exit, 2, 2, 'verified', 1)
    await sign(exit, 3, 3, 'rejected')
    await sign(deposit, 2, 4, 'unverified', 9)
    await sign(unnamed, 1, 5)
    const [roots] = await query<{ exit: Buffer; deposit: Buffer }>(sql`
      select e.signing_root as exit, d.signing_root as deposit from messages e, messages d
      where e.id = ${exit} and d.id = ${deposit}`)
    const candidate = (byte: number) => ({ digest: digestOf(byte), sealed: Buffer.of(byte) })
    const ofExit = { messageId: exit, kind: 'exit', signingRoot: roots?.exit }
    expect(await findCandidates(db, [deposit, exit])).toEqual([
      { ...ofExit, ...candidate(2), shareIndex: 2, state: 'verified', publicKeyShare: null },
      { ...ofExit, ...candidate(1), shareIndex: 1, state: 'unverified', publicKeyShare: keyOf(1) },
      {
        ...{ messageId: deposit, kind: 'deposit', signingRoot: roots?.deposit, ...candidate(4), shareIndex: 2 },
        ...{ state: 'unverified', publicKeyShare: keyOf(2) },
      },
    ])
  })

  it('of a message that has one alone are read beside one of which as many were invented as are read in one go', async () => {
    const { db, addOwnExit, sign, query } = await openSignatures()
    const [first, crowd, last] = [await addOwnExit(), await addOwnExit(), await addOwnExit()]
    for (const id of [first, last]) await sign(id, 1, 1)
    await query(sql`
      insert into partial_signatures (message_id, share_index, digest, sealed, state)
      select ${crowd}, n, sha256(n::text::bytea), 'x'::bytea, 'unverified' from generate_series(1, 511) n`)
    const found = await findCandidates(db, [first, crowd, last])
    expect([first, crowd, last].map((id) => found.filter(({ messageId }) => messageId === id).length)).toEqual([
      1, 511, 1,
    ])
  })
})

it('a deposit that is still taken binds the key once a signature of it is verified', async () => {
  const { db, addValidator, addDeposit, addExit, sign, query } = await openSignatures()
  const bound = new Map<number, string>()
  async function add(name: string, state: string, of: State, kind: 'exit' | 'deposit' = 'deposit') {
    const { id } = await addValidator()
    bound.set(id, name)
    const messageId = kind === 'exit' ? await addExit(id, { state }) : await addDeposit(id, { state })
    await sign(messageId, 1, 1, of)
    return messageId
  }
  const named = [
    await add('collecting', 'collecting', 'verified'),
    await add('expired', 'expired', 'verified'),
    await add('superseded', 'superseded', 'verified'),
    await add('unverified', 'collecting', 'unverified'),
    await add('exit', 'collecting', 'verified', 'exit'),
  ]
  await add('unnamed', 'collecting', 'verified')
  await bindDeposits(db, named)
  const rows = await query<{ id: number }>(sql`select validator_id::int as id from deposit_bindings order by 1`)
  expect(rows.map(({ id }) => bound.get(id))).toEqual(['collecting', 'expired'])
})

describe('hints', () => {
  const saysOf = (byte: number) => Buffer.alloc(56, byte)

  it('are the last word of each share index of each validator without trusted public key shares', async () => {
    const { db, addValidator, addExit, trust, query } = await openSignatures()
    const [one, two, known] = [await addValidator(), await addValidator(), await addValidator()]
    const [exitOne, exitTwo] = [await addExit(one.id), await addExit(two.id)]
    await trust(known.id, 1, keyOf(1))
    const say = (shareIndex: number, byte: number, ids: readonly number[]) =>
      storeHints(
        db,
        shareIndex,
        ids.map((validatorId) => ({ validatorId, shares: saysOf(byte) })),
      )
    await say(1, 1, [one.id])
    await say(1, 2, [two.id, known.id])
    await say(2, 3, [one.id])
    await query(sql`update key_share_hints set seen_at = now() - interval '1 hour'`)
    await say(2, 3, [one.id])
    expect((await query(sql`select from key_share_hints where seen_at > now() - interval '1 minute'`)).length).toBe(0)
    await say(2, 4, [one.id])
    await say(2, 5, [])
    const hints = async (...ids: number[]) =>
      (await findHints(db, ids)).map(({ messageId, shares }) => [messageId, shares[0]])
    expect(await hints(exitTwo, exitOne)).toEqual([
      [exitOne, 4],
      [exitOne, 1],
      [exitTwo, 2],
    ])
    expect(await hints(exitTwo)).toEqual([[exitTwo, 2]])
    expect(await query(sql`select from key_share_hints`)).toHaveLength(3)
  })

  it('are kept of the share indexes heard last of each validator, the lower ones where none was later', async () => {
    const { db, addValidator, query } = await openSignatures()
    const [one, two, unnamed] = [await addValidator(), await addValidator(), await addValidator()]
    for (const { id } of [one, two, unnamed])
      for (const index of [1, 2, 3, 4])
        await query(sql`
          insert into key_share_hints (validator_id, share_index, shares, seen_at)
          values (${id}, ${index}, ${saysOf(index)},
                  to_timestamp(${id === one.id ? 1000 + index : 1000}::float8))`)
    const left = async () =>
      (
        await query<{ id: number; indexes: number[] }>(sql`
          select validator_id::int as id, array_agg(share_index::int order by share_index) as indexes
          from key_share_hints group by 1 order by 1`)
      ).map(({ indexes }) => indexes)
    await trimHints(db, [], 2)
    await trimHints(db, [one.id], 3)
    expect(await left()).toEqual([
      [2, 3, 4],
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ])
    await trimHints(db, [one.id, two.id], 2)
    expect(await left()).toEqual([
      [3, 4],
      [1, 2],
      [1, 2, 3, 4],
    ])
  })
})
