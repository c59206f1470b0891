/** Redis for tests: a `redis-server` of this machine on a free port, nothing on disk. */

import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { findFreePorts } from '../../demo/ports.ts'

/** A Redis on a port of its own. */
export interface TestRedis extends AsyncDisposable {
  url: string
  /** Ends it by SIGKILL; what it held is lost. */
  kill(): Promise<void>
  /** Starts it again, empty, on the same port. */
  restart(): Promise<void>
  /** From now on it says nothing more: connections stay, and it can only be killed. */
  freeze(): void
}

/**
 * Whether Redis is here. Without it tests are skipped on a laptop; on CI it must be here.
 *
 *     describe.skipIf(!hasRedis())('queue on redis', …)
 */
export function hasRedis(): boolean {
  const found = spawnSync('redis-server', ['--version']).status === 0
  if (!found && process.env['CI'] === 'true') throw new Error('redis-server is missing: CI installs it')
  return found
}

async function spawnRedis(port: number, more: readonly string[]): Promise<ChildProcess> {
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/tmp']
  const args = [...own, ...more]
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })
  for await (const line of lines) {
    if (line.includes('Ready to accept connections')) {
      child.stdout.resume()
      return child
    }
  }
  throw new Error('redis-server did not start')
}

/** Starts Redis, with more options if need be. */
export async function startRedis(options: readonly string[] = []): Promise<TestRedis> {
  const [port = 0] = await findFreePorts(1)
  let child = await spawnRedis(port, options)
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  return {
    url: `redis://127.0.0.1:${port}/0`,
    kill,
    restart: async () => {
      await kill()
      child = await spawnRedis(port, options)
    },
    freeze: () => void child.kill('SIGSTOP'),
    [Symbol.asyncDispose]: kill,
  }
}
