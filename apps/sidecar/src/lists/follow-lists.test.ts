import { ContractError } from '@dvt-relayer/api/client.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ListName } from '../config.ts'
import { startFollowing } from './follow-lists.ts'
import { createWorkList } from './work-list.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  vi.spyOn(Math, 'random').mockReturnValue(1)
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const KEY = `0x${'aa'.repeat(48)}`
const share = { validatorPublicKey: KEY, shareIndex: 1, publicKeyShares: [], withdrawalAddress: undefined }
const status = (code: number, retryAfterMs = 0) =>
  new HttpError('HTTP_STATUS', 'relayer', `status ${code}`, { status: code, retryAfterMs })

/** A sidecar that follows a relayer which gives these answers, the last one for ever. Times are milliseconds from the start. */
function setUp(
  { generation = 'auto', pollIntervalMs = 2000 }: { generation?: 'auto' | '3'; pollIntervalMs?: number },
  ...answers: (object | Error)[]
) {
  const start = performance.now()
  const now = () => Math.round(performance.now() - start)
  const asked: (readonly [number, object])[] = []
  const network = { says: 'hoodi', asked: 0 }
  const relayer = {
    async getInfo() {
      network.asked++
      return { network: network.says }
    },
    async getExits(query: object) {
      asked.push([now(), query])
      const answer = answers.length > 1 ? answers.shift() : answers[0]
      if (answer instanceof Error) throw answer
      return answer
    },
  }
  const states: unknown[] = []
  const events = { itemsDropped() {}, longPolling() {}, listApplied() {}, rejectionSeen() {}, loopFailed: vi.fn() }
  const changes: (readonly [number, boolean])[] = []
  const parts = {
    config: { network: networks.hoodi, generation, relayer: { pollIntervalMs, healIntervalMs: 15_000 } },
    ...{ relayer, events, workLists: { exits: createWorkList([share], 1000) }, introduce: async () => {} },
    lists: { names: ['exits'], set: (_: ListName, state: unknown) => states.push(state) },
    health: { report() {} },
  }
  const following = startFollowing(parts as never, (_, isBack) => changes.push([now(), isBack]))
  return {
    ...{ asked, network, states, events, changes, following },
    times: () => asked.map(([at]) => at),
    [Symbol.asyncDispose]: () => following[Symbol.asyncDispose](),
  }
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

describe('a list', () => {
  it('of a relayer without long polling is asked for in every poll interval, until it is stopped', async () => {
    const { times, changes, states, following } = setUp({}, { exits: [] })
    await pass(4500)
    expect(times()).toEqual([0, 2000, 4000])
    expect(changes.map(([, isBack]) => isBack)).toEqual([false, false, false])
    expect(states).toEqual(['listed', 'listed', 'listed'])
    await following[Symbol.asyncDispose]()
    await pass(10_000)
    expect(times().length).toBe(3)
  })

  it('is stopped once the question that is under way has ended', async () => {
    const answer = Promise.withResolvers<object>()
    const { times, following } = setUp({}, answer.promise)
    await pass(0)
    const ended = vi.fn()
    const end = following[Symbol.asyncDispose]().then(ended)
    await pass(10_000)
    expect([times(), ended.mock.calls]).toEqual([[0], []])
    answer.resolve({ exits: [] })
    await end
  })

  it.each([404, 405])('that a relayer answers with %i is absent, and asked for again after a while', async (code) => {
    await using set = setUp({}, status(code), { exits: [] })
    await pass(15_000)
    expect([set.times(), set.states, set.changes]).toEqual([[0, 15_000], ['absent', 'listed'], [[15_000, false]]])
  })

  it.each<[string, '3' | 'auto', Error]>([
    ['refused', 'auto', status(403)],
    ['absent where it has to be there', '3', status(404)],
    ['answered with something else', 'auto', new ContractError('RELAYER_ANSWER_INVALID', 'sorry')],
  ])('that is %s is in trouble, and asked for again soon', async (_, generation, error) => {
    await using set = setUp({ generation }, error, { exits: [] })
    await pass(1000)
    expect([set.times(), set.states]).toEqual([
      [0, 1000],
      [{ problem: error.message }, 'listed'],
    ])
    expect(set.events.loopFailed).not.toHaveBeenCalled()
  })

  it('that cannot be taken over for a fault of ours is in trouble too, and the fault is told', async () => {
    const error = Object.assign(new TypeError('sorry'), { status: 404 })
    await using set = setUp({}, error, { exits: [] })
    await pass(1000)
    expect([set.states, set.events.loopFailed.mock.calls]).toEqual([[{ problem: 'sorry' }, 'listed'], [[error]]])
  })

  it('is said to be back after failures, once; what was absent was never away', async () => {
    await using set = setUp({}, { exits: [] }, status(500), status(500), { exits: [] }, status(500), status(404), {
      exits: [],
    })
    await pass(40_000)
    expect(set.changes.slice(0, 3).map(([, isBack]) => isBack)).toEqual([false, true, false])
    expect(set.states.slice(0, 7)).toEqual([
      'listed',
      { problem: 'status 500' },
      { problem: 'status 500' },
      'listed',
      { problem: 'status 500' },
      'absent',
      'listed',
    ])
  })

  it('that fails again and again is asked for more and more seldom, as the relayer wants, and soon again once it was there', async () => {
    await using set = setUp({}, ...[0, 0, 7000, 0, 0].map((ms) => status(500, ms)), { exits: [] }, status(500), {
      exits: [],
    })
    await pass(40_000)
    const waits = set.times().map((at, position, all) => at - (all[position - 1] ?? 0))
    expect(waits.slice(0, 8)).toEqual([0, 1000, 2000, 7000, 8000, 10_000, 2000, 1000])
    // The network is looked at again after each failure, and then as often as it heals.
    expect(set.network.asked).toBe(7)
  })

  it('is asked for sooner where the poll interval is short', async () => {
    await using set = setUp({ pollIntervalMs: 100 }, status(500), { exits: [] })
    await pass(150)
    expect(set.times()).toEqual([0, 100])
  })

  it('of a relayer of another network is not asked for', async () => {
    await using set = setUp({}, { exits: [] })
    await pass(0)
    set.network.says = 'mainnet'
    await pass(30_000)
    const before = set.times().length
    await pass(30_000)
    expect(set.times().length).toBe(before)
    set.network.says = 'hoodi'
    await pass(10_000)
    expect(set.times().length).toBeGreaterThan(before)
  })

  it('is asked for whole after a failure', async () => {
    await using set = setUp({}, { exits: [], revision: 5 }, status(500), { exits: [], revision: 5 })
    await pass(1500)
    expect(set.asked.slice(0, 3).map(([, query]) => query)).toEqual([
      { limit: 1000 },
      { limit: 1000, after: 5, wait: 15 },
      { limit: 1000 },
    ])
  })
})

describe('a relayer that answers at once', () => {
  const key = (publicKey: string, ready: number[]) => ({
    ...{ public_key: publicKey, validator_index: 7, is_exit_signature_ready: false },
    ...{ created_at_timestamp: 0, created_at_string: '', share_indexes_ready: ready },
  })
  /** How many questions follow the first one within a second, and how many in each of the nine after it. */
  async function paceOf(...answers: object[]): Promise<[number, number]> {
    await using set = setUp({}, ...answers)
    await pass(1000)
    const first = set.times().length
    await pass(9000)
    return [first - 1, (set.times().length - first) / 9]
  }

  it('without news is asked twenty times, and then five times a second', async () => {
    expect(await paceOf({ exits: [], revision: 5 })).toEqual([25, 5])
  })

  it('with a page that others follow is asked for a hundred, and then for twenty a second', async () => {
    const pages = Array.from({ length: 500 }, (_, page) => ({ exits: [], revision: 5, whole: true, next: page + 1 }))
    expect(await paceOf(...pages)).toEqual([120, 20])
  })

  it('with news is asked at once, and these cost no question of the others', async () => {
    const news = { exits: [key(KEY, [])], revision: 5 }
    expect(await paceOf(news, { exits: [], revision: 5 })).toEqual([26, 5])
  })
})
