import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bundle, makeBundle } from '@dvt-relayer/api/bundle.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadFixtureCluster } from '../../../../test/support/keys/fixtures.ts'
import { loadSsvCluster, operatorFiles, ssvPath } from '../../../../test/support/keys/ssv.ts'
import { readOfflineConfig } from '../config.ts'
import { REFUSALS } from '../metrics.ts'
import { createJournal } from '../policy/journal.ts'
import { signBundle } from './sign-bundle.ts'

const { nodes, expected, lockFile, dir: cluster } = loadFixtureCluster('cluster-4')
const LOCK_HASH = '0xb84f4ba95344f3c4f218867c2567da012848c0380b2f046ae010ac655eafa01f'
const KEYS = expected.validators.map(({ public_key }) => public_key)
const STRANGER = `0x${'ee'.repeat(48)}`

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sign-bundle-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const exit = (key: number | string, validator_index: number) => ({
  public_key: typeof key === 'string' ? key : (KEYS[key] ?? ''),
  validator_index,
})
const pair = (key: number | string, index: number, more: Partial<Bundle['validators'][number]> = {}) => ({
  ...{ ...exit(key, index), vault: expected.withdrawal_address, amount: 32_000_000_000 },
  ...{ validator_type: '0x01' as const, ...more },
})

/** What comes of a bundle at node 0, and what is logged. */
async function sign(parts: Partial<Bundle>, environment: Record<string, string> = {}) {
  const lines: string[] = []
  const { config } = readOfflineConfig({
    ...{ NETWORK: 'hoodi', OBOL_KEYSTORES_DIR: nodes[0]?.keystoresDir ?? '', JOURNAL_FILE: join(dir, 'journal') },
    ...environment,
  })
  const logger = createLogger({
    ...{ level: 'info', format: 'json', destination: { write: (line: string) => void lines.push(line) } },
  })
  const bundle = makeBundle({
    ...{ network: 'hoodi', cluster: { kind: 'obol', lock_hash: LOCK_HASH }, share_index: 1, exits: [], validators: [] },
    ...{ made_at: '2026-01-02T03:04:05Z', ...parts },
  })
  const outcome = await signBundle(config, bundle, { logger, signal: new AbortController().signal })
  const { exits, validators } = outcome.signed
  return {
    ...{ ...outcome, log: lines.join('') },
    exits: exits.map((item) => [KEYS.indexOf(item.public_key), item.validator_index]),
    pairs: validators.map((item) => [KEYS.indexOf(item.public_key), item.validator_index]),
  }
}

describe('a bundle', () => {
  it('is signed whole, an exit that goes with its deposit once', async () => {
    const { exits, pairs, left, refusals, signed } = await sign({
      exits: [exit(1, 8), exit(0, 7), exit(2, 9)],
      validators: [pair(2, 10), pair(1, 8)],
    })
    expect([exits, pairs]).toEqual([
      [
        [0, 7],
        [2, 9],
      ],
      [
        [2, 10],
        [1, 8],
      ],
    ])
    expect([left, refusals]).toEqual([0, []])
    expect(signed.validators[0]?.public_key_shares).toEqual(expected.validators[2]?.public_key_shares)
    expect(signed).toMatchObject({ network: 'hoodi', share_index: 1, made_at: '2026-01-02T03:04:05Z' })
  })

  it.each<[string, Partial<Bundle>, Record<string, string>, object[], number]>([
    [
      'GENERATION=3 signs no deposits',
      { exits: [exit(0, 7), exit(1, 8)], validators: [pair(1, 8), pair(2, 9)] },
      { GENERATION: '3' },
      [{ meaning: 'GENERATION=3 signs no deposits', validators: 2 }],
      2,
    ],
    [
      'GENERATION=4 signs exits with their deposits only',
      { exits: [exit(0, 7), exit(1, 8), exit(2, 8)], validators: [pair(1, 8), pair(2, 9)] },
      { GENERATION: '4' },
      [{ meaning: 'GENERATION=4 signs exits with their deposits only', validators: 2 }],
      2,
    ],
    [
      'keys that are not here',
      { exits: [exit(0, 7), exit(STRANGER, 8)], validators: [pair(STRANGER, 8), pair(`0x${'dd'.repeat(48)}`, 9)] },
      {},
      [{ meaning: 'this node has no key of it', validators: 2 }],
      2,
    ],
    [
      'what the policy refuses, each validator once',
      { exits: [exit(0, 2 ** 40), exit(1, 8)], validators: [pair(1, 8, { amount: 1 }), pair(2, 9, { amount: 1 })] },
      {},
      [
        { meaning: REFUSALS.amount_not_allowed, validators: 2 },
        { meaning: REFUSALS.index_impossible, validators: 1 },
      ],
      3,
    ],
  ])('lacks %s, and says of how many', async (_, parts, environment, refusals, left) => {
    const outcome = await sign(parts, environment)
    expect([outcome.refusals, outcome.left]).toEqual([refusals, left])
  })

  it('lacks its deposit while the journal cannot be written to, and has its exits', async () => {
    const journal = join(dir, 'journal')
    await mkdir(journal)
    const outcome = await sign({ exits: [exit(0, 7)], validators: [pair(1, 8)] })
    expect([outcome.exits, outcome.pairs, outcome.left, outcome.refusals]).toEqual([
      ...[[[0, 7]], [], 1],
      [{ meaning: 'the deposit journal cannot be written to; the log says why', validators: 1 }],
    ])
    // Exits need none.
    expect((await sign({ exits: [exit(0, 7)] })).refusals).toEqual([])
  })

  it.each<[string, Partial<Bundle>, Record<string, string>]>([
    ['without deposits', { exits: [exit(0, 7)] }, {}],
    ['at a node that signs none', { exits: [exit(0, 7)], validators: [pair(1, 8)] }, { GENERATION: '3' }],
  ])('%s does not look at the journal, whatever is in it', async (_, parts, environment) => {
    await writeFile(join(dir, 'journal'), 'damaged\n')
    expect((await sign(parts, environment)).exits).toEqual([[0, 7]])
    await expect(sign({ ...parts, validators: [pair(1, 8)] })).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' })
  })

  it('is not signed while another has the journal, though it is not there yet', async () => {
    const nothing = () => {}
    const events = { journalOpened: nothing, journalRepaired: nothing, journalTaken: nothing, keysBound: nothing }
    await using other = createJournal(join(dir, 'journal'), events)
    await other.openExisting()
    await expect(sign({ exits: [exit(0, 7)], validators: [pair(1, 8)] })).rejects.toMatchObject({
      ...{ name: 'BootError', code: 'JOURNAL_IN_USE' },
    })
    expect((await sign({ exits: [exit(0, 7)] })).exits).toEqual([[0, 7]])
  })

  it('has nothing that a file may not hold', async () => {
    const padding = 'x'.repeat(65 << 20)
    const { pairs, exits, left } = await sign({ exits: [exit(1, 8)], validators: [{ ...pair(0, 7), ...{ padding } }] })
    expect([pairs, exits, left]).toEqual([[], [[1, 8]], 1])
  })
})

