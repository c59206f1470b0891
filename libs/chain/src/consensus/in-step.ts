/** Whether a consensus node is in step with its chain: what it says of the head counts only while it is. */

import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import { createBeaconApi, type NodeStep } from './beacon-api.ts'
import { isStatus } from './find-validators.ts'

/** For how long a node that was in step is taken to be so. */
const GOOD_FOR_MS = 3_000
/** So many slots may be without a block, or on their way. A node that has lost its execution node stands still, and falls further back. */
const MOST_SLOTS_BEHIND = 8

/** Slots without a block happen; so many in a row do not. */
const MOST_WITHOUT_BLOCK = 32

/** What tells which slot it is: the network's, and the Unix time in milliseconds. */
export interface SlotClock {
  network: Pick<Network, 'genesisTimestamp' | 'secondsPerSlot'>
  unixMs: () => number
}

/** By how many slots a head is behind the clock; ahead of it is less than 0. */
export const slotsBehind = (slot: number, { network, unixMs }: SlotClock): number =>
  Math.floor((unixMs() / 1000 - network.genesisTimestamp) / network.secondsPerSlot) - slot

/** Whether the head of a node in step is where the clock has it: else the chain makes no blocks, the node stands still, or the clock is wrong. */
export const isAtClock = (behind: number): boolean => behind >= -1 && behind <= MOST_WITHOUT_BLOCK

/** What is to be thought of such a head; the node is worked with. Undefined where it is where the clock has it. */
export function doubtOfHead(slot: number, host: string, clock: SlotClock): string | undefined {
  if (isAtClock(slotsBehind(slot, clock))) return undefined
  const { genesisTimestamp, secondsPerSlot } = clock.network
  return `the newest block of the consensus node at ${host} is of ${timeText(genesisTimestamp + slot * secondsPerSlot)}, and it does not say that it is behind: the chain makes no blocks, the node stands still, or this machine's clock is wrong`
}

/**
 * What a node says of itself. A proxy may let nobody ask: then its head has to show it. One whose slot is the clock's and that the
 * node calls verified is of a node in step; whoever does not say so is taken for optimistic.
 *
 * @throws {HttpError}
 */
export async function askStep(ask: HttpAsk, clock: SlotClock): Promise<NodeStep> {
  const api = createBeaconApi(ask)
  try {
    return await api.syncing()
  } catch (error) {
    if (!isStatus(error, 400, 403, 404, 405, 501)) throw error
  }
  const { slot, isVerified } = await api.headStanding()
  const distance = slotsBehind(slot, clock)
  return {
    isInferred: true,
    // A head of the future shows nothing, but for clocks that differ a little.
    isSyncing: distance > MOST_SLOTS_BEHIND || distance < -1,
    distance,
    headSlot: slot,
    isOptimistic: !isVerified,
    elOffline: false,
  }
}

/** Why a node's head is not to be believed, in words; undefined where it is. A node some slots behind that is not syncing is fine. */
export function outOfStep(
  { isInferred, isSyncing, distance, isOptimistic, elOffline }: NodeStep,
  host: string,
): string | undefined {
  const node = `the consensus node at ${host}`
  if (isInferred) {
    const silent = `${node} cannot be asked whether it is syncing (/eth/v1/node/syncing is refused), and its head`
    if (isSyncing)
      return `${silent} is ${Math.abs(distance)} slots ${distance < 0 ? 'ahead of' : 'behind'} this machine's clock`
    return isOptimistic ? `${silent} is not said to be verified (execution_optimistic)` : undefined
  }
  if (isSyncing) return `${node} is syncing, ${distance} slots behind`
  if (elOffline) return `${node} has lost its execution node (el_offline)`
  if (isOptimistic) return `${node} has not verified its head (is_optimistic): its execution node is behind`
  return undefined
}

/** Creates the check. `now` is a clock in milliseconds that only ever goes on. */
export function createStepCheck(now: () => number, clock: SlotClock) {
  const seen = new Map<HttpAsk, number>()
  const asking = new Map<HttpAsk, Promise<number>>()

  /** When the node was seen in step. @throws {ChainError} CONSENSUS_INVALID when it is not; {HttpError} */
  async function look(ask: HttpAsk): Promise<number> {
    const at = now()
    const problem = outOfStep(await askStep(ask, clock), ask.host)
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
