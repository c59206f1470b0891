/** What `doctor` finds of the updates of vaults' exit signatures, which rotations are ended by: has a node told all that the Keeper counts? */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findRotationVaults } from '@dvt-relayer/db/queries/rotations.ts'
import type { RelayerConfig } from '../../config.ts'
import { createRotationUpdates } from '../../services/rotation/updates.ts'
import { type Finding, firstOf } from '../findings.ts'

/** Vaults that are looked at, one after the other, and what all of them may take. */
const MOST_VAULTS = 50
const LOOK_MS = 15_000

/** The finding of rotation, a problem where a node lacks updates, in the words of `/ready`. */
export async function withUpdates(
  found: Finding,
  { execution: settings, network, rotation, vaults }: RelayerConfig,
  db: Database | undefined,
  stop: AbortSignal,
): Promise<Finding> {
  if (!rotation.enabled || db === undefined) return found
  const isOurs = (vault: Uint8Array) => vaults?.some((known) => equalBytes(known, vault)) ?? true
  // Of a database without tables nothing is asked.
  const all = (await findRotationVaults(db).catch(() => [])).filter(isOurs).slice(0, MOST_VAULTS)
  const execution = createExecutionClient({ ...settings, retryTimeoutMs: 0, network })
  const updates = createRotationUpdates({
    config: { network },
    db,
    chain: { execution },
    events: { rotationEnded() {} },
  })
  const signal = AbortSignal.any([stop, AbortSignal.timeout(LOOK_MS)])
  const problems: string[] = []
  const lookAtAll = async () => {
    for (const vault of all) {
      signal.throwIfAborted()
      await updates.look(vault, signal).catch((error: unknown) => {
        // That a node is away stands elsewhere.
        if (error instanceof ChainError) problems.push(`${checksumAddress(vault)}: ${messageOf(error)}`)
      })
    }
  }
  await withTimeout(lookAtAll(), LOOK_MS).catch(() => undefined)
  if (problems.length === 0) return found
  return {
    ...found,
    status: 'problem',
    message: firstOf(problems).join('\n'),
    details: [found.message, ...found.details],
  }
}
