/** The processes of the demo: each with its own log file, watched, and none left behind. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { programFile } from '../support/runner/programs.ts'
import { DemoError } from './errors.ts'
import { PATIENCE_MS } from './wait.ts'

const ROOT = new URL('../..', import.meta.url).pathname

export interface Program {
  /** Path from the root of the repository. */
  file: string
  /** All it is told. Nothing else of our environment reaches it but the path and the home. */
  env: Readonly<Record<string, string>>
}

export interface Child {
  readonly name: string
  readonly logFile: string
  /** Stops it for a while (SIGSTOP). */
  suspend(): void
  /** Lets it go on. */
  resume(): void
  /** Ends it at once (SIGKILL). */
  kill(): Promise<void>
  /** Asks it to end (SIGTERM). @throws {DemoError} when it does not, or does not with exit code 0 */
  stop(): Promise<void>
}

export interface Children extends AsyncDisposable {
  /** Starts a program with the Node that runs us. */
  start(name: string, program: Program): Child
}

const usual = () =>
  Object.fromEntries(
    ['PATH', 'HOME', 'NODE_COMPILE_CACHE'].flatMap((name) =>
      process.env[name] === undefined ? [] : [[name, process.env[name]]],
    ),
  )

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null

/**
 * Creates the children's keeper.
 *
 * @param logDir each start writes `<name>.<number>.log` there
 * @param onDeath told when one ends that nobody ended
 */
export function createChildren(logDir: string, onDeath: (error: DemoError) => void): Children {
  const running = new Set<ChildProcess>()
  let starts = 0

  const killAll = () => {
    for (const child of running) child.kill('SIGKILL')
  }
  process.once('exit', killAll)

  function start(name: string, program: Program): Child {
    const logFile = join(logDir, `${name.replaceAll(' ', '-')}.${++starts}.log`)
    const fd = openSync(logFile, 'a')
    // In a session of its own: Ctrl-C reaches us alone, and we end everything in order.
    const child = spawn(process.execPath, [programFile(program.file)], {
      cwd: ROOT,
      env: { ...usual(), ...program.env },
      stdio: ['ignore', fd, fd],
      detached: true,
    })
    closeSync(fd)
    running.add(child)
    let isEnding = false
    const exited = Promise.withResolvers<void>()
    const gone = (how: string) => {
      running.delete(child)
      exited.resolve()
      if (!isEnding) onDeath(new DemoError(`${name} ended by itself (${how})`, logFile))
    }
    child.once('exit', (code, signal) => gone(signal ?? `exit code ${code}`))
    child.once('error', (error) => gone(error.message))

    return {
      name,
      logFile,
      suspend: () => void child.kill('SIGSTOP'),
      resume: () => void child.kill('SIGCONT'),
      async kill() {
        isEnding = true
        child.kill('SIGKILL')
        await exited.promise
      },
      async stop() {
        isEnding = true
        // One that was suspended does not see that it is asked to end.
        child.kill('SIGCONT')
        child.kill('SIGTERM')
        try {
          await withTimeout(exited.promise, PATIENCE_MS)
        } catch {
          child.kill('SIGKILL')
          throw new DemoError(`${name} does not end within ${PATIENCE_MS / 1000} s of SIGTERM`, logFile)
        }
        if (child.exitCode !== 0)
          throw new DemoError(
            `${name} ends with ${child.signalCode ?? `exit code ${child.exitCode}`} on SIGTERM`,
            logFile,
          )
      },
    }
  }

  async function end(child: ChildProcess): Promise<void> {
    if (!isRunning(child)) return
    const exited = once(child, 'exit')
    child.kill('SIGCONT')
    child.kill('SIGTERM')
    await withTimeout(exited, PATIENCE_MS).catch(() => {
      child.kill('SIGKILL')
      return exited
    })
  }

  return {
    start,
    async [Symbol.asyncDispose]() {
      onDeath = () => {}
      await Promise.all([...running].map(end))
      process.off('exit', killAll)
    },
  }
}

/** Whether a process names this path in its command line, its environment or as its working folder. */
function isAt(pid: number, path: string): boolean {
  const has = (file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(path)
    } catch {
      return false
    }
  }
  const isIn = () => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(path)
    } catch {
      return false
    }
  }
  return has('cmdline') || has('environ') || isIn()
}

/** The processes, other than us, that have to do with a folder whose name is ours alone. */
export function findProcessesOf(path: string): number[] {
  const others = (pids: number[]) => pids.filter((pid) => pid !== process.pid)
  if (process.platform === 'linux')
    return others(
      readdirSync('/proc')
        .map(Number)
        .filter((pid) => pid > 1 && isAt(pid, path)),
    )
  const { stdout } = spawnSync('ps', ['-A', '-ww', '-o', 'pid=,command='], { encoding: 'utf8' })
  return others((stdout ?? '').split('\n').flatMap((line) => (line.includes(path) ? [Number.parseInt(line, 10)] : [])))
}

/** Ends what still has to do with a folder that is ours alone: a PostgreSQL whose relayer was killed. */
export function killProcessesOf(path: string): void {
  for (const pid of findProcessesOf(path)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It was quicker.
    }
  }
}
