/** Partial signatures of one message, judged together by the worker that finishes it: what counts, what is named wrong, and when. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { type CryptoPool, startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { openSealing } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { createAwaitedVerdicts } from '../../../apps/relayer/src/services/signatures/awaited-verdicts.ts'
import { createFinishing } from '../../../apps/relayer/src/services/signatures/finish.ts'
import { createFinishable } from '../../../apps/relayer/src/services/signatures/finishable.ts'
import { createSubmission } from '../../../apps/relayer/src/services/signatures/submit.ts'
import { createVerification, WAITS_MS } from '../../../apps/relayer/src/services/signatures/verify.ts'
import { type MadeCluster, makeCluster } from '../../support/keys/make-cluster.ts'
import {
  assertOraclesCanExit,
  engine,
  getExits,
  partialExit,
  postValidators,
  publicKeysOf,
  untilOracleSet,
  untilShares,
} from '../../support/world/nodes.ts'
import { eventually, startWorld, type World } from '../../support/world/world.ts'

const LONG_MS = 600_000
/** Whoever waits for others waits until they have come. */
const FOR_EVER = { together: LONG_MS, look: 50, elsewhere: LONG_MS }
const SHARES_WRONG = expect.objectContaining({ code: 'SHARES_WRONG' })

let world: World
let cluster: MadeCluster
/** Collects what operators ask for, and finishes nothing. */
let api: Awaited<ReturnType<World['startRelayer']>>
let db: Database
let pool: CryptoPool
const resources = new AsyncDisposableStack()

beforeAll(async () => {
  world = resources.use(await startWorld({ oracles: 3, threshold: 2 }))
  cluster = await makeCluster({
    dir: world.dir,
    nodes: 4,
    threshold: 3,
    validators: 21,
    network: world.network,
    withdrawalAddress: new Uint8Array(20).fill(0x8a),
    feeRecipient: new Uint8Array(20).fill(1),
  })
  api = resources.use(await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, ROLE: 'api' }))
  await untilOracleSet(api.url)
  db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
  pool = resources.use(startCryptoPool(1))
})
afterAll(() => resources.disposeAsync())

interface ProcessOptions {
  finishes?: boolean
  /** How long a post waits for its verdicts. */
  patienceMs?: number
  /** Whether the queue takes a job. */
  isTaken?: () => boolean
  withDb?: Database
  finish?: CryptoPool['finish']
}

/** A process that takes posts, and how many signatures it has verified by themselves. */
async function startProcess(
  waits = FOR_EVER,
  {
    finishes = true,
    isTaken = () => true,
    withDb = db,
    finish = pool.finish,
    patienceMs = LONG_MS,
  }: ProcessOptions = {},
) {
  const { config } = readConfig(world.environment({ CLUSTER_LOCK_FILES: cluster.lockFile }))
  let verified = 0
  const queued: number[][] = []
  const context = {
    config,
    db: withDb,
    queue: {
      add: async (_: string, { message_ids: ids }: { message_ids: number[] }) => {
        if (!isTaken()) return 'not_added' as const
        queued.push(ids)
        return 'added' as const
      },
    } as never,
    crypto: {
      ...pool,
      finish,
      verify: (triples: Parameters<CryptoPool['verify']>[0]) => {
        verified += triples.length
        return pool.verify(triples)
      },
    },
    sealing: await openSealing(config, db, silentLogger),
    events: createEvents(silentLogger),
    announced: () => {},
    patienceMs,
    logger: silentLogger,
  }
  const awaited = createAwaitedVerdicts()
  const finishing = createFinishing(context, awaited.concluded)
  const verification = createVerification(context, finishes ? finishing : undefined, awaited, waits)
  const { submit } = createSubmission({ ...context, verification })
  return { submit, finishing, verification, events: context.events, verified: () => verified, queued }
}

