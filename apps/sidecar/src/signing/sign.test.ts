import { setImmediate } from 'node:timers/promises'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { countByRound } from '../../../../test/support/event-loop.ts'
import type { ToSign } from '../keystores/keystore.ts'
import { SignerError } from '../keystores/remote/error.ts'
import type { Job } from '../lists/work-entry.ts'
import { createWorkList, type Listed, type WorkList } from '../lists/work-list.ts'
import { createDepositPolicy } from '../policy/deposit-policy.ts'
import { createPolicy } from '../policy/policy.ts'
import type { WantedDeposit } from '../policy/wanted.ts'
import { signBatch } from './sign.ts'

afterEach(() => vi.restoreAllMocks())

const share = (seed: number) => ({
  validatorPublicKey: `0x${seed.toString(16).padStart(2, '0').repeat(48)}`,
  shareIndex: 1,
  publicKeyShares: [],
  withdrawalAddress: undefined,
})
const DEPOSIT: WantedDeposit = { vault: `0x${'11'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' }
const item = (seed: number, validatorIndex: number, deposit?: WantedDeposit): Listed => ({
  publicKey: share(seed).validatorPublicKey,
  wanted: { validatorIndex, deposit },
  isReady: false,
  shareIndexesReady: [],
  shareIndexesUnverified: [],
  shareIndexesRejected: [],
})
const signal = new AbortController().signal
const fail = () => {
  throw new Error('not expected')
}

/** Signs what is due with signatures that are the roots themselves; `onSign` is told before each, and may take its time. */
async function signDue(workList: WorkList, onSign: (made: number) => unknown = () => undefined) {
  const policy = createPolicy(networks.hoodi, createDepositPolicy(networks.hoodi, []), undefined)
  const told: unknown[] = []
  let made = 0
  const keystore = {
    async sign({ signingRoot }: ToSign) {
      await onSign(++made)
      return signingRoot
    },
  }
  const jobs = workList.take(0)
  for (const job of jobs)
    if (job.entry.state === 'taken') {
      workList.judged(job, 0)
      workList.bound(job)
    }
  const events = { signed: (counts: unknown) => void told.push(counts), notSigned: fail, loopFailed: fail }
  const { signed } = await signBatch({ keystore, policy, workList, events }, jobs, signal, fail)
  for (const job of jobs) workList.release(job)
  return { signed, told, made: () => made }
}

describe('signBatch', () => {
  it('signs the exit, and the deposit where one is wanted, once', async () => {
    const workList = createWorkList([share(1), share(2), share(3)], 1000)
    workList.applyList([item(1, 7), item(2, 8), item(3, 9, DEPOSIT)])
    const { signed, told, made } = await signDue(workList)
    expect(signed.map(({ signatures }) => Object.keys(signatures))).toEqual([['exit'], ['exit'], ['exit', 'deposit']])
    expect(told).toEqual([{ exit: 3, deposit: 1 }])
    expect(made()).toBe(4)
    const again = await signDue(workList)
    expect(again.signed.map(({ signatures }) => signatures)).toEqual(signed.map(({ signatures }) => signatures))
    expect([again.made(), again.told]).toEqual([0, []])
  })

  it.each([
    ['another index', [item(1, 9, DEPOSIT)]],
    ['another vault', [item(1, 7, { ...DEPOSIT, vault: `0x${'22'.repeat(20)}` })]],
  ])('hands out nothing for what was wanted before: %s while it signs', async (_, changed) => {
    const workList = createWorkList([share(1)], 1000)
    workList.applyList([item(1, 7, DEPOSIT)])
    const { signed } = await signDue(workList, (made) => {
      if (made === 2) workList.applyChanges(changed)
    })
    expect(signed).toEqual([])
    expect(workList.find(share(1))?.signatures).toBeUndefined()
  })

  it('signs nothing that has left the list before its turn', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8)])
    const { signed, made } = await signDue(workList, () => workList.applyList([item(1, 7)]))
    expect([signed.length, made()]).toEqual([1, 1])
  })

  it('posts no signature that is wanted no more when the others are made', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8)])
    const { signed } = await signDue(workList, async (made) => {
      if (made === 1) return
      // The first one has its signature by now.
      await setImmediate()
      expect(workList.find(share(1))?.signatures).toBeDefined()
      workList.applyChanges([item(1, 9)])
    })
    expect(signed.map(({ wanted }) => wanted.validatorIndex)).toEqual([8])
  })

  it('posts no signature of an earlier round that is wanted no more', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7)])
    expect((await signDue(workList)).signed).toHaveLength(1)
    workList.applyList([item(1, 7), item(2, 8)])
    const { signed, made } = await signDue(workList, () => workList.applyChanges([item(1, 9)]))
    expect([signed.map(({ wanted }) => wanted.validatorIndex), made()]).toEqual([[8], 1])
  })
})

/** One poll interval, far longer than a process under test lives: what rests so many of them is told apart by rounding. */
const LONG_MS = 1e9
const policy = createPolicy(networks.hoodi, createDepositPolicy(networks.hoodi, []), undefined)

/** Takes what is due by a keystore of one's own, and what is told of it. */
function batchOf(workList: WorkList, sign: (of: number) => Promise<Uint8Array>) {
  const jobs = workList.take(performance.now())
  for (const job of jobs) {
    workList.judged(job, 0)
    workList.bound(job)
  }
  const events = { signed: vi.fn(), notSigned: vi.fn(), loopFailed: vi.fn() }
  const keystore = {
    sign: ({ message }: ToSign) => sign(message.kind === 'exit' ? message.validatorIndex : -1),
  }
  const ended = Promise.withResolvers<Job>()
  const stop = new AbortController()
  const run = () => signBatch({ keystore, policy, workList, events }, jobs, stop.signal, ended.resolve)
  return { jobs, events, run, stop, ended: ended.promise }
}
const SIGNATURE = new Uint8Array(96)

describe('a batch', () => {
  it.each([
    [8, undefined, [8, 8, 3]],
    [4, DEPOSIT, [4, 4, 4, 4, 3]],
  ])('leaves the event loop free after %i of its jobs', async (_, deposit, expected) => {
    const workList = createWorkList(
      Array.from({ length: 19 }, (_, seed) => share(seed)),
      1000,
    )
    workList.applyList(Array.from({ length: 19 }, (_, seed) => item(seed, seed, deposit)))
    const counted = countByRound()
    const { run } = batchOf(workList, async (index) => {
      if (index >= 0) counted.count()
      return SIGNATURE
    })
    await run()
    counted.end()
    expect(counted.inRounds()).toEqual(expected)
  })

  it.each<[string, () => Error, number, unknown[]]>([
    ['is away', () => new SignerError('away', 'left alone'), 1, []],
    ['was given up', () => new SignerError('stopped', 'stopped'), 1, []],
    ['cannot be reached', () => new SignerError('unreachable', 'sorry'), 1, [['unreachable', 'sorry', [7, 8]]]],
    ['has a wrong certificate', () => new SignerError('tls', 'sorry'), 1, [['tls', 'sorry', [7, 8]]]],
    ['refuses', () => new SignerError('refused', 'sorry'), 15, [['refused', 'sorry', [7, 8]]]],
    ['is late', () => new SignerError('timeout', 'sorry'), 15, [['timeout', 'sorry', [7, 8]]]],
    ['breaks', () => new TypeError('sorry'), 15, []],
  ])('of a signer that %s rests, is told of once, and keeps the others', async (_, error, intervals, told) => {
    const workList = createWorkList([share(1), share(2), share(3)], LONG_MS)
    workList.applyList([item(1, 7), item(2, 8), item(3, 9)])
    const { run, events, jobs } = batchOf(workList, async (index) => {
      if (index !== 9) throw error()
      return SIGNATURE
    })
    const { signed, late } = await run()
    expect([signed.map(({ wanted }) => wanted.validatorIndex), late]).toEqual([[9], []])
    expect(jobs.map(({ entry }) => Math.round(entry.notBefore / LONG_MS))).toEqual([intervals, intervals, 0])
    expect(events.notSigned.mock.calls).toEqual(told)
    expect(events.loopFailed).toHaveBeenCalledTimes(error() instanceof SignerError ? 0 : 2)
    expect(events.signed.mock.calls).toEqual([[{ exit: 1, deposit: 0 }]])
  })

  it('of which none is signed tells of no signatures, and not again why', async () => {
    const workList = createWorkList([share(1)], 0)
    workList.applyList([item(1, 7)])
    for (const told of [1, 0]) {
      const { run, events } = batchOf(workList, () => Promise.reject(new SignerError('refused', 'sorry')))
      await run()
      expect([events.signed.mock.calls.length, events.notSigned.mock.calls.length]).toEqual([0, told])
    }
  })

  it('tells of each fault by itself', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8)])
    const { run, events } = batchOf(workList, async (index) => {
      throw new SignerError(index === 7 ? 'refused' : 'unknown_key', `of ${index}`)
    })
    await run()
    expect(events.notSigned.mock.calls).toEqual([
      ['refused', 'of 7', [7]],
      ['unknown_key', 'of 8', [8]],
    ])
  })

  it('waits for one that takes its time, and for nobody when all are there', async () => {
    let now = 10_000
    vi.spyOn(performance, 'now').mockImplementation(() => ++now)
    const workList = createWorkList([share(1)], 1000)
    workList.applyList([item(1, 7)])
    const { run } = batchOf(workList, async () => {
      for (let round = 0; round < 3; round++) await setImmediate()
      return SIGNATURE
    })
    const { signed, late } = await run()
    expect([signed.length, late.length]).toEqual([1, 0])
    expect(now).toBeLessThan(10_100)
  })

  it('is over without what takes far longer, which keeps its signature and is told when it has ended', async () => {
    let now = 10_000
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 100))
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8)])
    const slow = Promise.withResolvers<Uint8Array>()
    const { run, events, ended, jobs } = batchOf(workList, (index) =>
      index === 8 ? slow.promise : Promise.resolve(SIGNATURE),
    )
    const { signed, late } = await run()
    expect([signed.map(({ id }) => id), late]).toEqual([[jobs[0]?.id], [jobs[1]]])
    slow.resolve(SIGNATURE)
    expect(await ended).toBe(jobs[1])
    expect(jobs[1]?.entry.state).toBe('signed')
    expect(events.signed.mock.calls).toEqual([[{ exit: 1, deposit: 0 }], [{ exit: 1, deposit: 0 }]])
  })

  it('that is given up hands nothing out and blames nobody', async () => {
    const workList = createWorkList([share(1), share(2), share(3)], 1000)
    workList.applyList([item(1, 7), item(2, 8), item(3, 9)])
    const asked: number[] = []
    const { run, events, stop, jobs } = batchOf(workList, async (index) => {
      asked.push(index)
      if (index === 7) return SIGNATURE
      stop.abort()
      throw new Error('stopped')
    })
    expect((await run()).signed).toEqual([])
    expect([asked, events.loopFailed.mock.calls, jobs[1]?.entry.state]).toEqual([[7, 8], [], 'bound'])
  })
})
