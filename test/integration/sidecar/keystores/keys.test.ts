/** What the sidecar does with key material: whole, partial, strange, damaged. */

import { appendFile, cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ObolNodeSource } from '../../../../apps/sidecar/src/config/obol.ts'
import { createEvents } from '../../../../apps/sidecar/src/events.ts'
import { openObolKeystore } from '../../../../apps/sidecar/src/keystores/obol/obol.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { fromHex } from '../../../../libs/common/src/hex.ts'
import { encryptKeystore } from '../../../../libs/crypto/src/keystores/eip2335.ts'
import { FIXTURE_LOCKS, loadFixtureCluster, readFixtureJson } from '../../../support/keys/fixtures.ts'
import { makeCluster } from '../../../support/keys/make-cluster.ts'
import { engine, first, recordingLogger } from '../support.ts'

let root = ''
let count = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sidecar-keys-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

const lockHashOf = (file: string) => fromHex((readFixtureJson(file) as { lock_hash: string }).lock_hash, 32)

/** A copy of one node of a fixture cluster, to be changed. */
async function copyNode(name: 'cluster-4' | 'cluster-3', node: number): Promise<string> {
  const dir = join(root, String(count++))
  await cp(first(loadFixtureCluster(name).nodes.slice(node)).dir, dir, { recursive: true })
  return dir
}

function open(
  nodes: readonly Partial<ObolNodeSource>[],
  more: { network?: 'mainnet' | 'hoodi'; lockHashes?: Uint8Array[] } = {},
) {
  const { logger, find, text } = recordingLogger()
  const opening = openObolKeystore({
    nodes: nodes.map((node) => ({ keystoresDir: '', lockFile: undefined, nodeIndex: undefined, ...node })),
    lockHashes: more.lockHashes ?? [],
    network: networks[more.network ?? 'hoodi'],
    engine,
    events: createEvents(logger),
    signal: new AbortController().signal,
  })
  return { opening, find, text }
}

const shareIndexes = (keyShares: readonly { shareIndex: number }[]) => [
  ...new Set(keyShares.map(({ shareIndex }) => shareIndex)),
]

