import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import {
  type HttpAnswer,
  type HttpAsk,
  HttpError,
  type HttpRequest,
  readJson,
} from '@dvt-relayer/common/http/client.ts'
import type { TSchema } from 'typebox'
import { describe, expect, it } from 'vitest'
import { networks } from '../networks.ts'
import { assertFinal, assertSaysFinal, assertVerified, parseDecimal, parseUint64 } from './beacon-answers.ts'
import { createBeaconApi } from './beacon-api.ts'
import { askStep, createStepCheck, doubtOfHead, isAtClock, slotsBehind } from './in-step.ts'
import { createConsensusNode } from './node.ts'

interface Answer {
  status?: number
  body?: unknown
}
/** A node that answers so; what it is asked is noted. */
function nodeOf(answer: (request: HttpRequest) => Answer) {
  const asked: HttpRequest[] = []
  async function read<T>(request: HttpRequest, read: (answer: HttpAnswer) => T | Promise<T>): Promise<T> {
    asked.push(request)
    const { status = 200, body } = answer(request)
    const accepts = request.accepts ?? ((code: number) => code >= 200 && code < 300)
    if (!accepts(status)) throw new HttpError('HTTP_STATUS', 'a', `answers ${status}`, { status })
    const bytes = Buffer.from(JSON.stringify(body ?? {}))
    return read({ status, headers: new Headers(), bytes, maxValues: 1_000_000, host: 'a' })
  }
  const json = (request: HttpRequest, schema: TSchema, check?: (value: unknown, host: string) => void) =>
    read(request, async (given) => {
      const value = await readJson(given, schema)
      check?.(value, given.host)
      return value
    })
  return { http: { host: 'a', read, json, quote: (text: string) => text } as unknown as HttpAsk, asked }
}

const hash = (byte: string) => `0x${byte.repeat(32)}`
const validator = (index: number) => ({
  index: String(index),
  balance: '1',
  status: 'active_ongoing',
  validator: {
    pubkey: `0x${index.toString(16).padStart(96, '0')}`,
    withdrawal_credentials: hash('00'),
    effective_balance: '1',
  },
})
const listOf = (...indexes: number[]) => ({ body: { data: indexes.map(validator) } })
const { signal } = new AbortController()
const ALL = Array.from({ length: 600 }, (_, status) => status + 1)
/** Of all statuses, those with which a question is answered by something. */
async function answered(statuses: readonly number[], ask: (status: number) => Promise<unknown>): Promise<number[]> {
  const judged = await Promise.all(
    statuses.map((status) =>
      ask(status).then(
        () => [status],
        () => [],
      ),
    ),
  )
  return judged.flat()
}
const OK = Array.from({ length: 100 }, (_, i) => 200 + i)

