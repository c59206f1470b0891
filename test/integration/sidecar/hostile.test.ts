/** Relayers and consensus nodes that are away, wrong or hostile: the sidecar never dies, never signs wrong, never floods. */

import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { startSidecar } from '../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../libs/chain/src/networks.ts'
import { fromHex } from '../../../libs/common/src/hex.ts'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { startBeacon } from '../../support/chain/beacon.ts'
import type { StandInAnswer } from '../../support/chain/http-stand-in.ts'
import { type StandInRelayer, startStandInRelayer } from './stand-in.ts'
import {
  configOf,
  expectAllPairsRight,
  expectAllRight,
  first,
  hasten,
  isRight,
  journalFolder,
  keysOf,
  REJECTED,
  recordingLogger,
} from './support.ts'

const NAME = 'cluster-4'
const quiet = { logger: silentLogger }
const [KEY = '', OTHER = '', THIRD = ''] = keysOf(NAME)
const LISTS = '/exits'

const item = (public_key: unknown, validator_index: unknown, more: object = {}) => ({
  public_key,
  validator_index,
  is_exit_signature_ready: false,
  created_at_timestamp: 1732147200,
  created_at_string: '2024-11-21 00:00:00+0000',
  share_indexes_ready: [],
  ...more,
})
const list = (exits: unknown, more: object = {}): StandInAnswer => ({ status: 200, body: { exits, ...more } })

/** Answers the next lists with these, one after the other, then as usual. */
function answerLists(relayer: StandInRelayer, answers: readonly (StandInAnswer | Uint8Array)[]): () => number {
  let position = 0
  relayer.hook = ({ path }) => {
    if (path !== LISTS || position >= answers.length) return undefined
    const answer = answers[position++]
    return answer instanceof Uint8Array ? { status: 200, body: answer } : answer
  }
  return () => position
}

