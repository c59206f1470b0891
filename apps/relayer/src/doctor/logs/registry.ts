/** What `doctor` finds of the deposits on chain: they are read on from where the relayer is, as it reads them, and nothing is kept. */

import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import type { RelayerConfig } from '../../config.ts'
import { createDepositCheckpoint } from '../../services/deposit-registry/checkpoint.ts'
import { isProgress, REGISTRY_CHECKPOINT } from '../../services/deposit-registry/position.ts'
import { createDepositViews } from '../../services/deposit-registry/view.ts'
import type { Finding } from '../findings.ts'

/** What one answer may take. */
const ANSWER_MS = 15_000

/** The deposit registry that `/register` goes by: does a node show every deposit up to its newest block? In the words of `/ready`. */
export async function examineRegistry(config: RelayerConfig, db: Database): Promise<Finding> {
  // Of a database without tables nothing is asked.
  if ((await findCheckpoint(db, REGISTRY_CHECKPOINT).catch(() => undefined)) === undefined)
    return finding('registry', 'unused', 'nobody has asked for a registration yet: deposits on chain are not followed')
  try {
    const { execution: settings, network } = config
    const timeoutMs = Math.min(settings.timeoutMs, ANSWER_MS)
    const execution = createExecutionClient({ ...settings, timeoutMs, retryTimeoutMs: 0, network })
    const engine = createBlstEngine()
    const crypto = { verify: async (triples: Parameters<typeof engine.verifyBatch>[0]) => engine.verifyBatch(triples) }
    const { find } = createDepositCheckpoint({ config, db })
    const view = await createDepositViews({ config, db, crypto, chain: { execution } }, find).read()
    const { blockNumber, count: keys } = view
    return finding('registry', 'good', `deposits are read up to block ${blockNumber}: ${count(keys, 'validator')}`, {
      facts: { block: blockNumber, validators: keys },
    })
  } catch (error) {
    const words = messageOf(error)
    return finding('registry', isProgress(words) ? 'warning' : 'problem', words)
  }
}
