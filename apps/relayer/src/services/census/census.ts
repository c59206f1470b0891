/** What metrics tell of all processes together: from the database and the queue, so that every process says the same. */

import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import {
  addShareCounts,
  countWrongShares,
  findOldestCollecting,
  findShareCounts,
  sumMovedByVault,
} from '@dvt-relayer/db/queries/attendance/census.ts'
import { countPrograms } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import { countProcesses } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { findOldestOpen } from '@dvt-relayer/db/queries/rotations.ts'
import { countMessages } from '@dvt-relayer/db/queries/status/sums.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import type { Context } from '../../context.ts'
import { SILENCE_SECONDS } from '../attendance/heartbeat.ts'
import { findSsvCounts } from './ssv-counts.ts'
import { createVaultKeyCount, findVaultKeys } from './vault-keys.ts'

/** Rows of one metric. */
const MOST = 256
/** Share indexes that are counted: each is two series. */
const MOST_SHARE_INDEXES = MOST / 2
/** What the limit of the manager looks back at. */
const DAY_SECONDS = 86_400
/** A node that was not there for so long is away. */
const AWAY_SECONDS = 120
/** The name in the User-Agent of our sidecars. */
const OUR_SIDECAR = 'dvt-relayer-sidecar'
/** A caller says it: what is no version is none of ours. */
const VERSION = /^\d{1,4}\.\d{1,4}\.\d{1,4}(-[\w.]{1,16})?$/

/** Creates what counts once. */
export function createCensus({ config, db, queue, events }: Pick<Context, 'config' | 'db' | 'queue' | 'events'>) {
  const countVaultKeys = config.role === 'api' ? undefined : createVaultKeyCount({ config, db })
  return async (): Promise<void> => {
    await writeJudged({ db, events })
    await countVaultKeys?.()
    events.sharesCounted(await findShareCounts(db, MOST_SHARE_INDEXES), await countWrongShares(db, MOST))
    await countMessagesOf({ db, events })
    events.rotationsOpen(await findOldestOpen(db))
    const ssv = config.ssv.owners.length === 0 ? undefined : await findSsvCounts(db)
    if (ssv !== undefined) events.ssvCounted(ssv)
    events.waitingCounted(await findOldestCollecting(db))
    const moved = await sumMovedByVault(db, DAY_SECONDS, MOST)
    events.managerCounted(
      config.managerDailyLimitGwei,
      moved.map(({ vault, gwei }) => ({ vault: checksumAddress(vault), gwei })),
    )
    events.keysCounted(await findVaultKeys(db))
    const programs = await countPrograms(db, AWAY_SECONDS, MOST)
    events.programsCounted(await countProcesses(db, SILENCE_SECONDS), versionsOf(programs))
    const jobs = await queue.counts()
    if (jobs !== undefined) events.queueCounted(jobs)
  }
}

/** Writes what this process has judged of each share index since the last time; what cannot be written is written with the next. */
async function writeJudged({ db, events }: Pick<Context, 'db' | 'events'>): Promise<void> {
  const judged = events.takeJudged()
  if (judged.length === 0) return
  try {
    await addShareCounts(db, judged, MOST_SHARE_INDEXES)
  } catch (error) {
    events.giveJudged(judged)
    throw error
  }
}

/** Counts live messages; after much at once, what was counted last stands a while longer. */
async function countMessagesOf({ db, events }: Pick<Context, 'db' | 'events'>): Promise<void> {
  if (!(await settleTallies(db))) return
  const counts = await countMessages(db)
  for (const kind of ['exit', 'deposit'] as const)
    events.messagesCounted(kind, counts[kind].collecting, counts[kind].ready)
}

/** How many nodes name each version of our sidecar. */
function versionsOf(programs: Awaited<ReturnType<typeof countPrograms>>): Map<string, number> {
  const versions = new Map<string, number>()
  for (const { software, version, nodes } of programs) {
    const name = software === OUR_SIDECAR && version !== null && VERSION.test(version) ? version : 'other'
    versions.set(name, (versions.get(name) ?? 0) + nodes)
  }
  return versions
}