describe.each(['existing', 'ours'] as const)('a relayer that is %s', (generation) => {
  it('is away at boot and comes back', async () => {
    await using relayer = await startStandInRelayer({ generation })
    relayer.addExit(KEY, 7)
    relayer.hook = () => ({ status: 503, body: {} })
    const { logger, find } = recordingLogger()
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
    expect(sidecar.ready()).toMatchObject({
      status: 'not_ready',
      checks: { keys: { ok: true }, relayer: { ok: false }, network: { ok: false, message: 'not checked yet' } },
    })
    await relayer.until(() => relayer.seen.length >= 4)
    expect(find('check fails', { check: 'relayer' }).length).toBe(1)
    relayer.hook = undefined
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    await relayer.until(() => sidecar.ready().status === 'ready')
  })

  it('answers lists with everything but one, and nothing but the truth is signed', async () => {
    await using relayer = await startStandInRelayer({ generation })
    const garbage = [
      ...['', 'null', '[]', '"x"', '{"exits"', '<html></html>', '{}', '{"exits":{}}', '{"exits":null}'].map((text) =>
        new TextEncoder().encode(text),
      ),
      new Uint8Array([0xff, 0xfe, 0x00]),
      { status: 500, body: { detail: 'no' } },
      { status: 401, body: {} },
      { status: 302, body: {}, headers: { location: `${relayer.url}/other` } },
      { status: 200, body: { exits: [] }, headers: { 'content-length': '99' } },
      list([item(KEY, 7)], { revision: -1 }),
      list([item(KEY, 7)], { revision: 'x' }),
    ]
    const asked = answerLists(relayer, garbage)
    // The back-off of so many failures in a row would take minutes: each is followed by a good empty list.
    const hook = relayer.hook
    let isOdd = false
    relayer.hook = (request) => {
      if (request.path !== LISTS) return undefined
      isOdd = !isOdd
      if (asked() >= garbage.length) return undefined
      return isOdd ? hook?.(request) : list([])
    }
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => asked() === garbage.length)
    relayer.addExit(OTHER, 8)
    await relayer.until(() => relayer.posts.some(({ publicKey }) => publicKey === OTHER))
    for (const post of relayer.posts) expect(isRight(NAME, post, post.publicKey === KEY ? 7 : 8)).toBe(true)
    expect(relayer.seen.some(({ path }) => path === '/other')).toBe(false)
  })

  it('lists strange items beside a good one: the good one is signed', async () => {
    await using relayer = await startStandInRelayer({ generation })
    const strange = [
      null,
      7,
      'x',
      [],
      {},
      item(KEY, '7'),
      item(KEY, -1),
      item(KEY, 1.5),
      item(KEY, 2 ** 53),
      item(KEY, null),
      item(KEY.toUpperCase(), 7),
      item(KEY.slice(2), 7),
      item(`${KEY}00`, 7),
      item(`0x${'cd'.repeat(48)}`, 7),
      { public_key: KEY, validator_index: 7 },
      item(KEY, 7, { is_exit_signature_ready: 'no' }),
      item(KEY, 2 ** 41),
    ]
    relayer.hook = ({ path, query }) =>
      path === LISTS
        ? list(
            query.has('wait')
              ? []
              : [...strange, item(OTHER, 8, { share_indexes_ready: [0, 2 ** 60, 3] }), item(OTHER, 9)],
            {
              ...(generation === 'ours' ? { revision: 5 } : {}),
            },
          )
        : undefined
    const { logger, find } = recordingLogger()
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
    await relayer.until(() => relayer.posts.length > 0)
    expect(relayer.posts.every((post) => post.publicKey === OTHER && isRight(NAME, post, 8))).toBe(true)
    expect(find('exits refused by policy', { reason: 'index_impossible' }).length).toBe(1)
    expect(await sidecar.metrics()).toMatch(/dvt_sidecar_list_items_dropped_total [1-9]/)
    // The other two are well-formed: a key of nobody here, and an index that the policy refuses.
    expect(find('items of the list were left out', { count: strange.length - 2 })).not.toEqual([])
  })

  it('answers posts with 500, nonsense or nothing: the same signature is posted until it is taken', async () => {
    await using relayer = await startStandInRelayer({ generation })
    relayer.addExit(KEY, 7)
    const answers: StandInAnswer[] = [
      { status: 500, body: {} },
      { status: 422, body: { detail: [{ msg: 'no' }] } },
      { status: 422, body: { failures: [{ index: 99, code: 'X', message: '' }] } },
      { status: 200, body: { failures: [{ index: -1, code: 'X' }] } },
      { status: 200, body: { failures: [{ index: 0, code: 'no such word 0xabc', message: '' }] } },
    ]
    let posts = 0
    relayer.hook = ({ path }) => (path === '/exit-signature' ? answers[posts++] : undefined)
    const { logger, find } = recordingLogger()
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    expect(posts).toBe(answers.length + 1)
    expect(find('post failed, it is tried again').length).toBe(2)
    expect(find(REJECTED)).toMatchObject([{ code: 'OTHER' }])
  })

  it('names another index in every list: each key costs one signature in a poll interval', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    let index = 0
    relayer.hook = ({ path }) => {
      if (path !== LISTS) return undefined
      index++
      return list([item(KEY, index)], { revision: index })
    }
    const start = performance.now()
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => index >= 24)
    const made = Number(/dvt_sidecar_signatures_total{kind="exit"} (\d+)/.exec(await sidecar.metrics())?.[1])
    expect(made).toBeLessThanOrEqual(2 + (performance.now() - start) / 60)
  })
})

it('refuses a list beyond what its keys allow and recovers', async () => {
  await using relayer = await startStandInRelayer({ generation: 'existing' })
  relayer.addExit(KEY, 7)
  const answered = answerLists(relayer, [new Uint8Array(65 * 1024 * 1024).fill(0x20)])
  const { logger, text } = recordingLogger()
  await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
  await relayer.until(() => relayer.posts.length > 0)
  expect(answered()).toBe(1)
  // Room for 20,000 validators of others and a hundred times those held, of 640 bytes each.
  expect(text.join('')).toContain(`more than ${(20_000 + 100 * keysOf(NAME).length) * 640} bytes`)
})

it('signs right whatever single field of a list is changed', async () => {
  await using relayer = await startStandInRelayer({ generation: 'existing' })
  const values = fc.oneof(fc.constantFrom(...[null, -1, 0, 2 ** 53, '7', [], {}, true, KEY, OTHER]), fc.jsonValue())
  const fields = fc.constantFrom(...Object.keys(item(KEY, 7)))
  const mutants = fc.sample(fc.tuple(fields, values), 60).map(([field, value]) => ({ ...item(KEY, 7), [field]: value }))
  const valid = mutants.map((mutant) => list([mutant, item(THIRD, 9)]))
  const asked = answerLists(relayer, valid)
  await using _sidecar = await startSidecar(hasten(configOf(NAME, 0, relayer.url)), quiet)
  await relayer.until(() => asked() === valid.length)
  relayer.addExit(OTHER, 8)
  await relayer.until(() => relayer.posts.some(({ validatorIndex }) => validatorIndex === 8))
  const indexes = new Set([7, 8, 9, 0, ...mutants.map(({ validator_index }) => validator_index)])
  for (const post of relayer.posts)
    expect(
      [...indexes].some(
        (index) => Number.isSafeInteger(index) && Number(index) >= 0 && isRight(NAME, post, Number(index)),
      ),
    ).toBe(true)
})

