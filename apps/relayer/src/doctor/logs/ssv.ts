/** What `doctor` finds of the events of the SSV contract: they are read on from where the relayer is, as it reads them, and nothing is kept. */

import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { gapWords, SsvGapError } from '@dvt-relayer/chain/ssv/gaps.ts'
import { emptySsvState, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import type { RelayerConfig } from '../../config.ts'
import { findSsvState } from '../../services/clusters/ssv-checkpoint.ts'
import { followSsv, SSV_UNREAD, type SsvKeeping, scopeOf } from '../../services/clusters/ssv-follow.ts'
import { type Finding, firstOf } from '../findings.ts'

/** What reading may take: of a contract's years, where no relayer has read them yet, so much is read. */
const LOOK_MS = 25_000
/** Nobody who asks a doctor waits for a node as long as a relayer may. */
const PATIENCE_MS = { answer: 15_000, retries: 5_000 }

/** The registrations of SSV_OWNERS: has a node told all of them, as far as anybody can show? `late` ends the reading. */
export async function examineSsv(
  config: RelayerConfig,
  db: Database | undefined,
  stop: AbortSignal,
  late: AbortSignal = AbortSignal.timeout(LOOK_MS),
): Promise<Finding> {
  const { execution: settings, network, ssv } = config
  const scope = scopeOf(config)
  if (scope === undefined) {
    const why = ssv.owners.length === 0 ? 'SSV_OWNERS is not set' : `${network.name} has no SSV contract`
    return finding('ssv', 'unused', `${why}: registrations of the SSV contract are not followed`)
  }
  const execution = createExecutionClient({
    ...settings,
    timeoutMs: Math.min(settings.timeoutMs, PATIENCE_MS.answer),
    retryTimeoutMs: Math.min(settings.retryTimeoutMs, PATIENCE_MS.retries),
    network,
  })
  const kept = keepNowhere(db, scope)
  const wrong: string[] = []
  const events = { ssvEventsSkipped() {}, ssvScanned() {}, ssvLogsWrong: (words: string) => void wrong.push(words) }
  try {
    const follower = followSsv({ execution, network, events }, createBlstEngine(), scope, kept.keeping)
    const words = await follower.round(AbortSignal.any([stop, late]))
    return foundOf(kept.state(), words, wrong)
  } catch (error) {
    if (late.aborted)
      return foundOf(kept.state(), `not all events of the SSV contract were read within ${LOOK_MS / 1000} s`, wrong)
    const details = firstOf(wrong)
    // What another node has the relayer reads there by itself.
    if (error instanceof SsvGapError) return finding('ssv', 'warning', messageOf(error), { details })
    return finding('ssv', 'problem', `${SSV_UNREAD}: ${messageOf(error)}`, { details })
  }
}

/** @param words what a person should know, as `/ready` says it */
function foundOf({ nextBlock, live, gaps }: SsvState, words: string | undefined, wrong: readonly string[]): Finding {
  const read = `events of the SSV contract are read up to block ${nextBlock - 1}: ${count(live.size, 'validator')}`
  const facts = { next_block: nextBlock, validators: live.size }
  const more = [...wrong, ...gapWords(gaps)].filter((line) => line !== words)
  if (words !== undefined) return finding('ssv', 'warning', words, { details: [read, ...firstOf(more)], facts })
  return finding('ssv', more.length > 0 ? 'warning' : 'good', read, { details: firstOf(more), facts })
}

/** What the database has to begin with; all else stays here. */
function keepNowhere(db: Database | undefined, scope: SsvScope) {
  let state = emptySsvState(scope)
  const keep = async (next: SsvState): Promise<SsvState> => {
    state = next
    return next
  }
  const keeping: SsvKeeping = {
    // Of a database without tables nothing is asked.
    find: async () => keep((await (db && findSsvState(db, scope).catch(() => undefined))) ?? state),
    save: keep,
    settle: keep,
    forget: (doubtful) => keep({ ...emptySsvState(scope), doubtful }),
    readOperatorKeys: async () => {},
  }
  return { keeping, state: () => state }
}
