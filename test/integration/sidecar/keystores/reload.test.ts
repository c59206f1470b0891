/** Keys that come and go while a sidecar runs, and new files that are broken: what works goes on working. */

import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createEvents } from '../../../../apps/sidecar/src/events.ts'
import { openObolKeystore } from '../../../../apps/sidecar/src/keystores/obol/obol.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { fromHex, toHex } from '../../../../libs/common/src/hex.ts'
import { loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import {
  keysharesJson,
  loadSsvCluster,
  makeOperators,
  makeSsvValidators,
  ssvPath,
  writePlainKeys,
} from '../../../support/keys/ssv.ts'
import { eventually } from '../../../support/world/world.ts'
import { startStandInRelayer } from '../stand-in.ts'
import { configOf, engine, expectAllRight, first, hasten, keysOf, recordingLogger, rootOf } from '../support.ts'
import { lively, ssvConfig, startLogged } from './ssv-support.ts'

let root = ''
let count = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sidecar-reload-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))
const signal = new AbortController().signal

/** A node's folder with some of its keystores; `put` adds others, `take` removes them. */
async function folderOf(name: 'cluster-3' | 'cluster-4', numbers: readonly number[], node = 0) {
  const { dir: from } = first(loadFixtureCluster(name).nodes.slice(node))
  const dir = join(root, String(count++))
  const keys = join(dir, 'validator_keys')
  await mkdir(keys, { recursive: true })
  await writeFile(join(dir, 'cluster-lock.json'), await readFile(join(from, 'cluster-lock.json')))
  const file = (n: number, ending = 'json') => join(keys, `keystore-insecure-${n}.${ending}`)
  const put = async (n: number, endings = ['txt', 'json']) => {
    for (const ending of endings)
      await writeFile(file(n, ending), await readFile(join(from, `validator_keys/keystore-insecure-${n}.${ending}`)))
  }
  const take = (n: number) => rm(file(n))
  for (const n of numbers) await put(n)
  return { dir, keys, file, put, take }
}

async function open(dirs: readonly string[], lockHashes: Uint8Array[] = []) {
  const { logger, find } = recordingLogger()
  const keystore = await openObolKeystore({
    nodes: dirs.map((keystoresDir) => ({ keystoresDir, lockFile: undefined, nodeIndex: undefined })),
    lockHashes,
    network: networks.hoodi,
    engine,
    events: createEvents(logger),
    signal,
  })
  const held = () => keystore.keyShares.map(({ validatorPublicKey }) => KEYS.indexOf(validatorPublicKey))
  const problem = () =>
    keystore.reload(signal).then(
      () => undefined,
      (error: Error) => error.message,
    )
  const signs = async (n: number) => {
    const keyShare = { validatorPublicKey: KEYS[n] ?? '', shareIndex: 1 }
    const signingRoot = new Uint8Array(32).fill(9)
    const request = { signingRoot, keyShare, message: { kind: 'exit', epoch: 0, validatorIndex: 0 } as const }
    const signature = await keystore.sign(request, signal)
    const share = loadFixtureCluster('cluster-4').expected.validators[n]?.public_key_shares[0]?.public_key_share ?? ''
    return engine.verify(fromHex(share), signingRoot, signature)
  }
  return { keystore, held, problem, signs, find }
}
const KEYS = keysOf('cluster-4')

