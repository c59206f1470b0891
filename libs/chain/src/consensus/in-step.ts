/** Whether a consensus node is in step with its chain: what it says of the head counts only while it is. */

import type { HttpAsk } from '@dvt-relayer/common/http-client.ts'
import { ChainError } from '../errors.ts'
import { createBeaconApi, type NodeStep } from './beacon-api.ts'

/** For how long a node that was in step is taken to be so. */
const GOOD_FOR_MS = 3_000

/** Why a node's head is not to be believed, in words; undefined where it is. A node some slots behind that is not syncing is fine. */
export function outOfStep(
  { isSyncing, distance, isOptimistic, elOffline }: NodeStep,
  host: string,
): string | undefined {
  const node = `the consensus node at ${host}`
  if (isSyncing) return `${node} is syncing, ${distance} slots behind`
  if (elOffline) return `${node} has lost its execution node (el_offline)`
  if (isOptimistic) return `${node} has not verified its head (is_optimistic): its execution node is behind`
  return undefined
}

/** Creates the check. `now` is a clock in milliseconds. */
export function createStepCheck(now: () => number) {
  const seen = new Map<HttpAsk, number>()
  const asking = new Map<HttpAsk, Promise<number>>()

  /** When the node was seen in step. @throws {ChainError} CONSENSUS_INVALID when it is not; {HttpError} */
  async function look(ask: HttpAsk): Promise<number> {
    const at = now()
    const problem = outOfStep(await createBeaconApi(ask).syncing(), ask.host)
    if (problem !== undefined) throw new ChainError('CONSENSUS_INVALID', problem, { meta: { host: ask.host } })
    return at
  }

  return {
    /** Asks the node, unless it has just been asked; concurrent calls share one question. @throws {ChainError} CONSENSUS_INVALID; {HttpError} */
    async assertInStep(ask: HttpAsk): Promise<void> {
      const seenAt = seen.get(ask)
      if (seenAt !== undefined && now() - seenAt < GOOD_FOR_MS) return
      const question = asking.get(ask) ?? look(ask)
      asking.set(ask, question)
      try {
        const at = await question
        // Not where it was forgotten meanwhile: the answer may be of before.
        if (asking.get(ask) === question) seen.set(ask, at)
      } finally {
        if (asking.get(ask) === question) asking.delete(ask)
      }
    },
    /** The node is asked again before its next answer: it may have been started anew. */
    forget(ask: HttpAsk): void {
      seen.delete(ask)
      asking.delete(ask)
    },
  }
}
