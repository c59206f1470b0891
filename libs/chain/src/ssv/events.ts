/** Events of the SSV network contract: who operates nodes, and who has registered which validator with whom (docs/protocol.md#12-ssv). */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { AbiEvent, Hex } from 'viem'
import { ChainError } from '../errors.ts'
import type { ChainLog, ExecutionClient, LogQuery } from '../execution/execution.ts'

/** `event OperatorAdded(uint64 indexed operatorId, address indexed owner, bytes publicKey, uint256 fee)` */
export const operatorAddedEvent = {
  type: 'event',
  name: 'OperatorAdded',
  inputs: [
    { name: 'operatorId', type: 'uint64', indexed: true },
    { name: 'owner', type: 'address', indexed: true },
    { name: 'publicKey', type: 'bytes', indexed: false },
    { name: 'fee', type: 'uint256', indexed: false },
  ],
} as const

const cluster = {
  name: 'cluster',
  type: 'tuple',
  indexed: false,
  components: [
    { name: 'validatorCount', type: 'uint32' },
    { name: 'networkFeeIndex', type: 'uint64' },
    { name: 'index', type: 'uint64' },
    { name: 'active', type: 'bool' },
    { name: 'balance', type: 'uint256' },
  ],
} as const

/** `event ValidatorAdded(address indexed owner, uint64[] operatorIds, bytes publicKey, bytes shares, Cluster cluster)` */
export const validatorAddedEvent = {
  type: 'event',
  name: 'ValidatorAdded',
  inputs: [
    { name: 'owner', type: 'address', indexed: true },
    { name: 'operatorIds', type: 'uint64[]', indexed: false },
    { name: 'publicKey', type: 'bytes', indexed: false },
    { name: 'shares', type: 'bytes', indexed: false },
    cluster,
  ],
} as const

/** `event ValidatorRemoved(address indexed owner, uint64[] operatorIds, bytes publicKey, Cluster cluster)` */
export const validatorRemovedEvent = {
  type: 'event',
  name: 'ValidatorRemoved',
  inputs: [
    { name: 'owner', type: 'address', indexed: true },
    { name: 'operatorIds', type: 'uint64[]', indexed: false },
    { name: 'publicKey', type: 'bytes', indexed: false },
    cluster,
  ],
} as const

interface Place {
  blockNumber: number
  logIndex: number
}

export interface OperatorAdded extends Place {
  kind: 'operator_added'
  operatorId: number
  /** As `parseOperatorPublicKey` gives it; undefined when the event holds no RSA-2048 key. */
  publicKey: Uint8Array | undefined
}

/** As the chain has it: the contract checks little, so every byte may be anything. */
export interface ValidatorAdded extends Place {
  kind: 'validator_added'
  /** 20 bytes. */
  owner: Uint8Array
  /** An id above 2^53 − 1 comes out as another number above it: none that is safe. */
  operatorIds: readonly number[]
  publicKey: Uint8Array
  shares: Uint8Array
}

export interface ValidatorRemoved extends Place {
  kind: 'validator_removed'
  /** 20 bytes. */
  owner: Uint8Array
  publicKey: Uint8Array
}

export type SsvEvent = OperatorAdded | ValidatorAdded | ValidatorRemoved

/** The events of a range of blocks, both inclusive, in the order of (block, log index). */
export interface SsvEventRange {
  fromBlock: number
  toBlock: number
  events: readonly SsvEvent[]
  /** Logs of these events that cannot be decoded: left out. The real contract makes none. */
  undecodable: number
}

/**
 * Reads the contract's events of a range of blocks (both inclusive), oldest first, in ranges as large as the node allows. Every range
 * takes three requests, one for each event.
 *
 * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED; {HttpError}
 */
export async function* readSsvEvents(
  execution: Pick<ExecutionClient, 'scanLogs' | 'host'>,
  contract: { readonly address: Uint8Array },
  fromBlock: number,
  toBlock: number,
  signal?: AbortSignal,
): AsyncGenerator<SsvEventRange> {
  const query = { address: contract.address, fromBlock, toBlock, ...(signal === undefined ? {} : { signal }) }
  for await (const added of execution.scanLogs({ ...query, event: validatorAddedEvent })) {
    const part = { fromBlock: added.fromBlock, toBlock: added.toBlock }
    yield await withOthers(execution, { ...query, ...part }, added)
  }
}

/**
 * Reads the events of one range, however many requests it takes.
 *
 * @param owners of the validators' events that are asked for, in lower-case hex; undefined: everybody's
 * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED; {HttpError}
 */
export async function readSsvPart(
  execution: Pick<ExecutionClient, 'scanLogs' | 'host'>,
  contract: { readonly address: Uint8Array },
  part: { fromBlock: number; toBlock: number },
  owners: readonly string[] | undefined,
  signal?: AbortSignal,
): Promise<SsvEventRange> {
  const query = { address: contract.address, ...part, ...(signal === undefined ? {} : { signal }) }
  const topics = owners === undefined ? {} : { topics: [owners.map(ownerTopic)] }
  const added = await readAll(execution, { ...query, ...topics, event: validatorAddedEvent })
  return withOthers(execution, query, added, topics)
}

