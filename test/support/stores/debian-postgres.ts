/** The PostgreSQL that Debian installs, with the programs that make and restore backups: those of the embedded one do not come with it. */

import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { findFreePorts } from '../../demo/ports.ts'
import { eventually } from '../world/world.ts'

const HOME = '/usr/lib/postgresql'

/** The newest one's folder of programs; undefined where there is none. */
function findPrograms(): string | undefined {
  const versions = existsSync(HOME) ? readdirSync(HOME).map(Number) : []
  return versions
    .toSorted((a, b) => b - a)
    .map((version) => join(HOME, String(version), 'bin'))
    .find((folder) => ['initdb', 'postgres', 'pg_dump', 'pg_restore'].every((name) => existsSync(join(folder, name))))
}

/** Whether it is here. Without it tests are skipped on a laptop; on CI it must be here. */
export function hasDebianPostgres(): boolean {
  const isHere = findPrograms() !== undefined
  if (!isHere && process.env['CI'] === 'true') throw new Error('PostgreSQL of Debian is missing: CI installs it')
  return isHere
}

/** A server of its own. */
export interface DebianPostgres extends AsyncDisposable {
  readonly folder: string
  /** The URL of a database in it, which need not be there yet. */
  url(database: string): string
  /** Runs one of its programs, such as pg_dump. @throws what it says where it fails */
  run(program: string, ...args: string[]): void
}

/** Starts one, empty, whose files are gone when it is disposed. */
export async function startDebianPostgres(): Promise<DebianPostgres> {
  const programs = findPrograms() ?? ''
  const folder = await mkdtemp(join(tmpdir(), 'dvt-debian-postgres-'))
  // It does not run as root.
  const ids = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  if (ids.uid !== undefined) chownSync(folder, ids.uid, ids.gid)
  const run = (program: string, ...args: string[]): void => {
    const done: SpawnSyncReturns<string> = spawnSync(join(programs, program), args, {
      encoding: 'utf8',
      cwd: folder,
      ...ids,
    })
    if (done.status !== 0) throw new Error(`${program}: ${done.stderr}${done.error ?? ''}`)
  }
  const data = join(folder, 'data')
  run('initdb', '-D', data, '-U', 'relayer', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C')
  const [port = 0] = await findFreePorts(1)
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off']
  const child = spawn(join(programs, 'postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    cwd: folder,
    stdio: 'ignore',
    ...ids,
  })
  const exited = once(child, 'exit')
  const url = (database: string) => `postgres://relayer@127.0.0.1:${port}/${database}`
  await eventually('PostgreSQL of Debian', async () => {
    const client = new pg.Client({ connectionString: url('postgres') })
    client.on('error', () => {})
    return client.connect().then(
      () => client.end().then(() => true as const),
      () => undefined,
    )
  })
  return {
    folder,
    url,
    run,
    async [Symbol.asyncDispose]() {
      child.kill('SIGINT')
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}
