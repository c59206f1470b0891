/** Generation 4 in the sidecar: exit and deposit in one pass, posted together, on real clusters. */

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { formatLine } from '../../../../apps/sidecar/src/policy/journal-lines.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { fromHex, toHex } from '../../../../libs/common/src/hex.ts'
import { silentLogger } from '../../../../libs/common/src/log/logger.ts'
import { createNobleEngine } from '../../../../libs/crypto/src/bls/noble.ts'
import { parseClusterLock } from '../../../../libs/crypto/src/cluster-lock/cluster-lock.ts'
import { startBeacon } from '../../../support/chain/beacon.ts'
import { loadFixtureCluster, readFixture } from '../../../support/keys/fixtures.ts'
import { startStandInRelayer, VAULT } from '../stand-in.ts'
import {
  configOf,
  depositRootOf,
  engine,
  expectAllPairsRight,
  expectAllRight,
  first,
  isRight,
  isRightPair,
  journalFolder,
  keysOf,
  POLL_MS,
  REJECTED,
  recordingLogger,
  rootOf,
} from '../support.ts'

const quiet = { logger: silentLogger }
const NAME = 'cluster-4'
const [KEY = '', OTHER = '', THIRD = ''] = keysOf(NAME)
const OTHER_VAULT = `0x${'22'.repeat(20)}`
const REFUSED = 'deposits refused by policy'

describe.each([
  ['existing', ['validators']],
  ['existing', ['exits', 'validators']],
  ['ours', ['exits', 'validators']],
] as const)('against a relayer that is %s and lists %j', (generation, lists) => {
  it.each([
    ['cluster-4', 4, 3],
    ['cluster-7', 7, 5],
    ['cluster-dkg', 4, 3],
  ] as const)(
    '%s: all %i nodes sign both, any %i interpolate to what charon signed',
    async (name, nodes, threshold) => {
      const { expected, lockFile } = loadFixtureCluster(name)
      await using folder = await journalFolder()
      await using relayer = await startStandInRelayer({ generation, lists, network: expected.network })
      const keys = keysOf(name)
      for (const [position, key] of keys.entries()) relayer.addValidator(key, 1000 + position)
      await using stack = new AsyncDisposableStack()
      for (let node = 0; node < nodes; node++)
        stack.use(await startSidecar(configOf(name, node, relayer.url, { JOURNAL_FILE: folder.file(node) }), quiet))
      await relayer.until(() => keys.every((key) => relayer.validators.get(key)?.share_indexes_ready.length === nodes))
      expectAllPairsRight(name, relayer.pairs)
      const lock = parseClusterLock(readFixture(lockFile), { file: lockFile })
      for (const [position, key] of keys.entries()) {
        const of = (kind: 'exit' | 'deposit') =>
          new Map(
            relayer.pairs.filter(({ publicKey }) => publicKey === key).map((pair) => [pair.shareIndex, pair[kind]]),
          )
        const full = (partials: ReadonlyMap<number, string>) =>
          engine.interpolateSignatures(
            [...partials]
              .slice(-threshold)
              .map(([index, signature]) => ({ index: BigInt(index), point: fromHex(signature) })),
          )
        expect(engine.verify(fromHex(key), rootOf(expected.network, 1000 + position), full(of('exit')))).toBe(true)
        const deposit = full(of('deposit'))
        const validator = lock.validators.find(({ publicKey }) => toHex(publicKey) === key)
        const made = validator?.deposits.find(({ amountGwei }) => amountGwei === 32_000_000_000n)
        expect(toHex(deposit)).toBe(toHex(made?.signature ?? new Uint8Array()))
        if (position > 0) continue
        // Once by the second implementation.
        const root = depositRootOf(expected.network, key, { vault: VAULT, amount: 32e9, validator_type: '0x01' })
        expect(createNobleEngine().verify(fromHex(key), root, deposit)).toBe(true)
      }
    },
  )

  it('posts both again, once a poll interval and byte for byte, until its share index is ready', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation, lists })
    relayer.takes = false
    relayer.addValidator(KEY, 7)
    const start = performance.now()
    const times: number[] = []
    relayer.hook = ({ path }) => {
      if (path === '/signatures') times.push(performance.now() - start)
      return undefined
    }
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), quiet)
    await relayer.until(() => relayer.pairs.length >= 12)
    expect(new Set(relayer.pairs.map(({ exit, deposit }) => exit + deposit)).size).toBe(1)
    // One that is seen late may be followed at once, so that the intervals since the start are counted.
    for (const [position, time] of times.entries()) expect(time).toBeGreaterThan(position * POLL_MS * 0.8)
    const metrics = await sidecar.metrics()
    expect(metrics).toContain('dvt_sidecar_signatures_total{kind="deposit"} 1\n')
    expect(metrics).toMatch(/dvt_sidecar_signatures_posted_total{kind="deposit"} (?:[3-9]|\d\d)/)
    relayer.takes = true
    await relayer.until(() => relayer.validators.get(KEY)?.share_indexes_ready.includes(1) === true)
    const posted = relayer.pairs.length
    relayer.addValidator(OTHER, 8)
    await relayer.until(() => relayer.pairs.some(({ publicKey }) => publicKey === OTHER))
    // One more may have been on its way.
    expect(relayer.pairs.filter(({ publicKey }) => publicKey === KEY).length).toBeLessThanOrEqual(posted + 1)
  })

  it('signs both anew when index, amount or type changes', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation, lists })
    relayer.takes = false
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), quiet)
    const wanted = [
      [7, {}],
      [8, {}],
      [8, { validator_type: '0x02' }],
      [8, { validator_type: '0x02', amount: 2048e9 }],
      [8, { validator_type: '0x02', amount: 32e9 + 1 }],
    ] as const
    for (const [index, deposit] of wanted) {
      relayer.addValidator(KEY, index, deposit)
      const listed = relayer.validators.get(KEY)
      await relayer.until(() => relayer.pairs.some((pair) => isRightPair(NAME, pair, listed)))
    }
    // What was on its way when the list changed is right for what was listed before.
    expect(new Set(relayer.pairs.map(({ exit, deposit }) => exit + deposit)).size).toBe(wanted.length)
    expect(new Set(relayer.pairs.map(({ deposit }) => deposit)).size).toBe(4)
  })

  it('leaves alone what has its share index, and what is ready', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation, lists })
    relayer.addValidator(KEY, 7, {}, [1])
    relayer.addValidator(OTHER, 8)
    relayer.addValidator(THIRD, 9)
    Object.assign(relayer.validators.get(OTHER) ?? {}, { is_signatures_ready: true })
    Object.assign(relayer.exits.get(OTHER) ?? {}, { is_exit_signature_ready: true })
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), quiet)
    await relayer.until(() => relayer.pairs.length > 0)
    expect(relayer.pairs.map(({ publicKey }) => publicKey)).toEqual([THIRD])
  })

  it('warns once of what the relayer rejects, by kind', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation, lists })
    relayer.addValidator(KEY, 7)
    let posts = 0
    relayer.hook = ({ path }) => {
      if (path !== '/signatures') return undefined
      posts++
      const wrong = { code: 'SIGNATURE_WRONG', message: 'no' }
      return { status: 200, body: { failures: [{ index: 0, kind: 'deposit', ...wrong }] } }
    }
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => posts >= 4)
    expect(find(REJECTED, { code: 'SIGNATURE_WRONG' })).toMatchObject([{ list: 'GET /validators', count: 1 }])
    const metrics = await sidecar.metrics()
    expect(metrics).toMatch(/dvt_sidecar_signatures_rejected_total{kind="deposit"} [1-9]/)
    expect(metrics).toContain('dvt_sidecar_signatures_rejected_total{kind="exit"} 0\n')
  })
})

