import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { findEmbeddedPostgres, startEmbeddedPostgres } from '../../../libs/db/src/embedded/embedded-postgres.ts'
import { linkLibraries } from '../../../libs/db/src/embedded/postgres-binaries.ts'

const root = mkdtempSync(join(tmpdir(), 'dvt-embedded-'))
const children: ChildProcess[] = []
let folders = 0
const newFolder = () => join(root, `data-${folders++}`)
const start = (dataDir: string) => startEmbeddedPostgres({ dataDir, logger: silentLogger })
const script = join(import.meta.dirname, '..', '..', 'support', 'services', 'embedded-postgres-child.ts')

afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(root, { recursive: true, force: true })
})

/** Whether a user without rights of its own can pass every folder down to this one. */
function isReachableByNobody(folder: string): boolean {
  for (let path = folder; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false
    if (path === dirname(path)) return true
  }
}

function startChild(dataDir: string, env: NodeJS.ProcessEnv = process.env) {
  const child = spawn(process.execPath, [script, dataDir], { stdio: ['pipe', 'pipe', 'inherit'], env })
  children.push(child)
  const line = once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text))
  return {
    child,
    line,
    kill: async () => {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

describe('embedded postgresql', () => {
  test('starts, keeps what was written and its port, and wants the password', async () => {
    const folder = newFolder()
    const first = await start(folder)
    await query(first.url, 'create table t as select 42 as a')
    // Who only looks finds it while it runs.
    expect(findEmbeddedPostgres(folder)).toBe(first.url)
    await first[Symbol.asyncDispose]()
    expect(findEmbeddedPostgres(folder)).toBeUndefined()
    await using again = await start(folder)
    expect(again.url).toBe(first.url)
    expect(await query(again.url, 'select a from t')).toEqual([{ a: 42 }])
    const wrong = new URL(again.url)
    wrong.password = 'wrong'
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
    expect(statSync(join(folder, 'postgres', 'connection.json')).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(folder, 'postgres')).sort()).toEqual(['connection.json', 'data', 'log', 'log.1'])
  })

  test('starts at another port when somebody takes its own just before it does', async () => {
    const folder = newFolder()
    const thief = createServer()
    const { close } = Server.prototype
    let taken: string | undefined
    const closing = vi.spyOn(Server.prototype, 'close').mockImplementationOnce(function (this: Server, closed) {
      const { port } = this.address() as AddressInfo
      taken = `127.0.0.1:${port}`
      return close.call(this, () => thief.listen(port, '127.0.0.1', () => closed?.()))
    })
    try {
      await using server = await start(folder)
      expect(taken).toBeDefined()
      expect(new URL(server.url).host).not.toBe(taken)
      expect(findEmbeddedPostgres(folder)).toBe(server.url)
      expect(await query(server.url, 'select 1 as a')).toEqual([{ a: 1 }])
    } finally {
      closing.mockRestore()
      thief.close()
    }
  })

  test('starts again by itself when it dies', async () => {
    const folder = newFolder()
    await using server = await start(folder)
    const pidOf = () => Number(readFileSync(join(folder, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0])
    const pid = pidOf()
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => query(server.url, 'select 1 as a').catch(() => undefined)).toEqual([{ a: 1 }])
    expect(pidOf()).not.toBe(pid)
  })

  test('a second relayer on the same folder is told who has it', async () => {
    const folder = newFolder()
    await using _server = await start(folder)
    await expect(start(folder)).rejects.toMatchObject({ code: 'DATA_DIR_IN_USE', meta: { pid: process.pid } })
    expect(await startChild(folder).line).toContain(`failed DATA_DIR_IN_USE another relayer (process ${process.pid})`)
  })

  test('of two relayers that start at once one runs', async () => {
    const folder = newFolder()
    const pair = [startChild(folder), startChild(folder)]
    const lines = await Promise.all(pair.map(({ line }) => line))
    expect(lines.filter((line) => line.startsWith('ready'))).toHaveLength(1)
    expect(lines.filter((line) => line.startsWith('failed DATA_DIR_IN_USE'))).toHaveLength(1)
    for (const { child, kill } of pair) if (child.exitCode === null) await kill()
    await (await start(folder))[Symbol.asyncDispose]()
  })

  test('whatever the moment a relayer is killed, the next one starts and nothing committed is lost', async () => {
    const folder = newFolder()
    // Moments in ms: the first ones hit the making of the folder, which then starts from nothing every time.
    const moments = Array.from({ length: 24 }, (_, i) => (i < 10 ? 150 + i * 100 : 120 + i * 12))
    let rows = 0
    for (const [i, moment] of moments.entries()) {
      const { child, line, kill } = startChild(folder)
      const ready = await Promise.race([line, delay(moment, undefined)])
      if (child.exitCode === null) await kill()
      expect(ready ?? 'ready').toMatch(/^ready/)
      if (i % 6 !== 5) continue
      const server = await start(folder)
      await query(server.url, 'create table if not exists t (a int)')
      await query(server.url, `insert into t values (${i})`)
      rows++
      expect(await query(server.url, 'select count(*)::int as rows from t')).toEqual([{ rows }])
      await server[Symbol.asyncDispose]()
    }
    await (await start(folder))[Symbol.asyncDispose]()
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  test('stops the server that a killed relayer left, and starts its own', async () => {
    const folder = newFolder()
    const { line, kill } = startChild(folder)
    const url = (await line).split(' ')[1] ?? ''
    await query(url, 'create table t as select 7 as a')
    await kill()
    expect(await query(url, 'select a from t')).toEqual([{ a: 7 }])
    await using server = await start(folder)
    expect(server.url).toBe(url)
    expect(await query(server.url, 'select a from t')).toEqual([{ a: 7 }])
  })

  test('a process number that went to another program is not in the way', async () => {
    const folder = newFolder()
    await (await start(folder))[Symbol.asyncDispose]()
    const other = spawn('sleep', ['60'])
    const pidFile = join(folder, 'postgres', 'data', 'postmaster.pid')
    writeFileSync(pidFile, `${other.pid}\n${join(folder, 'postgres', 'data')}\n0\n1\n\n127.0.0.1\n0 0\nready\n`)
    await using server = await start(folder)
    expect(await query(server.url, 'select 1 as a')).toEqual([{ a: 1 }])
    expect(other.exitCode).toBeNull()
    other.kill()
  })

  test('a folder of another version is refused and left alone', async () => {
    const folder = newFolder()
    await (await start(folder))[Symbol.asyncDispose]()
    const file = join(folder, 'postgres', 'data', 'PG_VERSION')
    const original = readFileSync(file, 'utf8')
    writeFileSync(file, '16\n')
    const before = readdirSync(join(folder, 'postgres'))
    await expect(start(folder)).rejects.toMatchObject({ code: 'DATA_DIR_VERSION', meta: { found: 16 } })
    expect(readdirSync(join(folder, 'postgres'))).toEqual(before)
    expect(readFileSync(file, 'utf8')).toBe('16\n')
    writeFileSync(file, original)
    await (await start(folder))[Symbol.asyncDispose]()
  })

  test('neither statements nor rows nor parameters get into its log', async () => {
    const folder = newFolder()
    await using server = await start(folder)
    await query(server.url, 'create table t (a text unique, b int)')
    await query(server.url, `insert into t values ('canary-1', 1)`)
    for (const text of [
      `insert into t values ('canary-1', 2)`,
      `select 'canary-2'::int`,
      `select canary_3 from t`,
      `do $$ begin raise warning 'canary-4'; raise exception 'canary-5'; end $$`,
    ]) {
      await expect(query(server.url, text)).rejects.toThrow()
    }
    expect(readFileSync(join(folder, 'postgres', 'log'), 'utf8')).not.toContain('canary')
  })
})

describe('missing links between the libraries', () => {
  test('are made beside them, or elsewhere where that folder is read-only', () => {
    const native = join(newFolder(), 'native')
    mkdirSync(join(native, 'lib'), { recursive: true })
    writeFileSync(join(native, 'lib', 'a.so.1.2'), '')
    const links = [{ source: 'native/lib/a.so.1.2', target: 'native/lib/a.so.1' }]
    writeFileSync(join(native, 'pg-symlinks.json'), JSON.stringify(links))
    expect(linkLibraries(native, newFolder())).toBeUndefined()
    expect(statSync(join(native, 'lib', 'a.so.1')).isFile()).toBe(true)
    // A target whose folder does not exist stands for one that cannot be written to, also for root.
    const away = [{ source: 'native/lib/a.so.1.2', target: 'native/lib/none/a.so.1' }]
    writeFileSync(join(native, 'pg-symlinks.json'), JSON.stringify(away))
    const fallback = newFolder()
    expect(linkLibraries(native, fallback)).toBe(fallback)
    expect(statSync(join(fallback, 'a.so.1')).isFile()).toBe(true)
  })
})

describe.skipIf(process.getuid?.() !== 0)('as root', () => {
  const withoutUnshare = { ...process.env, PATH: '/nonexistent' }

  test('runs in a folder that only root may enter', async () => {
    const closed = newFolder()
    mkdirSync(closed, { mode: 0o700 })
    await using server = await start(join(closed, 'data'))
    expect(await query(server.url, 'select 1 as a')).toEqual([{ a: 1 }])
  })

  test('runs as nobody where namespaces are not to be had', async () => {
    chmodSync(root, 0o711)
    const folder = newFolder()
    const { line, kill } = startChild(folder, withoutUnshare)
    if (!isReachableByNobody(import.meta.dirname)) {
      // This checkout lies in a closed folder, so nobody cannot run the binaries in it.
      expect(await line).toMatch(/^failed EMBEDDED_POSTGRES_AS_ROOT /)
      return
    }
    expect(await line).toMatch(/^ready/)
    expect(statSync(join(folder, 'postgres', 'data')).uid).toBe(65_534)
    await kill()
    // And what nobody left is taken over where they are to be had.
    await using server = await start(folder)
    expect(await query(server.url, 'select 1 as a')).toEqual([{ a: 1 }])
  })

  test('says what to do where neither is possible', async () => {
    const closed = newFolder()
    mkdirSync(closed, { mode: 0o700 })
    const line = await startChild(join(closed, 'data'), withoutUnshare).line
    expect(line).toMatch(/^failed EMBEDDED_POSTGRES_AS_ROOT .*run as a normal user, set DATABASE_URL/)
    expect(readdirSync(join(closed, 'data')).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })
})
