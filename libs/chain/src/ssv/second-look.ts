/**
 * Whether a node has told all the events of a range (docs/protocol.md#12-ssv). A registration that is missing shifts the nonces of its
 * owner for good, and an answer says nothing of what it lacks: so everything that counts is asked for twice, in other questions.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ExecutionClient } from '../execution/execution.ts'
import { readSsvPart, type SsvEvent, type SsvEventRange } from './events.ts'
import type { SsvScope } from './registry.ts'

/**
 * Asks for the events of a range once more: in two halves, and of the scope's owners only, where it names them.
 *
 * @param host of the node that gave the range; it must know the range's last block too, since a node that lacks a block gives no logs
 * of it
 * @returns what speaks against the range, as a sentence that names the node; undefined: nothing. Then nothing of it may be kept
 * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED; {HttpError}
 */
export async function findDoubt(
  execution: Pick<ExecutionClient, 'getBlock' | 'scanLogs' | 'host'>,
  scope: Pick<SsvScope, 'contract' | 'owners'>,
  range: SsvEventRange,
  host: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const owners = scope.owners?.map(toHex)
  const again: SsvEvent[] = []
  for (const part of halves(range))
    again.push(...(await readSsvPart(execution, scope.contract, part, owners, signal)).events)
  const first = placesOf(range.events, owners)
  const second = placesOf(again, owners)
  const missing = first.symmetricDifference(second).values().next().value
  if (missing !== undefined)
    return `the execution node at ${execution.host} left ${missing} of the SSV contract out of one of two answers: these blocks are read again`
  const last = await execution.getBlock(range.toBlock, signal)
  if (last !== undefined && execution.host === host) return undefined
  return `the execution node at ${execution.host} has no block ${range.toBlock}, or nodes take turns in answering`
}

/** Other questions than the first one, which something between may have kept the answer of. */
function halves({ fromBlock, toBlock }: SsvEventRange): { fromBlock: number; toBlock: number }[] {
  if (fromBlock === toBlock) return [{ fromBlock, toBlock }]
  const middle = Math.floor((fromBlock + toBlock) / 2)
  return [
    { fromBlock, toBlock: middle },
    { fromBlock: middle + 1, toBlock },
  ]
}

/** Where the events stand that count, as messages say it. */
function placesOf(events: readonly SsvEvent[], owners: readonly string[] | undefined): Set<string> {
  const counted = events.filter(
    (event) => event.kind === 'operator_added' || owners === undefined || owners.includes(toHex(event.owner)),
  )
  return new Set(counted.map(({ blockNumber, logIndex }) => `log ${logIndex} of block ${blockNumber}`))
}