describe('both lists', () => {
  it('posts a validator of both lists once, and one of the exits alone', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), quiet)
    await relayer.until(() => relayer.seen.filter(({ query }) => query.has('wait')).length >= 2)
    for (const [position, key] of keysOf(NAME).entries())
      if (position % 2 === 0) relayer.addValidator(key, 100 + position)
      else relayer.addExit(key, 100 + position)
    await relayer.until(() => relayer.pairs.length >= 6 && relayer.posts.length >= 6)
    expectAllRight(NAME, relayer.posts)
    expectAllPairsRight(NAME, relayer.pairs)
    const all = [...relayer.posts, ...relayer.pairs].map(({ publicKey }) => publicKey)
    expect(all.toSorted()).toEqual(keysOf(NAME).toSorted())
  })

  it('acts for several nodes of a cluster in one process, with one journal', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, 7)
    relayer.addValidator(OTHER, 8)
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, {
      JOURNAL_FILE: folder.file(),
      OBOL_KEYSTORES_DIR: loadFixtureCluster(NAME).dir,
      OBOL_KEYSTORES_DIR_TEMPLATE: 'node{node_index}/validator_keys',
      OBOL_NODE_INDEXES: '0,1,3',
    })
    await using _sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.pairs.length === 6)
    expectAllPairsRight(NAME, relayer.pairs)
    expect(find('validators bound to their vault for good')).toMatchObject([{ count: 2, keys: 2 }])
  })

  it.each([
    ['the list of validators fails', '/validators', 'posts'],
    ['the list of exits fails', '/exits', 'pairs'],
    ['posts of both signatures fail', '/signatures', 'posts'],
    ['posts of exits alone fail', '/exit-signature', 'pairs'],
  ] as const)('goes on with the other where %s', async (_, broken, kind) => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.hook = ({ path }) => (path === broken ? { status: 500, body: {} } : undefined)
    relayer.addValidator(KEY, 7)
    relayer.addExit(OTHER, 8)
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using sidecar = await startSidecar(config, quiet)
    const done = () => relayer[kind].some(({ publicKey }) => publicKey === KEY)
    await relayer.until(done)
    if (kind === 'posts') expectAllRight(NAME, relayer.posts)
    else expectAllPairsRight(NAME, relayer.pairs)
    const isList = broken === '/validators' || broken === '/exits'
    if (isList) expect(sidecar.ready()).toMatchObject({ status: 'not_ready', checks: { relayer: { ok: false } } })
    relayer.hook = undefined
    await relayer.until(
      () =>
        sidecar.ready().status === 'ready' &&
        relayer.pairs.some(({ publicKey }) => publicKey === KEY) &&
        relayer.posts.some(({ publicKey }) => publicKey === OTHER),
    )
  })

  it('holds an exit back only while it is on its way with its deposit, and lets it go at once after that', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const hanging = Promise.withResolvers<{ status: number; body: unknown }>()
    relayer.hook = ({ path }) => (path === '/signatures' ? hanging.promise : undefined)
    relayer.addValidator(KEY, 7)
    relayer.addValidator(OTHER, 8)
    const base = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    // Nothing comes up a second time by itself.
    const config = { ...base, relayer: { ...base.relayer, pollIntervalMs: 600_000 } }
    await using _sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.requests.includes('POST /signatures'))
    // An exit alone, and one whose index is another now, do not wait.
    relayer.addExit(THIRD, 9)
    relayer.addExit(OTHER, 80)
    await relayer.until(() => relayer.posts.length >= 2)
    expect(relayer.posts.map(({ publicKey }) => publicKey).toSorted()).toEqual([OTHER, THIRD].toSorted())
    hanging.resolve({ status: 500, body: {} })
    await relayer.until(() => relayer.posts.length >= 3)
    expect(relayer.posts.at(-1)).toMatchObject({ publicKey: KEY, validatorIndex: 7 })
    expectAllRight(NAME, relayer.posts)
  })
})

