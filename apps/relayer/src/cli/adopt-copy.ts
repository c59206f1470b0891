/** `npm run relayer -- adopt-copy`: after a restore, lets relayers work with the copy. */

import { parseArgs } from 'node:util'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { takePlace } from '../services/database-place.ts'
import { COMMANDS, usageError } from './usage.ts'
import { withDatabase } from './with-database.ts'

const IN_WORDS = {
  moved: 'relayers may work with this copy from now on; one on the database that it was made of must never start again',
  same: 'nothing to do: relayers work with this database already',
  new: 'nothing to do: no relayer has noted where the database was',
  unknown:
    'nothing to do: this PostgreSQL does not tell where it is (pg_control_system), so copies are not known as such',
} as const

/** Runs the command. Returns an exit code. */
export async function adoptCopy(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS['adopt-copy'].options })
  if (!values.yes)
    throw usageError(
      'two relayers on two copies may give one key to two vaults, and each counts the limits by itself: stop every relayer on the first database, for good, where it still exists. Add --yes to do it',
    )
  console.log(IN_WORDS[await withDatabase(environment, (db, { logger }) => takePlace(db, logger, true))])
  return 0
}
