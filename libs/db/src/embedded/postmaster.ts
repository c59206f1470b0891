/** The postmaster of a data folder, as `postmaster.pid` and the process table tell of it. */

import { spawnSync } from 'node:child_process'
import { readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { DatabaseError } from '../errors.ts'

const POLL_MS = 10
const FAST_STOP_MS = 10_000
const IMMEDIATE_STOP_MS = 8_000

function readPidFile(data: string): string[] {
  try {
    return readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')
  } catch {
    return []
  }
}

/** The command line of a process; undefined for none and for a dead one that nobody has reaped. */
function commandOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') || undefined
    } catch {
      return undefined
    }
  }
  const { stdout, status } = spawnSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
  return status === 0 ? stdout : undefined
}

/** Whether a process is the postmaster that we started on this folder, not another program that got its number. */
function isOurs(pid: number, data: string, mark: string): boolean {
  if (commandOf(pid)?.includes(`cluster_name=${mark}`) !== true) return false
  try {
    // A copy of the folder carries the mark as well; where the system tells, the working folder decides.
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data)
  } catch {
    return true
  }
}

/** The process id of the postmaster that runs on this folder, if one does. `mark` is in its command line. */
function findPostmaster(data: string, mark: string): number | undefined {
  const pid = Number(readPidFile(data)[0])
  return Number.isInteger(pid) && pid > 1 && isOurs(pid, data, mark) ? pid : undefined
}

/** Whether this postmaster has written that it accepts connections. */
export function isPostmasterReady(data: string, pid: number): boolean {
  const lines = readPidFile(data)
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
}

/**
 * Stops the postmaster that a relayer left on this folder, in whatever state it is; returns when it is gone.
 *
 * @throws {DatabaseError} DATA_DIR_IN_USE when it does not stop or belongs to another user
 */
export async function stopPostmaster(data: string, mark: string): Promise<boolean> {
  const pid = findPostmaster(data, mark)
  if (pid === undefined) {
    removeStalePidFile(data)
    return false
  }
  for (const [signal, timeoutMs] of [
    ['SIGINT', FAST_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
  ] as const) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true
      break
    }
    const deadline = performance.now() + timeoutMs
    while (performance.now() < deadline) {
      if (!isOurs(pid, data, mark)) return true
      await pause(POLL_MS)
    }
  }
  throw new DatabaseError(
    'DATA_DIR_IN_USE',
    `PostgreSQL (process ${pid}) still runs on ${data} and cannot be stopped`,
    {
      meta: { data_dir: data, pid },
    },
  )
}

/** PostgreSQL refuses to start while any process has the number in `postmaster.pid`, also one that has nothing to do with it. */
function removeStalePidFile(data: string): void {
  const pid = Number(readPidFile(data)[0])
  if (Number.isInteger(pid) && pid > 1 && commandOf(pid) !== undefined) rmSync(join(data, 'postmaster.pid'))
}
