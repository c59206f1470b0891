/** Brings the tallies up to what is committed, before somebody counts. */

import type { Database } from './connect.ts'
import { areThereChanges, foldChanges } from './queries/status/tallies.ts'

/** Validators of one fold: some milliseconds of the database. */
const BATCH = 50
/** Folds of one call: after an import or an upgrade others have their turn meanwhile. */
const BATCHES = 200

/**
 * Takes all changes there are, whoever made them. Returns whether the tallies are what the database holds: after much at once, only a later
 * call comes to the end, and what was counted before stands until then.
 */
export async function settleTallies(db: Database): Promise<boolean> {
  for (let folds = 0; folds < BATCHES; folds++) {
    if (!(await areThereChanges(db))) return true
    await db.transaction((tx) => foldChanges(tx, BATCH))
  }
  return false
}
