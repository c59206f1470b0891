/**
 * Whether any node has more of the history than is known (docs/protocol.md#12-ssv). The blocks of years are too many to be held against their
 * headers, so each node is asked for all the events again, one range a round: what one has always left out, another one has, or the same one
 * after it was mended.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { ownerTopic, readSsvEvents, readSsvPart, type SsvEvent, validatorAddedEvent } from './events.ts'
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
  added: ReadonlyMap<string, number>
}

/** Creates what looks at all nodes, again and again. `clockMs` counts from anywhere. */
export function createHistoryLook(
  execution: Pick<ExecutionClient, 'each' | 'scanLogs' | 'readBlockLogs'>,
  scope: Pick<SsvScope, 'contract' | 'owners'>,
  clockMs: () => number = () => performance.now(),
) {
  const nodes = execution.each.map((node) => ({ node, look: undefined as Look | undefined, dueMs: -Infinity }))
  const owners = scope.owners === undefined ? undefined : new Set<string>(scope.owners.map(toHex))
  let isFirst = true

  /** Looks at the next range. Throws where the node has what the state lacks. */
  async function step(node: ExecutionNode, look: Look, stop: AbortSignal): Promise<void> {
    const lastBlock = look.state.nextBlock - 1
    const signal = AbortSignal.any([stop, AbortSignal.timeout(STEP_MS)])
    // A node that is behind gives no logs of what it lacks.
    if ((await node.getBlock(lastBlock, signal)) === undefined)
      throw new Error(`${node.host} has no block ${lastBlock}`)
    for await (const { events, toBlock } of readSsvEvents(node, scope.contract, look.nextBlock, lastBlock, signal)) {
      // A range that fails half way is counted again.
      const added = new Map(look.added)
      const more = findMore(look.state, added, events, owners)
      if (more !== undefined) {
        if (await isInvented(node, more, lastBlock, stop)) {
          // What it says further is worth nothing today.
          look.nextBlock = look.state.nextBlock
          return
        }
        throw new SsvGapError(
          `${placeOf(more)}${more.kind === 'validator_added' ? ', or one before it,' : ''} was left out by an execution node, ${node.host} has it: all events are read again`,
          node,
        )
      }
      look.added = added
      look.nextBlock = toBlock + 1
      return
    }
  }

  /** Whether the receipts of its block, as all nodes together give them, show that an event is not there. */
  async function isInvented(
    node: ExecutionNode,
    event: SsvEvent,
    lastBlock: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const place =
      event.kind === 'validator_added' ? await findOnlyAt(node, toHex(event.owner), lastBlock, signal) : event
    if (place === undefined) return false
    const { blockNumber: block, logIndex } = place
    try {
      const logs = await execution.readBlockLogs(block, signal)
      const { events } = await readSsvPart(
        logs,
        scope.contract,
        { fromBlock: block, toBlock: block },
        undefined,
        signal,
      )
      return !events.some((proven) => proven.logIndex === logIndex && proven.kind === event.kind)
    } catch {
      // Without receipts a node that has more is believed: what one leaves out is the usual fault.
      signal.throwIfAborted()
      return false
    }
  }

  /** The first registration of an owner that this node has and the others do not; undefined where they all have the same by now. */
  async function findOnlyAt(node: ExecutionNode, owner: string, toBlock: number, signal: AbortSignal) {
    const { address, block: fromBlock } = scope.contract
    const topics = [ownerTopic(owner)]
    const query = { address, event: validatorAddedEvent, topics, fromBlock, toBlock, signal }
    const others = new Set<string>()
    for await (const { logs } of execution.scanLogs(query))
      for (const { blockNumber, logIndex } of logs) others.add(`${blockNumber}:${logIndex}`)
    for await (const { logs } of node.scanLogs(query))
      for (const log of logs) if (!others.has(`${log.blockNumber}:${log.logIndex}`)) return log
    return undefined
  }

  /** One range at one node, where it is its turn. */
  async function visit(entry: (typeof nodes)[number], state: SsvState, signal: AbortSignal): Promise<void> {
    if (clockMs() < entry.dueMs) return
    const look = entry.look ?? { state, nextBlock: scope.contract.block, added: new Map() }
    entry.look = look
    try {
      await step(entry.node, look, signal)
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

const placeOf = ({ blockNumber, logIndex }: SsvEvent) => `log ${logIndex} of block ${blockNumber} of the SSV contract`

/** The first event that the state lacks. A node that has fewer shows nothing: it is that one which lacks some. */
function findMore(
  state: SsvState,
  added: Map<string, number>,
  events: readonly SsvEvent[],
  owners: ReadonlySet<string> | undefined,
): SsvEvent | undefined {
  return events.find((event) => {
    if (event.kind === 'operator_added') return event.publicKey !== undefined && !state.operators.has(event.operatorId)
    const owner = toHex(event.owner)
    if (owners?.has(owner) === false) return false
    if (event.kind === 'validator_added') {
      const counted = (added.get(owner) ?? 0) + 1
      added.set(owner, counted)
      return counted > (state.nonces.get(owner) ?? 0)
    }
    const live = state.live.get(registrationKey(event.owner, event.publicKey))
    if (live === undefined) return false
    return (
      event.blockNumber > live.blockNumber || (event.blockNumber === live.blockNumber && event.logIndex > live.logIndex)
    )
  })
}
