/**
 * Gaps that a node never told of: a registration whose validator key has signed a later nonce than was counted says that earlier ones
 * of its owner are missing, or that the owner has skipped a nonce. The owner's own logs tell the two apart (docs/protocol.md#12-ssv).
 */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { ChainError } from '../errors.ts'
import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { ownerTopic, validatorAddedEvent } from './events.ts'
import type { SsvGap, SsvScope, SsvState } from './registry.ts'

/** What every node agrees on is asked again after this time: they may all have lacked it. */
const AGAIN_MS = 6 * 3_600_000
/** So many gaps are looked into at once: any stranger can make one of an owner of its own. */
const MOST = 20

/** Registrations are missing in a state: it has to be made anew. */
export class SsvGapError extends ChainError {
  /** The node that knows more. */
  readonly node: ExecutionNode

  constructor(message: string, node: ExecutionNode) {
    super('EXECUTION_INVALID', message, { meta: { host: node.host } })
    this.node = node
  }
}

type Gap = readonly [owner: string, gap: SsvGap]
const placeOf = ([owner, { blockNumber, logIndex }]: Gap) =>
  `registrations of ${owner} before log ${logIndex} of block ${blockNumber} of the SSV contract`

/** The gaps that stay, in words: nobody knows whether the nodes lack registrations or the owner has skipped nonces. */
export const gapWords = (gaps: SsvState['gaps']): string[] =>
  [...gaps].map(
    (gap) =>
      `${placeOf(gap)} may be missing: nonce ${gap[1].signed} was signed where ${gap[1].counted} were counted, and no execution node knows of more; or the owner has skipped some`,
  )

/** Creates what looks into gaps, each at once and again after hours. */
export function createGapWatch(execution: Pick<ExecutionClient, 'each'>, { contract }: Pick<SsvScope, 'contract'>) {
  /** When each node answered, by gap. */
  const lookedAt = execution.each.map(() => new Map<string, number>())

  /** The gap of which this node has more registrations than were counted; one scan for all of them. */
  async function findMore(node: ExecutionNode, gaps: readonly Gap[], signal: AbortSignal): Promise<Gap | undefined> {
    const before = new Map(gaps.map(([owner]) => [owner, 0]))
    const query = {
      address: contract.address,
      event: validatorAddedEvent,
      topics: [gaps.map(([owner]) => ownerTopic(owner))],
      fromBlock: contract.block,
      toBlock: Math.max(...gaps.map(([, { blockNumber }]) => blockNumber)),
      signal,
    }
    const places = new Map(gaps)
    for await (const { logs } of node.scanLogs(query))
      for (const { blockNumber, logIndex, args } of logs) {
        const owner = args.owner.toLowerCase()
        const gap = places.get(owner)
        if (gap === undefined || blockNumber > gap.blockNumber) continue
        if (blockNumber < gap.blockNumber || logIndex < gap.logIndex) before.set(owner, (before.get(owner) ?? 0) + 1)
      }
    return gaps.find(([owner, { counted }]) => (before.get(owner) ?? 0) > counted)
  }

  return {
    /**
     * Asks every node for the registrations of owners with a gap.
     *
     * @throws {SsvGapError} when one has more than were counted; {ChainError} EXECUTION_INVALID when none answers
     */
    async look({ gaps }: Pick<SsvState, 'gaps'>, signal: AbortSignal): Promise<void> {
      const all = [...gaps].slice(-MOST)
      const [first] = all
      if (first === undefined) return
      const ask = async (node: ExecutionNode, seen: Map<string, number>) => {
        const due = all.filter((gap) => performance.now() - (seen.get(placeOf(gap)) ?? -Infinity) > AGAIN_MS)
        const more = due.length === 0 ? undefined : await findMore(node, due, signal)
        if (more !== undefined)
          throw new SsvGapError(
            `${placeOf(more)} were left out by an execution node, ${node.host} has them: all events are read again`,
            node,
          )
        for (const gap of due) seen.set(placeOf(gap), performance.now())
      }
      const answers = await Promise.allSettled(
        execution.each.map((node, position) => ask(node, lookedAt[position] ?? new Map())),
      )
      signal.throwIfAborted()
      const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))
      const proof = failures.find((failure) => failure instanceof SsvGapError)
      if (proof !== undefined) throw proof
      // A node that is away is asked at the next look.
      if (failures.length === answers.length)
        throw new ChainError(
          'EXECUTION_INVALID',
          `${placeOf(first)} may be missing, and no execution node says: ${messageOf(failures[0])}`,
        )
    },
  }
}
