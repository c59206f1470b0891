/** `npm run relayer -- undo-registered`: takes back what was noted of a registered validator on the word of a node that was wrong. */

import { parseArgs } from 'node:util'
import { createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { createEvents } from '../events.ts'
import { undoRegistered } from '../services/beacon-status/undo.ts'
import { COMMANDS, usageError } from './usage.ts'
import { withDatabase } from './with-database.ts'

const IN_WORDS = {
  registration: 'the key is not registered any more; a running relayer notes it again once a finalized state has it',
  exit: 'the validator counts as staying again',
} as const

/** Runs the command. Returns an exit code. */
export async function undoRegisteredCommand(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: COMMANDS['undo-registered'].options })
  const publicKey = parseHex(values.key, 48)
  if (publicKey === undefined) throw usageError('--key must be a validator public key')
  if (!values.yes)
    throw usageError(
      'a consensus node that said something wrong says it again: take it out of CONSENSUS_ENDPOINT and restart the relayer first. Every node that is left is asked now, and nothing is undone that they say. Add --yes to do it',
    )
  const undone = await withDatabase(environment, (db, { config, logger }) => {
    const { each } = createConsensusClient({ ...config.consensus, network: config.network })
    return undoRegistered({ db, consensusNodes: each, events: createEvents(logger) }, publicKey)
  })
  console.log(IN_WORDS[undone])
  return 0
}