/**
 * The keys of these operators, as the last `OperatorAdded` of each in the blocks up to `toBlock` has them; those without an RSA-2048 key are
 * left out.
 *
 * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED; {HttpError}
 */
export async function readOperatorKeys(
  execution: Pick<ExecutionClient, 'scanLogs'>,
  contract: { readonly address: Uint8Array; readonly block: number },
  operatorIds: readonly number[],
  toBlock: number,
  signal?: AbortSignal,
): Promise<{ operatorId: number; publicKey: Uint8Array }[]> {
  const unwrap = await loadUnwrap()
  const { logs } = await readAll(execution, {
    address: contract.address,
    event: operatorAddedEvent,
    topics: [operatorIds.map((id) => `0x${id.toString(16).padStart(64, '0')}`)],
    fromBlock: contract.block,
    toBlock,
    ...(signal === undefined ? {} : { signal }),
  })
  return logs.flatMap((log) => {
    const { operatorId, publicKey } = toOperatorAdded(log, unwrap)
    return publicKey === undefined ? [] : [{ operatorId, publicKey }]
  })
}

/** An owner's address, in lower-case hex, as an argument of the validators' events. */
export const ownerTopic = (owner: string): string => `0x${'00'.repeat(12)}${owner.slice(2)}`

/** The events of a range whose `ValidatorAdded` are known, in order. */
async function withOthers(
  execution: Pick<ExecutionClient, 'scanLogs' | 'host'>,
  query: Pick<LogQuery<AbiEvent>, 'address' | 'fromBlock' | 'toBlock' | 'signal'>,
  added: { logs: ChainLog<typeof validatorAddedEvent>[]; undecodable: number },
  topics: Pick<LogQuery<AbiEvent>, 'topics'> = {},
): Promise<SsvEventRange> {
  const unwrap = await loadUnwrap()
  const [operators, removed] = await Promise.all([
    readAll(execution, { ...query, event: operatorAddedEvent }),
    readAll(execution, { ...query, ...topics, event: validatorRemovedEvent }),
  ])
  const events = [
    ...operators.logs.map((log) => toOperatorAdded(log, unwrap)),
    ...added.logs.map(toValidatorAdded),
    ...removed.logs.map(toValidatorRemoved),
  ].sort((a, b) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex)
  assertDistinct(events, execution.host)
  const { fromBlock, toBlock } = query
  return {
    fromBlock,
    toBlock,
    events,
    undecodable: operators.undecodable + added.undecodable + removed.undecodable,
  }
}

async function readAll<const E extends AbiEvent>(execution: Pick<ExecutionClient, 'scanLogs'>, query: LogQuery<E>) {
  const logs: ChainLog<E>[] = []
  let undecodable = 0
  for await (const range of execution.scanLogs(query)) {
    logs.push(...range.logs)
    undecodable += range.undecodable
  }
  return { logs, undecodable }
}

/** An event that is counted twice would shift its owner's nonces for good. */
function assertDistinct(events: readonly Place[], host: string): void {
  for (const [position, { blockNumber, logIndex }] of events.entries()) {
    const before = events[position - 1]
    if (before?.blockNumber === blockNumber && before.logIndex === logIndex)
      throw new ChainError(
        'EXECUTION_INVALID',
        `the execution node at ${host} gives log ${logIndex} of block ${blockNumber} twice`,
      )
  }
}

type Unwrap = (wrapped: Uint8Array) => string | undefined

/** A reader of a text that is ABI-encoded once more. */
async function loadUnwrap(): Promise<Unwrap> {
  // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
  const { decodeAbiParameters } = await import('../viem/utils.ts')
  return (wrapped) => {
    try {
      return decodeAbiParameters([{ type: 'string' }], wrapped)[0]
    } catch {
      // viem's errors hold the data, so none is passed on.
      return undefined
    }
  }
}

const bytes = (hex: Hex) => fromHex(hex)

function toOperatorAdded({ args, ...position }: ChainLog<typeof operatorAddedEvent>, unwrap: Unwrap): OperatorAdded {
  const publicKey = parseOperatorPublicKey(unwrap(bytes(args.publicKey)) ?? '')
  return { kind: 'operator_added', ...position, operatorId: Number(args.operatorId), publicKey }
}

function toValidatorAdded({ args, ...position }: ChainLog<typeof validatorAddedEvent>): ValidatorAdded {
  return {
    kind: 'validator_added',
    ...position,
    owner: bytes(args.owner),
    operatorIds: args.operatorIds.map(Number),
    publicKey: bytes(args.publicKey),
    shares: bytes(args.shares),
  }
}

function toValidatorRemoved({ args, ...position }: ChainLog<typeof validatorRemovedEvent>): ValidatorRemoved {
  return { kind: 'validator_removed', ...position, owner: bytes(args.owner), publicKey: bytes(args.publicKey) }
}
