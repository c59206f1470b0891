/** `npm run relayer -- release-key`: frees a validator key from the vault it is reserved for or bound to. */

import { parseArgs } from 'node:util'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { releaseKey } from '../services/registrations/release.ts'
import { COMMANDS, usageError } from './usage.ts'
import { withDatabase } from './with-database.ts'

/** Runs the command. Returns an exit code. */
export async function releaseKeyCommand(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS['release-key'].options })
  const publicKey = parseHex(values.key, 48)
  if (publicKey === undefined) throw usageError('--key must be a validator public key')
  if (!values.yes)
    throw usageError(
      "deposit signatures never expire: whoever holds one for the old vault can still make that deposit, and the validator is then the old vault's. Release a key only when all nodes agree that this will not happen; each node's journal has to be told as well. Add --yes to do it",
    )
  const { vault, wasBound, wasSigned } = await withDatabase(environment, (db) => releaseKey(db, publicKey))
  console.log(`the key is free; it was ${wasBound ? 'bound to' : 'reserved for'} ${checksumAddress(vault)}`)
  if (wasSigned)
    console.log(
      'WARNING: a deposit signature for that vault may exist and never expires. Watch the deposit contract for this key.',
    )
  return 0
}
