/** Bundles: what a relayer wants of a node is written, signed beside its keys with nobody asked, and handed in. */

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  BUNDLE_EXIT_CODES as EXIT,
  makeBundle,
  makeSignedBundle,
  readBundle,
  readSignedBundle,
  writeBundle,
} from '@dvt-relayer/api/bundle.ts'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { runCommand as runRelayer } from '../../../apps/relayer/src/cli/commands.ts'
import { runCommand as runSidecar } from '../../../apps/sidecar/src/doctor/commands.ts'
import { formatLine } from '../../../apps/sidecar/src/policy/journal-lines.ts'
import { fromHex } from '../../../libs/common/src/hex.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { loadSsvCluster, operatorFiles, ssvPath } from '../../support/keys/ssv.ts'
import { type StandInRelayer, startStandInRelayer, VAULT } from './stand-in.ts'
import { engine, expectAllPairsRight, expectAllRight, isRight, keysOf, rootOf } from './support.ts'

const NAME = 'cluster-4'
const cluster = loadFixtureCluster(NAME)
const LOCK_HASH = '0xb84f4ba95344f3c4f218867c2567da012848c0380b2f046ae010ac655eafa01f'
const keys = keysOf(NAME)
const [KEY_A = '', KEY_B = '', KEY_C = ''] = keys