describe('validators of a state', () => {
  const idsOf = ({ body, query }: HttpRequest) =>
    query === undefined ? (body as { ids: string[] }).ids.length : query['id']?.split(',').length

  it('are asked for by a thousand, and by 30 of a node that takes no POST, which is remembered', async () => {
    let refuses = false
    const { http, asked } = nodeOf(({ method, body, query }) => {
      if (method === 'POST' && refuses) return { status: 405 }
      const ids = query === undefined ? (body as { ids: string[] }).ids : (query['id']?.split(',') ?? [])
      return listOf(...ids.map(Number))
    })
    const api = createBeaconApi(http, signal)
    const ids = Array.from({ length: 1_031 }, (_, i) => String(i))
    const indexes = async () => (await api.validators('head', ids)).map(({ index }) => String(index))
    expect(await indexes()).toEqual(ids)
    expect(asked.map((request) => [request.method, idsOf(request)])).toEqual([
      ['POST', 1_000],
      ['POST', 31],
    ])
    expect(asked[0]).toMatchObject({ idempotent: true, isVouched: true, signal })
    asked.length = 0
    refuses = true
    expect(await indexes()).toEqual(ids)
    const gets = [...Array.from({ length: 33 }, () => 30), 10, 30, 1]
    expect(asked.map(idsOf)).toEqual([1_000, ...gets])
    expect(asked[1]).toMatchObject({ isVouched: true, signal })
    // Once it has answered by GET it is not asked by POST again.
    asked.length = 0
    await indexes()
    expect(asked.map(idsOf)).toEqual(gets)
  })

  it('are asked for by GET after each way of refusing a POST, and after no other', async () => {
    const byStatus = (status: number) =>
      createBeaconApi(nodeOf(({ method }) => ({ status: method === 'POST' ? status : 200, ...listOf(7) })).http)
    expect(await answered(ALL, (status) => byStatus(status).validators('head', ['7']))).toEqual([
      ...OK,
      ...[400, 403, 404, 405, 411, 413, 415, 501],
    ])
  })

  it('are asked for by POST again where GET was refused as well', async () => {
    const { http, asked } = nodeOf(() => ({ status: 404 }))
    const api = createBeaconApi(http)
    for (let tries = 0; tries < 2; tries++) await expect(api.validators('head', ['7'])).rejects.toThrow('answers 404')
    expect(asked.map(({ method }) => method ?? 'GET')).toEqual(['POST', 'GET', 'POST', 'GET'])
  })

  it('are one at an index, or none, and never another or more', async () => {
    const found = async (...indexes: number[]) => {
      const { http, asked } = nodeOf(() => listOf(...indexes))
      const one = await createBeaconApi(http).validator('head', 7)
      expect(asked[0]).toMatchObject({ isVouched: true, body: { ids: ['7'] } })
      return one?.index
    }
    expect([await found(7), await found()]).toEqual([7, undefined])
    for (const wrong of [[8], [7, 8], [7, 7]]) await expect(found(...wrong)).rejects.toThrow('was not asked for')
  })
})

describe('what a node answers', () => {
  it('with a status that says "none" is told apart from all others', async () => {
    const data = { root: hash('AB'), genesis_time: '1' }
    const apiOf = (status: number) => createBeaconApi(nodeOf(() => ({ status, body: { data } })).http)
    const none = [400, 404]
    expect(await answered(ALL, (status) => apiOf(status).stateRoot('7'))).toEqual([...OK, ...none])
    expect([await apiOf(200).stateRoot('7'), await apiOf(404).stateRoot('7')]).toEqual([hash('ab'), undefined])
    expect(await answered(ALL, (status) => apiOf(status).spec())).toEqual([...OK, 400, 403, 404, 405, 501])
    expect([await apiOf(200).spec(), await apiOf(404).spec()]).toEqual([data, {}])
    expect(await answered(ALL, (status) => apiOf(status).finalizedRoot())).toEqual(OK)
    for (const status of none)
      await expect(apiOf(status).finalizedRoot()).rejects.toThrow('at a knows no finalized state yet')
    await expect(apiOf(403).finalizedRoot()).rejects.toThrow('answers 403')
  })

  it('about its head is asked of one that is vouched for, and other things of any', async () => {
    const header = { slot: '7', state_root: hash('CD') }
    const { http, asked } = nodeOf(({ path }) => ({
      body: path.endsWith('/pending_deposits')
        ? { data: [] }
        : { data: { root: hash('AB'), header: { message: header } } },
    }))
    const api = createBeaconApi(http, signal)
    expect(await api.head()).toEqual({ root: hash('ab'), slot: 7, stateRoot: hash('cd') })
    expect(await api.pendingDeposits('head')).toEqual([])
    await api.headStanding()
    await api.stateRoot('7')
    expect(asked.map(({ isVouched }) => isVouched)).toEqual([true, true, undefined, undefined])
    for (const request of asked) expect(request.signal).toBe(signal)
  })

  it('of pending deposits is read in lower case, and with fields of their length alone', async () => {
    const deposit = {
      pubkey: `0x${'AB'.repeat(48)}`,
      withdrawal_credentials: hash('CD'),
      amount: '32000000001',
      signature: `0x${'EF'.repeat(96)}`,
    }
    const read = (change: object = {}) =>
      createBeaconApi(nodeOf(() => ({ body: { data: [{ ...deposit, ...change }] } })).http).pendingDeposits('head')
    expect(await read()).toEqual([
      {
        publicKey: `0x${'ab'.repeat(48)}`,
        withdrawalCredentials: hash('cd'),
        amountGwei: 32_000_000_001n,
        signature: `0x${'ef'.repeat(96)}`,
      },
    ])
    for (const field of ['pubkey', 'withdrawal_credentials', 'signature'] as const)
      for (const wrong of [deposit[field].slice(0, -2), `${deposit[field]}00`, undefined])
        await expect(read({ [field]: wrong }), field).rejects.toMatchObject({ code: 'HTTP_INVALID' })
    await expect(read({ amount: String(2n ** 64n) })).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
  })

  it('of whether its head is verified counts where it says so', async () => {
    const verified = async (standing: object) => {
      const header = { message: { slot: '7', state_root: hash('cd') } }
      const { http } = nodeOf(() => ({ body: { ...standing, data: { root: hash('ab'), header } } }))
      return (await createBeaconApi(http).headStanding()).isVerified
    }
    expect(await verified({ execution_optimistic: false })).toBe(true)
    expect(await verified({ execution_optimistic: true })).toBe(false)
    expect(await verified({})).toBe(false)
  })
})