let taken = 0
/** A validator whose exit is asked for, and what its nodes send. */
async function take() {
  const validator = cluster.validators[taken++]
  if (validator === undefined) throw new Error('no validators are left')
  const [key = ''] = publicKeysOf([validator])
  await postValidators(api.url, [key])
  const exit = async () => (await getExits(api.url)).find(({ public_key }) => public_key === key)
  const validatorIndex = (await exit())?.validator_index ?? 0
  const root = exitSigningRoot(world.network, { epoch: world.network.capellaEpoch, validatorIndex })
  const right = (shareIndex: number) => partialExit(world.network, validator, shareIndex, validatorIndex)
  const wrong = (number: number) => engine.sign(new Uint8Array(32).fill(1).with(31, number), root)
  /** A right one with an error added. */
  const shifted = (shareIndex: number, by: Uint8Array) =>
    toHex(engine.addSignatures([Buffer.from(right(shareIndex).slice(2), 'hex'), by]))
  /** The exit, once the list shows this of it. */
  const shown = (what: object) =>
    eventually('the list shows it', async () => {
      const found = await exit()
      return expect.objectContaining(what).asymmetricMatch(found) ? found : undefined
    })
  return {
    validator,
    key,
    exit,
    shown,
    right,
    wrong,
    shifted,
    post: (exit_signature: string) => [{ public_key: key, exit_signature }],
  }
}
/** Share indexes by state, whatever lists show. */
async function statesOf(key: string): Promise<Record<string, string>> {
  const rows = await world.query<{ share_index: string; state: string }>(
    `select p.share_index, p.state from partial_signatures p join messages m on m.id = p.message_id
     join validators v on v.id = m.validator_id
     where v.public_key = $1 order by p.state = 'verified'`,
    [Buffer.from(key.slice(2), 'hex')],
  )
  return Object.fromEntries(rows.map(({ share_index, state }) => [share_index, state]))
}
/** Its message: the id, and whether a worker has it. */
async function messageOf(key: string) {
  const [row] = await world.query<{ id: string; is_queued: boolean }>(
    `select m.id, m.queued_at is not null as is_queued from messages m join validators v on v.id = m.validator_id
     where v.public_key = $1`,
    [Buffer.from(key.slice(2), 'hex')],
  )
  return row ?? fail()
}
const idOf = async (key: string) => Number((await messageOf(key)).id)
const claimed = async (key: string) => (await messageOf(key)).is_queued
const untilSo = (id: number, condition: string) =>
  eventually(condition, async () => {
    const found = await world.query(`select from messages where id = $1 and ${condition}`, [id])
    return found.length > 0 ? true : undefined
  })
const stored = (key: string, count: number) =>
  eventually(`${count} are stored`, async () => (Object.keys(await statesOf(key)).length === count ? true : undefined))

describe('what a threshold of nodes sends', () => {
  it('counts once it is verified together, and no answer comes before that', async () => {
    const one = await startProcess()
    const { key, post, right, exit, shown, validator } = await take()
    let answered = 0
    const posts = [1, 2].map((index) => one.submit(index, post(right(index))).finally(() => answered++))
    await stored(key, 2)
    expect(answered).toBe(0)
    expect(await statesOf(key)).toEqual({ 1: 'unverified', 2: 'unverified' })
    await shown({ is_exit_signature_ready: false, share_indexes_ready: [] })

    posts.push(one.submit(3, post(right(3))))
    expect(await Promise.all(posts)).toEqual([[], [], []])
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'verified', 3: 'verified' })
    await shown({ is_exit_signature_ready: true, share_indexes_ready: [1, 2, 3] })
    expect(one.verified()).toBe(0)
    // Nor has it gone the way through the queue.
    expect(one.queued).toEqual([])
    const counted = await one.events.metrics.text()
    expect(counted).toContain('dvt_relayer_partial_signatures_total{outcome="verified"} 3\n')

    const answer = await untilShares(api.url, [key])
    const [item] = answer.validators
    const shares = item?.oracles_exit_signature_shares ?? null
    const index = (await exit())?.validator_index ?? -1
    await assertOraclesCanExit(world.network, world.oracles, 2, validator.publicKey, index, shares)
  })

  it('is answered after its time, whatever is still open', async () => {
    const one = await startProcess(FOR_EVER, { patienceMs: 1 })
    const { key, post, right } = await take()
    expect(await one.submit(1, post(right(1)))).toEqual([])
    expect(await statesOf(key)).toEqual({ 1: 'unverified' })
  })

  it.each([
    ['right', true],
    ['wrong', false],
  ])('judges what comes later by itself: %s', async (_, isRight) => {
    const one = await startProcess()
    const { key, post, right, wrong, shown } = await take()
    await Promise.all([1, 2, 3].map((index) => one.submit(index, post(right(index)))))
    const late = one.submit(4, post(isRight ? right(4) : toHex(wrong(4))))
    if (isRight) expect(await late).toEqual([])
    else await expect(late).rejects.toThrow(SHARES_WRONG)
    expect(await statesOf(key)).toMatchObject({ 3: 'verified', 4: isRight ? 'verified' : 'rejected' })
    await shown({
      share_indexes_ready: isRight ? [1, 2, 3, 4] : [1, 2, 3],
      share_indexes_rejected: isRight ? [] : [4],
    })
    expect(one.verified()).toBe(0)
  })

  it('names a wrong one to its sender, counts the others, and waits for one more', async () => {
    const one = await startProcess()
    const { key, post, right, wrong, shown } = await take()
    const [first, second, third] = await Promise.allSettled([
      one.submit(1, post(right(1))),
      one.submit(2, post(toHex(wrong(2)))),
      one.submit(3, post(right(3))),
    ])
    expect([first, third]).toMatchObject([{ value: [] }, { value: [] }])
    expect(second).toMatchObject({
      reason: { code: 'SHARES_WRONG', failures: [{ index: 0, code: 'SIGNATURE_WRONG' }] },
    })
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'rejected', 3: 'verified' })
    await shown({
      is_exit_signature_ready: false,
      share_indexes_ready: [1, 3],
      share_indexes_rejected: [2],
    })
    // No time has to pass before the next look.
    expect(await one.submit(4, post(right(4)))).toEqual([])
    await shown({ is_exit_signature_ready: true, share_indexes_ready: [1, 3, 4] })
    expect(await one.events.metrics.text()).toContain('dvt_relayer_recoveries_failed_total 0\n')
  })

  it('is not taken where the errors of two cancel in the sum', async () => {
    const one = await startProcess()
    const { key, post, right, wrong, shifted, shown } = await take()
    // 3·S_1 − 3·S_2 + S_3 is the signature: the same error at 1 and 2.
    const error = wrong(9)
    const posts = await Promise.allSettled([
      one.submit(1, post(shifted(1, error))),
      one.submit(2, post(shifted(2, error))),
      one.submit(3, post(right(3))),
    ])
    expect(posts.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled'])
    expect(await statesOf(key)).toEqual({ 1: 'rejected', 2: 'rejected', 3: 'verified' })
    await shown({ is_exit_signature_ready: false, share_indexes_rejected: [1, 2] })
  })
})

