/** The newest final block, where nothing can be done without one. What is read up to it is never looked at again, so no node alone may push it. */

import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import type { BlockRef, ExecutionClient, ExecutionNode } from './execution.ts'

type Execution = Pick<ExecutionClient, 'getBlock' | 'host' | 'each'>
type Slots = Pick<Network, 'secondsPerSlot'>

/** How long other nodes are asked what they make of a block. */
const OTHERS_MS = 3_000
/** Clocks and slots are not to the second. */
const SLACK_SECONDS = 60

/**
 * The newest final block, undefined while there is none. Some depth below the head in its place would be a guess.
 *
 * @param consequence what cannot be done, as words that follow "so"
 * @throws {ChainError} EXECUTION_REFUSED saying so, where the node does not know the block "finalized"; EXECUTION_INVALID where another node
 * contradicts it, and no node has one that nobody does; {HttpError}
 */
export async function getFinalBlock(
  execution: Execution,
  network: Slots,
  consequence: string,
  signal: AbortSignal,
): Promise<BlockRef | undefined> {
  try {
    return await findFinalBlock(execution, network, signal)
  } catch (error) {
    if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED')
      throw new ChainError(
        'EXECUTION_REFUSED',
        `the execution node at ${execution.host} does not say which block is final, so ${consequence}: it needs a version that knows the block "finalized" (EXECUTION_ENDPOINT)`,
        { cause: error },
      )
    throw error
  }
}

/**
 * The same, with the node's own words where it does not know the block "finalized". A node that is behind contradicts nothing that may have
 * come after its head; one that is away says nothing.
 */
export async function findFinalBlock(
  execution: Execution,
  network: Slots,
  signal: AbortSignal,
): Promise<BlockRef | undefined> {
  const final = await execution.getBlock('finalized', signal)
  if (final === undefined || execution.each.length < 2) return final
  const others = AbortSignal.any([signal, AbortSignal.timeout(OTHERS_MS)])
  const contradiction = await findContradiction(execution.each, network, final, others)
  signal.throwIfAborted()
  if (contradiction === undefined) return final
  const { host } = execution
  for (const node of execution.each) {
    const own = await node.getBlock('finalized', others).catch(() => undefined)
    signal.throwIfAborted()
    if (own !== undefined && (await findContradiction(execution.each, network, own, others)) === undefined) return own
  }
  throw new ChainError(
    'EXECUTION_INVALID',
    `the execution node at ${host} has block ${final.number} as final, and ${contradiction}: nothing is read up to it`,
    { meta: { host } },
  )
}

/** What one of these nodes says against a block, as words that follow "and"; undefined: nothing. */
async function findContradiction(
  nodes: readonly ExecutionNode[],
  { secondsPerSlot }: Slots,
  final: BlockRef,
  signal: AbortSignal,
): Promise<string | undefined> {
  const looks = nodes.map(async (node): Promise<string | undefined> => {
    const head = await node.getBlock('latest', signal)
    if (head === undefined) return undefined
    if (head.number >= final.number) {
      const own = await node.getBlock(final.number, signal)
      return own === undefined || own.hash === final.hash ? undefined : `${node.host} has another block there`
    }
    // There is one block a slot at most.
    const seconds = Math.min(final.timestamp, Date.now() / 1000) - head.timestamp + SLACK_SECONDS
    return (final.number - head.number) * secondsPerSlot > seconds
      ? `${node.host} is at block ${head.number}, from where there were no slots for so many`
      : undefined
  })
  const answers = await Promise.allSettled(looks)
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? (answer.value ?? []) : []))[0]
}