describe('layouts', () => {
  it('finds lock and keystores from the folder that charon dkg leaves', async () => {
    const { dir } = first(loadFixtureCluster('cluster-dkg').nodes.slice(2))
    expect(dir.endsWith('.charon')).toBe(true)
    const { keyShares } = await open([{ keystoresDir: dir }]).opening
    expect(keyShares.length).toBe(3)
    expect(shareIndexes(keyShares)).toEqual([3])
  })

  it('opens several nodes at once, their common lock verified once', async () => {
    const { nodes, expected } = loadFixtureCluster('cluster-4')
    const before = performance.now()
    const { opening, find } = open(
      nodes.map(({ keystoresDir }, nodeIndex) => ({ keystoresDir, nodeIndex })),
      { lockHashes: [new Uint8Array(32), lockHashOf('obol/cluster-4/node0/cluster-lock.json')] },
    )
    const { keyShares } = await opening
    const [loaded] = find('keys loaded', { nodes: 4 })
    expect(Number(loaded?.['seconds'])).toBeLessThanOrEqual((performance.now() - before) / 1000 + 0.1)
    expect(shareIndexes(keyShares)).toEqual([1, 2, 3, 4])
    expect(keyShares.length).toBe(4 * expected.validators.length)
    expect(find('cluster lock verified', { pinned: true }).length).toBe(1)
  })

  it.each(FIXTURE_LOCKS)('works with the lock %s', async (path) => {
    const dir = await copyNode('cluster-4', 1)
    await rm(join(dir, 'cluster-lock.json'), { force: true })
    await writeFile(join(dir, 'cluster-lock.json'), JSON.stringify(readFixtureJson(path)))
    const { keyShares } = await open([{ keystoresDir: dir }]).opening
    expect(shareIndexes(keyShares)).toEqual([2])
    expect(keyShares.length).toBe(12)
  })

  it('knows every node’s key share of each validator, and where its money goes', async () => {
    const { nodes, expected } = loadFixtureCluster('cluster-4')
    const { keyShares } = await open([{ keystoresDir: nodes[2]?.keystoresDir ?? '' }]).opening
    expect(keyShares).toEqual(
      expected.validators.map(({ public_key, public_key_shares }) => ({
        validatorPublicKey: public_key,
        shareIndex: 3,
        publicKeyShares: public_key_shares,
        withdrawalAddress: expected.withdrawal_address,
      })),
    )
  })

  it.each([
    ['none', new Uint8Array()],
    ['zero', new Uint8Array(20)],
  ])('names no withdrawal address where the lock has %s', async (name, withdrawalAddress) => {
    const cluster = await makeCluster({
      dir: join(root, name),
      nodes: 2,
      threshold: 2,
      validators: 1,
      network: networks.hoodi,
      withdrawalAddress,
      feeRecipient: new Uint8Array(20).fill(1),
    })
    const { keyShares } = await open([{ keystoresDir: cluster.nodes[0]?.keystoresDir ?? '' }]).opening
    expect(keyShares).toMatchObject([{ withdrawalAddress: undefined, shareIndex: 1 }])
  })

  it('matches keys by what they are, not by the number in the name', async () => {
    const dir = await copyNode('cluster-4', 0)
    const name = (n: string, ending: string) => join(dir, `validator_keys/keystore-${n}.${ending}`)
    for (const ending of ['json', 'txt']) {
      await rename(name('insecure-0', ending), name('swap', ending))
      await rename(name('insecure-5', ending), name('insecure-0', ending))
      await rename(name('swap', ending), name('insecure-5', ending))
    }
    const keystore = await open([{ keystoresDir: dir }]).opening
    const validator = first(loadFixtureCluster('cluster-4').expected.validators)
    const message = new Uint8Array(32).fill(7)
    const sign = (shareIndex: number) =>
      keystore.sign(
        {
          signingRoot: message,
          message: { kind: 'exit', epoch: 0, validatorIndex: 0 },
          keyShare: { validatorPublicKey: validator.public_key, shareIndex },
        },
        new AbortController().signal,
      )
    const signature = await sign(1)
    const share = first(validator.public_key_shares).public_key_share
    expect(engine.verify(fromHex(share), message, signature)).toBe(true)
    await expect(sign(2)).rejects.toThrow(/not held/)
  })
})

describe('some keys', () => {
  it('works with those it has, and says so', async () => {
    const dir = await copyNode('cluster-4', 0)
    for (const n of [0, 3, 11])
      for (const ending of ['json', 'txt']) await rm(join(dir, `validator_keys/keystore-insecure-${n}.${ending}`))
    const { opening, find } = open([{ keystoresDir: dir }])
    expect((await opening).keyShares.length).toBe(9)
    expect(find('this node holds keys for only some validators of its cluster')).toMatchObject([
      { keys: 9, validators: 12 },
    ])
  })

  it('skips keystores of another cluster, and refuses where none fits', async () => {
    const dir = await copyNode('cluster-4', 0)
    const other = await copyNode('cluster-3', 0)
    for (const ending of ['json', 'txt'])
      await cp(
        join(other, `validator_keys/keystore-insecure-0.${ending}`),
        join(dir, `validator_keys/keystore-99.${ending}`),
      )
    const { opening, find } = open([{ keystoresDir: dir }])
    expect((await opening).keyShares.length).toBe(12)
    expect(find('keystores skipped: not in the cluster lock')).toMatchObject([{ files: ['keystore-99.json'] }])
    const lockFile = join(dir, 'cluster-lock.json')
    await expect(open([{ keystoresDir: other, lockFile }]).opening).rejects.toThrow(/none of the 2 keystores/)
  })

  it('refuses a folder that mixes two nodes', async () => {
    const dir = await copyNode('cluster-4', 0)
    const other = await copyNode('cluster-4', 3)
    for (const ending of ['json', 'txt'])
      await cp(
        join(other, `validator_keys/keystore-insecure-4.${ending}`),
        join(dir, `validator_keys/keystore-insecure-4.${ending}`),
        { force: true },
      )
    await expect(open([{ keystoresDir: dir }]).opening).rejects.toThrow(
      /mixes keystores of several nodes: keystore-insecure-\d+\.json of node \d, keystore-insecure-\d+\.json of node \d/,
    )
  })

  it('warns of weak encryption on mainnet only', async () => {
    const seven = first(loadFixtureCluster('cluster-7').nodes)
    const mainnet = open([{ keystoresDir: seven.keystoresDir }], { network: 'mainnet' })
    await mainnet.opening
    const weak = 'keystores are encrypted weakly: their passwords are cheap to guess'
    expect(mainnet.find(weak)).toMatchObject([{ count: 3 }])
    const hoodi = open([{ keystoresDir: first(loadFixtureCluster('cluster-3').nodes).keystoresDir }])
    await hoodi.opening
    expect(hoodi.find(weak)).toEqual([])
  })

  it('warns of a keystore that names another public key', async () => {
    const dir = await copyNode('cluster-3', 1)
    const file = join(dir, 'validator_keys/keystore-insecure-0.json')
    const json = JSON.parse(await readFile(file, 'utf8')) as { pubkey: string }
    await writeFile(file, JSON.stringify({ ...json, pubkey: 'aa'.repeat(48) }))
    const { opening, find } = open([{ keystoresDir: dir }])
    expect((await opening).keyShares.length).toBe(2)
    expect(find('keystores name another public key than their secret has; the secret counts').length).toBe(1)
  })
})

