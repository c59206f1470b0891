/** One process at a time on one file. */

import { basename } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

const SQLITE_BUSY = 5
const SQLITE_CANTOPEN = 14

/**
 * Takes a lock, or says that somebody else has it.
 *
 * Node has no file locks, SQLite does: an exclusive transaction on an empty file holds one that the kernel frees when the
 * process ends, however it ends. So it is never stale, needs no process id to be compared, and holds across containers.
 *
 * @param path an empty file of the lock's own, made when missing
 * @throws {Error} in plain words where the file cannot be made or opened; and what SQLite throws
 */
export function lockFile(path: string): Disposable | 'taken' {
  const file = openLock(path)
  try {
    file.exec('begin exclusive')
    return { [Symbol.dispose]: () => file.close() }
  } catch (error) {
    file.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return 'taken'
    throw error
  }
}

function openLock(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout: 0 })
  } catch (error) {
    // SQLite speaks of a database, and does not say which.
    if ((error as { errcode?: number }).errcode === SQLITE_CANTOPEN)
      throw new Error(`${basename(path)} cannot be made beside it: may this user write to the folder?`, {
        cause: error,
      })
    throw error
  }
}
