import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { loadFixtureCluster } from '../../../../../test/support/keys/fixtures.ts'
import { createLockReader } from './lock.ts'
import { createObolNode } from './node.ts'

const engine = createBlstEngine()
const { nodes, lockFile, expected } = loadFixtureCluster('cluster-dkg')

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'obol-node-'))
  await cp(nodes[1]?.keystoresDir ?? '', dir, { recursive: true })
})
afterEach(() => rm(dir, { recursive: true, force: true }))

/** A node of a folder, and a look at it with what it opens. */
function startNode() {
  const events = {
    ...{ lockRead: vi.fn(), lockDoubtful: vi.fn(), keystoresSkipped: vi.fn(), keystoresMislabelled: vi.fn() },
    ...{ keystoresWeak: vi.fn(), keysPartial: vi.fn(), nodeFound: vi.fn() },
  }
  const options = { lockHashes: [], network: networks[expected.network], engine, events: events as never }
  const source = { keystoresDir: dir, lockFile, nodeIndex: undefined }
  const node = createObolNode(source, { ...options, readLock: createLockReader(options) })
  let opened = 0
  const reload = async (signal = new AbortController().signal) => {
    opened = 0
    await node.open(await node.look(), signal, () => {
      opened++
    })
  }
  return { node, events, reload, opened: () => opened }
}
const KEYSTORES = expected.validators.length
const fileOf = (number: number, end = 'json') => join(dir, `keystore-${number}.${end}`)
const isWiped = (secretKey: Uint8Array | undefined) => secretKey?.every((byte) => byte === 0)

it('opens each keystore once, and matches again only where something is new', async () => {
  const { node, reload, opened, events } = startNode()
  await reload()
  const { held } = node
  expect([held.length, opened(), held.map(({ keyShare }) => keyShare.shareIndex)]).toEqual([
    ...[KEYSTORES, KEYSTORES, Array(KEYSTORES).fill(2)],
  ])
  await reload()
  expect([node.held === held, opened()]).toEqual([true, 0])
  expect(events.nodeFound).toHaveBeenCalledTimes(1)
})

it('wipes the secret of a keystore that goes, and none of those that stay, until it is closed', async () => {
  const { node, reload } = startNode()
  await reload()
  const secrets = node.held.map(({ secretKey }) => secretKey)
  await rm(fileOf(0))
  await reload()
  const kept = node.held.map(({ secretKey }) => secretKey)
  expect(kept.length).toBe(KEYSTORES - 1)
  expect(secrets.map(isWiped).toSorted()).toEqual([...kept.map(() => false), true])
  expect(kept.map(isWiped)).toEqual(kept.map(() => false))
  node.close()
  expect([node.held, secrets.map(isWiped)]).toEqual([[], secrets.map(() => true)])
})

it('takes a key that came in place of another', async () => {
  const { node, reload, events } = startNode()
  await reload()
  for (const end of ['json', 'txt']) await cp(fileOf(1, end), fileOf(0, end), { force: true })
  await reload()
  expect(node.held.length).toBe(KEYSTORES - 1)
  expect(events.keysPartial).toHaveBeenCalledTimes(1)
})

it('with a single key goes on to take what can be opened', async () => {
  const { node, reload } = startNode()
  for (let number = 1; number < KEYSTORES; number++) await rename(fileOf(number), `${fileOf(number)}.away`)
  await reload()
  expect(node.held.length).toBe(1)
  await rename(`${fileOf(1)}.away`, fileOf(1))
  await writeFile(fileOf(99), '{')
  await expect(reload()).rejects.toThrow(/keystore-99.json: /)
  expect(node.held.length).toBe(2)
})

it('says at each look that keystores do not fit the lock, and holds what it held', async () => {
  const { node, reload } = startNode()
  await reload()
  const { held } = node
  for (const end of ['json', 'txt'])
    await cp(join(nodes[2]?.keystoresDir ?? '', `keystore-0.${end}`), fileOf(50, end), { force: true })
  for (let look = 0; look < 2; look++) await expect(reload()).rejects.toMatchObject({ code: 'NODE_INDEX_MIXED' })
  expect([node.held === held, held.some(({ secretKey }) => isWiped(secretKey))]).toEqual([true, false])
  await rm(fileOf(50))
  await reload()
  expect(node.held.length).toBe(KEYSTORES)
})

it('names a keystore that cannot be opened, keeps what it held, and tries it again when its password changes', async () => {
  const { node, reload, opened } = startNode()
  await reload()
  const [file, password] = [fileOf(0), fileOf(0, 'txt')]
  await rename(password, `${password}.away`)
  await writeFile(file, `${await readFile(file, 'utf8')}\n`)
  await expect(reload()).rejects.toThrow(/keystore-0.json: /)
  expect([node.held.length, opened(), node.held.some(({ secretKey }) => isWiped(secretKey))]).toEqual([
    ...[KEYSTORES, 1, false],
  ])
  await expect(reload()).rejects.toThrow(/keystore-0.json: /)
  expect(opened()).toBe(0)
  await rename(`${password}.away`, password)
  await reload()
  expect([node.held.length, opened()]).toEqual([KEYSTORES, 1])
})

it('gives up after some that cannot be opened at first, and later tries all', async () => {
  const numbers = Array.from({ length: 12 }, (_, at) => at + 20)
  const { node, reload, opened } = startNode()
  await reload()
  for (const number of numbers) await writeFile(fileOf(number), '{')
  const problems = await reload().catch(({ message }: Error) => message)
  expect(String(problems).match(/keystore-\d\d\.json/g)?.length).toBe(12)
  expect([opened(), node.held.length, String(problems).includes('not tried')]).toEqual([12, KEYSTORES, false])
  const other = startNode()
  for (let number = 0; number < KEYSTORES; number++) await rm(fileOf(number))
  await expect(other.reload()).rejects.toThrow('the others were not tried')
  expect(other.opened()).toBeGreaterThanOrEqual(5)
  // Those that are under way with the fifth end too.
  expect(other.opened()).toBeLessThanOrEqual(8)
})

it('that is given up takes nothing over', async () => {
  const { node, reload } = startNode()
  await expect(reload(AbortSignal.abort())).rejects.toMatchObject({ code: 'STOPPED' })
  expect(node.held).toEqual([])
})