describe('another network', () => {
  it('refuses to boot', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours', network: 'mainnet' })
    relayer.addExit(KEY, 7)
    await expect(startSidecar(configOf(NAME, 0, relayer.url), quiet)).rejects.toMatchObject({
      code: 'NETWORK_MISMATCH',
    })
    expect(relayer.posts).toEqual([])
  })

  it.each(['existing', 'ours'] as const)(
    'is refused while running (%s), told once, and comes back',
    async (generation) => {
      await using relayer = await startStandInRelayer({ generation })
      const { logger, find } = recordingLogger()
      await using sidecar = await startSidecar(hasten(configOf(NAME, 0, relayer.url), 50), { logger })
      await relayer.until(() => relayer.seen.some(({ path }) => path === LISTS))
      relayer.network = `gnosis${'0x'.padEnd(70, 'a')}`
      const infos = () => relayer.seen.filter(({ path }) => path === '/info').length
      if (generation === 'ours') relayer.addExit(`0x${'cd'.repeat(48)}`, 1)
      const seen = infos()
      await relayer.until(() => infos() >= seen + 3)
      relayer.addExit(KEY, 7)
      await relayer.until(() => infos() >= seen + 5)
      expect(relayer.posts).toEqual([])
      expect(find('relayer refused: nothing is signed for it').length).toBe(1)
      expect(sidecar.ready().checks['network']).toMatchObject({
        ok: false,
        message: expect.stringContaining('ours is hoodi'),
      })
      relayer.network = 'hoodi'
      await relayer.until(() => relayer.posts.length > 0)
      expectAllRight(NAME, relayer.posts)
    },
  )
})