describe('keystores of Obol', () => {
  it('come and go with their files, and only new ones are decrypted', async () => {
    const folder = await folderOf('cluster-4', [0, 1, 2])
    const { keystore, held, signs } = await open([folder.dir])
    const [before, kept] = [keystore.keyShares, keystore.keyShares[1]]
    expect(held()).toEqual([0, 1, 2])
    expect(await keystore.reload(signal)).toBe(false)
    expect(keystore.keyShares).toBe(before)
    // Nobody could open this one again.
    await writeFile(folder.file(1, 'txt'), 'another password')
    await folder.put(7)
    await folder.take(0)
    expect(await keystore.reload(signal)).toBe(true)
    expect(held()).toEqual([1, 2, 7])
    expect(keystore.keyShares[0]).toBe(kept)
    expect([await signs(1), await signs(7)]).toEqual([true, true])
    await expect(signs(0)).rejects.toThrow('not held')
    await folder.put(0)
    expect(await keystore.reload(signal)).toBe(true)
    expect([held(), await signs(0)]).toEqual([[0, 1, 2, 7], true])
  })

  it('that are new and broken take nothing away, keep no good one back, and are tried again when they change', async () => {
    const folder = await folderOf('cluster-4', [0])
    const { held, problem, signs, keystore } = await open([folder.dir])
    await folder.put(1, ['json'])
    await folder.put(2)
    await writeFile(folder.file(3), '{"version": 4')
    await writeFile(folder.file(3, 'txt'), 'x')
    await folder.put(4)
    await writeFile(folder.file(4, 'txt'), 'wrong')
    const expected = [
      'keystores that cannot be opened:',
      `  - ${folder.file(1)}: keystore-insecure-1.txt cannot be read (ENOENT)`,
      `  - ${folder.file(3)}: keystore is not JSON`,
      `  - ${folder.file(4)}: the checksum does not fit (wrong password, or a damaged file)`,
    ].join('\n')
    expect(await problem()).toBe(expected)
    expect(held()).toEqual([0, 2])
    const known = keystore.keyShares
    expect(await problem()).toBe(expected)
    expect(keystore.keyShares).toBe(known)
    // The missing halves arrive.
    await folder.put(1, ['txt'])
    await folder.put(3)
    await folder.put(4, ['txt'])
    expect(await problem()).toBeUndefined()
    expect(held()).toEqual([0, 1, 2, 3, 4])
    // A working key whose file is overwritten by half of one.
    await writeFile(folder.file(0), (await readFile(folder.file(0), 'utf8')).slice(0, 99))
    expect(await problem()).toContain(`- ${folder.file(0)}: keystore is not JSON`)
    expect([held(), await signs(0)]).toEqual([[0, 1, 2, 3, 4], true])
    await folder.take(0)
    expect([await problem(), held()]).toEqual([undefined, [1, 2, 3, 4]])
  })

  it('stay when the folder cannot be read, is empty, or holds another node’s; one node’s fault is not another’s', async () => {
    const folder = await folderOf('cluster-4', [0, 1])
    const second = await folderOf('cluster-4', [5], 1)
    const { held, problem, signs } = await open([folder.dir, second.dir])
    expect(held()).toEqual([0, 1, 5])
    await rename(folder.keys, `${folder.keys}-away`)
    await second.put(6)
    // Without validator_keys in it the node's folder itself is looked at.
    expect(await problem()).toBe(
      `the keystores folder ${folder.dir} holds no keystore-*.json: name the right one with OBOL_KEYSTORES_DIR`,
    )
    expect(held()).toEqual([0, 1, 5, 6])
    await rename(`${folder.keys}-away`, folder.keys)
    const other = first(loadFixtureCluster('cluster-4').nodes.slice(3))
    for (const ending of ['txt', 'json'])
      await cp(join(other.keystoresDir, `keystore-insecure-9.${ending}`), join(folder.keys, `keystore-99.${ending}`))
    expect(await problem()).toBe(
      `${folder.dir} mixes keystores of several nodes: keystore-99.json of node 3, keystore-insecure-1.json of node 0; keep each node's in a folder of its own`,
    )
    expect([held(), await signs(0)]).toEqual([[0, 1, 5, 6], true])
    for (const name of await readdir(folder.keys)) if (name.startsWith('keystore-99')) await rm(join(folder.keys, name))
    expect(await problem()).toBeUndefined()
  })

  it('keep their lock when the new one is refused, and follow one that is right', async () => {
    const folder = await folderOf('cluster-4', [0, 1])
    const lockFile = join(folder.dir, 'cluster-lock.json')
    const text = await readFile(lockFile, 'utf8')
    const { lock_hash } = JSON.parse(text) as { lock_hash: string }
    const { held, problem, signs, keystore, find } = await open([folder.dir], [fromHex(lock_hash)])
    await writeFile(lockFile, text.slice(0, 999))
    expect(await problem()).toBe(`the cluster lock is refused: ${lockFile}: is not JSON`)
    const other = await readFile(loadFixtureCluster('cluster-3').lockFile, 'utf8')
    await writeFile(lockFile, other)
    const { lock_hash: stranger } = JSON.parse(other) as { lock_hash: string }
    expect(await problem()).toBe(`${lockFile} has the lock_hash ${stranger}, which is not one of CLUSTER_LOCK_HASHES`)
    await rm(lockFile)
    expect(await problem()).toMatch(/^there is no cluster-lock.json in /)
    expect([held(), await signs(1)]).toEqual([[0, 1], true])
    const before = keystore.keyShares
    await writeFile(lockFile, `${text}\n`)
    expect(await problem()).toBeUndefined()
    expect(keystore.keyShares).toBe(before)
    expect(find('cluster lock verified').length).toBe(2)
  })
})