const network = { genesisTimestamp: 1_000, secondsPerSlot: 12 }
/** A clock so many seconds after genesis. */
const clockAt = (seconds: number) => ({ network, unixMs: () => (1_000 + seconds) * 1000 })

describe('the slots between a head and the clock', () => {
  it('are whole ones, and less than none ahead of it', () => {
    expect(slotsBehind(100, clockAt(1_200))).toBe(0)
    expect(slotsBehind(100, clockAt(1_199.999))).toBe(-1)
    expect(slotsBehind(100, clockAt(1_211.999))).toBe(0)
    expect(slotsBehind(90, clockAt(1_200))).toBe(10)
  })

  it('are few while the chain makes blocks and the clock is right', () => {
    expect([-2, -1, 0, 32, 33].map(isAtClock)).toEqual([false, true, true, true, false])
  })
})

it('a head that is not where the clock has it is doubted, by the time of its slot', () => {
  const doubt = (slots: number) => doubtOfHead(100, 'a', clockAt(1_200 + slots * 12))
  expect([doubt(-1), doubt(0), doubt(32)]).toEqual([undefined, undefined, undefined])
  const words =
    "the newest block of the consensus node at a is of 1970-01-01T00:36:40Z, and it does not say that it is behind: the chain makes no blocks, the node stands still, or this machine's clock is wrong"
  expect([doubt(-2), doubt(33)]).toEqual([words, words])
})

describe('what a node says of its state', () => {
  it.each([
    [{ execution_optimistic: false, finalized: true }, [true, true, true]],
    [{ finalized: true }, [true, true, true]],
    [{}, [true, true, false]],
    [{ finalized: false }, [true, false, false]],
    [{ execution_optimistic: true, finalized: true }, [false, false, false]],
  ])('%j is enough or not where it must be verified, final, and said to be final', (said, enough) => {
    const isEnough = (check: typeof assertFinal) => {
      try {
        check(said, 'a')
        return true
      } catch {
        return false
      }
    }
    expect([assertVerified, assertFinal, assertSaysFinal].map(isEnough)).toEqual(enough)
  })

  it('is in whole numbers, none of them rounded', () => {
    expect(['0', '9007199254740991'].map((text) => parseDecimal(text, 'it'))).toEqual([0, Number.MAX_SAFE_INTEGER])
    for (const text of ['', '01', '-1', '1.5', '1e3', '0x1', ' 1', '9007199254740992'])
      expect(() => parseDecimal(text, 'it')).toThrow('it is not a whole number up to 2^53 - 1')
    expect(parseUint64('18446744073709551615', 'it')).toBe(2n ** 64n - 1n)
    expect(() => parseUint64('18446744073709551616', 'it')).toThrow('it is above 2^64 - 1')
  })
})

