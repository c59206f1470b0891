/** `npm run relayer -- void-sealed`: forgets every stored signature, for when the key that seals them is lost. */

import { parseArgs } from 'node:util'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { forgetSealed } from '../services/sealing/sealing.ts'
import { COMMANDS, usageError } from './usage.ts'
import { withDatabase } from './with-database.ts'

/** Runs the command. Returns an exit code. */
export async function voidSealed(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS['void-sealed'].options })
  if (!values.yes)
    throw usageError(
      'this forgets every stored exit signature and partial signature; sidecars sign again. Add --yes to do it',
    )
  const count = await withDatabase(environment, forgetSealed)
  console.log(`${count} exits are collected again; the next start takes the sealing key that is set then`)
  return 0
}