describe('policy', () => {
  it.each([
    ['another vault than the lock names', {}, { vault: OTHER_VAULT }, 'vault_not_in_lock'],
    ['a vault that is not allowed', { ALLOWED_VAULTS: OTHER_VAULT }, {}, 'vault_not_allowed'],
    [
      'an allowed vault where the lock names another',
      { ALLOWED_VAULTS: `${VAULT},${OTHER_VAULT}` },
      { vault: OTHER_VAULT },
      'vault_not_in_lock',
    ],
    ['less than 32 ETH', {}, { amount: 32e9 - 1, validator_type: '0x02' }, 'amount_not_allowed'],
    ['more than 2048 ETH', {}, { amount: 2048e9 + 1, validator_type: '0x02' }, 'amount_not_allowed'],
    ['type 0x01 with more than 32 ETH', {}, { amount: 33e9 }, 'amount_not_allowed'],
  ] as const)('refuses %s, says so once, and lets the exit go alone', async (_, settings, deposit, reason) => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, 7, deposit)
    const { logger, find, text } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file(), ...settings })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.posts.length > 0)
    // Long enough for it to be judged again.
    relayer.takes = false
    relayer.addExit(OTHER, 8)
    await relayer.until(() => relayer.posts.filter(({ publicKey }) => publicKey === OTHER).length > 12)
    expect(relayer.pairs).toEqual([])
    expect(relayer.posts.filter(({ publicKey }) => publicKey === KEY).length).toBe(1)
    expectAllRight(NAME, relayer.posts)
    const vault = ('vault' in deposit ? deposit.vault : VAULT).toLowerCase()
    expect(find(REFUSED)).toMatchObject([
      { reason, meaning: expect.any(String), count: 1, validator_indexes: [7], vaults: [vault] },
    ])
    expect(text.join('')).not.toContain(KEY.slice(2, 40))
    expect(await sidecar.metrics()).toContain(`dvt_sidecar_refusals_total{reason="${reason}"} 1\n`)
    // Nothing is bound for what is refused.
    expect(existsSync(folder.file())).toBe(false)
  })

  it('posts nothing of a refused deposit to a relayer that lists validators alone', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['validators'] })
    relayer.addValidator(KEY, 7, { amount: 1 })
    relayer.addValidator(OTHER, 8)
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using _sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.pairs.length > 0)
    const lists = relayer.seen.length
    await relayer.until(() => relayer.seen.length > lists + 10)
    // Once more where the answer took longer than a poll interval.
    expect(new Set(relayer.pairs.map(({ publicKey }) => publicKey))).toEqual(new Set([OTHER]))
    expect(relayer.requests).not.toContain('POST /exit-signature')
  })

  it('takes an allowed vault in any spelling that the lock names too', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, 7, { vault: VAULT.toLowerCase() })
    relayer.addValidator(OTHER, 8, { vault: `0x${VAULT.slice(2).toUpperCase()}` })
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file(), ALLOWED_VAULTS: VAULT })
    await using _sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.pairs.length === 2)
    expectAllPairsRight(NAME, relayer.pairs)
    expect(await readFile(folder.file(), 'utf8')).toContain(formatLine({ publicKey: KEY, vault: VAULT.toLowerCase() }))
  })

  it('refuses an impossible index in both lists, and tells it once', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, 2 ** 41)
    relayer.addValidator(OTHER, 8)
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.pairs.length > 0)
    relayer.takes = false
    relayer.addExit(THIRD, 9)
    await relayer.until(() => relayer.posts.length > 12)
    expect(find('exits refused by policy')).toMatchObject([{ reason: 'index_impossible', count: 1 }])
    expect(find(REFUSED)).toEqual([])
    expect(await sidecar.metrics()).toContain('dvt_sidecar_refusals_total{reason="index_impossible"} 1\n')
    expect([...relayer.pairs, ...relayer.posts].some(({ publicKey }) => publicKey === KEY)).toBe(false)
  })

  it('asks the consensus node: no deposit for a key the chain knows, no pair for a taken index', async () => {
    await using beacon = await startBeacon({ network: networks.hoodi, validators: 100 })
    const own = beacon.addValidators(fromHex(KEY, 48))
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, own)
    relayer.addValidator(OTHER, 99)
    relayer.addValidator(THIRD, own + 1)
    const { logger, find } = recordingLogger()
    const settings = { JOURNAL_FILE: folder.file(), CONSENSUS_ENDPOINT: beacon.url }
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url, settings), { logger })
    await relayer.until(() => relayer.pairs.length > 0 && relayer.posts.length > 0)
    expect(relayer.pairs.map(({ publicKey }) => publicKey)).toEqual([THIRD])
    expectAllPairsRight(NAME, relayer.pairs)
    // The exit of its own index is what the protocol collects.
    expect(relayer.posts.map((post) => [post.publicKey, isRight(NAME, post, own)])).toEqual([[KEY, true]])
    expect(find(REFUSED)).toMatchObject([{ reason: 'key_on_chain', validator_indexes: [own] }])
    expect(find('exits refused by policy')).toMatchObject([{ reason: 'index_taken', validator_indexes: [99] }])
    expect(await readFile(folder.file(), 'utf8')).not.toContain(KEY)
  })
})