describe('a node that is asked by itself', () => {
  const { hoodi } = networks
  const genesis = {
    genesis_validators_root: toHex(hoodi.genesisValidatorsRoot),
    genesis_fork_version: toHex(hoodi.genesisForkVersion),
  }
  const syncing = { is_syncing: false, head_slot: '100', sync_distance: '0' }
  const answers: Readonly<Record<string, Answer>> = {
    genesis: { body: { data: genesis } },
    spec: { body: { data: {} } },
    syncing: { body: { data: syncing } },
    validators: { body: { finalized: true, data: [validator(7)] } },
  }
  const find = async (change: Readonly<Record<string, Answer>> = {}) => {
    const given = { ...answers, ...change }
    const { http, asked } = nodeOf(({ path }) => given[path.slice(path.lastIndexOf('/') + 1)] ?? { status: 404 })
    const found = await createConsensusNode(http, hoodi).findFinal([fromHex(validator(7).validator.pubkey)])
    return { found: [...found.values()].map(({ index }) => index), last: asked.at(-1)?.path }
  }

  it('tells what its finalized state has', async () => {
    const last = '/eth/v1/beacon/states/finalized/validators'
    expect(await find()).toEqual({ found: [7], last })
    expect(await find({ validators: { body: { finalized: true, data: [] } } })).toEqual({ found: [], last })
  })

  const specOf = (data: object): Readonly<Record<string, Answer>> => ({ spec: { body: { data } } })
  it('may spell its settings otherwise, and leave them out', async () => {
    for (const spec of [
      { SLOTS_PER_EPOCH: '0032', DEPOSIT_CONTRACT_ADDRESS: toHex(hoodi.depositContract).toUpperCase() },
      { SLOT_DURATION_MS: '12000' },
      // Beside the older name a client may show what mainnet has.
      { SECONDS_PER_SLOT: 12, SLOT_DURATION_MS: '7000' },
    ])
      expect((await find(specOf(spec))).found).toEqual([7])
    const time = String(hoodi.genesisTimestamp)
    expect((await find({ genesis: { body: { data: { ...genesis, genesis_time: time } } } })).found).toEqual([7])
  })

  it.each([
    ['GENESIS_FORK_VERSION', '0x10000911'],
    ['CAPELLA_FORK_VERSION', '0x40000911'],
    ['CAPELLA_FORK_EPOCH', '1'],
    ['SLOTS_PER_EPOCH', '8'],
    ['SECONDS_PER_SLOT', '13'],
    ['SLOT_DURATION_MS', '7000'],
    ['DEPOSIT_CHAIN_ID', '1'],
    ['DEPOSIT_CONTRACT_ADDRESS', `0x${'00'.repeat(20)}`],
  ])('tells nothing where its %s is another', async (name, value) => {
    await expect(find(specOf({ [name]: value }))).rejects.toMatchObject({
      code: 'CHAIN_MISMATCH',
      message: expect.stringMatching(new RegExp(`: ${name} is ${value} there and \\S+ in our network setting$`)),
    })
  })

  it.each<[string, Readonly<Record<string, Answer>>, string]>([
    ['of another start', { genesis: { body: { data: { ...genesis, genesis_time: '1' } } } }, 'genesis_time is 1 there'],
    [
      'on another chain',
      { genesis: { body: { data: { ...genesis, genesis_fork_version: '0x00000001' } } } },
      'differs',
    ],
    [
      'on another chain',
      { genesis: { body: { data: { ...genesis, genesis_validators_root: hash('00') } } } },
      'differs',
    ],
    ['behind', { syncing: { body: { data: { ...syncing, is_syncing: true } } } }, 'is syncing'],
    ['optimistic', { syncing: { body: { data: { ...syncing, is_optimistic: true } } } }, 'has not verified its head'],
    ['alone', { syncing: { body: { data: { ...syncing, el_offline: true } } } }, 'has lost its execution node'],
    ['silent about its step', { syncing: { status: 403 } }, 'answers 403'],
    ['silent about its state', { validators: listOf(7) }, 'does not say whether'],
    ['of another answer', { validators: { body: { finalized: true, data: [validator(8)] } } }, 'was not asked for'],
  ])('tells nothing where it is %s', async (_, change, words) => {
    await expect(find(change)).rejects.toThrow(words)
  })
})

