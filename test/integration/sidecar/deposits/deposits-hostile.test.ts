/** Deposits wanted by hostile relayers, and a journal in trouble: one vault a validator for good, and exits go on. */

import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig, type SidecarConfig } from '../../../../apps/sidecar/src/config.ts'
import { formatLine, HEADER } from '../../../../apps/sidecar/src/policy/journal-lines.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { toHex } from '../../../../libs/common/src/hex.ts'
import { silentLogger } from '../../../../libs/common/src/log/logger.ts'
import { loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import { type MadeCluster, makeCluster } from '../../../support/keys/make-cluster.ts'
import { type StandInRelayer, startStandInRelayer, VAULT } from '../stand-in.ts'
import {
  configOf,
  depositRootOf,
  engine,
  expectAllPairsRight,
  expectAllRight,
  first,
  hasten,
  isRightPair,
  journalFolder,
  keysOf,
  POLL_MS,
  recordingLogger,
} from '../support.ts'

const quiet = { logger: silentLogger }
const NAME = 'cluster-4'
const [KEY = '', OTHER = '', THIRD = ''] = keysOf(NAME)
const VAULT_A = `0x${'aa'.repeat(20)}`
const VAULT_B = `0x${'bb'.repeat(20)}`
const REFUSED = 'deposits refused by policy'
const HEADER_LINES = HEADER.split('\n').length - 1

/** A cluster whose lock names no withdrawal address: nothing but settings and journal say which vault is right. */
let open: MadeCluster
let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dvt-open-'))
  open = await makeCluster({
    dir,
    nodes: 3,
    threshold: 2,
    validators: 3,
    network: networks.hoodi,
    withdrawalAddress: new Uint8Array(),
    feeRecipient: randomBytes(20),
  })
})
afterAll(() => rm(dir, { recursive: true, force: true }))

/** The same on the networks where a deposit is real money. */
const REAL = ['mainnet', 'gnosis'] as const
const clusters = new Map<string, MadeCluster>()
beforeAll(async () => {
  for (const name of REAL)
    clusters.set(
      name,
      await makeCluster({
        dir: join(dir, name),
        nodes: 3,
        threshold: 2,
        validators: 2,
        network: networks[name],
        withdrawalAddress: new Uint8Array(),
        feeRecipient: randomBytes(20),
      }),
    )
})
const realConfig = (name: (typeof REAL)[number], url: string, more: Record<string, string>): SidecarConfig =>
  hasten(
    readConfig({
      NETWORK: name,
      RELAYER_ENDPOINT: url,
      OBOL_KEYSTORES_DIR: clusters.get(name)?.nodes[0]?.keystoresDir ?? '',
      ...more,
    }).config,
  )
const realKey = (name: string) => toHex(clusters.get(name)?.validators[0]?.publicKey ?? new Uint8Array())

const openKey = (position = 0) => toHex(open.validators[position]?.publicKey ?? new Uint8Array())
const openConfig = (url: string, more: Record<string, string>): SidecarConfig =>
  hasten(
    readConfig({
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: url,
      OBOL_KEYSTORES_DIR: first(open.nodes).keystoresDir,
      ...more,
    }).config,
  )

const item = (public_key: unknown, more: object = {}) => ({
  public_key,
  vault: VAULT,
  amount: 32_000_000_000,
  validator_type: '0x01',
  validator_index: 7,
  is_signatures_ready: false,
  created_at_timestamp: 1732147200,
  created_at_string: '2024-11-21 00:00:00+0000',
  share_indexes_ready: [],
  ...more,
})

/** Lists these validators from now on. */
function listValidators(relayer: StandInRelayer, items: readonly unknown[] | Uint8Array): void {
  relayer.hook = ({ path }) =>
    path === '/validators'
      ? { status: 200, body: items instanceof Uint8Array ? items : { validators: items } }
      : undefined
}

