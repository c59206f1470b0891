/** Brings the tallies up to what is committed, before somebody counts; and, now and then, back to it. */

import type { Database } from './connect.ts'
import {
  areThereChanges,
  findNewestChange,
  foldChanges,
  forgetWrongTallies,
  noteStrays,
} from './queries/status/tallies.ts'

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

/** Validators that are compared at once: a tenth of a second of the database. */
const COMPARED = 1000

/** What was found to be counted wrongly: tallies that were no sum, and validators that are not of their tally. */
export interface Miscount {
  tallies: number
  validators: number
}

/**
 * Creates what holds the tallies against the rows themselves: the sums at each call, and of the validators some, in turn. Triggers keep them
 * right; what hands, or a restore, have done past these nobody would see otherwise, for good. What is wrong is counted anew with the next
 * changes.
 */
export function createTallyCheck(db: Database, compared: number = COMPARED): () => Promise<Miscount> {
  let after = 0
  return async () => {
    const tallies = await db.transaction(forgetWrongTallies)
    let validators = 0
    for (;;) {
      const { strays, last } = await noteStrays(db, after, compared)
      validators += strays
      after = last ?? 0
      // Where something is wrong, more is: whatever is counted meanwhile is too little, and not for hours.
      if (strays === 0 || last === undefined) return { tallies, validators }
    }
  }
}
