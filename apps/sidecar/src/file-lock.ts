/** One process at a time on one file. */

import { DatabaseSync } from 'node:sqlite'

const SQLITE_BUSY = 5

/**
 * Takes a lock, or says that somebody else has it.
 *
 * Node has no file locks, SQLite does: an exclusive transaction on an empty file holds one that the kernel frees when the
 * process ends, however it ends. So it is never stale, needs no process id to be compared, and holds across containers.
 *
 * @param path an empty file of the lock's own, made when missing
 * @throws what SQLite throws when the file cannot be made or opened
 */
export function lockFile(path: string): Disposable | 'taken' {
  const file = new DatabaseSync(path, { timeout: 0 })
  try {
    file.exec('begin exclusive')
    return { [Symbol.dispose]: () => file.close() }
  } catch (error) {
    file.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return 'taken'
    throw error
  }
}
