/** A hot standby that has lost its primary: a real PostgreSQL that answers, takes no writes, and can be made the primary. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { chownTo, openHome, readConnection } from '../../../libs/db/src/embedded/home.ts'
import { findFreePorts } from '../../demo/ports.ts'

/** Starts one, of an empty database. It may not answer yet. */
export async function startStandby(): Promise<AsyncDisposable & { url: string }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'dvt-standby-'))
  const home = await openHome(dataDir, silentLogger)
  const signal = join(home.data, 'standby.signal')
  await writeFile(signal, '')
  chownTo(home, signal)
  const [port = 0] = await findFreePorts(1)
  const settings = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    hot_standby: 'on',
    io_method: 'sync',
    shared_buffers: '32MB',
    fsync: 'off',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const [command = '', ...args] = [...home.runAs.prefix, home.binaries.postgres, '-D', home.data, ...flags]
  const child = spawn(command, args, {
    env: home.binaries.env,
    cwd: home.path,
    stdio: 'ignore',
    ...home.runAs.ids,
  })
  const exited = once(child, 'exit')
  return {
    url: `postgres://postgres:${readConnection(home).password}@127.0.0.1:${port}/postgres`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGQUIT')
      await exited
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