describe('what waits for no others', () => {
  it('is below the threshold when its time is over', async () => {
    const one = await startProcess({ ...WAITS_MS, together: 0, look: 1 })
    const { key, post, right, wrong } = await take()
    expect(await one.submit(1, post(right(1)))).toEqual([])
    await expect(one.submit(2, post(toHex(wrong(2))))).rejects.toThrow(SHARES_WRONG)
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'rejected' })
    expect(one.verified()).toBe(2)
    expect(WAITS_MS.together + WAITS_MS.look).toBeLessThanOrEqual(2000)
  })

  it('comes from a share index that has sent something else', async () => {
    // The first post is answered when its time is over.
    const one = await startProcess(FOR_EVER, { patienceMs: 5000 })
    const { key, post, right, wrong } = await take()
    const first = one.submit(1, post(right(1)))
    await stored(key, 1)
    await expect(one.submit(1, post(toHex(wrong(1))))).rejects.toThrow(SHARES_WRONG)
    expect(one.verified()).toBe(1)
    // Until one of its several is verified, the index counts for nothing.
    const posts = [2, 3].map((index) => one.submit(index, post(right(index))))
    await stored(key, 3)
    expect(await claimed(key)).toBe(false)
    await one.verification.verifyStored([await idOf(key)])
    expect(await Promise.all([first, ...posts])).toEqual([[], [], []])
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'verified', 3: 'verified' })
  })

  it('comes from a share index that was wrong lately, of another validator too', async () => {
    const one = await startProcess()
    const [a, b] = [await take(), await take()]
    const posts = [1, 3].map((index) => one.submit(index, a.post(a.right(index))))
    await stored(a.key, 2)
    await expect(one.submit(2, a.post(toHex(a.wrong(2))))).rejects.toThrow(SHARES_WRONG)
    await Promise.all(posts)
    expect(one.verified()).toBe(0)
    // It waits for nobody: an answer comes at once, and it is the right one.
    await expect(one.submit(2, b.post(toHex(b.wrong(2))))).rejects.toThrow(SHARES_WRONG)
    expect(await one.submit(2, b.post(b.right(2)))).toEqual([])
    expect(one.verified()).toBe(2)
    expect(await statesOf(b.key)).toEqual({ 2: 'verified' })
  })
})

