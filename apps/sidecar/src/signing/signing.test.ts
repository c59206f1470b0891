import { setImmediate } from 'node:timers/promises'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { afterEach, expect, it, vi } from 'vitest'
import type { ToSign } from '../keystores/keystore.ts'
import type { Job } from '../lists/work-entry.ts'
import { createWorkList, type Listed } from '../lists/work-list.ts'
import type { WantedDeposit } from '../policy/wanted.ts'
import type { SigningParts } from './parts.ts'
import { startSigning } from './signing.ts'
import { startWorker } from './worker.ts'

afterEach(() => vi.restoreAllMocks())

const POLL_MS = 1e9
const DEPOSIT: WantedDeposit = { vault: `0x${'11'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' }
const KEYS = [0, 1, 2].map((seed) => `0x0${seed}${'00'.repeat(47)}`)
const item = (key: number, validatorIndex: number, deposit?: WantedDeposit): Listed => ({
  publicKey: KEYS[key] ?? '',
  wanted: { validatorIndex, deposit },
  isReady: false,
  shareIndexesReady: [],
  shareIndexesUnverified: [],
  shareIndexesRejected: [],
})

/** A sidecar without a clock whose relayer answers posts as the test wants: the keys that each brought, by list. */
function setUp() {
  let now = 10_000
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  vi.spyOn(Math, 'random').mockReturnValue(1)
  const keyShares = KEYS.map((validatorPublicKey) => ({
    ...{ validatorPublicKey, shareIndex: 1, publicKeyShares: [], withdrawalAddress: undefined },
  }))
  const workLists = { exits: createWorkList(keyShares, POLL_MS), validators: createWorkList(keyShares, POLL_MS) }
  const good = new Set(['network'])
  let looks = 0
  const posts: { list: string; keys: number[]; answer: PromiseWithResolvers<object> }[] = []
  const given = Promise.withResolvers<object>()
  const post = (list: string) => (body: { shares: { public_key: string }[] }) => {
    const answer = Promise.withResolvers<object>()
    posts.push({ list, keys: body.shares.map((share) => KEYS.indexOf(share.public_key)), answer })
    return Promise.race([answer.promise, given.promise])
  }
  const parts = {
    ...{ workLists, config: { relayer: { pollIntervalMs: POLL_MS } } },
    keystore: { sign: async ({ signingRoot }: ToSign) => signingRoot },
    policy: {
      judge: async (jobs: readonly Job[]) => jobs.map(() => undefined),
      exit: () => ({ signingRoot: new Uint8Array(96) }),
      deposit: () => ({ signingRoot: new Uint8Array(96) }),
    },
    journal: { path: '', bind: async (wanted: readonly object[]) => wanted.map(() => undefined) },
    relayer: { postExitSignature: post('exits'), postSignatures: post('validators') },
    health: {
      isGood(check: string) {
        if (++looks > 10_000) throw new Error('looks again and again')
        return good.has(check)
      },
      report() {},
    },
    events: { refusedNow: vi.fn(), signed() {}, signaturesPosted() {}, batchAnswered() {}, postFailed() {} },
  }
  return {
    ...{ workLists, good, posts, events: parts.events, parts: parts as unknown as SigningParts },
    at(next: number): void {
      now = next
    },
    /** Once there have been so many posts. A test that waits in vain leaves none without an answer. */
    async until(count: number) {
      try {
        await vi.waitUntil(() => posts.length >= count, { timeout: 30_000, interval: 1 })
      } catch (error) {
        given.resolve({})
        throw error
      }
      return posts.map(({ list, keys }) => [list, keys])
    },
  }
}
/** What follows by itself has happened, if it does. */
async function settle(): Promise<void> {
  for (let round = 0; round < 20; round++) await setImmediate()
}
const away = () => new HttpError('HTTP_UNREACHABLE', 'relayer', 'sorry')

it('signs what is due at once, and what comes when it is told', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.exits.applyList([item(0, 7)])
  await using worker = startWorker(parts, 'exits')
  expect(await until(1)).toEqual([['exits', [0]]])
  workLists.exits.applyList([item(0, 7), item(1, 8)])
  worker.wake(false)
  expect(await until(2)).toEqual([
    ['exits', [0]],
    ['exits', [1]],
  ])
  for (const { answer } of posts) answer.resolve({})
})

it('signs nothing for a relayer of another network, until it is of ours', async () => {
  const { parts, workLists, good, posts, until } = setUp()
  good.clear()
  workLists.exits.applyList([item(0, 7)])
  await using worker = startWorker(parts, 'exits')
  worker.wake(false)
  await settle()
  expect(posts).toEqual([])
  good.add('network')
  worker.wake(false)
  expect(await until(1)).toEqual([['exits', [0]]])
  posts[0]?.answer.resolve({})
})

it('rests after a failure, until the relayer is said to be back', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.exits.applyList([item(0, 7)])
  await using worker = startWorker(parts, 'exits')
  await until(1)
  posts[0]?.answer.reject(away())
  await settle()
  workLists.exits.applyList([item(0, 7), item(1, 8)])
  worker.wake(false)
  await settle()
  expect(posts.length).toBe(1)
  worker.wake(true)
  expect((await until(2))[1]).toEqual(['exits', [1]])
  posts[1]?.answer.resolve({})
})

it('goes on by itself where its rest is over', async () => {
  const { parts, workLists, posts, until, at } = setUp()
  workLists.exits.applyList([item(0, 7)])
  await using worker = startWorker(parts, 'exits')
  await until(1)
  posts[0]?.answer.reject(away())
  await settle()
  workLists.exits.applyList([item(0, 7), item(1, 8)])
  // The rest lasts for a second: a few milliseconds before its end.
  at(10_995)
  worker.wake(false)
  await settle()
  expect(posts.length).toBe(1)
  at(11_001)
  expect((await until(2))[1]).toEqual(['exits', [1]])
  posts[1]?.answer.resolve({})
})

it('takes nothing that the other list has taken while it waited for what that says', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.exits.applyList([item(0, 7), item(1, 8)])
  let asked = 0
  const neighbour = {
    isHeldBack: ({ wanted }: { wanted: { validatorIndex: number } | undefined }) =>
      asked > 2 && wanted?.validatorIndex === 7,
    gatherMs: () => (++asked < 5 ? 1e6 : 0),
  }
  await using _worker = startWorker(parts, 'exits', neighbour)
  expect(await until(1)).toEqual([['exits', [1]]])
  expect(asked).toBe(5)
  posts[0]?.answer.resolve({})
})

it('ends once its posts have been answered, and tells of each', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.exits.applyList([item(0, 7)])
  const onTaken = vi.fn()
  const onEnded = vi.fn()
  const worker = startWorker(parts, 'exits', { onTaken, onEnded })
  await until(1)
  await settle()
  onEnded.mockClear()
  const ended = vi.fn()
  const end = worker[Symbol.asyncDispose]().then(ended)
  await settle()
  expect([ended.mock.calls.length, onEnded.mock.calls.length]).toEqual([0, 0])
  posts[0]?.answer.resolve({})
  await end
  expect(onTaken.mock.calls.map(([jobs]) => (jobs as Job[]).map(({ wanted }) => wanted.validatorIndex))).toEqual([[7]])
  expect(onEnded).toHaveBeenCalledTimes(1)
})

it('an exit that is on its way with its deposit is held back, and counts as posted then; others go alone', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.validators.applyList([item(0, 7, DEPOSIT), item(1, 8, DEPOSIT)])
  workLists.exits.applyList([item(0, 7), item(1, 9), item(2, 10)])
  await using signing = startSigning(parts, { names: ['exits', 'validators'], isHopeful: () => false })
  await until(2)
  const seen = new Map(posts.map(({ list, keys }) => [list, keys]))
  expect(seen).toEqual(
    new Map([
      ['validators', [0, 1]],
      ['exits', [1, 2]],
    ]),
  )
  for (const { answer } of posts) answer.resolve({})
  await settle()
  signing.wake('exits', false)
  await settle()
  expect(posts.length).toBe(2)
  expect(workLists.exits.due(10_000 + POLL_MS).length).toBe(3)
})

it('a rest of the exits goes on, whatever ends in the other list', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.exits.applyList([item(0, 7)])
  await using signing = startSigning(parts, { names: ['exits', 'validators'], isHopeful: () => false })
  await until(1)
  posts[0]?.answer.reject(away())
  await settle()
  workLists.exits.applyList([item(0, 7), item(2, 9)])
  workLists.validators.applyList([item(1, 8, DEPOSIT)])
  signing.wake('validators', false)
  await until(2)
  posts[1]?.answer.resolve({})
  await settle()
  expect(posts.map(({ list }) => list)).toEqual(['exits', 'validators'])
})

it('an exit whose deposit cannot be posted goes alone, at once', async () => {
  const { parts, workLists, posts, until } = setUp()
  workLists.validators.applyList([item(0, 7, DEPOSIT)])
  workLists.exits.applyList([item(0, 7)])
  await using _signing = startSigning(parts, { names: ['exits', 'validators'], isHopeful: () => false })
  await until(1)
  posts[0]?.answer.reject(away())
  expect(await until(2)).toEqual([
    ['validators', [0]],
    ['exits', [0]],
  ])
  posts[1]?.answer.resolve({})
})

it.each(['exits', 'validators'] as const)(
  'of %s alone follows no other list, and ends with its posts',
  async (list) => {
    const { parts, workLists, posts, until, events } = setUp()
    const signing = startSigning(parts, { names: [list], isHopeful: () => true })
    workLists.validators.applyList([item(0, 7, DEPOSIT)])
    workLists.exits.applyList([item(0, 7)])
    signing.wake('exits', false)
    signing.wake('validators', false)
    await until(1)
    await settle()
    expect(posts.map((post) => post.list)).toEqual([list])
    expect(events.refusedNow).toHaveBeenCalledTimes(2)
    const ended = vi.fn()
    const end = signing[Symbol.asyncDispose]().then(ended)
    await settle()
    expect(ended).not.toHaveBeenCalled()
    posts[0]?.answer.resolve({})
    await end
  },
)