describe('wrong', () => {
  it('names every keystore that cannot be opened, and no password', async () => {
    const dir = await copyNode('cluster-4', 0)
    const keys = join(dir, 'validator_keys')
    await writeFile(join(keys, 'keystore-insecure-1.txt'), 'not-the-password')
    await rm(join(keys, 'keystore-insecure-2.txt'))
    await writeFile(join(keys, 'keystore-insecure-3.json'), '{"version": 4')
    const { opening } = open([{ keystoresDir: keys }])
    await expect(opening).rejects.toMatchObject({ code: 'KEYSTORE_UNREADABLE' })
    const message = await opening.catch((error: Error) => error.message)
    expect(message).toMatch(/keystore-insecure-1\.json: the checksum does not fit \(wrong password/)
    expect(message).toMatch(/keystore-insecure-2\.json: keystore-insecure-2\.txt cannot be read \(ENOENT\)/)
    expect(message).toMatch(/keystore-insecure-3\.json: .*JSON/)
    expect(message).not.toContain('not-the-password')
  })

  it('gives up after five of them', async () => {
    const dir = await copyNode('cluster-4', 0)
    for (let n = 0; n < 12; n++)
      await writeFile(join(dir, `validator_keys/keystore-insecure-${n}.txt`), 'not-the-password')
    const message = await open([{ keystoresDir: dir }]).opening.catch((error: Error) => String(error.message))
    expect(String(message).split('wrong password').length - 1).toBeLessThanOrEqual(8)
    expect(message).toMatch(/the others were not tried/)
  })

  it('opens a keystore whose password file ends in a newline or has outer spaces', async () => {
    const dir = await copyNode('cluster-3', 0)
    await appendFile(join(dir, 'validator_keys/keystore-insecure-0.txt'), '\n')
    await appendFile(join(dir, 'validator_keys/keystore-insecure-1.txt'), '  ')
    expect((await open([{ keystoresDir: dir }]).opening).keyShares.length).toBe(2)
  })

  it.each([
    ['another network', 'cluster-4', { network: 'mainnet' as const }, {}, /fork_version is 0x10000910 \(hoodi\)/],
    ['a pin', 'cluster-4', { lockHashes: [new Uint8Array(32)] }, {}, /not one of CLUSTER_LOCK_HASHES/],
    ['a node index', 'cluster-4', {}, { nodeIndex: 2 }, /is set to 2, but the keys .* are those of node 0/],
    [
      'a missing lock',
      'cluster-4',
      {},
      { lockFile: '/none/cluster-lock.json' },
      /\/none\/cluster-lock\.json cannot be read \(ENOENT\); OBOL_CLUSTER_LOCK_FILE/,
    ],
    ['no folder', 'cluster-4', {}, { keystoresDir: '/none' }, /\/none cannot be read \(ENOENT\); OBOL_KEYSTORES_DIR/],
  ] as const)('refuses because of %s', async (_, name, more, source, message) => {
    const { keystoresDir } = first(loadFixtureCluster(name).nodes)
    const options = { ...more, ...('lockHashes' in more ? { lockHashes: [...more.lockHashes] } : {}) }
    await expect(open([{ keystoresDir, ...source }], options as Parameters<typeof open>[1]).opening).rejects.toThrow(
      message,
    )
  })

  it('refuses a pinned lock that claims a version whose hash is not recomputed', async () => {
    const dir = await copyNode('cluster-4', 0)
    const file = join(dir, 'cluster-lock.json')
    const json = JSON.parse(await readFile(file, 'utf8')) as { cluster_definition: object; lock_hash: string }
    const address = `0x${'66'.repeat(20)}`
    const definition = {
      ...json.cluster_definition,
      withdrawal_address: address,
      fee_recipient_address: address,
      version: 'v1.4.0',
    }
    await rm(file, { force: true })
    await writeFile(file, JSON.stringify({ ...json, cluster_definition: definition }))
    const lockHashes = [new Uint8Array(Buffer.from(json.lock_hash.slice(2), 'hex'))]
    await expect(open([{ keystoresDir: dir }], { lockHashes }).opening).rejects.toThrow(/v1\.4\.0.*cannot pin/)
  })

  it('refuses a lock that was changed, with file and field', async () => {
    const dir = await copyNode('cluster-4', 0)
    const file = join(dir, 'cluster-lock.json')
    const text = await readFile(file, 'utf8')
    await rm(file, { force: true })
    await writeFile(file, text.replace('"threshold": 3', '"threshold": 2').replace('"threshold":3', '"threshold":2'))
    await expect(open([{ keystoresDir: dir }]).opening).rejects.toThrow(
      /cluster lock is refused: .*cluster-lock\.json: /,
    )
  })

  it('refuses a folder without keystores or without a lock near it', async () => {
    const dir = join(root, 'empty/inner')
    await mkdir(dir, { recursive: true })
    await expect(open([{ keystoresDir: dir }]).opening).rejects.toThrow(/holds no keystore/)
    await writeFile(join(dir, 'keystore-0.json'), '{}')
    await expect(open([{ keystoresDir: dir }]).opening).rejects.toThrow(/OBOL_CLUSTER_LOCK_FILE/)
  })
})

describe('fresh clusters', () => {
  const options = {
    network: { name: 'hoodi', genesisForkVersion: networks.hoodi.genesisForkVersion },
    withdrawalAddress: new Uint8Array(20).fill(1),
    feeRecipient: new Uint8Array(20).fill(2),
  }

  it('needs the node index where a threshold of 1 gives all nodes the same keys', async () => {
    const { nodes } = await makeCluster({ ...options, dir: join(root, 'one'), nodes: 3, threshold: 1, validators: 2 })
    const { keystoresDir } = first(nodes)
    await expect(open([{ keystoresDir }]).opening).rejects.toThrow(/threshold of 1/)
    const { keyShares } = await open([{ keystoresDir, nodeIndex: 2 }]).opening
    expect(shareIndexes(keyShares)).toEqual([3])
  })

  it('opens scrypt keystores', async () => {
    const made = await makeCluster({ ...options, dir: join(root, 'scrypt'), nodes: 3, threshold: 2, validators: 1 })
    const { keystoresDir } = first(made.nodes.slice(1))
    const share = first(first(made.validators).shares.slice(1))
    const kdf = { function: 'scrypt', n: 4096, r: 8, p: 1 } as const
    const file = join(keystoresDir, 'keystore-insecure-0')
    for (const ending of ['json', 'txt']) await rm(`${file}.${ending}`, { force: true })
    await writeFile(
      `${file}.json`,
      JSON.stringify(await encryptKeystore(share.secretKey, 'pass', { publicKey: share.publicKey, kdf })),
    )
    await writeFile(`${file}.txt`, 'pass')
    expect(shareIndexes((await open([{ keystoresDir }]).opening).keyShares)).toEqual([2])
  })
})