describe('a post to a process that finishes nothing', () => {
  it('learns what another process came to', async () => {
    const [one, other] = [await startProcess(FOR_EVER, { finishes: false }), await startProcess()]
    const { key, post, right, wrong } = await take()
    const posts = Promise.allSettled([
      one.submit(1, post(right(1))),
      one.submit(2, post(toHex(wrong(2)))),
      one.submit(3, post(right(3))),
    ])
    const [ids = []] = await eventually('it is handed to a worker', async () =>
      one.queued.length > 0 ? one.queued : undefined,
    )
    await other.finishing.finish(ids)
    expect((await posts).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'rejected', 3: 'verified' })
    expect([one.verified(), other.verified()]).toEqual([0, 0])
  })

  it('is verified by itself where no worker comes in time', async () => {
    const one = await startProcess({ ...WAITS_MS, together: 0, look: 1, elsewhere: 0 }, { finishes: false })
    const { key, post, right } = await take()
    await Promise.all([1, 2, 3].map((index) => one.submit(index, post(right(index)))))
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'verified', 3: 'verified' })
  })

  it('ends with a stop, and the sweep has what is left verified', async () => {
    const one = await startProcess(FOR_EVER, { finishes: false })
    const { key, post, right } = await take()
    const answer = one.submit(1, post(right(1)))
    await stored(key, 1)
    one.verification.close()
    expect(await answer).toEqual([])
    await one.verification.drain()
    expect(await statesOf(key)).toEqual({ 1: 'unverified' })
    await one.verification.verifyStored([await idOf(key)])
    expect(await statesOf(key)).toEqual({ 1: 'verified' })
  })
})

describe('the last signature that a message needs, where the word of it is lost', () => {
  it('is waited for where somebody else holds the message just then', async () => {
    let afterStore: () => Promise<void> = async () => {}
    const held: Database = Object.create(db, {
      transaction: {
        value: async (work: Parameters<Database['transaction']>[0]) => {
          const result = await db.transaction(work)
          await afterStore()
          return result
        },
      },
    })
    const one = await startProcess(FOR_EVER, { withDb: held })
    const { key, post, right, shown } = await take()
    const posts = [1, 2].map((index) => one.submit(index, post(right(index))))
    await stored(key, 2)
    const id = await idOf(key)
    const end = Promise.withResolvers<void>()
    let holder: Promise<unknown> | undefined
    afterStore = async () => {
      afterStore = async () => {}
      const holding = Promise.withResolvers<void>()
      holder = db.transaction(async (tx) => {
        await lockMessages(tx, [id])
        holding.resolve()
        await end.promise
      })
      await holding.promise
    }
    posts.push(one.submit(3, post(right(3))))
    try {
      await eventually('it is waited for', async () => {
        const waiting = await world.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
        return waiting.length > 0 ? true : undefined
      })
    } finally {
      end.resolve()
    }
    await holder
    expect(await Promise.all(posts)).toEqual([[], [], []])
    await shown({ is_exit_signature_ready: true, share_indexes_ready: [1, 2, 3] })
    expect(one.verified()).toBe(0)
  })

  it('is found by the next look where the queue does not take the job', async () => {
    let isTaken = false
    const one = await startProcess(FOR_EVER, { finishes: false, isTaken: () => isTaken })
    const { key, post, right } = await take()
    const posts = Promise.all([1, 2, 3].map((index) => one.submit(index, post(right(index)))))
    const id = await idOf(key)
    // No time has to pass before it is.
    await untilSo(id, `queued_at < now() - interval '1 hour'`)
    await eventually('a look that finds it', async () => {
      // The process itself claims it again and again, and gives it back, since its queue does not take the job.
      const { claimed } = await createFinishable({ db }).claim(500)
      return claimed.includes(id) ? true : undefined
    })
    isTaken = true
    await one.finishing.finish([id])
    one.verification.close()
    await posts
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'verified', 3: 'verified' })
  })

  it('is tried again soon where the first attempt is interrupted', async () => {
    let attempts = 0
    const finish: CryptoPool['finish'] = async (...args) => {
      if (++attempts === 1) throw new Error('interrupted')
      return pool.finish(...args)
    }
    const one = await startProcess(FOR_EVER, { finish })
    const { key, post, right } = await take()
    const posts = Promise.all([1, 2, 3].map((index) => one.submit(index, post(right(index)))))
    const id = await idOf(key)
    await untilSo(id, 'failed_attempts = 1')
    await world.query(`update messages set queued_at = queued_at - interval '2 seconds' where id = $1`, [id])
    expect((await createFinishable({ db }).claim(500)).claimed).toContain(id)
    await one.finishing.finish([id])
    await posts
    expect(await statesOf(key)).toEqual({ 1: 'verified', 2: 'verified', 3: 'verified' })
  })
})

