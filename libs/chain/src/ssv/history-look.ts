/**
 * Whether any node has more of the history than is known (docs/protocol.md#12-ssv). The blocks of years are too many to be held against their
 * headers, so each node is asked for all the events again, one range a round: what one has always left out, another one has, or the same one
 * after it was mended.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { readSsvEvents, type SsvEvent } from './events.ts'
import { SsvGapError } from './gaps.ts'
import { registrationKey, type SsvScope, type SsvState } from './registry.ts'

const PAUSE_MS = {
  /** After the whole history agreed. */
  done: 24 * 3_600_000,
  /** After a node was away, or behind: nobody waits for it at every round. */
  failed: 10 * 60_000,
}
/** One range of one node; it is no reason to wait longer for what is new. */
const STEP_MS = 20_000

/** A look at one node that is under way: what it has said up to `nextBlock`, of the blocks that the state is made of. */
interface Look {
  readonly state: SsvState
  nextBlock: number
  /** `ValidatorAdded` events, by owner. */
  readonly added: Map<string, number>
}

/** Creates what looks at all nodes, again and again. `clockMs` counts from anywhere. */
export function createHistoryLook(
  execution: Pick<ExecutionClient, 'each'>,
  scope: Pick<SsvScope, 'contract' | 'owners'>,
  clockMs: () => number = () => performance.now(),
) {
  const nodes = execution.each.map((node) => ({ node, look: undefined as Look | undefined, dueMs: -Infinity }))
  const owners = scope.owners === undefined ? undefined : new Set<string>(scope.owners.map(toHex))
  let isFirst = true

  /** Looks at the next range. Throws where the node has what the state lacks. */
  async function step(node: ExecutionNode, look: Look, signal: AbortSignal): Promise<void> {
    const lastBlock = look.state.nextBlock - 1
    // A node that is behind gives no logs of what it lacks.
    if ((await node.getBlock(lastBlock, signal)) === undefined)
      throw new Error(`${node.host} has no block ${lastBlock}`)
    for await (const { events, toBlock } of readSsvEvents(node, scope.contract, look.nextBlock, lastBlock, signal)) {
      const more = findMore(look, events, owners)
      if (more !== undefined)
        throw new SsvGapError(
          `${more} was left out by an execution node, ${node.host} has it: all events are read again`,
          node,
        )
      look.nextBlock = toBlock + 1
      return
    }
  }

  /** One range at one node, where it is its turn. */
  async function visit(entry: (typeof nodes)[number], state: SsvState, signal: AbortSignal): Promise<void> {
    if (clockMs() < entry.dueMs) return
    const look = entry.look ?? { state, nextBlock: scope.contract.block, added: new Map() }
    entry.look = look
    try {
      await step(entry.node, look, AbortSignal.any([signal, AbortSignal.timeout(STEP_MS)]))
    } catch (error) {
      entry.dueMs = clockMs() + PAUSE_MS.failed
      if (error instanceof SsvGapError) throw error
      return
    }
    if (look.nextBlock < look.state.nextBlock) return
    entry.look = undefined
    entry.dueMs = clockMs() + PAUSE_MS.done
  }

  return {
    /**
     * One range at each node whose turn it is. The first round is left to what is new.
     *
     * @param state of final blocks, as it is kept
     * @throws {SsvGapError} when a node has an event that the state lacks
     */
    async step(state: SsvState, signal: AbortSignal): Promise<void> {
      if (isFirst) {
        isFirst = false
        return
      }
      const answers = await Promise.allSettled(nodes.map((entry) => visit(entry, state, signal)))
      signal.throwIfAborted()
      for (const answer of answers) if (answer.status === 'rejected') throw answer.reason
    },
    /** All is read anew: what was looked at is of no state any more. */
    reset(): void {
      for (const entry of nodes) entry.look = undefined
    },
  }
}

/** The first event that the state lacks, as messages say it. A node that has fewer shows nothing: it is that one which lacks some. */
function findMore(
  { state, added }: Look,
  events: readonly SsvEvent[],
  owners: ReadonlySet<string> | undefined,
): string | undefined {
  for (const event of events) {
    const place = `log ${event.logIndex} of block ${event.blockNumber} of the SSV contract`
    if (event.kind === 'operator_added') {
      if (event.publicKey !== undefined && !state.operators.has(event.operatorId)) return place
      continue
    }
    const owner = toHex(event.owner)
    if (owners?.has(owner) === false) continue
    if (event.kind === 'validator_added') {
      const counted = (added.get(owner) ?? 0) + 1
      added.set(owner, counted)
      if (counted > (state.nonces.get(owner) ?? 0)) return `${place}, or one before it,`
      continue
    }
    const live = state.live.get(registrationKey(event.owner, event.publicKey))
    if (live === undefined) continue
    const isLater =
      event.blockNumber > live.blockNumber || (event.blockNumber === live.blockNumber && event.logIndex > live.logIndex)
    if (isLater) return place
  }
  return undefined
}