describe('the step of a node', () => {
  const said = { is_syncing: false, head_slot: '100', sync_distance: '3' }
  const header = { message: { slot: '100', state_root: hash('cd') } }
  const silent = (status: number, more: object = { execution_optimistic: false }) =>
    nodeOf(({ path }) =>
      path.endsWith('/syncing') ? { status } : { body: { ...more, data: { root: hash('ab'), header } } },
    ).http

  it('is what it says, and nothing worse where it leaves things out', async () => {
    const step = {
      isInferred: false,
      isSyncing: false,
      distance: 3,
      headSlot: 100,
      isOptimistic: false,
      elOffline: false,
    }
    expect(await askStep(nodeOf(() => ({ body: { data: said } })).http, clockAt(0))).toEqual(step)
    const odd = { ...said, is_syncing: true, is_optimistic: true, el_offline: true }
    expect(await askStep(nodeOf(() => ({ body: { data: odd } })).http, clockAt(0))).toEqual({
      ...step,
      isSyncing: true,
      isOptimistic: true,
      elOffline: true,
    })
  })

  it('is shown by its head where nobody may ask for it', async () => {
    const inferred = await askStep(silent(403), clockAt(1_200))
    expect(inferred).toEqual({
      isInferred: true,
      isSyncing: false,
      distance: 0,
      headSlot: 100,
      isOptimistic: false,
      elOffline: false,
    })
    expect(await askStep(silent(403, {}), clockAt(1_200))).toEqual({ ...inferred, isOptimistic: true })
    const synced = async (slots: number) => !(await askStep(silent(403), clockAt(1_200 + slots * 12))).isSyncing
    expect([await synced(-2), await synced(-1), await synced(8), await synced(9)]).toEqual([false, true, true, false])
    expect(
      await answered(
        ALL.filter((status) => status >= 300),
        (status) => askStep(silent(status), clockAt(0)),
      ),
    ).toEqual([400, 403, 404, 405, 501])
  })

  it('is asked for again after three seconds, once for all who ask at once', async () => {
    const { http, asked } = nodeOf(() => ({ body: { data: said } }))
    let nowMs = 5_000
    const { assertInStep } = createStepCheck(() => nowMs, clockAt(0))
    await assertInStep(http)
    nowMs = 7_999
    await assertInStep(http)
    expect(asked).toHaveLength(1)
    nowMs++
    await Promise.all([assertInStep(http), assertInStep(http)])
    expect(asked).toHaveLength(2)
  })

  it('is asked for at once where it was forgotten, also while it was asked for, or where it was out of step', async () => {
    let isSyncing = false
    const { http, asked } = nodeOf(() => ({ body: { data: { ...said, is_syncing: isSyncing } } }))
    const { assertInStep, forget } = createStepCheck(() => 0, clockAt(0))
    await assertInStep(http)
    forget(http)
    const before = assertInStep(http)
    forget(http)
    const after = assertInStep(http)
    await before
    // What was asked for meanwhile is shared all the same.
    await Promise.all([after, assertInStep(http)])
    expect(asked).toHaveLength(3)
    forget(http)
    const late = assertInStep(http)
    forget(http)
    await late
    await assertInStep(http)
    expect(asked).toHaveLength(5)
    forget(http)
    isSyncing = true
    for (let tries = 0; tries < 2; tries++)
      await expect(assertInStep(http)).rejects.toThrow('is syncing, 3 slots behind')
    expect(asked).toHaveLength(7)
  })
})