describe('the exit and the deposit of a validator', () => {
  const VAULT = Buffer.alloc(20, 0x8a)

  /** A validator with both, and what its nodes send. */
  async function takePair() {
    const { validator, key, right } = await take()
    const publicKey = Buffer.from(validator.publicKey)
    const root = randomBytes(32)
    await world.query(
      `insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state)
       select id, 'deposit', $2, 32000000000, '0x01', $3, 3, 'collecting' from validators where public_key = $1`,
      [publicKey, VAULT, root],
    )
    const deposit = (shareIndex: number, signed: Uint8Array = root) => {
      const share = validator.shares.find(({ index }) => index === BigInt(shareIndex)) ?? fail()
      return toHex(engine.sign(share.secretKey, signed))
    }
    return {
      pair: (shareIndex: number, signed?: Uint8Array) => [
        { public_key: key, exit_signature: right(shareIndex), deposit_signature: deposit(shareIndex, signed) },
      ],
      /** State and revision of each, the exit first. */
      messages: () =>
        world.query<{ state: string; revision: string }>(
          `select m.state, m.revision from messages m join validators v on v.id = m.validator_id
           where v.public_key = $1 order by m.kind = 'deposit'`,
          [publicKey],
        ),
      isBound: async () =>
        (
          await world.query(
            `select from deposit_bindings b join validators v on v.id = b.validator_id where v.public_key = $1 and b.vault = $2`,
            [publicKey, VAULT],
          )
        ).length > 0,
    }
  }

  it('are finished in one job and told of once, and what nobody has verified binds nothing before', async () => {
    const batches: number[] = []
    const finish: CryptoPool['finish'] = (batch, ...more) => {
      batches.push(batch.length)
      return pool.finish(batch, ...more)
    }
    const one = await startProcess(FOR_EVER, { finish })
    const { pair, messages, isBound } = await takePair()
    const posts = [1, 2].map((index) => one.submit(index, pair(index)))
    await eventually('two nodes have posted', async () =>
      one.verified() === 0 && (await isStored(2)) ? true : undefined,
    )
    expect(await isBound()).toBe(false)
    posts.push(one.submit(3, pair(3)))
    expect(await Promise.all(posts)).toEqual([[], [], []])
    const [exit = fail(), deposit = fail()] = await messages()
    expect([exit.state, deposit.state, exit.revision === deposit.revision]).toEqual(['ready', 'ready', true])
    expect(await isBound()).toBe(true)
    // One call with the oracles to split for, one without: both of the one job.
    expect([batches, one.verified()]).toEqual([[1, 1], 0])

    async function isStored(nodes: number): Promise<boolean> {
      const found = await world.query(
        `select from partial_signatures p join messages m on m.id = p.message_id where m.kind = 'deposit' and m.vault = $1
         and m.state = 'collecting'`,
        [VAULT],
      )
      return found.length === nodes
    }
  })

  it('have outcomes of their own: an exit that cannot be split leaves the deposit ready', async () => {
    const finish: CryptoPool['finish'] = async (batch, set, ...more) =>
      set === undefined
        ? pool.finish(batch, set, ...more)
        : batch.map(() => ({ status: 'failed' as const, reason: 'a split failed its own check' }))
    const one = await startProcess(FOR_EVER, { finish })
    const { pair, messages, isBound } = await takePair()
    const posts = [1, 2, 3].map((index) => one.submit(index, pair(index)))
    await eventually('the deposit is ready', async () => ((await messages())[1]?.state === 'ready' ? true : undefined))
    expect((await messages()).map(({ state }) => state)).toEqual(['collecting', 'ready'])
    expect(await isBound()).toBe(true)
    one.verification.close()
    expect(await Promise.all(posts)).toEqual([[], [], []])
  })

  it('have verdicts of their own: a wrong deposit is named, and the exit beside it counts', async () => {
    const one = await startProcess()
    const { pair, messages } = await takePair()
    const posts = [1, 2].map((index) => one.submit(index, pair(index)))
    const [wrong] = await Promise.all([one.submit(3, pair(3, randomBytes(32))), posts[0], posts[1]])
    expect(wrong).toMatchObject([{ index: 0, kind: 'deposit', code: 'SIGNATURE_WRONG' }])
    expect((await messages()).map(({ state }) => state)).toEqual(['ready', 'collecting'])
    expect(await one.submit(4, pair(4))).toEqual([])
    expect((await messages()).map(({ state }) => state)).toEqual(['ready', 'ready'])
  })
})

/** For what the types cannot know to be there. */
function fail(): never {
  throw new Error('not there')
}
