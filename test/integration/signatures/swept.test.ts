/** The sweep, and what it has verified: what it hands out, in which jobs, and what it tells of. */

import { randomBytes } from 'node:crypto'
import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createSweep } from '../../../apps/relayer/src/services/signatures/sweep.ts'
import { createVerification } from '../../../apps/relayer/src/services/signatures/verify.ts'
import { openMessages } from '../../support/stages/messages.ts'

/** A process whose queue takes so many jobs, and where so many wait. */
async function setUp({ takes = Number.POSITIVE_INFINITY, waiting = 0 as number | null } = {}) {
  const store = await openMessages()
  const { query, db, sealing } = store
  const jobs: [string, number[]][] = []
  const told: unknown[][] = []
  let announced = 0
  const verified: { publicKey: Uint8Array; signature: Uint8Array }[][] = []
  const wrong = new Set<Uint8Array>()
  let verify = async (triples: (typeof verified)[number]) =>
    triples.map(({ signature }) => ![...wrong].some((one) => Buffer.from(one).equals(signature)))
  const context = {
    config: { validatorLifetimeSeconds: 3600 },
    db,
    sealing,
    queue: {
      counts: async () => (waiting === null ? undefined : { waiting }),
      add: async (name: string, { message_ids: ids }: { message_ids: number[] }) => {
        if (jobs.length >= takes) return 'not_added'
        jobs.push([name, ids])
        return 'added'
      },
    },
    crypto: {
      verify: (triples: (typeof verified)[number]) => {
        verified.push(triples)
        return verify(triples)
      },
    },
    events: new Proxy(
      {},
      {
        get:
          (_, name) =>
          (...of: unknown[]) =>
            void told.push([name, ...of]),
      },
    ),
    logger: { error: (_: unknown, words: string) => void told.push([words]) },
    announced: () => void announced++,
    patienceMs: 600_000,
  } as unknown as Parameters<typeof createSweep>[0] & Parameters<typeof createVerification>[0]
  return {
    ...store,
    sweep: createSweep(context),
    verification: createVerification(context),
    jobs,
    told,
    verified,
    wrong,
    announced: () => announced,
    verifyWith(next: typeof verify) {
      verify = next
    },
    /** Messages that have all that finishing needs. */
    async addFinishable(count: number): Promise<number[]> {
      const ids: number[] = []
      for (let added = 0; added < count; added++) {
        const id = await store.addExit((await store.addValidator()).id)
        await query(sql`
          insert into partial_signatures (message_id, share_index, digest, sealed, state)
          values (${id}, 1, ${randomBytes(32)}, ${randomBytes(100)}, 'verified')`)
        ids.push(id)
      }
      return ids
    },
    /** Which of these somebody has, and which anybody may take. */
    async claims(ids: number[]): Promise<(string | null)[]> {
      const rows = await query<{ claim: string | null }>(sql`
        select case when queued_at is null then null when queued_at = to_timestamp(0) then 'given back' else 'claimed' end as claim
        from messages where id = any(${sql.param(ids)}::bigint[]) order by id`)
      return rows.map(({ claim }) => claim)
    },
    /** A candidate of a message of its own, under a trusted public key share or none. */
    async addCandidate({ isTrusted = true, state = 'unverified', isDamaged = false } = {}) {
      const { id: validatorId } = await store.addValidator()
      const publicKeyShare = new Uint8Array(randomBytes(48))
      if (isTrusted) await store.trust(validatorId, 1, publicKeyShare)
      const messageId = await store.addDeposit(validatorId)
      const signature = new Uint8Array(randomBytes(96))
      const digest = sealing.digest(1, signature)
      const seal = await sealing.sealerFor(db, [])
      const sealed = isDamaged ? randomBytes(124) : seal.partial({ id: messageId, kind: 'deposit' }, 1, signature)
      await query(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (${messageId}, 1, ${Buffer.from(digest)}, ${Buffer.from(sealed ?? [])}, ${state})`)
      const [row] = await query<{ signingRoot: Buffer }>(
        sql`select signing_root as "signingRoot" from messages where id = ${messageId}`,
      )
      const signingRoot = new Uint8Array(row?.signingRoot ?? [])
      const kind = 'deposit' as const
      return { messageId, kind, shareIndex: 1, digest, signature, publicKeyShare, signingRoot, mayWait: false }
    },
    async stateOf(id: number): Promise<string | undefined> {
      const [row] = await query<{ state: string }>(sql`select state from partial_signatures where message_id = ${id}`)
      return row?.state
    },
  }
}

describe('what nobody finishes', () => {
  it('is handed out sixteen to a job, and what the queue does not take is anybody’s again', async () => {
    const store = await setUp({ takes: 2 })
    const ids = await store.addFinishable(40)
    expect(await store.sweep.finish()).toBeUndefined()
    expect(store.jobs.map(([name]) => name)).toEqual(['finish_messages', 'finish_messages'])
    expect(store.jobs.map(([, some]) => some.length)).toEqual([16, 16])
    const taken = new Set(store.jobs.flatMap(([, some]) => some))
    expect(taken.size).toBe(32)
    expect(await store.claims(ids)).toEqual(ids.map((id) => (taken.has(id) ? 'claimed' : 'given back')))
  })

  it('is handed out whole, down to the last', async () => {
    const store = await setUp()
    const ids = await store.addFinishable(33)
    await store.sweep.finish()
    expect(store.jobs.map(([, some]) => some.length)).toEqual([16, 16, 1])
    expect(store.jobs.flatMap(([, some]) => some).toSorted((a, b) => a - b)).toEqual(ids)
  })

  it.each([
    ['the queue cannot be asked', null, undefined, [null]],
    ['too much waits', 17, 300, [null]],
    ['half of what may wait does', 16, undefined, ['claimed']],
  ])('is claimed only as the queue has room: %s', async (_, waiting, soon, claims) => {
    const store = await setUp({ waiting })
    const ids = await store.addFinishable(1)
    expect(await store.sweep.finish()).toBe(soon)
    expect(await store.claims(ids)).toEqual(claims)
    expect(store.jobs).toHaveLength(claims[0] === null ? 0 : 1)
  })
})

describe('what nobody asks for any more', () => {
  it.each([
    [1, 0],
    [0, 1],
    [1, 2],
    [0, 0],
  ])('is told: %i exits and %i deposits', async (exits, deposits) => {
    const store = await setUp()
    for (let count = 0; count < exits; count++) await store.addExit((await store.addValidator()).id)
    for (let count = 0; count < deposits; count++) await store.addDeposit((await store.addValidator()).id)
    await store.query(sql`update messages set requested_at = now() - interval '2 hours'`)
    await store.addExit((await store.addValidator()).id)
    await store.sweep.run()
    expect(store.told).toEqual(exits + deposits === 0 ? [] : [['messagesExpired', exits, deposits]])
    expect(store.announced()).toBe(exits + deposits === 0 ? 0 : 1)
  })
})

describe('what a post has left', () => {
  it('is verified where a trusted public key share says how, and where it can be read', async () => {
    const store = await setUp()
    const right = await store.addCandidate()
    const wrong = await store.addCandidate()
    const unknown = await store.addCandidate({ isTrusted: false })
    const before = await store.addCandidate({ state: 'verified' })
    const damaged = await store.addCandidate({ isDamaged: true })
    store.wrong.add(wrong.signature)
    const all = [right, wrong, unknown, before, damaged]
    await store.verification.verifyStored(all.map(({ messageId }) => messageId))
    const asked = store.verified.flat().map(({ publicKey, signature }) => [publicKey, signature].map((b) => [...b]))
    expect(asked).toEqual([right, wrong].map((one) => [one.publicKeyShare, one.signature].map((b) => [...b])))
    expect(await Promise.all(all.map(({ messageId }) => store.stateOf(messageId)))).toEqual([
      'verified',
      'rejected',
      'unverified',
      'verified',
      'unverified',
    ])
    expect(store.told).toEqual([
      ['a partial signature cannot be opened; see "npm run relayer -- void-sealed"'],
      ['partialsVerified', 1, 1],
      ['partialsRejected', 1, 1],
    ])
    expect(store.jobs).toEqual([['finish_messages', [right.messageId]]])
  })

  it('is handed out to be verified, once its post must be dead', async () => {
    const store = await setUp()
    const [old, fresh] = [await store.addCandidate(), await store.addCandidate()]
    await store.query(
      sql`update partial_signatures set seen_at = now() - interval '30 seconds' where message_id = ${old.messageId}`,
    )
    await store.sweep.run()
    expect(store.jobs).toEqual([['verify_partials', [old.messageId]]])
    expect(await store.stateOf(fresh.messageId)).toBe('unverified')
  })
})

describe('what a post waits for', () => {
  it.each([
    ['all right', 0, 2],
    ['all wrong', 2, 0],
    ['one of each', 1, 1],
  ])('is told for what it is: %s', async (_, wrong, right) => {
    const store = await setUp()
    const posted = [await store.addCandidate(), await store.addCandidate()]
    for (const { signature } of posted.slice(0, wrong)) store.wrong.add(signature)
    const named: unknown[] = []
    await store.verification.verifyPosted(1, posted, (some) => void named.push(...some))
    expect(named).toEqual(posted.slice(0, wrong))
    expect(store.told).toEqual([
      ...(right > 0 ? [['partialsVerified', 1, right]] : []),
      ...(wrong > 0 ? [['partialsRejected', 1, wrong]] : []),
    ])
    expect(await Promise.all(posted.map(({ messageId }) => store.stateOf(messageId)))).toEqual([
      ...Array.from({ length: wrong }, () => 'rejected'),
      ...Array.from({ length: right }, () => 'verified'),
    ])
    expect(store.announced()).toBe(1)
    const ready = posted.slice(wrong).map(({ messageId }) => messageId)
    expect(store.jobs).toEqual(ready.length === 0 ? [] : [['finish_messages', ready]])
  })

  it('has a share index that was wrong wait for no others, of this caller and for a minute', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    vi.advanceTimersByTime(1000)
    const { verification, wrong, addCandidate } = await setUp()
    const [good, bad] = [await addCandidate(), await addCandidate()]
    wrong.add(bad.signature)
    expect(verification.mayWait(1)).toBe(true)
    await verification.verifyPosted(1, [good], () => {})
    expect(verification.mayWait(1)).toBe(true)
    await verification.verifyPosted(1, [bad], () => {})
    expect([verification.mayWait(1), verification.mayWait(2)]).toEqual([false, true])
    const other = { group: 'sidecar', name: 'other' } as const
    expect(await onAccountOf(other, async () => verification.mayWait(1))).toBe(true)
    vi.advanceTimersByTime(59_000)
    expect(verification.mayWait(1)).toBe(false)
    vi.advanceTimersByTime(2_000)
    expect(verification.mayWait(1)).toBe(true)
  })

  it('is verified slice by slice, each once, and a stop waits for it', async () => {
    const { verification, verified, verifyWith, addCandidate, announced } = await setUp()
    const one = await addCandidate()
    const posted = Array.from({ length: 150 }, (_, position) => ({ ...one, position }))
    const answers = Promise.withResolvers<void>()
    verifyWith(async (triples) => {
      await answers.promise
      return triples.map(() => true)
    })
    let isOver = false
    const over = verification.verifyPosted(1, posted, () => {})
    const drained = verification.drain().then(() => {
      isOver = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(isOver).toBe(false)
    answers.resolve()
    await Promise.all([over, drained])
    expect(verified.map((slice) => slice.length)).toEqual([64, 64, 22])
    expect(announced()).toBe(3)
  })
})

describe('what is old', () => {
  /** Rows that are this much younger and older than they are kept, in days; which of them are there. */
  async function addOld({ query, addValidator, addExit }: Awaited<ReturnType<typeof setUp>>) {
    const rowOf = async (statement: ReturnType<typeof sql>) => (await query<{ id: string }>(statement))[0]?.id
    const ago = (days: number) => sql`now() - make_interval(secs => ${days * 86_400}::float8)`
    const ended = async (state: string, days: number, isSigned = false) => {
      const { id } = await addValidator()
      await query(sql`update validators set created_at = ${ago(400)} where id = ${id}`)
      const exit = await addExit(id, { state })
      const signature = isSigned ? randomBytes(96) : null
      await query(sql`update messages set requested_at = ${ago(days)}, signature = ${signature} where id = ${exit}`)
      return { validator: id, exit }
    }
    await query(sql`alter table manager_signatures disable trigger user`)
    const signed = (root: number, days: number) =>
      rowOf(sql`
        insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
        values ('fund', ${Buffer.alloc(20)}, 'a', ${Buffer.alloc(32, root)}, '', 1, 1, ${randomBytes(32)}, ${ago(days)}) returning id`)
    const nonce = async (minutes: number) => {
      const signer = randomBytes(33)
      await query(sql`
        insert into request_nonces (signer, nonce, seen_at) values (${signer}, ${randomBytes(16)}, ${ago(minutes / 1440)})`)
      return signer
    }
    const kept = {
      nonce: await nonce(14),
      superseded: (await ended('superseded', 0.95)).exit,
      unready: (await ended('expired', 6.9)).validator,
      ready: (await ended('expired', 179, true)).validator,
      signed: await signed(1, 365.9),
    }
    const gone = {
      nonce: await nonce(16),
      superseded: (await ended('superseded', 1.05)).exit,
      unready: (await ended('expired', 7.1)).validator,
      ready: (await ended('expired', 181, true)).validator,
      signed: await signed(2, 366.1),
    }
    // What is newest of each is needed, however old.
    await addExit((await addValidator()).id)
    await signed(3, 0)
    await query(sql`alter table manager_signatures enable trigger user`)
    const isThere = async (table: ReturnType<typeof sql>, id: unknown) =>
      (await query(sql`select from ${table} = ${id}`)).length === 1
    const there = async (of: typeof kept) => ({
      nonce: await isThere(sql`request_nonces where signer`, of.nonce),
      superseded: await isThere(sql`messages where id`, of.superseded),
      unready: await isThere(sql`validators where id`, of.unready),
      ready: await isThere(sql`validators where id`, of.ready),
      signed: await isThere(sql`manager_signatures where id`, of.signed),
    })
    return { kept: () => there(kept), gone: () => there(gone) }
  }
  const all = (isThere: boolean) => ({
    ...{ nonce: isThere, superseded: isThere, unready: isThere, ready: isThere, signed: isThere },
  })

  it('is deleted, each in its time, and what is old for months is looked for once an hour', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const store = await setUp()
    const first = await addOld(store)
    await store.sweep.run()
    expect([await first.kept(), await first.gone()]).toEqual([all(true), all(false)])

    const second = await addOld(store)
    vi.advanceTimersByTime(3_500_000)
    await store.sweep.run()
    expect(await second.gone()).toEqual({ ...all(true), nonce: false, superseded: false })
    vi.advanceTimersByTime(200_000)
    await store.sweep.run()
    expect([await second.kept(), await second.gone()]).toEqual([all(true), all(false)])
  })

  it('is deleted in batches, and many of them in one round', async () => {
    const store = await setUp()
    await store.query(sql`
      insert into request_nonces (signer, nonce, seen_at)
      select decode(lpad(to_hex(n), 66, '0'), 'hex'), decode(repeat('00', 16), 'hex'), now() - interval '1 hour' from generate_series(1, 1501) n`)
    await store.sweep.run()
    expect(await store.query(sql`select from request_nonces`)).toEqual([])
  })
})
