import { afterEach, describe, expect, it, vi } from 'vitest'
import type { ToSign } from '../keystores/keystore.ts'
import type { Job } from '../lists/work-entry.ts'
import { createWorkList } from '../lists/work-list.ts'
import { runRound } from './round.ts'

afterEach(() => vi.restoreAllMocks())

/** Far longer than a process under test lives: what rests so many intervals is told apart by rounding. */
const POLL_MS = 1e9
const SIGNATURE = new Uint8Array(96)

/** A round of exits that are due, so many of each share index; the validator index is their position. */
function setUp(counts: readonly number[]) {
  const shares = counts.flatMap((count, position) => Array.from({ length: count }, () => position + 1))
  const keyShares = shares.map((shareIndex, index) => ({
    validatorPublicKey: `0x${index.toString(16).padStart(96, '0')}`,
    shareIndex,
    publicKeyShares: [],
    withdrawalAddress: undefined,
  }))
  const workList = createWorkList(keyShares, POLL_MS)
  workList.applyList(
    keyShares.map(({ validatorPublicKey: publicKey }, validatorIndex) => ({
      publicKey,
      wanted: { validatorIndex, deposit: undefined },
      isReady: false,
      shareIndexesReady: [],
      shareIndexesUnverified: [],
      shareIndexesRejected: [],
    })),
  )
  const sent: [number, number[]][] = []
  const outbox = {
    isReachable: true,
    beginRound: vi.fn(),
    send: vi.fn(async (shareIndex: number, batch: readonly Job[]) => {
      sent.push([shareIndex, batch.map(({ wanted }) => wanted.validatorIndex)])
    }),
  }
  const good = new Set(['network'])
  let looks = 0
  function isGood(check: string): boolean {
    if (++looks > 1000) throw new Error('looks again and again')
    return good.has(check)
  }
  const stop = new AbortController()
  const heldBack = new Set<number>()
  const stubs = {
    rest: { failed: vi.fn() },
    onEnded: vi.fn(),
    keystore: { isAway: false, sign: vi.fn(async (_: ToSign): Promise<Uint8Array> => SIGNATURE) },
    policy: {
      judge: async (jobs: readonly Job[]) => jobs.map(() => undefined),
      exit: (validatorIndex: number) => ({
        signingRoot: SIGNATURE,
        message: { kind: 'exit', epoch: 0, validatorIndex },
      }),
    },
    events: { signed() {}, notSigned() {}, loopFailed: vi.fn() },
  }
  const parts = {
    ...{ keystore: stubs.keystore, policy: stubs.policy, events: stubs.events, config: {} },
    ...{ workLists: { exits: workList }, health: { isGood, report() {} } },
  }
  const options = {
    ...{ workList, outbox, rest: stubs.rest, signal: stop.signal, onEnded: stubs.onEnded },
    isHeldBack: ({ wanted }: { wanted?: { validatorIndex: number } }) => heldBack.has(wanted?.validatorIndex ?? -1),
  }
  return {
    ...{ ...stubs, workList, outbox, sent, good, stop, heldBack },
    async round() {
      const jobs = workList.take(performance.now())
      await runRound(parts as never, options as never, jobs, 0)
      return jobs
    },
  }
}
const statesOf = (jobs: readonly Job[]) => jobs.map(({ entry }) => entry.state)

describe('a round', () => {
  it('posts a small batch first and then large ones, each of one share index', async () => {
    const { round, sent, outbox } = setUp([70, 510])
    const jobs = await round()
    expect(sent.map(([shareIndex, batch]) => [shareIndex, batch.length])).toEqual([
      [1, 64],
      [1, 6],
      [2, 500],
      [2, 10],
    ])
    expect(sent.flatMap(([, batch]) => batch)).toEqual(jobs.map((_, index) => index))
    expect(new Set(statesOf(jobs))).toEqual(new Set(['signed']))
    expect(outbox.beginRound).toHaveBeenCalledTimes(1)
  })

  it('that cannot be judged rests, and keeps nothing in its hands', async () => {
    const { round, sent, rest, keystore, onEnded } = setUp([2])
    keystore.isAway = true
    const jobs = await round()
    expect([sent, statesOf(jobs), rest.failed.mock.calls.length]).toEqual([[], ['idle', 'idle'], 1])
    expect(onEnded).toHaveBeenCalled()
  })

  it('that is judged does not rest', async () => {
    const { round, rest } = setUp([1])
    await round()
    expect(rest.failed).not.toHaveBeenCalled()
  })

  it.each([
    ['is away', ({ outbox }: ReturnType<typeof setUp>) => Object.assign(outbox, { isReachable: false })],
    ['is of another network', ({ good }: ReturnType<typeof setUp>) => good.clear()],
    ['is not asked any more', ({ stop }: ReturnType<typeof setUp>) => stop.abort()],
  ])('goes on with no batch once the relayer %s, and lets the others go', async (_, happens) => {
    const set = setUp([65])
    set.outbox.send.mockImplementation(async (shareIndex, batch) => {
      set.sent.push([shareIndex, batch.map(({ id }) => id)])
      happens(set)
    })
    const jobs = await set.round()
    expect([set.sent.length, set.keystore.sign.mock.calls.length]).toEqual([1, 64])
    expect(statesOf(jobs.slice(63))).toEqual(['signed', 'idle'])
  })

  it('leaves to the other list what it has taken meanwhile', async () => {
    const { round, sent, heldBack } = setUp([3])
    heldBack.add(1)
    const jobs = await round()
    expect([sent, statesOf(jobs)]).toEqual([[[1, [0, 2]]], ['signed', 'idle', 'signed']])
  })

  it('sends no batch of which nothing is signed', async () => {
    const { round, outbox, keystore } = setUp([65])
    keystore.sign.mockImplementation(async ({ message }) => {
      if (message.kind === 'exit' && message.validatorIndex < 64) throw new Error('sorry')
      return SIGNATURE
    })
    const jobs = await round()
    expect(outbox.send.mock.calls.map(([, batch]) => batch.length)).toEqual([1])
    expect(statesOf(jobs.slice(63))).toEqual(['idle', 'signed'])
  })

  it('leaves what a keystore is slow at in flight, for another round once it is signed', async () => {
    let now = 10_000
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 100))
    const { round, keystore, sent, onEnded } = setUp([2])
    const slow = Promise.withResolvers<Uint8Array>()
    keystore.sign.mockImplementation(({ message }) =>
      message.kind === 'exit' && message.validatorIndex === 1 ? slow.promise : Promise.resolve(SIGNATURE),
    )
    const jobs = await round()
    expect([sent, statesOf(jobs)]).toEqual([[[1, [0]]], ['signed', 'bound']])
    const ended = Promise.withResolvers<void>()
    onEnded.mockImplementation(ended.resolve)
    slow.resolve(SIGNATURE)
    await ended.promise
    expect(statesOf(jobs)).toEqual(['signed', 'kept'])
  })

  it('that breaks is told of, and what was not sent waits for an interval', async () => {
    const { round, outbox, events, onEnded } = setUp([65])
    const error = new Error('sorry')
    outbox.send.mockRejectedValue(error)
    const jobs = await round()
    expect(events.loopFailed.mock.calls).toEqual([[error]])
    expect(statesOf(jobs.slice(63))).toEqual(['signed', 'idle'])
    expect(jobs.slice(63).map(({ entry }) => Math.round(entry.notBefore / POLL_MS))).toEqual([0, 1])
    expect(onEnded).toHaveBeenCalledTimes(2)
  })
})