describe('a lock that names no withdrawal address', () => {
  it('lets any vault be, with a warning at boot', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(openKey(), 7, { vault: VAULT_A })
    relayer.addValidator(openKey(1), 8, { vault: VAULT_B })
    const { logger, find } = recordingLogger()
    await using _sidecar = await startSidecar(openConfig(relayer.url, { JOURNAL_FILE: folder.file() }), { logger })
    await relayer.until(() => relayer.pairs.length >= 2)
    const warnings = find(
      'deposits are signed for any vault the relayer names: no cluster lock names their withdrawal address, so set ALLOWED_VAULTS',
    )
    expect(warnings).toMatchObject([{ level: 'warn', validators: 3 }])
    expect(await readFile(folder.file(), 'utf8')).toContain(formatLine({ publicKey: openKey(1), vault: VAULT_B }))
  })

  it('warns of nothing where ALLOWED_VAULTS is set, and keeps to it', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(openKey(), 7, { vault: VAULT_A })
    relayer.addValidator(openKey(1), 8, { vault: VAULT_B })
    const { logger, find, text } = recordingLogger()
    const config = openConfig(relayer.url, { JOURNAL_FILE: folder.file(), ALLOWED_VAULTS: VAULT_A })
    await using _sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.pairs.length >= 1 && relayer.posts.length >= 1)
    expect(relayer.pairs.map(({ publicKey }) => publicKey)).toEqual([openKey()])
    expect(find(REFUSED)).toMatchObject([{ reason: 'vault_not_allowed', vaults: [VAULT_B] }])
    expect(text.join('')).not.toContain('any vault')
  })

  describe.each(REAL)('on %s', (network) => {
    const WORDS =
      'nothing says which vault 2 validators may deposit to (no ALLOWED_VAULTS, no withdrawal address in a cluster lock): set ALLOWED_VAULTS to your vaults, or GENERATION=3 where this node signs exits only'
    const unnamed = { code: 'VAULTS_UNNAMED', message: WORDS }

    it.each(['4', 'auto'])('does not let the sidecar start where it would be asked (%s)', async (GENERATION) => {
      await using folder = await journalFolder()
      await using relayer = await startStandInRelayer({ generation: 'ours', network })
      relayer.addValidator(realKey(network), 7, { vault: VAULT_A })
      const config = realConfig(network, relayer.url, { GENERATION, JOURNAL_FILE: folder.file() })
      await expect(startSidecar(config, quiet)).rejects.toMatchObject(unnamed)
      expect([relayer.posts, relayer.pairs]).toEqual([[], []])
    })

    it('starts where ALLOWED_VAULTS names it', async () => {
      await using folder = await journalFolder()
      await using relayer = await startStandInRelayer({ generation: 'ours', network })
      relayer.addValidator(realKey(network), 7, { vault: VAULT_A })
      const config = realConfig(network, relayer.url, { ALLOWED_VAULTS: VAULT_A, JOURNAL_FILE: folder.file() })
      await using _sidecar = await startSidecar(config, quiet)
      await relayer.until(() => relayer.pairs.length > 0)
    })

    it.each(['3', 'auto'])('signs exits where no deposit is asked for (%s)', async (GENERATION) => {
      await using folder = await journalFolder()
      await using relayer = await startStandInRelayer({ generation: 'existing', network })
      relayer.addExit(realKey(network), 7)
      const config = realConfig(network, relayer.url, { GENERATION, JOURNAL_FILE: folder.file() })
      await using _sidecar = await startSidecar(config, quiet)
      await relayer.until(() => relayer.posts.length > 0)
    })

    it('signs exits, and no deposit, for a relayer that asks for deposits later', async () => {
      await using folder = await journalFolder()
      await using relayer = await startStandInRelayer({ generation: 'ours', network, lists: ['exits'] })
      const { logger, find } = recordingLogger()
      const config = realConfig(network, relayer.url, { JOURNAL_FILE: folder.file() })
      await using _sidecar = await startSidecar(hasten(config, 50), { logger })
      relayer.lists.add('validators')
      relayer.addValidator(realKey(network), 7, { vault: VAULT_A })
      await relayer.until(() => relayer.posts.length > 0 && find(REFUSED).length > 0)
      expect(find(REFUSED)).toMatchObject([{ reason: 'vault_unnamed' }])
      expect(
        find('deposits are refused: neither ALLOWED_VAULTS nor a cluster lock names the vault of these validators'),
      ).toMatchObject([{ level: 'warn', validators: 2 }])
      expect(relayer.pairs).toEqual([])
    })
  })

  it('binds a validator to the first vault for good, across restarts, and says what to do', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const config = openConfig(relayer.url, { JOURNAL_FILE: folder.file() })
    relayer.addValidator(openKey(), 7, { vault: VAULT_A })
    {
      await using _sidecar = await startSidecar(config, quiet)
      await relayer.until(() => relayer.pairs.length > 0)
    }
    const pairs = relayer.pairs.length
    relayer.addValidator(openKey(), 9, { vault: VAULT_B })
    const { logger, find } = recordingLogger()
    {
      await using _sidecar = await startSidecar(config, { logger })
      await relayer.until(() => relayer.posts.length > 0)
      await relayer.until(() => find(REFUSED).length > 0)
    }
    expect(relayer.pairs.length).toBe(pairs)
    expect(find(REFUSED)).toMatchObject([
      {
        reason: 'vault_changed',
        meaning: expect.stringMatching(
          /stop the sidecar, remove the lines named here from the journal, start it again/,
        ),
        vaults: [VAULT_B],
        journal: folder.file(),
        journal_lines: [HEADER_LINES + 1],
        validator_indexes: [9],
      },
    ])
    // The way out.
    const lines = (await readFile(folder.file(), 'utf8')).split('\n')
    await writeFile(folder.file(), lines.toSpliced(HEADER_LINES, 1).join('\n'))
    await using _sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.pairs.length > pairs)
    expect(relayer.pairs.at(-1)).toMatchObject({ publicKey: openKey(), listed: { vault: VAULT_B } })
  })

  it('gives a relayer that names another vault in every answer one signature a key, no line more, and no loop', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['validators'] })
    let answers = 0
    relayer.hook = ({ path }) => {
      if (path !== '/validators') return undefined
      answers++
      const vault = `0x${(answers % 7).toString(16).padStart(40, 'c')}`
      return { status: 200, body: { validators: [item(openKey(), { vault })], revision: answers } }
    }
    const { logger, find } = recordingLogger()
    const start = performance.now()
    await using sidecar = await startSidecar(openConfig(relayer.url, { JOURNAL_FILE: folder.file() }), { logger })
    await relayer.until(() => answers >= 30)
    const intervals = (performance.now() - start) / POLL_MS
    expect((await readFile(folder.file(), 'utf8')).split('\n').length - 1).toBe(HEADER_LINES + 1)
    const bound = (await readFile(folder.file(), 'utf8')).split(' ').at(-2) ?? ''
    // Whatever was posted is for the one vault: the same signature, again and again.
    expect(new Set(relayer.pairs.map(({ deposit }) => deposit)).size).toBeLessThanOrEqual(1)
    const share = open.validators[0]?.shares[0]?.publicKey ?? new Uint8Array()
    const root = depositRootOf('hoodi', openKey(), { vault: bound, amount: 32e9, validator_type: '0x01' })
    for (const { deposit } of relayer.pairs)
      expect(engine.verify(share, root, Buffer.from(deposit.slice(2), 'hex'))).toBe(true)
    const made = Number(/signatures_total{kind="deposit"} (\d+)/.exec(await sidecar.metrics())?.[1])
    expect(made).toBeLessThanOrEqual(2 + intervals)
    expect(find(REFUSED).length).toBeLessThanOrEqual(2 + intervals)
    expect(find(REFUSED).length).toBeGreaterThan(0)
  })
})

