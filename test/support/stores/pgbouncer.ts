/** PgBouncer before the PostgreSQL of a run. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { findFreePorts } from '../../demo/ports.ts'

/** Whether PgBouncer is here. Without it tests are skipped on a laptop; on CI it must be here. */
export function hasPgbouncer(): boolean {
  const found = spawnSync('pgbouncer', ['--version']).status === 0
  if (!found && process.env['CI'] === 'true') throw new Error('pgbouncer is missing: CI installs it')
  return found
}

/** Starts one with these lines in its `[pgbouncer]` section; `url` is the database by way of it. */
export async function startPgbouncer(
  target: string,
  settings: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { url: string }> {
  const { hostname, port, username, password, pathname } = new URL(target)
  const folder = await mkdtemp(join(tmpdir(), 'dvt-pgbouncer-'))
  const [listenPort = 0] = await findFreePorts(1)
  const lines = {
    listen_addr: '127.0.0.1',
    listen_port: String(listenPort),
    unix_socket_dir: '',
    auth_type: 'any',
    ...settings,
  }
  const ini = [
    '[databases]',
    `* = host=${hostname} port=${port} user=${username} password=${decodeURIComponent(password)}`,
    '[pgbouncer]',
    ...Object.entries(lines).map(([name, value]) => `${name} = ${value}`),
  ]
  const file = join(folder, 'pgbouncer.ini')
  await writeFile(file, `${ini.join('\n')}\n`)
  // It refuses to run as root, and nobody must be able to read its file then.
  await chmod(folder, 0o755)
  const asNobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const child = spawn('pgbouncer', [file], { stdio: ['ignore', 'ignore', 'pipe'], ...asNobody })
  const exited = once(child, 'exit')
  const said: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line)
    if (line.includes('process up')) break
  }
  child.stderr.resume()
  if (!said.at(-1)?.includes('process up')) throw new Error(`pgbouncer did not start:\n${said.join('\n')}`)
  return {
    url: `postgres://${username}:any@127.0.0.1:${listenPort}${pathname}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}
