import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { loadFixtureCluster } from '../../../../../test/support/keys/fixtures.ts'
import { listKeystores, openKeystores, unreadableKeystores } from './read-keystores.ts'

const engine = createBlstEngine()
const { nodes } = loadFixtureCluster('cluster-4')

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'read-keystores-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))
const fileOf = (name: string) => join(dir, name)

/** A keystore of the first node with its password, under this name. */
async function put(name: string, number = 0): Promise<string> {
  for (const ending of ['json', 'txt'])
    await cp(join(nodes[0]?.keystoresDir ?? '', `keystore-insecure-${number}.${ending}`), fileOf(`${name}.${ending}`))
  return fileOf(`${name}.json`)
}

/** What comes of these files, one after the other unless said otherwise. */
async function open(
  files: readonly string[],
  more: { mostProblems?: number; concurrency?: number; stopAfter?: number } = {},
) {
  const { mostProblems = 2, concurrency = 1, stopAfter = Number.POSITIVE_INFINITY } = more
  const stop = new AbortController()
  let opened = 0
  const onOpened = () => {
    if (++opened === stopAfter) stop.abort()
  }
  const outcomes = await openKeystores(files, engine, { mostProblems, concurrency, signal: stop.signal, onOpened })
  return { outcomes, opened, tried: [...outcomes.keys()] }
}

it('lists what is named like a keystore by number, one or many, and says where there is none', async () => {
  await expect(listKeystores(dir)).rejects.toMatchObject({ code: 'KEYSTORES_MISSING' })
  for (const name of ['keystore-10.txt', 'deposit-data.json', 'keystore-10.json.bak', 'old-keystore-1.json'])
    await writeFile(fileOf(name), '')
  await expect(listKeystores(dir)).rejects.toThrow('holds no keystore-*.json')
  await writeFile(fileOf('keystore-10.json'), '')
  expect(await listKeystores(dir)).toEqual([fileOf('keystore-10.json')])
  for (const name of ['keystore-9.json', 'keystore-insecure-0.json', 'keystore-100.json'])
    await writeFile(fileOf(name), '')
  expect(await listKeystores(dir)).toEqual(
    ['keystore-9', 'keystore-10', 'keystore-100', 'keystore-insecure-0'].map((name) => fileOf(`${name}.json`)),
  )
})

it('tries every file once, as many at once as are allowed', async () => {
  const files = await Promise.all([0, 1, 2, 3, 4].map((number) => put(`keystore-${number}`, number)))
  for (const concurrency of [1, 4]) {
    const { outcomes, opened } = await open(files, { concurrency })
    expect([[...outcomes.keys()].toSorted(), opened]).toEqual([files, 5])
    const keystores = files
      .map((file) => outcomes.get(file))
      .flatMap((found) => (found && 'keystore' in found ? found.keystore : []))
    expect(keystores.map(({ file }) => file)).toEqual([0, 1, 2, 3, 4].map((number) => `keystore-${number}.json`))
    expect(new Set(keystores.map(({ publicKey }) => String(publicKey))).size).toBe(5)
  }
})

it('gives up after so many that cannot be opened, and where it is stopped', async () => {
  const good = await put('keystore-0')
  const broken = ['a', 'b', 'c'].map((name) => fileOf(`keystore-${name}.json`))
  const [a = '', b = '', c = ''] = broken
  expect((await open([a, good, b, c, good])).tried).toEqual([a, good, b])
  expect((await open([a, b, c], { mostProblems: 3 })).tried).toEqual([a, b, c])
  expect((await open([a, good, b], { stopAfter: 2 })).tried).toEqual([a, good])
})

it('says of each what is wrong with it, without its password', async () => {
  const wrong = await put('keystore-1')
  await writeFile(fileOf('keystore-1.txt'), 'not-the-password')
  const alone = await put('keystore-2')
  await rm(fileOf('keystore-2.txt'))
  const gone = fileOf('keystore-3.json')
  const { outcomes } = await open([wrong, alone, gone], { mostProblems: 9 })
  expect(Object.fromEntries(outcomes)).toEqual({
    [wrong]: { problem: 'the checksum does not fit (wrong password, or a damaged file)' },
    [alone]: { problem: 'keystore-2.txt cannot be read (ENOENT)' },
    [gone]: { problem: 'keystore-3.json cannot be read (ENOENT)' },
  })
  const problems = new Map([['x.json', 'is bad']])
  expect(unreadableKeystores(problems, false).message).toBe('keystores that cannot be opened:\n  - x.json: is bad')
  expect(unreadableKeystores(problems, true).message).toMatch(/is bad\n {2}- … the others were not tried$/)
})

it('knows which are weak, and which name another key than they hold', async () => {
  const file = await put('keystore-0')
  const json = JSON.parse(await readFile(file, 'utf8'))
  const found = async () => {
    const outcome = (await open([file])).outcomes.get(file)
    return outcome !== undefined && 'keystore' in outcome ? outcome.keystore : undefined
  }
  expect(await found()).toMatchObject({ isMislabelled: false, isWeak: true })
  await writeFile(file, JSON.stringify({ ...json, pubkey: 'aa'.repeat(48) }))
  expect(await found()).toMatchObject({ isMislabelled: true })
  const { pubkey: _, ...unnamed } = json
  await writeFile(file, JSON.stringify(unnamed))
  expect(await found()).toMatchObject({ isMislabelled: false })
})
