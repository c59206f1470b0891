/** Relayer and sidecars as a user runs them: processes with an environment and nothing else. */

import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { ROOT } from '../deploy/tools.ts'
import { programFile } from '../runner/programs.ts'

/** The file of a program by its name here. */
const ENTRY = {
  relayer: () => programFile('apps/relayer/src/main.ts'),
  'quick relayer': () => programFile('test/support/services/quick-relayer.ts'),
  sidecar: () => programFile('apps/sidecar/src/main.ts'),
  /** Those of images, when `npm run bundle` has made them. */
  'bundled relayer': () => join(ROOT, 'apps/relayer/dist/main.js'),
  'bundled sidecar': () => join(ROOT, 'apps/sidecar/dist/main.js'),
}

/**
 * The flags of Node that `npm run` gives. Threads that help to collect garbage take the cores that the event loop, and PostgreSQL or the node beside
 * a sidecar, need, and it waits for them.
 */
export const SIDECAR_FLAGS = [
  '--no-parallel-scavenge',
  '--no-parallel-marking',
  '--concurrent-marking-max-worker-num=1',
]
/**
 * Twice what lives before all of it is looked through: V8 by itself takes a quarter more in quiet times, and then marks every 1.5 s, a piece
 * in each round of the event loop, in which one connection is taken in.
 */
export const RELAYER_FLAGS = ['--max-semi-space-size=4', '--heap-growing-percent=100', ...SIDECAR_FLAGS]
/** What it sets. */
export const RELAYER_SETS = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '1048576',
}
const FLAGS = {
  relayer: RELAYER_FLAGS,
  'bundled relayer': RELAYER_FLAGS,
  'quick relayer': RELAYER_FLAGS,
  sidecar: SIDECAR_FLAGS,
  'bundled sidecar': SIDECAR_FLAGS,
}

export interface AppProcess extends AsyncDisposable {
  readonly child: ChildProcess
  /** Everything it printed so far. */
  output(): string
  /** Resolves with the first line of JSON log whose `msg` this is; rejects when the process ends first. */
  logged(message: string): Promise<Record<string, unknown>>
  /** Sends a signal and waits for the end; returns the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
  /** Resolves with the exit code when it ends by itself. */
  ended: Promise<number | NodeJS.Signals | null>
}

/** Starts an app; a quick relayer's background work comes around many times a second. Logs are JSON; `folder` is where it runs; nothing of this process's environment but PATH and TMPDIR reaches it. */
export function startProcess(
  app: keyof typeof ENTRY,
  environment: Environment,
  args: readonly string[] = [],
  folder?: string,
): AppProcess {
  const sets = FLAGS[app] === RELAYER_FLAGS ? RELAYER_SETS : {}
  const all = { LOG_FORMAT: 'json', ...sets, ...environment }
  return startProgram(app, [...FLAGS[app], ENTRY[app](), ...args], all, folder)
}

let own: string | undefined
/** Where programs run that are told no place: not where another test's sidecar has its journal. */
function ownFolder(): string {
  if (own !== undefined) return own
  const made = mkdtempSync(join(tmpdir(), 'dvt-programs-'))
  process.once('exit', () => rmSync(made, { recursive: true, force: true }))
  own = made
  return made
}

/** Starts a program of Node that logs JSON, likewise. Its standard input is open as long as this process lives. */
export function startProgram(
  name: string,
  args: readonly string[],
  environment: Environment,
  folder = ownFolder(),
): AppProcess {
  const names = ['PATH', 'HOME', 'TMPDIR', 'NODE_COMPILE_CACHE']
  const inherited = Object.fromEntries(names.map((variable) => [variable, process.env[variable]]))
  const child = spawn(process.execPath, args, {
    env: { ...inherited, ...environment },
    // Not that of the tests, where whoever works on them may have a .env.
    cwd: folder,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let text = ''
  const watchers = new Set<() => void>()
  const more = (chunk: Buffer) => {
    text += chunk.toString()
    for (const watch of [...watchers]) watch()
  }
  child.stdout?.on('data', more)
  child.stderr?.on('data', more)
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null)
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    return ended
  }
  return {
    child,
    output: () => text,
    logged: (message) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const line = text.split('\n').find((candidate) => candidate.includes(`"msg":"${message}"`))
          if (line === undefined) return
          watchers.delete(look)
          resolve(JSON.parse(line) as Record<string, unknown>)
        }
        watchers.add(look)
        void ended.then((code) =>
          reject(new Error(`${name} ended (${code}) before it logged "${message}":\n${text.slice(-3000)}`)),
        )
        look()
      }),
    end,
    ended,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await end('SIGKILL')
    },
  }
}