describe.each(['existing', 'ours'] as const)('a hostile relayer (%s)', (generation) => {
  it('lists strange items beside a good one: the good one is signed', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation, lists: ['validators'] })
    const { vault: _, ...withoutVault } = item(KEY)
    const strange = [
      null,
      7,
      'x',
      [],
      {},
      withoutVault,
      item(KEY, { vault: null }),
      item(KEY, { vault: '' }),
      item(KEY, { vault: VAULT.slice(2) }),
      item(KEY, { vault: `${VAULT}00` }),
      item(KEY, { amount: '32000000000' }),
      item(KEY, { amount: -1 }),
      item(KEY, { amount: 0 }),
      item(KEY, { amount: 32e9 + 0.5 }),
      item(KEY, { amount: 2 ** 53 }),
      item(KEY, { amount: null }),
      item(KEY, { validator_type: '0x03' }),
      item(KEY, { validator_type: 1 }),
      item(KEY, { validator_index: '7' }),
      item(KEY, { validator_index: -1 }),
      item(KEY, { validator_index: 2 ** 53 }),
      item(KEY, { is_signatures_ready: 'no' }),
      item(KEY, { share_indexes_ready: null }),
      item(KEY.toUpperCase()),
      item(KEY.slice(2)),
      item(`0x${'cd'.repeat(48)}`),
    ]
    listValidators(relayer, [
      ...strange,
      item(OTHER, { validator_index: 8, share_indexes_ready: [0, 2 ** 60, 3], of_the_future: {} }),
      item(OTHER, { validator_index: 9 }),
    ])
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), quiet)
    await relayer.until(() => relayer.pairs.length > 1)
    const listed = { vault: VAULT, amount: 32e9, validator_type: '0x01', validator_index: 8 }
    expect(relayer.pairs.every((pair) => pair.publicKey === OTHER && isRightPair(NAME, pair, listed))).toBe(true)
    expect(await sidecar.metrics()).toMatch(/dvt_sidecar_list_items_dropped_total [1-9]\d/)
    expect(await readFile(folder.file(), 'utf8')).not.toContain(KEY)
  })
})