describe('journal', () => {
  it('has the line on disk, with one write for all, before a signature leaves', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const found: string[] = []
    relayer.hook = async ({ path }) => {
      if (path === '/signatures') found.push(await readFile(folder.file(), 'utf8'))
      return undefined
    }
    const { logger, find } = recordingLogger()
    const keys = keysOf(NAME)
    for (const [position, key] of keys.entries()) relayer.addValidator(key, 100 + position)
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.pairs.length === 12)
    for (const publicKey of keys) expect(first(found)).toContain(formatLine({ publicKey, vault: VAULT.toLowerCase() }))
    expect(find('validators bound to their vault for good')).toMatchObject([{ count: 12, keys: 12 }])
    expect(await sidecar.metrics()).toContain('dvt_sidecar_journal_keys 12\n')
  })

  it.each([
    ['a relayer of generation 3', { lists: ['exits'] }, {}],
    ['a relayer that lists no validator', { lists: ['exits', 'validators'] }, {}],
    ['GENERATION=3', { lists: ['exits', 'validators'] }, { GENERATION: '3' }],
  ] as const)('is not touched with %s', async (_, options, settings) => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours', ...options })
    relayer.addExit(KEY, 7)
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file(), ...settings })
    await using sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.posts.length > 0 && sidecar.ready().status === 'ready')
    expect(existsSync(folder.file())).toBe(false)
    expect(await sidecar.metrics()).toContain('dvt_sidecar_up{check="journal"} 1\n')
  })
})
