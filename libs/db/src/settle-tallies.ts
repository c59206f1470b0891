/** Brings the tallies up to what is committed, before somebody counts. */

import type { Database } from './connect.ts'
import { areThereChanges, findNewestChange, foldChanges } from './queries/status/tallies.ts'

/** Validators of one fold: some milliseconds of the database. */
const BATCH = 50
/** Folds of one call: after an import or an upgrade others have their turn meanwhile. */
const BATCHES = 200

/**
 * Takes all changes there are, whoever made them. Returns whether the tallies are what the database held when this was called: after much at
 * once, only a later call comes to the end, and what was counted before stands until then. What others go on changing is not waited for:
 * under load there is always something.
 */
export async function settleTallies(db: Database): Promise<boolean> {
  const newest = await findNewestChange(db)
  if (newest === undefined) return true
  for (let folds = 0; folds < BATCHES; folds++) {
    await db.transaction((tx) => foldChanges(tx, BATCH))
    if (!(await areThereChanges(db, newest))) return true
  }
  return false
}