it('judges a validator no more than once in a poll interval, whatever is wanted', async () => {
  await using folder = await journalFolder()
  await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['validators'] })
  let answers = 0
  relayer.hook = ({ path }) => {
    if (path !== '/validators') return undefined
    answers++
    const vault = `0x${answers.toString(16).padStart(40, 'c')}`
    return { status: 200, body: { validators: [item(KEY, { vault })], revision: answers } }
  }
  const { logger, find } = recordingLogger()
  const base = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
  const config = { ...base, relayer: { ...base.relayer, pollIntervalMs: 600_000 } }
  await using _sidecar = await startSidecar(config, { logger })
  await relayer.until(() => answers >= 25)
  expect(find(REFUSED)).toMatchObject([{ reason: 'vault_not_in_lock' }])
})

it('signs right whatever single field of an item is changed', async () => {
  await using folder = await journalFolder()
  await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['validators'] })
  const values = fc.oneof(
    fc.constantFrom(...[null, -1, 0, 2 ** 53, '7', [], {}, true, KEY, VAULT_A, 33e9]),
    fc.jsonValue(),
  )
  const fields = fc.constantFrom(...Object.keys(item(KEY)))
  const mutants = fc.sample(fc.tuple(fields, values), 40).map(([field, value]) => ({ ...item(KEY), [field]: value }))
  let position = 0
  relayer.hook = ({ path }) =>
    path === '/validators' && position < mutants.length
      ? { status: 200, body: { validators: [mutants[position++], item(THIRD, { validator_index: 9 })] } }
      : undefined
  await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), quiet)
  await relayer.until(() => position === mutants.length)
  relayer.addValidator(OTHER, 8)
  await relayer.until(() => relayer.pairs.some(({ publicKey }) => publicKey === OTHER))
  const good = [...mutants, item(OTHER, { validator_index: 8 }), item(THIRD, { validator_index: 9 })].filter(
    ({ vault, amount, validator_type, validator_index }) =>
      String(vault).toLowerCase() === VAULT.toLowerCase() &&
      amount === 32e9 &&
      validator_type === '0x01' &&
      Number.isSafeInteger(validator_index) &&
      Number(validator_index) >= 0,
  )
  for (const pair of relayer.pairs) expect(good.some((listed) => isRightPair(NAME, pair, listed))).toBe(true)
})

it('looks at no list beyond its bounds: hundreds of thousands of items, one good', async () => {
  await using folder = await journalFolder()
  await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['validators'] })
  const text = (items: string) => new TextEncoder().encode(`{"validators":[${items}]}`)
  const { logger, find, text: log } = recordingLogger()
  // Whole items: more bytes than are read. Tiny ones: more values than are parsed, or so many that they are left out, and counted.
  const whole = JSON.stringify(item(`0x${'cd'.repeat(48)}`))
  listValidators(
    relayer,
    text(
      Array(1_000_000)
        .fill(whole)
        .join(',')
        .slice(0, 65 * 1024 * 1024),
    ),
  )
  await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), { logger })
  await relayer.until(() => find('check fails', { check: 'relayer' }).length > 0)
  expect(log.join('')).toContain(`more than ${(20_000 + 100 * keysOf(NAME).length) * 640} bytes`)
  listValidators(relayer, text(`${JSON.stringify(item(KEY))},${'{},'.repeat(999_999)}{}`))
  await relayer.until(() => sidecar.ready().checks['relayer']?.message?.includes('holds more than') === true)
  expect(relayer.pairs).toEqual([])
  listValidators(relayer, text(`${JSON.stringify(item(KEY))},${'{},'.repeat(299_999)}{}`))
  await relayer.until(() => relayer.pairs.length > 0)
  const listed = { vault: VAULT, amount: 32e9, validator_type: '0x01', validator_index: 7 }
  expect(relayer.pairs.every((pair) => pair.publicKey === KEY && isRightPair(NAME, pair, listed))).toBe(true)
  expect(await sidecar.metrics()).toMatch(/dvt_sidecar_list_items_dropped_total \d{6,}/)
})