/** A folder, a relayer with a token that it wants, and the three commands of node `node` (from 0). */
async function stage(node = 0) {
  const dir = await mkdtemp(join(tmpdir(), 'dvt-air-gap-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const relayer = await startStandInRelayer({ generation: 'ours' })
  onTestFinished(() => relayer[Symbol.asyncDispose]())
  const [tokenFile, request, signed] = [join(dir, 'token'), join(dir, 'bundle.json'), join(dir, 'signed.json')]
  await writeFile(tokenFile, 'the-token\n')
  const journal = join(dir, 'deposits.journal')
  const environment: Record<string, string> = {
    NETWORK: 'hoodi',
    OBOL_KEYSTORES_DIR: cluster.nodes[node]?.keystoresDir ?? '',
    JOURNAL_FILE: journal,
  }
  const at = ['--relayer', relayer.url, '--token-file', tokenFile]
  return {
    ...{ dir, relayer, request, signed, journal, tokenFile },
    bundle: (shareIndex = node + 1, lockFile = cluster.lockFile) =>
      run(() =>
        runRelayer(
          ['bundle', ...at, '--share-index', String(shareIndex), '--cluster-lock', lockFile, '--out', request],
          {},
          () => {},
        ),
      ),
    sign: (more: Record<string, string> = {}) =>
      run(() =>
        runSidecar(
          ['sign-bundle', '--in', request, '--out', signed],
          { ...environment, ...more },
          new AbortController().signal,
        ),
      ),
    take: (url = relayer.url) =>
      run(() => runRelayer(['take-bundle', '--relayer', url, '--token-file', tokenFile, '--in', signed], {}, () => {})),
  }
}

/** What a command prints, and its exit code. */
async function run(command: () => Promise<number>): Promise<{ code: number; text: string }> {
  let text = ''
  const keep = (line: unknown) => {
    text += `${String(line).trimEnd()}\n`
    return true
  }
  const spies = [
    vi.spyOn(console, 'log').mockImplementation(keep),
    vi.spyOn(console, 'error').mockImplementation(keep),
    vi.spyOn(process.stderr, 'write').mockImplementation(keep),
  ]
  try {
    return { code: await command(), text }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

const saysWhoami = (relayer: StandInRelayer, shareIndexes: number[] | null, lockHash = LOCK_HASH) => {
  relayer.hook = ({ path }) =>
    path !== '/whoami'
      ? undefined
      : {
          status: 200,
          body: {
            name: 'node-1',
            role: 'sidecar',
            binding: { vaults: null, oracles: null, share_indexes: shareIndexes },
            clusters: [
              { name: 'x', source: 'lock', lock_hash: lockHash, threshold: 3, validators: 12, share_indexes: [1, 2] },
            ],
            takes_any_key: false,
            network: 'hoodi',
            version: '0.2.0',
            time: 0,
          },
        }
}

describe('a bundle there and back', () => {
  it('brings exits alone and exits with deposits, each right under its key share, and binds the vaults', async () => {
    const { relayer, bundle, sign, take, request, signed, journal } = await stage()
    relayer.addExit(KEY_A, 7)
    relayer.addValidator(KEY_B, 8)
    relayer.addExit(`0x${'ee'.repeat(48)}`, 9)
    relayer.addExit(KEY_C, 10, [1])
    expect(await bundle()).toMatchObject({
      code: 0,
      text: expect.stringContaining('2 validators for share index 1, 1 of them'),
    })
    // What another cluster has, and what is there already, is not carried.
    expect(await readBundle(request)).toMatchObject({
      ...{ network: 'hoodi', cluster: { kind: 'obol', lock_hash: LOCK_HASH }, share_index: 1 },
      exits: [
        { public_key: KEY_A, validator_index: 7 },
        { public_key: KEY_B, validator_index: 8 },
      ],
      validators: [{ public_key: KEY_B, validator_index: 8, vault: VAULT.toLowerCase(), amount: 32_000_000_000 }],
    })
    const asked = relayer.seen.length
    expect(await sign()).toMatchObject({
      code: 0,
      text: expect.stringContaining('2 validators signed for share index 1, 1'),
    })
    expect(relayer.seen.length).toBe(asked)
    expect(await readFile(journal, 'utf8')).toContain(`${KEY_B} ${VAULT.toLowerCase()} `)
    expect((await stat(signed)).mode & 0o777).toBe(0o600)
    const file = await readSignedBundle(signed)
    expect([file.exits.map((item) => item.public_key), file.validators.map((item) => item.public_key)]).toEqual([
      [KEY_A],
      [KEY_B],
    ])
    expect(await take()).toEqual({ code: 0, text: `${signed}: 2 validators handed in\n` })
    expectAllRight(NAME, relayer.posts)
    expectAllPairsRight(NAME, relayer.pairs)
    expect(relayer.seen.every(({ headers }) => headers['authorization'] === 'Bearer the-token')).toBe(true)

    // It may be handed in again, and an empty one goes the whole way as well.
    expect(await take()).toMatchObject({
      code: 0,
      text: expect.stringContaining('2 validators: the relayer has these'),
    })
    expect([relayer.posts.length, relayer.pairs.length]).toEqual([1, 1])
    expect(await bundle()).toMatchObject({ code: 0, text: expect.stringContaining('nothing waits for this node') })
    expect(await sign()).toMatchObject({ code: 0 })
    expect(await take()).toMatchObject({ code: 0, text: expect.stringContaining('0 validators handed in') })
  })

  it('that was lost is made again, with the same signatures', async () => {
    const { relayer, bundle, sign, request, signed } = await stage()
    relayer.addValidator(KEY_A, 7)
    await bundle()
    await sign()
    const first = await readSignedBundle(signed)
    await rm(signed)
    await rm(request)
    await bundle()
    await sign()
    expect((await readSignedBundle(signed)).validators).toEqual(first.validators)
  })
})

describe('a signed bundle behind a proxy', () => {
  /** The largest cluster of SSV. */
  const NODES = 13
  const keyOf = (position: number) => `0x${position.toString(16).padStart(96, '0')}`

  /** A relayer that wants pairs of these validators, given by how many public key shares each brings, and exits of some; and the bundle that has them. */
  async function bundleOf(pairs: readonly number[], exits: number) {
    const made = await stage()
    const { relayer, signed } = made
    const exit_signature = `0x${'aa'.repeat(96)}`
    const validators = pairs.map((shares, position) => ({
      ...{ public_key: keyOf(position), validator_index: position, exit_signature },
      ...{ vault: VAULT.toLowerCase(), amount: 32_000_000_000, validator_type: '0x01' as const },
      deposit_signature: `0x${'bb'.repeat(96)}`,
      public_key_shares: Array.from({ length: shares }, (_, node) => ({
        ...{ share_index: node + 1, public_key_share: keyOf(node) },
      })),
    }))
    const alone = Array.from({ length: exits }, (_, position) => ({
      ...{ public_key: keyOf(1000 + position), validator_index: 1000 + position, exit_signature },
    }))
    for (const { public_key, validator_index } of validators) relayer.addValidator(public_key, validator_index)
    for (const { public_key, validator_index } of alone) relayer.addExit(public_key, validator_index)
    const owner = { network: 'hoodi', cluster: { kind: 'obol', lock_hash: LOCK_HASH }, share_index: 1 } as const
    await writeBundle(signed, makeSignedBundle({ ...owner, made_at: '2026-01-02T03:04:05Z', exits: alone, validators }))
    /** Bytes of posts. */
    const sizes: number[] = []
    /** As nginx answers what it does not take: a page, and no JSON. */
    const limitTo = (limit: number) => {
      relayer.hook = ({ method, body }) => {
        const bytes = method === 'POST' ? JSON.stringify(body).length : 0
        if (bytes > 0) sizes.push(bytes)
        return bytes > limit ? { status: 413, body: '<html>413 Request Entity Too Large</html>' } : undefined
      }
    }
    return { ...made, sizes, limitTo }
  }

  it('goes below the 1 MiB of nginx, and where that takes less, in halves', async () => {
    const { relayer, take, sizes, limitTo } = await bundleOf(Array(600).fill(NODES), 600)
    limitTo(1024 * 1024)
    expect(await take()).toMatchObject({ code: 0, text: expect.stringMatching(/: 1200 validators handed in\n$/) })
    expect(sizes.length).toBe(4)
    expect(Math.max(...sizes)).toBeGreaterThan(900 * 1024)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(960 * 1024)

    const small = await bundleOf(Array(600).fill(NODES), 600)
    small.limitTo(100_000)
    const { code, text } = await small.take()
    expect([code, small.relayer.pairs.length, small.relayer.posts.length]).toEqual([0, 600, 600])
    expect(text).toMatch(/: 1200 validators handed in\n$/)
    // Each size is told once, in the words that the sidecar has for it.
    expect(text).toMatch(/^(post too large .* \(413\), .*, client_max_body_size in nginx \(\d+ bytes\)\n)+\S+: 1200 /)
    expect(text.match(/post too large/g)?.length).toBe(small.sizes.filter((bytes) => bytes > 100_000).length)
    expect([relayer.pairs.length, relayer.posts.length]).toEqual([600, 600])
  })

  it('names what is too large alone, and the limit; the rest is handed in', async () => {
    const { relayer, take, limitTo } = await bundleOf([1, NODES, 1, NODES, 1], 2)
    limitTo(1500)
    const first = await take()
    expect(first.code).toBe(EXIT.BUNDLE_PARTIAL)
    expect(first.text).toMatch(
      /: 5 validators handed in\n {2}2 validators refused as too large \(413\), alone in a post of up to \d{4} bytes: .*, client_max_body_size in nginx,/,
    )
    expect(relayer.pairs.map(({ publicKey }) => publicKey).toSorted()).toEqual([0, 2, 4].map(keyOf))
    const second = await take()
    expect(second).toMatchObject({
      code: EXIT.BUNDLE_REFUSED,
      text: expect.stringMatching(
        /: nothing was taken\n {2}5 validators: the relayer has .*\n {2}2 validators refused as/,
      ),
    })
    limitTo(4000)
    expect(await take()).toMatchObject({ code: 0, text: expect.stringContaining(': 2 validators handed in') })
  })
})

describe('a bundle of an SSV operator', () => {
  it('is made for the validators of a keyshares file, signed with the shares in it, and of no other operator', async () => {
    const { relayer, request, signed, tokenFile, take, journal } = await stage()
    const { validators } = loadSsvCluster('cluster-4')
    const [{ public_key: key = '' } = {}] = validators
    relayer.addValidator(key, 7)
    relayer.addExit(KEY_A, 8)
    const make = (id: number) =>
      run(() =>
        runRelayer(
          [
            ...['bundle', '--relayer', relayer.url, '--token-file', tokenFile, '--share-index', String(id)],
            ...['--keyshares', ssvPath('cluster-4/keyshares.json'), '--out', request],
          ],
          {},
          () => {},
        ),
      )
    const sign = (operator: number) =>
      run(() =>
        runSidecar(
          ['sign-bundle', '--in', request, '--out', signed],
          {
            ...{ NETWORK: 'hoodi', CLUSTER_TYPE: 'SSV', ALLOWED_VAULTS: VAULT, JOURNAL_FILE: journal },
            ...{ SSV_KEYSHARES_FILES: ssvPath('cluster-4/keyshares.json'), ...operatorFiles(operator) },
          },
          new AbortController().signal,
        ),
      )
    expect(await make(1)).toMatchObject({ code: EXIT.BUNDLE_SHARE_INDEX, text: expect.stringContaining('263') })
    expect(await make(263)).toMatchObject({ code: 0, text: expect.stringContaining('1 validator for share index 263') })
    expect(await sign(280)).toMatchObject({
      code: EXIT.BUNDLE_SHARE_INDEX,
      text: expect.stringContaining('is for share index 263, and this node has keys of 280'),
    })
    expect(await sign(263)).toMatchObject({ code: 0 })
    expect(await take()).toMatchObject({ code: 0 })
    const [pair] = relayer.pairs
    const share = validators[0]?.public_key_shares.find(({ share_index }) => share_index === 263)
    expect([relayer.pairs.length, relayer.posts.length, pair?.shareIndex]).toEqual([1, 0, 263])
    const publicKey = fromHex(share?.public_key_share ?? '0x')
    expect(engine.verify(publicKey, rootOf('hoodi', 7), fromHex(pair?.exit ?? '0x'))).toBe(true)
  })
})

describe('what is not signed', () => {
  it('is a deposit to another vault: its exit goes alone, and the file is partial', async () => {
    const { relayer, bundle, sign, take } = await stage()
    relayer.addValidator(KEY_A, 7, { vault: '0x00000000219ab540356cBB839Cbe05303d7705Fa' })
    await bundle()
    expect(await sign()).toMatchObject({
      code: EXIT.BUNDLE_PARTIAL,
      text: expect.stringContaining('not signed: 1 validator: the cluster lock names another withdrawal address'),
    })
    expect(await take()).toMatchObject({ code: 0 })
    expect(relayer.pairs).toEqual([])
    expectAllRight(NAME, relayer.posts)
  })

  it('is a deposit of a validator that the journal binds to another vault, and nothing at all with a damaged journal', async () => {
    const { relayer, bundle, sign, journal, signed } = await stage()
    relayer.addValidator(KEY_A, 7)
    await bundle()
    await writeFile(journal, formatLine({ publicKey: KEY_A, vault: `0x${'11'.repeat(20)}` }))
    expect(await sign()).toMatchObject({
      code: EXIT.BUNDLE_PARTIAL,
      text: expect.stringContaining('1 validator: the journal binds this validator to another vault for good'),
    })
    const file = await readSignedBundle(signed)
    expect([file.exits.length, file.validators.length]).toEqual([1, 0])
    await rm(signed)
    await writeFile(journal, 'damaged\n')
    expect(await sign()).toMatchObject({ code: 1, text: expect.stringContaining('line 1 of the deposit journal') })
    await expect(stat(signed)).rejects.toThrow()
  })

  it.each([
    [{ GENERATION: '3' }, 'GENERATION=3 signs no deposits', { exits: [KEY_A], pairs: [] }],
    [{ GENERATION: '4' }, 'GENERATION=4 signs exits with their deposits only', { exits: [], pairs: [KEY_B] }],
  ])('is what %j keeps this node from', async (more, said, expected) => {
    const { request, signed, sign } = await stage()
    const owner = { network: 'hoodi', cluster: { kind: 'obol', lock_hash: LOCK_HASH } as const, share_index: 1 }
    await writeBundle(
      request,
      makeBundle({
        ...{ ...owner, made_at: '2026-01-02T03:04:05Z' },
        exits: [{ public_key: KEY_A, validator_index: 7 }],
        validators: [
          {
            ...{ public_key: KEY_B, validator_index: 8, vault: VAULT.toLowerCase() },
            ...{ amount: 32_000_000_000, validator_type: '0x01' },
          },
        ],
      }),
    )
    expect(await sign(more)).toMatchObject({ code: EXIT.BUNDLE_PARTIAL, text: expect.stringContaining(said) })
    const file = await readSignedBundle(signed)
    expect({
      exits: file.exits.map((item) => item.public_key),
      pairs: file.validators.map((item) => item.public_key),
    }).toEqual(expected)
  })

  it('is an index that no chain has, and a key that is not here', async () => {
    const { request, sign, signed } = await stage()
    const owner = { network: 'hoodi', cluster: { kind: 'obol', lock_hash: LOCK_HASH } as const, share_index: 1 }
    const exits = [
      { public_key: KEY_A, validator_index: 2 ** 40 },
      { public_key: `0x${'ee'.repeat(48)}`, validator_index: 9 },
    ]
    await writeBundle(request, makeBundle({ ...owner, made_at: '2026-01-02T03:04:05Z', exits, validators: [] }))
    const { code, text } = await sign()
    expect(code).toBe(EXIT.BUNDLE_REFUSED)
    expect(text).toContain('no validator can ever have this index')
    expect(text).toContain('1 validator: this node has no key of it')
    expect((await readSignedBundle(signed)).exits).toEqual([])
  })

  it.each([
    [{ CONSENSUS_ENDPOINT: 'http://127.0.0.1:1' }, 'CONSENSUS_ENDPOINT'],
    [
      {
        ...{ REMOTE_SIGNER_URL: 'http://127.0.0.1:1', OBOL_KEYSTORES_DIR: '' },
        OBOL_CLUSTER_LOCK_FILE: cluster.lockFile,
      },
      'REMOTE_SIGNER_URL',
    ],
    [
      {
        ...{ CLUSTER_TYPE: 'SSV', EXECUTION_ENDPOINT: 'http://127.0.0.1:1', OBOL_KEYSTORES_DIR: '' },
        SSV_OPERATOR_KEY_FILE: 'key',
      },
      'EXECUTION_ENDPOINT',
    ],
  ])('is anything while %j names somebody to ask', async (more, name) => {
    const { relayer, bundle, sign, signed } = await stage()
    relayer.addExit(KEY_A, 7)
    await bundle()
    expect(await sign(more)).toMatchObject({
      code: 1,
      text: expect.stringMatching(new RegExp(`asks nobody.*\n  - ${name}: `)),
    })
    await expect(stat(signed)).rejects.toThrow()
  })
})

describe('a bundle of somebody else', () => {
  it('is refused where it is signed, by network, cluster and share index', async () => {
    const { relayer, bundle, sign, request } = await stage()
    relayer.addExit(KEY_A, 7)
    await bundle(2)
    expect(await sign()).toMatchObject({
      code: EXIT.BUNDLE_SHARE_INDEX,
      text: expect.stringContaining('is for share index 2, and this node has keys of 1: nothing is signed'),
    })
    await bundle()
    const { format: _f, version: _v, sha256: _s, ...parts } = await readBundle(request)
    await writeBundle(request, makeBundle({ ...parts, network: 'mainnet' }))
    expect(await sign()).toMatchObject({
      code: EXIT.BUNDLE_NETWORK,
      text: expect.stringContaining('of the network mainnet'),
    })
    for (const other of [{ kind: 'obol', lock_hash: `0x${'11'.repeat(32)}` }, { kind: 'ssv' }] as const) {
      await writeBundle(request, makeBundle({ ...parts, cluster: other }))
      expect(await sign()).toMatchObject({
        code: EXIT.BUNDLE_CLUSTER,
        text: expect.stringContaining('nothing is signed'),
      })
    }
  })

  it('is refused where it is made: a share index that the cluster or the token has not, a cluster the relayer does not know', async () => {
    const { relayer, bundle, request } = await stage()
    expect(await bundle(5)).toMatchObject({
      code: EXIT.BUNDLE_SHARE_INDEX,
      text: expect.stringContaining('has no share index 5'),
    })
    saysWhoami(relayer, [2])
    expect(await bundle()).toMatchObject({
      code: EXIT.BUNDLE_SHARE_INDEX,
      text: expect.stringContaining('that of another node'),
    })
    saysWhoami(relayer, [1], `0x${'00'.repeat(32)}`)
    expect(await bundle()).toMatchObject({ code: EXIT.BUNDLE_CLUSTER, text: expect.stringContaining('does not know') })
    await expect(stat(request)).rejects.toThrow()
    saysWhoami(relayer, [1])
    expect(await bundle()).toMatchObject({ code: 0 })
  })

  it('is refused where it is handed in, with nothing posted', async () => {
    const { relayer, bundle, sign, take } = await stage()
    relayer.addExit(KEY_A, 7)
    await bundle()
    await sign()
    relayer.network = 'gnosis'
    expect(await take()).toMatchObject({
      code: EXIT.BUNDLE_NETWORK,
      text: expect.stringContaining('nothing is handed in'),
    })
    relayer.network = 'hoodi'
    saysWhoami(relayer, [2])
    expect(await take()).toMatchObject({ code: EXIT.BUNDLE_SHARE_INDEX })
    saysWhoami(relayer, null, `0x${'00'.repeat(32)}`)
    expect(await take()).toMatchObject({ code: EXIT.BUNDLE_CLUSTER })
    expect(relayer.posts).toEqual([])
  })

  it('changed, cut off or not signed is refused with nothing posted', async () => {
    const { relayer, bundle, sign, take, request, signed } = await stage()
    relayer.addExit(KEY_A, 7)
    await bundle()
    await sign()
    const text = await readFile(signed, 'utf8')
    await writeFile(signed, text.replace('"validator_index": 7', '"validator_index": 8'))
    expect(await take()).toMatchObject({ code: EXIT.BUNDLE_CHANGED })
    await writeFile(signed, text.slice(0, -40))
    expect(await take()).toMatchObject({
      code: EXIT.BUNDLE_BROKEN,
      text: expect.stringContaining('only the first part of one'),
    })
    await writeFile(signed, await readFile(request))
    expect(await take()).toMatchObject({ code: EXIT.BUNDLE_BROKEN, text: expect.stringContaining('is not signed yet') })
    await writeFile(request, text)
    expect(await sign()).toMatchObject({ code: EXIT.BUNDLE_BROKEN, text: expect.stringContaining('is signed already') })
    expect(relayer.posts).toEqual([])
  })
})

describe('an old bundle', () => {
  it('whose messages have all moved is refused; one of which some have is handed in but for those', async () => {
    const { relayer, bundle, sign, take, signed } = await stage()
    relayer.addExit(KEY_A, 7)
    relayer.addValidator(KEY_B, 8)
    relayer.addExit(KEY_C, 9)
    await bundle()
    await sign()
    relayer.addExit(KEY_A, 107)
    relayer.addValidator(KEY_B, 8, { amount: 33_000_000_000, validator_type: '0x02' })
    expect(await take()).toEqual({
      code: EXIT.BUNDLE_PARTIAL,
      text: `${signed}: 1 validator handed in\n  2 validators left out: asked for at another index, vault, amount or type by now\n`,
    })
    expect(relayer.posts.map(({ publicKey }) => publicKey)).toEqual([KEY_C])
    expect(relayer.posts.every((post) => isRight(NAME, post))).toBe(true)
    relayer.removeExit(KEY_C)
    expect(await take()).toEqual({
      code: EXIT.BUNDLE_OLD,
      text: expect.stringMatching(
        /is old: nothing was handed in; make a new bundle\n {2}2 validators left out.*\n {2}1 validator left out: not asked for any more/,
      ),
    })
    expect([relayer.posts.length, relayer.pairs.length]).toEqual([1, 0])
  })
})

describe('what the relayer says', () => {
  it('of wrong signatures is told by its code, some of them or all', async () => {
    const { relayer, bundle, sign, take } = await stage()
    relayer.addExit(KEY_A, 7)
    relayer.addExit(KEY_B, 8)
    await bundle()
    await sign()
    const failing = (failures: object[], status: number) => {
      relayer.hook = ({ path }) => (path === '/exit-signature' ? { status, body: { failures } } : undefined)
    }
    const wrong = (index: number) => ({ index, code: 'SIGNATURE_WRONG', message: 'x' })
    failing([wrong(1)], 200)
    expect(await take()).toMatchObject({
      code: EXIT.BUNDLE_PARTIAL,
      text: expect.stringContaining('1 validator handed in\n  1 validator refused by the relayer: SIGNATURE_WRONG'),
    })
    failing([wrong(0), { ...wrong(1), code: '\u001b[31mlie' }, wrong(99)], 422)
    const { code, text } = await take()
    expect(code).toBe(EXIT.BUNDLE_REFUSED)
    expect(text).toContain('1 validator refused by the relayer: OTHER')
    expect(text).not.toContain('lie')
    // A refusal that names nothing is none of items.
    relayer.hook = ({ path }) => (path === '/exit-signature' ? { status: 422, body: { failures: 'all' } } : undefined)
    expect(await take()).toMatchObject({ code: 1, text: expect.stringContaining('answers with status 422') })
  })

  it.each([
    [401, 1, '--token-file'],
    [403, 1, 'the token of a sidecar'],
    [429, 75, 'try again'],
    [503, 75, 'try again'],
  ])('with status %i ends with %i', async (status, code, said) => {
    const { relayer, bundle, sign, take } = await stage()
    relayer.addExit(KEY_A, 7)
    await bundle()
    await sign()
    relayer.hook = ({ path }) =>
      path === '/exit-signature' ? { status, body: { code: 'X', message: 'x' } } : undefined
    expect(await take()).toMatchObject({ code, text: expect.stringContaining(said) })
  })

  it('is nothing where it is away: 75', async () => {
    const { relayer, bundle, sign, take } = await stage()
    relayer.addExit(KEY_A, 7)
    await bundle()
    await sign()
    await relayer[Symbol.asyncDispose]()
    expect(await take()).toMatchObject({ code: 75, text: expect.stringContaining('try again') })
  })

  it('with lists of rubbish is refused, and written into no bundle', async () => {
    const { relayer, bundle, request } = await stage()
    relayer.hook = ({ path }) =>
      path === '/exits' ? { status: 200, body: { exits: [{ public_key: 'x' }], revision: 1 } } : undefined
    expect(await bundle()).toMatchObject({ code: 1, text: expect.stringContaining('not what the protocol says') })
    await expect(stat(request)).rejects.toThrow()
  })
})

describe('a token', () => {
  it('comes from a file, not from the command line, and is never shown', async () => {
    const { relayer, take, signed, tokenFile } = await stage()
    const empty = { network: 'hoodi', cluster: { kind: 'ssv' } as const, share_index: 1, exits: [], validators: [] }
    await writeBundle(signed, makeSignedBundle({ ...empty, made_at: '2026-01-02T03:04:05Z' }))
    const inUrl = relayer.url.replace('http://', 'http://node-1:hush@')
    expect(await take(inUrl)).toEqual({ code: 1, text: expect.stringContaining('write the token into a file') })
    await writeFile(tokenFile, 'hush hush\n')
    const { code, text } = await take()
    expect([code, text]).toEqual([1, expect.stringContaining('must hold the token and nothing else')])
    expect(text).not.toContain('hush')
  })
})
