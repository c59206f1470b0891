/** What a doctor finds of one execution or consensus node, asked by itself: its chain, and whether it is in step with the clock. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import type { EndpointLook } from '@dvt-relayer/common/findings.ts'
import { createConsensusClient } from './consensus/consensus.ts'
import { isAtClock, outOfStep, slotsBehind } from './consensus/in-step.ts'
import { createExecutionClient } from './execution/execution.ts'
import { lookAtHead } from './execution/head-look.ts'
import type { Network } from './networks.ts'

interface Ask {
  readonly timeoutMs: number
  readonly network: Network
}

/** A consensus node: is it on our chain, in step with the clock? Never throws. */
export async function lookAtConsensusNode(endpoint: URL, { timeoutMs, network }: Ask): Promise<EndpointLook> {
  const { host } = endpoint
  const client = createConsensusClient({ endpoints: [endpoint], timeoutMs, retryTimeoutMs: 0, network })
  try {
    await client.checkChain()
    const step = await client.syncing()
    const clock = { network, unixMs: Date.now }
    const factsOf = (slot: number) => ({
      head_slot: slot,
      slots_behind_clock: slotsBehind(slot, clock),
      syncing: step.isSyncing,
      optimistic: step.isOptimistic,
      execution_node_offline: step.elOffline,
    })
    const problem = outOfStep(step, host)
    if (problem !== undefined)
      return { host, words: '', facts: factsOf(step.headSlot), problem: `${problem} (CONSENSUS_ENDPOINT)` }
    const { slot } = await client.head()
    const facts = factsOf(slot)
    const words = `${host} is on ${network.name}, at slot ${slot}`
    const behind = facts.slots_behind_clock
    if (isAtClock(behind)) return { host, words, facts }
    const doubt = `the head of the consensus node at ${host} is ${Math.abs(behind)} slots ${behind < 0 ? 'ahead of' : 'behind'} this machine's clock: the clock is wrong, or the node stands still`
    return { host, words, facts, doubt }
  } catch (error) {
    return { host, words: '', problem: `${messageOf(error)} (CONSENSUS_ENDPOINT)` }
  }
}

/** An execution node: is it on our chain, and not stopped? Never throws. */
export async function lookAtExecutionNode(
  endpoint: URL,
  { timeoutMs, network }: Ask,
  signal: AbortSignal,
): Promise<EndpointLook> {
  const { host } = endpoint
  const client = createExecutionClient({ endpoints: [endpoint], timeoutMs, retryTimeoutMs: 0, network })
  try {
    await client.checkChain()
    const { block, ageSeconds, problem, doubt } = await lookAtHead(client, { host, network }, signal)
    const facts = block === undefined ? {} : { head_block: block.number, head_age_seconds: ageSeconds ?? null }
    if (problem !== undefined) return { host, words: '', facts, problem: `${problem} (EXECUTION_ENDPOINT)` }
    const words = `${host} is on ${network.name}, at block ${block?.number}`
    return doubt === undefined ? { host, words, facts } : { host, words, facts, doubt }
  } catch (error) {
    return { host, words: '', problem: `${messageOf(error)} (EXECUTION_ENDPOINT)` }
  }
}