it('signs and posts many in one pass: bound in one write, posted in batches', async () => {
  await using folder = await journalFolder()
  const many = await makeCluster({
    dir: dirname(folder.file('many')),
    nodes: 2,
    threshold: 2,
    validators: 700,
    network: networks.hoodi,
    withdrawalAddress: Buffer.from(VAULT_A.slice(2), 'hex'),
    feeRecipient: randomBytes(20),
  })
  await using relayer = await startStandInRelayer({ generation: 'ours' })
  for (const [position, { publicKey }] of many.validators.entries())
    relayer.addValidator(toHex(publicKey), 100 + position, { vault: VAULT_A })
  const { logger, find } = recordingLogger()
  const config = readConfig({
    NETWORK: 'hoodi',
    RELAYER_ENDPOINT: relayer.url,
    OBOL_KEYSTORES_DIR: first(many.nodes).keystoresDir,
    JOURNAL_FILE: folder.file(),
  }).config
  await using _sidecar = await startSidecar(config, { logger })
  await relayer.until(() => relayer.pairs.length >= 700)
  expect(find('validators bound to their vault for good')).toMatchObject([{ count: 700, keys: 700 }])
  expect(Math.max(...relayer.batches)).toBeLessThanOrEqual(500)
  expect(new Set(relayer.pairs.map(({ publicKey }) => publicKey)).size).toBe(700)
  for (const pair of relayer.pairs.filter((_, position) => position % 100 === 0)) {
    const validator = many.validators.find(({ publicKey }) => toHex(publicKey) === pair.publicKey)
    const share = validator?.shares[0]?.publicKey ?? new Uint8Array()
    if (pair.listed === undefined) throw new Error('not listed')
    const root = depositRootOf('hoodi', pair.publicKey, pair.listed)
    expect(engine.verify(share, root, Buffer.from(pair.deposit.slice(2), 'hex'))).toBe(true)
  }
})

