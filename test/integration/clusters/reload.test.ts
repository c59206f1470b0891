/**
 * Files that change while a relayer process runs: tokens, cluster locks, the key list. They are taken over by themselves and on SIGHUP, no
 * request is dropped meanwhile, and a broken one changes nothing and is named by `/ready`, the log and a metric.
 */

import { randomBytes } from 'node:crypto'
import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Ready, Whoami } from '@dvt-relayer/api/schemas.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { keysharesJson, makeOperators, makeSsvValidators } from '../../support/keys/ssv.ts'
import { createRelayerDatabase } from '../../support/services/postgres.ts'
import { type AppProcess, startProcess } from '../../support/services/process.ts'
import { ask, eventually, startWorld, type World } from '../../support/world/world.ts'

const admin = createToken('admin', 'admin', '*')
const [first, second] = [createToken('node-1', 'sidecar', '1'), createToken('node-2', 'sidecar', '2')]
const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` })
const linesOf = (...tokens: { line: string }[]) => `${tokens.map(({ line }) => line).join('\n')}\n`

describe.skipIf(skipWithoutAnvil)('files that change', () => {
  let world: World
  beforeAll(async () => {
    world = await startWorld({ oracles: 3, threshold: 2 })
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  async function makeLock(name: string): Promise<{ lockFile: string; keys: string[]; vault: string }> {
    const dir = join(await folder(), name)
    const vault = randomBytes(20)
    const cluster = await makeCluster({
      ...{ dir, nodes: 4, threshold: 3, validators: 2, network: networks.hoodi, name },
      withdrawalAddress: vault,
      feeRecipient: randomBytes(20),
    })
    const keys = cluster.validators.map(({ publicKey }) => toHex(publicKey))
    return { lockFile: cluster.lockFile, keys, vault: toHex(vault) }
  }
  async function folder(): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'dvt-reload-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    return dir
  }

  /** A relayer process with a tokens file, a lock and a key list that may be replaced. */
  async function start(app: 'relayer' | 'quick relayer', role = 'all') {
    const dir = await folder()
    const database = await createRelayerDatabase()
    onTestFinished(() => database[Symbol.asyncDispose]())
    const files = { tokens: join(dir, 'tokens'), lock: join(dir, 'lock.json'), keys: join(dir, 'keys.csv') }
    const cluster = await makeLock('one')
    await writeFile(files.tokens, linesOf(admin, first))
    await copyFile(cluster.lockFile, files.lock)
    await writeFile(files.keys, `${cluster.keys[0]}\n`)
    const relayer = startProcess(
      app,
      world.environment({
        ROLE: role,
        DATABASE_URL: database.url,
        AUTH_TOKENS_FILE: files.tokens,
        CLUSTER_LOCK_FILES: files.lock,
        PUBLIC_KEYS_FILE: files.keys,
      }),
    )
    onTestFinished(() => relayer[Symbol.asyncDispose]())
    const url = String((await relayer.logged('relayer started'))['url'])
    const client = new pg.Client({ connectionString: database.url })
    client.on('error', () => {})
    await client.connect()
    onTestFinished(() => client.end())
    const query = async (text: string) => (await client.query(text)).rows
    return {
      relayer,
      url,
      files,
      cluster,
      query,
      whoami: (who: { token: string }) => ask(url, '/whoami', { headers: bearer(who) }),
    }
  }
  type Started = Awaited<ReturnType<typeof start>>

  /** As those do it who must not be seen half way: ConfigMaps, editors. */
  async function replace(file: string, content: string | { copyOf: string }): Promise<void> {
    const next = join(dirname(file), `next-${randomBytes(4).toString('hex')}`)
    if (typeof content === 'string') await writeFile(next, content)
    else await copyFile(content.copyOf, next)
    await rename(next, file)
  }

  const files = async (url: string) =>
    ((await ask(url, '/ready', { headers: bearer(admin) })).json as Ready).checks['files']
  const untilNamed = (url: string, words: RegExp) =>
    eventually(`/ready names ${words}`, async () => {
      const check = await files(url)
      return check?.ok === false && words.test(check.message ?? '') ? check.message : undefined
    })
  const untilGood = (url: string) =>
    eventually('/ready is content', async () => ((await files(url))?.ok === true ? true : undefined))
  const linesWith = (relayer: AppProcess, words: string) =>
    relayer
      .output()
      .split('\n')
      .filter((line) => line.includes(words))

  const untilStatus = (started: Started, who: { token: string }, status: number) =>
    eventually(`${status}`, async () => ((await started.whoami(who)).status === status ? true : undefined))

  it.each(['all', 'api', 'worker'])(
    'tokens of a %s: one comes, one goes, and a broken file changes nothing',
    async (role) => {
      const started = await start('quick relayer', role)
      const { url, files: paths, relayer } = started
      expect([(await started.whoami(first)).status, (await started.whoami(second)).status]).toEqual([200, 401])
      // A request that waits goes on.
      const waiting =
        role === 'worker' ? undefined : ask(url, '/exits?wait=25&after=999999', { headers: bearer(first) })
      await replace(paths.tokens, linesOf(admin, second))
      await untilStatus(started, second, 200)
      expect((await started.whoami(first)).status).toBe(401)

      await replace(paths.tokens, `${linesOf(admin, first)}top-secret nonsense\n`)
      const message = await untilNamed(url, /AUTH_TOKENS_FILE is not valid/)
      expect(message).toMatch(/line 3: .*; what was read before stays in force$/s)
      expect([(await started.whoami(first)).status, (await started.whoami(second)).status]).toEqual([401, 200])
      expect((await ask(url, '/metrics', { headers: bearer(admin) })).text).toContain(
        'dvt_relayer_dependency_up{dependency="files"} 0',
      )
      await replace(paths.tokens, linesOf(admin, first, second))
      await untilGood(url)
      expect((await started.whoami(first)).status).toBe(200)
      expect(linesWith(relayer, 'AUTH_TOKENS_FILE is not valid')).toHaveLength(1)
      expect(relayer.output()).not.toContain('top-secret')
      await relayer.end('SIGTERM')
      if (waiting !== undefined) expect((await waiting).status).toBe(200)
    },
  )

  it('a lock is added and the key list changed, and neither where it is broken', async () => {
    const started = await start('quick relayer')
    const { url, files: paths, cluster } = started
    const other = await makeLock('two')
    const clusters = async () => ((await started.whoami(admin)).json as Whoami).clusters.map(({ name }) => name)
    expect(await clusters()).toEqual(['one'])

    await replace(paths.lock, '{"half": ')
    await untilNamed(url, /lock\.json/)
    // What is beside it is taken all the same.
    await replace(paths.keys, `${cluster.keys[1]},${cluster.vault}\n`)
    await eventually('the new list', async () =>
      (await started.query('select from validators where listed_vault is not null')).at(0),
    )
    await replace(paths.lock, { copyOf: other.lockFile })
    await untilGood(url)
    await eventually('the second cluster', async () => ((await clusters()).length === 2 ? true : undefined))
    await replace(paths.keys, 'no key\n')
    await untilNamed(url, /PUBLIC_KEYS_FILE .* line 1 is not a validator public key/s)
  })

  it('keyshares files that come into a folder, and one of them that is broken', async () => {
    const dir = await folder()
    const owner = toHex(randomBytes(20))
    const [one, two] = makeSsvValidators(2, makeOperators([1, 2, 3, 4]), { owner })
    if (one === undefined || two === undefined) throw new Error('no validators')
    await writeFile(join(dir, 'keyshares-1.json'), keysharesJson([one]))
    const database = await createRelayerDatabase()
    onTestFinished(() => database[Symbol.asyncDispose]())
    const logged: string[] = []
    const logger = createLogger({ level: 'info', format: 'json', destination: { write: (line) => logged.push(line) } })
    await using relayer = await world.startRelayer({ DATABASE_URL: database.url, SSV_KEYSHARES_FILES: dir }, { logger })
    const check = async () => ((await ask(relayer.url, '/ready')).json as Ready).checks['files']
    const isKnown = async ({ publicKey }: { publicKey: Uint8Array }) =>
      (await ask(relayer.url, `/validators/${toHex(publicKey)}/explain`)).status === 200
    expect([await isKnown(one), await isKnown(two)]).toEqual([true, false])
    const broken = join(dir, 'keyshares-2.json')
    await writeFile(broken, keysharesJson([two]).replace(toHex(two.publicKey), toHex(one.publicKey)))
    await eventually('the file is named', async () =>
      (await check())?.message?.includes('keyshares-2.json') === true ? true : undefined,
    )
    expect(await isKnown(one)).toBe(true)
    await writeFile(broken, keysharesJson([two]))
    await eventually('the second validator', async () => ((await isKnown(two)) ? true : undefined))
    await eventually('the file is right', async () => ((await check())?.ok === true ? true : undefined))
    expect(logged.filter((line) => line.includes('"msg":"SSV validators imported"'))).toHaveLength(2)
  })

  it('SIGHUP has all of them read at once, and requests are answered meanwhile', async () => {
    const started = await start('relayer')
    const { relayer, url, files: paths } = started
    await writeFile(paths.tokens, linesOf(admin, second))
    let isOver = false
    const asking = (async () => {
      const statuses = new Set<number>()
      while (!isOver) statuses.add((await ask(url, '/info', { headers: bearer(admin) })).status)
      return statuses
    })()
    relayer.child.kill('SIGHUP')
    await untilStatus(started, second, 200)
    await eventually('locks and keys too', async () =>
      linesWith(relayer, 'files were read again').length >= 2 ? true : undefined,
    )
    isOver = true
    expect([...(await asking)]).toEqual([200])
    expect(relayer.child.exitCode).toBeNull()
  })
})
