/** The heartbeats of relayer processes: each says that it is there, and one that answers requests sees whether anybody finishes them. */

import { randomUUID } from 'node:crypto'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { findNewestWorker, pruneProcesses, storeBeat, storeStop } from '@dvt-relayer/db/queries/attendance/processes.ts'
import type { Context } from '../../context.ts'

/** A worker that has not been heard for so long counts as gone: six beats, so that a database that is slow once does not matter. */
export const SILENCE_SECONDS = 60
/** One that counts as there and has missed three beats may have been killed: how old its heartbeat is, is said. */
export const LATE_SECONDS = 30
/** Processes that have ended are kept for a day, for whoever looks what went on. */
export const KEPT_SECONDS = 86_400

/** Creates the heartbeat of this process. */
export function createHeartbeat({ config, db }: Pick<Context, 'config' | 'db'>) {
  const { role } = config
  const id = randomUUID()
  return {
    /** Says that this process is there. */
    async beat(): Promise<void> {
      await storeBeat(db, { id, role, version: VERSION })
      await pruneProcesses(db, KEPT_SECONDS)
    },
    /** Says that it ends: nobody waits for its silence. */
    stop: (): Promise<void> => storeStop(db, id),
    /** What is wrong where no worker is there; a process that does everything is one itself. */
    async findAbsence(): Promise<string | undefined> {
      const { isThere, lastSeconds } = await findNewestWorker(db, SILENCE_SECONDS)
      if (isThere) return undefined
      const since = lastSeconds === null ? 'has ever been there' : `since ${timeText(lastSeconds)}`
      return `no process of the role worker or all ${since}: nothing is finished; start one with ROLE=worker`
    },
  }
}
