import { setImmediate } from 'node:timers/promises'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { describe, expect, it, vi } from 'vitest'
import type { ListName } from '../config.ts'
import type { SignedJob } from '../lists/work-entry.ts'
import { createOutbox } from './outbox.ts'
import type { SigningParts } from './parts.ts'
import { createRest } from './rest.ts'

const hex = (byte: number, bytes: number) => `0x${byte.toString(16).padStart(2, '0').repeat(bytes)}`

/** A job of a cluster of 13 nodes, the largest of SSV. */
const job = (id: number): SignedJob =>
  ({
    id,
    entry: { postedAt: undefined },
    wanted: { validatorIndex: id, deposit: {} },
    keyShare: {
      validatorPublicKey: hex(id % 256, 48),
      shareIndex: 1,
      publicKeyShares: Array.from({ length: 13 }, (_, node) => ({
        share_index: node + 1,
        public_key_share: hex(node, 48),
      })),
    },
    signatures: { exit: hex(1, 96), deposit: hex(2, 96) },
  }) as unknown as SignedJob
const jobs = Array.from({ length: 500 }, (_, id) => job(id))

/** An outbox to a relayer behind a proxy that takes bodies of at most `limit` bytes. */
function outboxTo(list: ListName, limit: number) {
  const sizes: number[] = []
  const tooLarge: number[] = []
  const posted: SignedJob[] = []
  const deferred: SignedJob[] = []
  const released: SignedJob[] = []
  const answeredAfter: number[] = []
  const take = async (body: unknown) => {
    const bytes = JSON.stringify(body).length
    sizes.push(bytes)
    if (bytes > limit) throw new HttpError('HTTP_STATUS', 'proxy', 'POST answers with status 413', { status: 413 })
    return {}
  }
  const workList = {
    posted: (one: SignedJob) => posted.push(one),
    defer: (one: SignedJob) => deferred.push(one),
    release: (one: SignedJob) => released.push(one),
  }
  const parts = {
    relayer: { postExitSignature: take, postSignatures: take },
    workLists: { exits: workList, validators: workList },
    events: {
      signaturesPosted() {},
      batchAnswered: (seconds: number) => answeredAfter.push(seconds),
      postFailed() {},
      postTooLarge: (_list: ListName, _index: number, _count: number, bytes: number) => tooLarge.push(bytes),
    },
  } as unknown as SigningParts
  const outbox = createOutbox(parts, list, {
    rest: createRest(60),
    signal: new AbortController().signal,
    onTaken() {},
    onEnded() {},
  })
  const send = async (batch: readonly SignedJob[], start = performance.now()) => {
    await outbox.send(1, batch, start)
    await outbox.empty()
  }
  return { send, outbox, sizes, tooLarge, posted, deferred, released, answeredAfter }
}

describe('posts', () => {
  it.each(['exits', 'validators'] as const)(
    'of %s stay below the 1 MiB of nginx, and count every byte',
    async (list) => {
      const { send, sizes, tooLarge, posted, released } = outboxTo(list, 1024 * 1024)
      await send(jobs)
      expect([posted, released, tooLarge]).toEqual([jobs, jobs, []])
      expect(Math.max(...sizes)).toBeLessThanOrEqual(960 * 1024)
      expect(sizes.length).toBe(list === 'exits' ? 1 : 2)
    },
  )

  it('that are refused as too large are halved, and the next ones are not tried at that size', async () => {
    const { send, sizes, tooLarge, posted, deferred } = outboxTo('validators', 100_000)
    await send(jobs)
    expect([posted.length, new Set(posted).size, deferred.length]).toEqual([500, 500, 0])
    // Each size is refused once, and told once; some bytes are for the longest share index.
    expect(tooLarge.length).toBe(4)
    expect(sizes.filter((bytes) => bytes > 100_000).length).toBe(4)
    sizes.length = 0
    await send(jobs)
    expect(sizes.filter((bytes) => bytes > 100_000)).toEqual([])
  })

  it('of one signature are the smallest: one that is refused comes up again later, and the others go on', async () => {
    const small = { ...job(1), keyShare: { ...job(1).keyShare, publicKeyShares: [] } }
    const { send, sizes, posted, deferred, released, outbox } = outboxTo('validators', 700)
    await send([small, job(2), job(3), small])
    expect(posted).toEqual([small, small])
    expect(deferred.map(({ id }) => id)).toEqual([2, 3])
    expect(released.length).toBe(4)
    expect(outbox.isReachable).toBe(true)
    expect(sizes.length).toBeLessThanOrEqual(8)
  })

  it('are measured in seconds, from when their batch was begun', async () => {
    const { send, answeredAfter } = outboxTo('exits', 1024 * 1024)
    const before = performance.now()
    await send([job(1)], before - 60_000)
    const most = 60 + (performance.now() - before) / 1000
    expect(answeredAfter).toEqual([expect.any(Number)])
    expect(answeredAfter[0]).toBeGreaterThanOrEqual(60)
    expect(answeredAfter[0]).toBeLessThanOrEqual(most)
  })
})