describe('a journal in trouble', () => {
  const trouble = 'the deposit journal'
  const TAKEN =
    'another sidecar uses the deposit journal, and no deposit can be signed here: stop that one, or give each its own with JOURNAL_FILE'

  it('that cannot be written: no deposit, exits go on, /ready says so; it heals', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const folderOfNode = dirname(folder.file())
    await mkdir(dirname(folderOfNode), { recursive: true })
    await writeFile(folderOfNode, 'in the way')
    relayer.addValidator(KEY, 7)
    const { logger, find } = recordingLogger()
    const config = hasten(configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() }), 200)
    await using sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    expect(relayer.pairs).toEqual([])
    expect(sidecar.ready()).toMatchObject({
      status: 'not_ready',
      checks: { journal: { ok: false, message: expect.stringContaining(trouble) }, relayer: { ok: true } },
    })
    expect(find('check fails', { check: 'journal' }).length).toBe(1)
    await rm(folderOfNode)
    await relayer.until(() => relayer.pairs.length > 0 && sidecar.ready().status === 'ready')
    expectAllPairsRight(NAME, relayer.pairs)
  })

  it('that is removed while the sidecar runs: nobody new is bound', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addValidator(KEY, 7)
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.pairs.length > 0)
    await rm(folder.file())
    relayer.addValidator(OTHER, 8)
    await relayer.until(() => relayer.posts.some(({ publicKey }) => publicKey === OTHER))
    expect(relayer.pairs.every(({ publicKey }) => publicKey === KEY)).toBe(true)
    expect(sidecar.ready().checks['journal']).toMatchObject({
      ok: false,
      message: expect.stringContaining('was changed while the sidecar runs'),
    })
  })

  it('that is damaged: refuses to boot, unless no deposit is to be signed', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await mkdir(dirname(folder.file()), { recursive: true })
    const line = formatLine({ publicKey: KEY, vault: VAULT_A })
    await writeFile(folder.file(), HEADER + line.replace('0xa', '0xb') + line)
    const config = (more: Record<string, string> = {}) =>
      configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file(), ...more })
    await expect(startSidecar(config(), quiet)).rejects.toMatchObject({
      code: 'JOURNAL_DAMAGED',
      message: expect.stringContaining(`line ${HEADER_LINES + 1} of the deposit journal ${folder.file()}`),
    })
    await using _sidecar = await startSidecar(config({ GENERATION: '3' }), quiet)
  })

  it('whose last line was cut off: is repaired with a warning', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await mkdir(dirname(folder.file()), { recursive: true })
    await writeFile(folder.file(), HEADER + formatLine({ publicKey: KEY, vault: VAULT_A }).slice(0, 50))
    relayer.addValidator(KEY, 7)
    const { logger, find } = recordingLogger()
    const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file() })
    await using _sidecar = await startSidecar(config, { logger })
    await relayer.until(() => relayer.pairs.length > 0)
    expect(
      find('the last line of the deposit journal was cut off by a crash and is removed', { line: HEADER_LINES + 1 })
        .length,
    ).toBe(1)
    expect(await readFile(folder.file(), 'utf8')).toBe(
      HEADER + formatLine({ publicKey: KEY, vault: VAULT.toLowerCase() }),
    )
  })

  it('that another sidecar has: refuses to boot, or says so at start where there is no file yet', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const config = (node: number, more = {}) =>
      configOf(NAME, node, relayer.url, { JOURNAL_FILE: folder.file(), ...more })
    await using _first = await startSidecar(config(0), quiet)
    const { logger, find } = recordingLogger()
    await using second = await startSidecar(config(1), { logger })
    expect(find(TAKEN)).toMatchObject([{ journal: folder.file() }])
    await expect(startSidecar(config(2, { GENERATION: '4' }), quiet)).rejects.toMatchObject({ code: 'JOURNAL_IN_USE' })
    relayer.addValidator(KEY, 7)
    await relayer.until(() => relayer.pairs.length > 0 && relayer.posts.length > 0)
    // One has it, the other goes on with exits and says why.
    const inUse = expect.stringContaining('another sidecar uses the deposit journal')
    const states = [_first, second].map((sidecar) => sidecar.ready().checks['journal'])
    expect(states.filter((state) => state?.ok)).toHaveLength(1)
    expect(states.filter((state) => !state?.ok)).toEqual([{ ok: false, message: inUse }])
    await expect(startSidecar(config(2), quiet)).rejects.toMatchObject({ code: 'JOURNAL_IN_USE', message: inUse })
  })

  it('is made where no folder is, and left with its lock alone', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    {
      const config = configOf(NAME, 0, relayer.url, { JOURNAL_FILE: folder.file(), GENERATION: '4' })
      await using sidecar = await startSidecar(config, quiet)
      await relayer.until(() => sidecar.ready().status === 'ready')
    }
    expect((await stat(folder.file())).size).toBe(0)
  })
})

it('keeps keys, signatures and passwords out of the log', async () => {
  await using folder = await journalFolder()
  await using relayer = await startStandInRelayer({ generation: 'ours' })
  for (const [position, key] of keysOf(NAME).entries()) relayer.addValidator(key, 100 + position)
  relayer.addValidator(KEY, 99, { vault: VAULT_B })
  const { logger, text } = recordingLogger()
  {
    await using _sidecar = await startSidecar(configOf(NAME, 2, relayer.url, { JOURNAL_FILE: folder.file() }), {
      logger,
    })
    await relayer.until(() => relayer.pairs.length === 11 && relayer.posts.length > 0)
  }
  const all = text.join('')
  expect(all).not.toMatch(/[0-9a-f]{64}/i)
  for (const { exit, deposit } of relayer.pairs)
    for (const signature of [exit, deposit]) expect(all).not.toContain(signature.slice(2, 40))
  for (const { public_key } of loadFixtureCluster(NAME).expected.validators)
    expect(all).not.toContain(public_key.slice(2, 40))
})
