/** Who is there, as metrics: from the database, so that every process says the same. */

import { findNeverSeen } from '@dvt-relayer/db/queries/attendance/census.ts'
import { findLastSeen } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import { countWorkers } from '@dvt-relayer/db/queries/attendance/processes.ts'
import type { Context } from '../../context.ts'
import { SILENCE_SECONDS } from './heartbeat.ts'

/** Share indexes of which it is told whether they were ever seen. */
const MOST = 256

/** Creates what counts once. */
export function createAttendanceCount({ db, events }: Pick<Context, 'db' | 'events'>) {
  return async (): Promise<void> => {
    const [workers, nodes] = [await countWorkers(db, SILENCE_SECONDS), await findLastSeen(db)]
    events.attendanceCounted(workers, nodes, await findNeverSeen(db, MOST))
  }
}
