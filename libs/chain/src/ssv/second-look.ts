/**
 * Whether a node has told all the events of a range (docs/protocol.md#12-ssv). A registration that is missing shifts the nonces of its
 * owner for good, and an answer says nothing of what it lacks: so everything that counts is asked for twice, in other questions, and what is
 * new is held against the blocks themselves.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ExecutionClient } from '../execution/execution.ts'
import { MOST_HELD, UnprovenError } from '../execution/proof/block-logs.ts'
import {
  operatorAddedEvent,
  ownerTopic,
  readSsvPart,
  type SsvEvent,
  type SsvEventRange,
  validatorAddedEvent,
  validatorRemovedEvent,
} from './events.ts'
import type { SsvScope, SsvState } from './registry.ts'

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

/** What an answer said wrongly of the events of a block, as a sentence that names the node. */
export type OnWrong = (sentence: string) => void

/**
 * Holds a range against the blocks themselves, where it is of the newest ones: a block whose header says that it may have such an event is
 * read by its receipts, and what they show counts. So is one that could not be proven before, however old it is by now.
 *
 * @param state that the range follows
 * @param range in which two answers agree
 * @param lastBlock of the scan; what lies further back than `MOST_HELD` is history
 * @returns the range with what its blocks have
 * @throws {UnprovenError} where the receipts of such a block cannot be had. Then nothing of the range may be kept
 */
export async function holdAgainstBlocks(
  execution: Pick<ExecutionClient, 'findMaybe' | 'readBlockLogs' | 'host'>,
  scope: Pick<SsvScope, 'contract' | 'owners'>,
  { doubtful = 0 }: Pick<SsvState, 'doubtful'>,
  range: SsvEventRange,
  lastBlock: number,
  onWrong: OnWrong,
  signal: AbortSignal,
): Promise<SsvEventRange> {
  const fromBlock = Math.max(range.fromBlock, lastBlock - MOST_HELD + 1)
  const isOld = doubtful >= range.fromBlock && doubtful < Math.min(fromBlock, range.toBlock + 1)
  if (fromBlock > range.toBlock && !isOld) return range
  const owners = scope.owners?.map(toHex)
  const topics = owners === undefined ? {} : { topics: [owners.map(ownerTopic)] }
  const maybe = execution.findMaybe({
    address: scope.contract.address,
    any: [
      { event: operatorAddedEvent },
      { event: validatorAddedEvent, ...topics },
      { event: validatorRemovedEvent, ...topics },
    ],
    fromBlock,
    toBlock: range.toBlock,
    signal,
  })
  const { host } = execution
  const events = [...range.events]
  const check = async (block: number) => {
    const proven = await readProven(execution, scope, block, owners, signal)
    const told = events.filter(({ blockNumber }) => blockNumber === block)
    const wrong = placesOf(told, owners).symmetricDifference(placesOf(proven, owners)).values().next().value
    if (wrong === undefined) return
    onWrong(
      `the execution node at ${host} said otherwise of ${wrong} of the SSV contract than the receipts of that block`,
    )
    const first = events.findIndex(({ blockNumber }) => blockNumber >= block)
    events.splice(first === -1 ? events.length : first, told.length, ...proven)
  }
  if (isOld) await check(doubtful)
  for await (const block of maybe) await check(block)
  return { ...range, events }
}

async function readProven(
  execution: Pick<ExecutionClient, 'readBlockLogs' | 'host'>,
  scope: Pick<SsvScope, 'contract'>,
  block: number,
  owners: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<readonly SsvEvent[]> {
  try {
    const logs = await execution.readBlockLogs(block, signal)
    const part = { fromBlock: block, toBlock: block }
    return (await readSsvPart(logs, scope.contract, part, owners, signal)).events
  } catch (error) {
    signal.throwIfAborted()
    throw new UnprovenError(block, 'an event of the SSV contract', execution.host, error)
  }
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
