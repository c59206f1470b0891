/** One post: what becomes of each of its signatures, by what is known of its message, its share index and what that has sent before. */

import { randomBytes } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createSubmission } from '../../../apps/relayer/src/services/signatures/submit.ts'
import { openMessages } from '../../support/stages/messages.ts'

const SHARE_INDEX = 3
/** What is no point of the group begins so. */
const NO_POINT = 'ee'

interface Handed {
  messageId: number
  kind: string
  shareIndex: number
  position: number
  mayWait: boolean
  signature: Uint8Array
}

/** A service whose verdicts come at once: wrong is what the test says, and all else waits for one. */
async function openPosts() {
  const store = await openMessages()
  const { query, sealing, db } = store
  const handed: Handed[] = []
  const finished: number[][] = []
  const received: number[][] = []
  const wrong = new Set<string>()
  let announced = 0
  const parts = {
    config: { limits: { shares: 10_000 } },
    db,
    sealing,
    crypto: {
      areSignatures: async (all: readonly Uint8Array[]) => all.map((one) => !toHex(one).startsWith(`0x${NO_POINT}`)),
    },
    events: { partialsReceived: (...of: number[]) => void received.push(of) },
    announced: () => void announced++,
    patienceMs: 1000,
    verification: {
      mayWait: () => true,
      finishLater: async (ids: number[]) => void finished.push(ids),
      verifyPosted: async (_: number, posted: Handed[], onWrong: (wrong: Handed[]) => void) => {
        handed.push(...posted)
        onWrong(posted.filter(({ signature }) => wrong.has(toHex(signature))))
      },
    },
  }
  const { submit } = createSubmission(parts as unknown as Parameters<typeof createSubmission>[0])
  return {
    ...store,
    submit,
    handed,
    finished,
    received,
    wrong,
    announced: () => announced,
    /** What a share index sent before, so long ago. */
    async sent(id: number, signature: string, state: 'verified' | 'unverified' | 'rejected', seconds = 0) {
      await query(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state, seen_at)
        values (${id}, ${SHARE_INDEX}, ${Buffer.from(sealing.digest(SHARE_INDEX, fromHex(signature)))},
                ${state === 'rejected' ? null : randomBytes(124)}, ${state}, now() - make_interval(secs => ${seconds}))`)
    },
    /** How many candidates there are of a message, and how many of them were seen just now. */
    async candidates(id: number): Promise<string> {
      const [row] = await query<{ count: string; fresh: string }>(sql`
        select count(*), count(*) filter (where seen_at > now() - interval '5 seconds') as fresh
        from partial_signatures where message_id = ${id}`)
      return `${row?.count} ${row?.fresh}`
    },
  }
}
type Posts = Awaited<ReturnType<typeof openPosts>>

const signed = (first = '11') => `0x${first}${randomBytes(95).toString('hex')}`

/** A validator with an exit, and the public key shares of a cluster's nodes. */
async function addExit({ addValidator, addExit: add, trust }: Posts, trusted: readonly number[] = []) {
  const { id: validatorId, publicKey } = await addValidator()
  for (const shareIndex of trusted) await trust(validatorId, shareIndex, randomBytes(48))
  return { id: await add(validatorId), validatorId, key: toHex(publicKey) }
}
const kept = (id: number, position: number, mayWait: boolean) =>
  expect.objectContaining({ messageId: id, kind: 'exit', shareIndex: SHARE_INDEX, position, mayWait })

it('has each signature verified, kept for a full one, noted again, or named, each for what it is', async () => {
  const posts = await openPosts()
  const cluster = [1, 2, SHARE_INDEX]
  const shares: { public_key: string; exit_signature: string }[] = []
  const post = (key: string, exit_signature = signed()) => {
    shares.push({ public_key: key, exit_signature })
    return shares.length - 1
  }

  post(toHex(randomBytes(48)))
  post('0x12')
  const short = await addExit(posts, cluster)
  post(short.key, `0x${'11'.repeat(95)}`)
  const lone = await addExit(posts, cluster)
  const lonePosition = post(lone.key)
  const another = await addExit(posts, cluster)
  await posts.sent(another.id, signed(), 'rejected')
  const anotherPosition = post(another.key)
  const twice = await addExit(posts, cluster)
  const [first, second] = [post(twice.key), post(twice.key)]
  const outside = await addExit(posts, [1, 2])
  post(outside.key)
  const unknown = await addExit(posts)
  post(unknown.key)
  const noPoint = await addExit(posts)
  post(noPoint.key, signed(NO_POINT))
  // Under a trusted public key share whatever is no point is found wrong by the verification.
  const oddPoint = await addExit(posts, cluster)
  const oddPosition = post(oddPoint.key, signed(NO_POINT))
  const rejected = await addExit(posts, cluster)
  await posts.sent(rejected.id, shares[post(rejected.key)]?.exit_signature ?? '', 'rejected')
  const decided = await addExit(posts, cluster)
  await posts.sent(decided.id, signed(), 'verified')
  post(decided.key)
  const again = await addExit(posts, cluster)
  await posts.sent(again.id, shares[post(again.key)]?.exit_signature ?? '', 'unverified', 60)
  const soon = await addExit(posts, cluster)
  await posts.sent(soon.id, shares[post(soon.key)]?.exit_signature ?? '', 'unverified', 8)
  const same = await addExit(posts, cluster)
  await posts.sent(same.id, shares[post(same.key)]?.exit_signature ?? '', 'verified', 60)
  const foreign = await addExit(posts, cluster)
  post(foreign.key)

  const failures = await posts.submit(SHARE_INDEX, shares, async (keys) => {
    expect(keys.map(toHex)).toEqual(shares.flatMap(({ public_key: key }) => (key === '0x12' ? [] : [key])))
    return new Set([foreign.key])
  })
  expect(failures.map(({ index, code, kind }) => [index, code, kind])).toEqual([
    [1, 'PUBLIC_KEY_INVALID', undefined],
    [2, 'SIGNATURE_MALFORMED', undefined],
    [7, 'SHARE_INDEX_UNKNOWN', undefined],
    [9, 'SIGNATURE_MALFORMED', undefined],
    [11, 'SIGNATURE_WRONG', undefined],
    [12, 'SIGNATURE_WRONG', undefined],
    [16, 'NODE_BINDING', undefined],
  ])
  expect(posts.handed).toEqual([
    kept(lone.id, lonePosition, true),
    kept(another.id, anotherPosition, false),
    kept(twice.id, first, false),
    kept(twice.id, second, false),
    kept(oddPoint.id, oddPosition, true),
  ])
  expect(posts.finished).toEqual([[unknown.id]])
  expect(posts.received).toEqual([[SHARE_INDEX, 6, 3]])
  expect(posts.announced()).toBe(1)
  const counts = await Promise.all(
    [short, lone, another, twice, outside, unknown, noPoint, rejected, decided, again, soon, same, foreign].map(
      ({ id }) => posts.candidates(id),
    ),
  )
  expect(counts).toEqual([
    ...['0 0', '1 1', '2 2', '2 2', '0 0', '1 1', '0 0'],
    ...['1 1', '1 1', '1 1', '1 0', '1 0', '0 0'],
  ])
})

it.each([
  ['under a trusted public key share', [SHARE_INDEX], 1, 0],
  ['under none', [], 0, 1],
])('is no less for a single signature %s', async (_, trusted, handed, finished) => {
  const posts = await openPosts()
  const { id, key } = await addExit(posts, trusted)
  expect(await posts.submit(SHARE_INDEX, [{ public_key: key, exit_signature: signed() }])).toEqual([])
  expect([posts.handed.length, posts.finished.length]).toEqual([handed, finished])
  expect(await posts.candidates(id)).toBe('1 1')
  // Under trusted public key shares nobody is told before it is judged.
  expect(posts.announced()).toBe(finished)
})

it('finishes a message once, however many candidates of it wait', async () => {
  const posts = await openPosts()
  const [one, other] = [await addExit(posts), await addExit(posts)]
  const shares = [one, one, other].map(({ key }) => ({ public_key: key, exit_signature: signed() }))
  await posts.submit(SHARE_INDEX, shares)
  expect(posts.finished).toEqual([[one.id, other.id]])
})

it('names the kind of what failed where items are pairs, and counts each half by itself', async () => {
  const posts = await openPosts()
  const pair = async (state = 'collecting') => {
    const { id: validatorId, publicKey } = await posts.addValidator()
    await posts.trust(validatorId, SHARE_INDEX, randomBytes(48))
    const ids = { exit: await posts.addExit(validatorId), deposit: await posts.addDeposit(validatorId, { state }) }
    return { ...ids, key: toHex(publicKey) }
  }
  const [good, late, bad] = [await pair(), await pair('expired'), await pair()]
  const shares: { public_key: string; exit_signature?: string; deposit_signature?: string }[] = [
    { public_key: good.key, exit_signature: signed(), deposit_signature: signed() },
    // Nobody asks for the deposit any more: it waits for no others.
    { public_key: late.key, deposit_signature: signed() },
    { public_key: bad.key, exit_signature: '0x11', deposit_signature: signed() },
    { public_key: bad.key, exit_signature: '0x11' },
  ]
  posts.wrong.add(shares[0]?.deposit_signature ?? '')
  const failures = await posts.submit(SHARE_INDEX, shares)
  expect(failures.map(({ index, code, kind }) => [index, code, kind])).toEqual([
    [0, 'SIGNATURE_WRONG', 'deposit'],
    [2, 'SIGNATURE_MALFORMED', 'exit'],
    [3, 'SIGNATURE_MALFORMED', undefined],
  ])
  expect(posts.handed.map(({ messageId, kind, mayWait }) => [messageId, kind, mayWait])).toEqual([
    [good.exit, 'exit', true],
    [good.deposit, 'deposit', true],
    [late.deposit, 'deposit', false],
    [bad.deposit, 'deposit', true],
  ])
})

it('says that all are wrong, or another node’s, only where nothing else came of a known validator', async () => {
  const posts = await openPosts()
  const [one, other] = [await addExit(posts, [SHARE_INDEX]), await addExit(posts, [SHARE_INDEX])]
  const item = (key: string) => ({ public_key: key, exit_signature: signed() })
  const nobody = item(toHex(randomBytes(48)))
  const wrong = () => {
    const made = item(one.key)
    posts.wrong.add(made.exit_signature)
    return made
  }
  const all = async () => new Set([one.key, other.key])
  const [failure] = await posts.submit(SHARE_INDEX, [wrong(), item(other.key)])
  expect(failure).toMatchObject({ index: 0, code: 'SIGNATURE_WRONG' })
  for (const [shares, findForeign, code] of [
    [[wrong()], undefined, 'SHARES_WRONG'],
    // Of who is unknown nothing counts.
    [[nobody, wrong()], undefined, 'SHARES_WRONG'],
    [[item(one.key)], all, 'NODE_BINDING'],
    [[item(one.key), item(other.key), nobody], all, 'NODE_BINDING'],
    [[item(one.key), { public_key: other.key, exit_signature: '0x11' }], all, 'SHARES_WRONG'],
  ] as const)
    await expect(posts.submit(SHARE_INDEX, shares, findForeign)).rejects.toMatchObject({ code })
  expect(await posts.submit(SHARE_INDEX, [nobody])).toEqual([])
  expect(await posts.submit(SHARE_INDEX, [])).toEqual([])
})

it('reads a long post slice by slice, and names what failed by its place in the whole', async () => {
  const posts = await openPosts()
  const { key } = await addExit(posts, [SHARE_INDEX])
  const shares = Array.from({ length: 520 }, (_, position) => ({
    public_key: [0, 255, 256, 519].includes(position) ? '0x12' : toHex(randomBytes(48)),
    exit_signature: signed(),
  }))
  shares[300] = { public_key: key, exit_signature: signed() }
  const asked: number[] = []
  const failures = await posts.submit(SHARE_INDEX, shares, async (keys) => {
    asked.push(keys.length)
    return new Set()
  })
  expect(failures.map(({ index }) => index)).toEqual([0, 255, 256, 519])
  expect(asked).toEqual([254, 255, 7])
  expect(posts.handed.map(({ position }) => position)).toEqual([300])
})