describe('with a consensus node', () => {
  const network = networks.hoodi

  it('signs predictions and its own index, never the index of another key', async () => {
    await using beacon = await startBeacon({ network, validators: 100 })
    const own = beacon.addValidators(fromHex(OTHER, 48))
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 99)
    relayer.addExit(OTHER, own)
    relayer.addExit(THIRD, own + 1)
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, { CONSENSUS_ENDPOINT: beacon.url })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.posts.length >= 2)
    expect(relayer.posts.map(({ publicKey }) => publicKey).sort()).toEqual([OTHER, THIRD].sort())
    expectAllRight(NAME, relayer.posts)
    expect(find('exits refused by policy')).toMatchObject([{ reason: 'index_taken', validator_indexes: [99] }])
    expect(sidecar.ready().checks['consensus']).toEqual({ ok: true })
    // Once somebody else has taken the index of a prediction, the next exit for it is refused.
    beacon.addValidators(new Uint8Array(48).fill(0xc1))
    relayer.addExit(KEY, own + 1)
    await relayer.until(() => find('exits refused by policy').length === 2)
    expect(relayer.posts.some(({ publicKey }) => publicKey === KEY)).toBe(false)
    // Its right index is signed.
    relayer.addExit(KEY, own + 2)
    await relayer.until(() => relayer.posts.some(({ publicKey }) => publicKey === KEY))
    expect(isRight(NAME, first(relayer.posts.slice(-1)), own + 2)).toBe(true)
  })

  it('signs nothing while the node is away, and says so', async () => {
    await using beacon = await startBeacon({ network })
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    beacon.fail('down')
    relayer.addExit(KEY, 1000)
    const base = configOf(NAME, 0, relayer.url, { CONSENSUS_ENDPOINT: beacon.url })
    const config = { ...base, consensus: { endpoints: [new URL(beacon.url)], timeoutMs: 1000, retryTimeoutMs: 0 } }
    await using sidecar = await startSidecar(config, quiet)
    const lists = () => relayer.seen.filter(({ path }) => path === LISTS).length
    await relayer.until(() => lists() >= 4)
    expect(relayer.posts).toEqual([])
    expect(sidecar.ready()).toMatchObject({ status: 'not_ready', checks: { consensus: { ok: false } } })
    beacon.fail(undefined)
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    expect(sidecar.ready().status).toBe('ready')
  })

  it.each([
    [{ is_syncing: true, sync_distance: 1_234 }, 'is syncing, 1234 slots behind'],
    [{ el_offline: true }, 'has lost its execution node (el_offline)'],
    [{ is_optimistic: true }, 'has not verified its head (is_optimistic): its execution node is behind'],
  ])('signs nothing while the only node says %j, no pair either, and says so', async (step, words) => {
    await using folder = await journalFolder()
    await using beacon = await startBeacon({ network })
    await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['exits', 'validators'] })
    beacon.setStep(step)
    relayer.addExit(KEY, 1000)
    relayer.addValidator(OTHER, 1001)
    const settings = { CONSENSUS_ENDPOINT: beacon.url, JOURNAL_FILE: folder.file() }
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, settings), quiet)
    const asked = (list: string) => relayer.seen.filter(({ path }) => path === list).length
    await relayer.until(() => asked(LISTS) >= 4 && asked('/validators') >= 4)
    expect([relayer.posts, relayer.pairs]).toEqual([[], []])
    const bound = () => readFile(folder.file(), 'utf8').catch(() => '')
    expect(await bound()).not.toContain(OTHER)
    const message = `the consensus node at ${new URL(beacon.url).host} ${words}`
    expect(sidecar.ready()).toMatchObject({ status: 'not_ready', checks: { consensus: { ok: false, message } } })
    beacon.setStep(undefined)
    await relayer.until(() => relayer.posts.length > 0 && relayer.pairs.length > 0)
    expectAllRight(NAME, relayer.posts)
    expectAllPairsRight(NAME, relayer.pairs)
    expect(await bound()).toContain(OTHER)
  })

  it('behind a proxy that lets nobody ask whether it is syncing signs while its head is of now', async () => {
    // A chain whose clock is at slot 1100.
    const genesisTimestamp = Math.floor(Date.now() / 1000) - 1_100 * network.secondsPerSlot
    const young = { ...network, genesisTimestamp }
    const slot = () => Math.floor((Date.now() / 1000 - genesisTimestamp) / network.secondsPerSlot)
    await using beacon = await startBeacon({ network: young, quirks: { noSyncing: 403 } })
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 1000)
    const config = configOf(NAME, 0, relayer.url, { CONSENSUS_ENDPOINT: beacon.url })
    await using sidecar = await startSidecar({ ...config, network: young }, quiet)
    const lists = () => relayer.seen.filter(({ path }) => path === LISTS).length
    await relayer.until(() => lists() >= 4)
    expect(relayer.posts).toEqual([])
    expect(sidecar.ready().checks['consensus']?.message).toMatch(
      /cannot be asked whether it is syncing \(.*\), and its head is \d+ slots behind this machine's clock$/,
    )
    while (beacon.headSlot < slot()) beacon.advance()
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
  })

  it('goes on with the next node while one is syncing', async () => {
    await using behind = await startBeacon({ network, validators: 16 })
    await using beacon = await startBeacon({ network, validators: 100 })
    behind.setStep({ is_syncing: true, sync_distance: 84 })
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 16)
    relayer.addExit(OTHER, 100)
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, { CONSENSUS_ENDPOINT: `${behind.url},${beacon.url}` })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.posts.length > 0 && find('exits refused by policy').length > 0)
    expect(relayer.posts.map(({ publicKey }) => publicKey)).toEqual([OTHER])
    expect(find('exits refused by policy')).toMatchObject([{ reason: 'index_taken', validator_indexes: [16] }])
    expect(sidecar.ready().checks['consensus']).toEqual({ ok: true })
  })

  it('refuses to boot with a node of another chain, or with another fork version', async () => {
    await using beacon = await startBeacon({ network })
    beacon.setGenesis(new Uint8Array(32).fill(1))
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 1000)
    const config = configOf(NAME, 0, relayer.url, { CONSENSUS_ENDPOINT: beacon.url })
    await expect(startSidecar(config, quiet)).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    beacon.setGenesis(undefined)
    beacon.setSpec({ CAPELLA_FORK_VERSION: '0x04000000' })
    await expect(startSidecar(config, quiet)).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    expect(relayer.posts).toEqual([])
  })
})
