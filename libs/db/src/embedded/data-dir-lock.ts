/** One relayer at a time on one `DATA_DIR`. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { lockFile } from '@dvt-relayer/common/files/file-lock.ts'
import { DatabaseError } from '../errors.ts'

/**
 * Takes the lock of a folder, or says who has it.
 *
 * @throws {DatabaseError} DATA_DIR_IN_USE with the other's process id, DATA_DIR_UNUSABLE
 */
export function lockDataDir(dataDir: string): Disposable {
  const owner = join(dataDir, 'postgres.owner')
  let lock: Disposable | 'taken' | undefined
  try {
    lock = lockFile(join(dataDir, 'postgres.lock'))
    if (lock !== 'taken') writeFileSync(owner, `${process.pid}\n`, { mode: 0o644 })
  } catch (error) {
    if (lock !== undefined && lock !== 'taken') lock[Symbol.dispose]()
    throw new DatabaseError('DATA_DIR_UNUSABLE', `DATA_DIR ${dataDir} cannot be locked: ${messageOf(error)}`, {
      meta: { data_dir: dataDir },
    })
  }
  if (lock === 'taken') throw inUse(dataDir, owner)
  return lock
}

function inUse(dataDir: string, owner: string): DatabaseError {
  let pid = 0
  try {
    pid = Number.parseInt(readFileSync(owner, 'utf8'), 10)
  } catch {
    // The other one is between its lock and its note.
  }
  return new DatabaseError(
    'DATA_DIR_IN_USE',
    `another relayer${pid > 0 ? ` (process ${pid})` : ''} uses DATA_DIR ${dataDir}: stop it, or give this one another DATA_DIR or a DATABASE_URL`,
    { meta: { data_dir: dataDir, pid } },
  )
}
