import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { loadFixtureCluster } from '../../../../../test/support/keys/fixtures.ts'
import { openObolKeystore } from './obol.ts'

const { nodes, lockFile, expected } = loadFixtureCluster('cluster-3')
const KEYS = expected.validators.length
const engine = createBlstEngine()
const signal = new AbortController().signal

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'obol-'))
})
afterEach(async () => {
  vi.useRealTimers()
  await rm(dir, { recursive: true, force: true })
})

/** The keystores of these nodes, from 0, each copied into a folder of its own; and what is told of them. */
async function open(numbers: readonly number[], publicKeyOf: BlsEngine['publicKeyOf'] = engine.publicKeyOf) {
  const folders = numbers.map((number) => join(dir, String(number)))
  for (const [at, folder] of folders.entries())
    await cp(nodes[numbers[at] ?? 0]?.keystoresDir ?? '', folder, { recursive: true })
  const events = {
    ...{ decrypting: vi.fn(), keysLoaded: vi.fn(), keysPartial: vi.fn(), nodeFound: vi.fn() },
    ...{ keystoresWeak: vi.fn(), lockRead: vi.fn(), lockDoubtful: vi.fn() },
  }
  const keystore = await openObolKeystore({
    nodes: folders.map((keystoresDir) => ({ keystoresDir, lockFile, nodeIndex: undefined })),
    ...{ network: networks[expected.network], lockHashes: [], engine: { ...engine, publicKeyOf } },
    ...{ events: events as never, signal },
  })
  return { keystore, events, folders }
}

it('tells every three seconds how many keystores of all nodes are decrypted, and how long it took', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'], now: 0 })
  vi.advanceTimersByTime(7000)
  const { keystore, events } = await open([0, 2], (secretKey) => {
    vi.advanceTimersByTime(3000)
    return engine.publicKeyOf(secretKey)
  })
  const all = 2 * KEYS
  expect(events.decrypting.mock.calls).toEqual(Array.from({ length: all }, (_, at) => [at, all, 3 * (at + 1)]))
  expect(events.keysLoaded.mock.calls).toEqual([[all, 2, 3 * all]])
  expect([keystore.keyShares.length, vi.getTimerCount()]).toEqual([all, 0])
})

it('that looks again says what is wrong with one node as it is, and with several of them all at once', async () => {
  const { keystore, folders } = await open([0, 1, 2])
  expect(await keystore.reload(signal)).toBe(false)
  const problem = () =>
    keystore.reload(signal).then(
      (isChanged) => isChanged,
      ({ code, message }) => [code, message],
    )
  const words = (folder = '') =>
    `keystores that cannot be opened:\n  - ${join(folder, 'keystore-99.json')}: keystore is not JSON`
  const spoil = async (folder = '') => {
    for (const ending of ['json', 'txt']) await writeFile(join(folder, `keystore-99.${ending}`), '{')
  }
  await spoil(folders[1])
  expect(await problem()).toEqual(['KEYSTORE_UNREADABLE', words(folders[1])])
  await spoil(folders[0])
  expect(await problem()).toEqual(['KEYS_UNREADABLE', `${words(folders[0])}; ${words(folders[1])}`])
  expect(keystore.keyShares.length).toBe(3 * KEYS)
  for (const folder of folders.slice(0, 2)) await rm(join(folder, 'keystore-99.json'))
  expect(await problem()).toBe(false)
})