describe('a sidecar', () => {
  it('signs with a key that comes, not with one that went, and says what is wrong with a third', async () => {
    const folder = await folderOf('cluster-4', [0, 1])
    await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['exits'] })
    KEYS.slice(0, 4).forEach((key, position) => {
      relayer.addExit(key, 10 + position)
    })
    const { logger, find } = recordingLogger()
    const config = lively(hasten(configOf('cluster-4', 0, relayer.url, { OBOL_KEYSTORES_DIR: folder.dir }), 100))
    await using sidecar = await startSidecar(config, { logger })
    const posted = (index: number) => relayer.posts.filter(({ validatorIndex }) => validatorIndex === index).length
    await relayer.until(() => posted(10) > 0 && posted(11) > 0)
    await folder.put(2)
    await folder.take(0)
    await relayer.until(() => posted(12) > 0)
    expect(find('keys changed').at(-1)?.['keys']).toBe(2)
    expect(await sidecar.metrics()).toContain('dvt_sidecar_keys 2')
    await folder.put(3, ['json'])
    await eventually('the check of the keys', async () =>
      sidecar.ready().checks['keys']?.ok === false ? true : undefined,
    )
    expect(sidecar.ready().checks['keys']?.message).toContain('keystore-insecure-3.txt cannot be read (ENOENT)')
    const done = relayer.posts.length
    relayer.addExit(KEYS[0] ?? '', 20)
    relayer.addExit(KEYS[1] ?? '', 21)
    await relayer.until(() => posted(21) > 0)
    expect(posted(20)).toBe(0)
    await folder.put(3, ['txt'])
    await relayer.until(() => posted(13) > 0 && sidecar.ready().status === 'ready')
    expect(relayer.posts.length).toBeGreaterThan(done)
    expectAllRight('cluster-4', relayer.posts)
    expect(find('a round failed unexpectedly, the next one comes')).toEqual([])
  })
})

describe('keyshares files', () => {
  it('that come into the folder are read, those that are broken cost nothing, and what goes takes its keys along', async () => {
    await writePlainKeys(root, [280])
    const dir = join(root, String(count++))
    await mkdir(dir)
    await cp(ssvPath('cluster-4/keyshares.json'), join(dir, 'keyshares.json'))
    await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['exits'] })
    const [seven] = loadSsvCluster('cluster-7').validators
    relayer.addExit(seven?.public_key ?? '', 7)
    const environment = { SSV_OPERATOR_KEY_FILE: join(root, 'key-280'), SSV_KEYSHARES_FILES: dir }
    await using one = await startLogged(lively(ssvConfig(relayer.url, environment)))
    expect(one.find('keys loaded')).toMatchObject([{ keys: 2 }])
    const fresh = join(dir, 'keyshares-1732147200.json')
    const text = await readFile(ssvPath('cluster-7/keyshares.json'), 'utf8')
    await writeFile(fresh, text.slice(0, 500))
    const keys = () => one.sidecar.ready().checks['keys']
    await eventually('the fault', async () => (keys()?.ok === false ? true : undefined))
    expect(keys()?.message).toBe(`${fresh}: is not JSON`)
    await appendFile(fresh, text.slice(500))
    await relayer.until(() => relayer.posts.length > 0 && keys()?.ok === true)
    expect(relayer.posts[0]).toMatchObject({ publicKey: seven?.public_key, shareIndex: 280 })
    await rm(join(dir, 'keyshares.json'))
    await eventually('one key', async () =>
      one.find('keys changed', { removed: 2, keys: 1 }).length > 0 ? true : undefined,
    )
    await rm(fresh)
    // A look under way while the file went may still say that it cannot be read.
    const empty = `the folder ${dir} of SSV_KEYSHARES_FILES holds no keyshares*.json: name the right one`
    await eventually('the empty folder', async () => (keys()?.message === empty ? true : undefined))
    expect(await one.sidecar.metrics()).toContain('dvt_sidecar_keys 1')
  })

  it('of a validator that was split anew bring its new share, and the old signature is worth nothing', async () => {
    const [operators, owner] = [makeOperators([7, 8, 9, 10]), `0x${'a3'.repeat(20)}`]
    const [old] = makeSsvValidators(1, operators, { owner })
    const [again] = makeSsvValidators(1, operators, { owner, firstNonce: 1, secretKey: old?.secretKey })
    if (old === undefined || again === undefined) throw new Error('no validator')
    const [file, keyFile] = [join(root, `keyshares-${count}.json`), join(root, `own-${count++}`)]
    await writeFile(file, keysharesJson([old]))
    await writeFile(keyFile, first(operators).keyFile)
    await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['exits'] })
    relayer.takes = false
    relayer.addExit(toHex(old.publicKey), 7)
    const environment = { SSV_OPERATOR_KEY_FILE: keyFile, SSV_KEYSHARES_FILES: file }
    await using one = await startLogged(lively(ssvConfig(relayer.url, environment)))
    await relayer.until(() => relayer.posts.length > 0)
    const before = first(relayer.posts).signature
    await writeFile(`${file}.new`, keysharesJson([again]))
    await rename(`${file}.new`, file)
    await relayer.until(() => relayer.posts.some(({ signature }) => signature !== before))
    expect(one.find('keys changed')).toMatchObject([{ added: 0, removed: 0, keys: 1 }])
    const share = first(again.shares)
    const { signature } = first(relayer.posts.slice(-1))
    expect(toHex(engine.sign(share.secretKey, rootOf('hoodi', 7)))).toBe(signature)
  })
})