describe('an outbox', () => {
  /** An outbox to a relayer whose answers are the test's. */
  function open() {
    const answers: PromiseWithResolvers<object>[] = []
    const released: number[] = []
    const rest = { succeeded: vi.fn(), failed: vi.fn() }
    const onTaken = vi.fn()
    const onEnded = vi.fn()
    const take = () => {
      answers.push(Promise.withResolvers<object>())
      return answers.at(-1)?.promise
    }
    const parts = {
      relayer: { postExitSignature: take },
      workLists: { exits: { posted() {}, defer() {}, release: ({ id }: SignedJob) => released.push(id) } },
      events: { signaturesPosted() {}, batchAnswered() {}, postFailed() {} },
    } as unknown as SigningParts
    const options = { rest: rest as never, signal: new AbortController().signal, onTaken, onEnded }
    return { outbox: createOutbox(parts, 'exits', options), answers, released, rest, onTaken, onEnded }
  }

  it('has four posts on their way, and waits for one of them before it goes on', async () => {
    const { outbox, answers, onEnded } = open()
    const sent: number[] = []
    const send = (id: number) => void outbox.send(1, [job(id)], 0).then(() => sent.push(id))
    for (const id of [1, 2, 3]) send(id)
    await setImmediate()
    expect(sent).toEqual([1, 2, 3])
    send(4)
    await setImmediate()
    expect([sent, answers.length, onEnded.mock.calls.length]).toEqual([[1, 2, 3], 4, 0])
    answers[1]?.resolve({})
    await setImmediate()
    expect([sent, onEnded.mock.calls.length]).toEqual([[1, 2, 3, 4], 1])
    for (const { resolve } of answers) resolve({})
    await outbox.empty()
    expect(onEnded).toHaveBeenCalledTimes(4)
  })

  it.each<[string, Error | undefined, boolean, boolean]>([
    ['taken', undefined, true, true],
    ['refused', new HttpError('HTTP_STATUS', 'relayer', 'sorry', { status: 500 }), false, true],
    ['unanswered', new HttpError('HTTP_UNREACHABLE', 'relayer', 'sorry'), false, false],
  ])('whose post is %s rests or not, and says whether the relayer is there', async (_, error, isTaken, isReachable) => {
    const { outbox, answers, released, rest, onTaken } = open()
    await outbox.send(1, [job(1), job(2)], 0)
    if (error === undefined) answers[0]?.resolve({})
    else answers[0]?.reject(error)
    await outbox.empty()
    expect([rest.succeeded.mock.calls.length, rest.failed.mock.calls.length]).toEqual(isTaken ? [1, 0] : [0, 1])
    expect(onTaken.mock.calls).toEqual(isTaken ? [[[job(1), job(2)]]] : [])
    expect([released, outbox.isReachable]).toEqual([[1, 2], isReachable])
    outbox.beginRound()
    expect(outbox.isReachable).toBe(true)
  })
})
