/** One relayer at a time on one `DATA_DIR`. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { DatabaseError } from '../errors.ts'

const SQLITE_BUSY = 5

/**
 * Takes the lock of a folder, or says who has it.
 *
 * Node has no file locks, SQLite does: an exclusive transaction on an empty file holds one that the kernel frees when the
 * process ends, however it ends. So it is never stale, needs no process id to be compared, and holds across containers.
 *
 * @throws {DatabaseError} DATA_DIR_IN_USE with the other's process id, DATA_DIR_UNUSABLE
 */
export function lockDataDir(dataDir: string): Disposable {
  const owner = join(dataDir, 'postgres.owner')
  let file: DatabaseSync | undefined
  try {
    file = new DatabaseSync(join(dataDir, 'postgres.lock'), { timeout: 0 })
    file.exec('begin exclusive')
    writeFileSync(owner, `${process.pid}\n`, { mode: 0o644 })
  } catch (error) {
    file?.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) throw inUse(dataDir, owner)
    throw new DatabaseError('DATA_DIR_UNUSABLE', `DATA_DIR ${dataDir} cannot be locked: ${messageOf(error)}`, {
      meta: { data_dir: dataDir },
    })
  }
  return { [Symbol.dispose]: () => file.isOpen && file.close() }
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