describe('a bundle with deposits to vaults that nothing names', () => {
  const [validator] = loadSsvCluster('cluster-4-gaps').validators
  const key = validator?.public_key ?? ''
  const both = { exits: [exit(key, 7)], validators: [pair(key, 7)] }
  const anyVault = 'deposits are signed for any vault the relayer names'
  const unnamed = 'deposits are refused: neither ALLOWED_VAULTS'

  it.each<[string, Partial<Bundle>, Record<string, string>, string | undefined, number]>([
    ['on a test network', both, {}, anyVault, 1],
    ['where real money is', { ...both, network: 'mainnet' }, { NETWORK: 'mainnet' }, unnamed, 0],
    ['no, but for exits alone', { exits: both.exits }, {}, undefined, 0],
    ['no, since the settings name it', both, { ALLOWED_VAULTS: expected.withdrawal_address }, undefined, 1],
    ['no, since this node signs none', both, { GENERATION: '3' }, undefined, 0],
  ])('is told: %s', async (_, parts, environment, told, deposits) => {
    const { log, signed } = await sign(
      { ...parts, cluster: { kind: 'ssv' }, share_index: 70_001 },
      {
        ...{ OBOL_KEYSTORES_DIR: '', CLUSTER_TYPE: 'SSV', ...operatorFiles(70_001) },
        ...{ SSV_KEYSHARES_FILES: ssvPath('cluster-4-gaps/keyshares.json'), ...environment },
      },
    )
    const lines = log.split('\n').filter((line) => line.includes(anyVault) || line.includes(unnamed))
    expect(lines).toEqual(told === undefined ? [] : [expect.stringContaining(told)])
    expect(lines.every((line) => line.includes('"validators":1'))).toBe(true)
    expect([signed.validators.length, signed.exits.length]).toEqual([deposits, 1 - deposits])
  })
})

describe('a bundle of somebody else', () => {
  it.each<[string, Partial<Bundle>, string]>([
    [
      'network',
      { network: 'mainnet' },
      'this bundle is of the network mainnet, and this node of hoodi: nothing is signed',
    ],
    [
      'lock',
      { cluster: { kind: 'obol', lock_hash: `0x${'11'.repeat(32)}` } },
      `this bundle is of the cluster lock 0x${'11'.repeat(16)}…, and this node has the cluster lock ${LOCK_HASH.slice(0, 34)}…: nothing is signed`,
    ],
    [
      'kind of cluster',
      { cluster: { kind: 'ssv' } },
      `this bundle is of SSV, and this node has the cluster lock ${LOCK_HASH.slice(0, 34)}…: nothing is signed`,
    ],
    [
      'share index',
      { share_index: 2 },
      'this bundle is for share index 2, and this node has keys of 1: nothing is signed',
    ],
  ])('by its %s is refused', async (_, parts, words) => {
    await expect(sign({ exits: [exit(0, 7)], ...parts })).rejects.toThrow(words)
  })

  it('by its share index is refused with those that are here', async () => {
    const environment = {
      ...{ OBOL_KEYSTORES_DIR: cluster, OBOL_KEYSTORES_DIR_TEMPLATE: 'node{node_index}/validator_keys' },
      ...{ OBOL_NODE_INDEXES: '3,0', OBOL_CLUSTER_LOCK_FILE: lockFile },
    }
    await expect(sign({ share_index: 2 }, environment)).rejects.toThrow('has keys of 1, 4:')
    const { left, signed } = await sign({ share_index: 4, exits: [exit(0, 7)] }, environment)
    expect([left, signed.share_index, signed.exits.length]).toEqual([0, 4, 1])
  })
})
