/** The Keeper contract: where the newest oracle config is (docs/protocol.md#7-oracle-set). */

import type { ChainLog, ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { MOST_HELD, UnprovenError } from '../execution/proof/block-logs.ts'
import type { Network } from '../networks.ts'

/** `event ConfigUpdated(string configIpfsHash)`. The Keeper has no call that says which config is the newest: the event is all there is. */
export const configUpdatedEvent = {
  type: 'event',
  name: 'ConfigUpdated',
  inputs: [{ name: 'configIpfsHash', type: 'string', indexed: false }],
} as const

/** Where and when the chain announced an oracle config. `cid` is as the contract says it, unchecked. */
export interface ConfigEvent {
  cid: string
  blockNumber: number
  logIndex: number
}

/** The newest config of a scan. */
export interface ConfigScan {
  config: ConfigEvent | undefined
  /** Where the next scan begins: every block before it was looked at for good. */
  nextBlock: number
  /** Why blocks may have a config that nobody can show, in words, once that has lasted. */
  doubt?: string | undefined
}

type Execution = Pick<ExecutionClient, 'blockNumber' | 'scanLogs' | 'findMaybe' | 'readBlockLogs' | 'host'>
type Keeper = Pick<Network, 'keeper' | 'keeperBlock'>

/** Blocks that are read again at the next scan: their events may have changed places. */
const OVERLAP = 64
/** A scan that stands so far above the head was led there by a node that was wrong, or this one is: it begins anew, which does no harm. */
const MOST_AHEAD = 1_000
/** A chain of more blocks than a week has is history at the first scan. */
const MOST_HISTORY = 100 * MOST_HELD
/** So many blocks may go without proof before it is told: a node may be away for minutes. */
const MOST_UNPROVEN = 64

const toConfig = ({ blockNumber, logIndex, args }: ChainLog<typeof configUpdatedEvent>): ConfigEvent => ({
  cid: args.configIpfsHash,
  blockNumber,
  logIndex,
})
/** The later one of two. */
const later = (a: ConfigEvent | undefined, b: ConfigEvent | undefined): ConfigEvent | undefined => {
  if (a === undefined || b === undefined) return a ?? b
  return b.blockNumber > a.blockNumber || (b.blockNumber === a.blockNumber && b.logIndex > a.logIndex) ? b : a
}
const withSignal = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal })

/** The newest config of a range, by logs. It walks back, and stops at the first one found. */
async function findByLogs(
  execution: Pick<ExecutionClient, 'scanLogs'>,
  { keeper }: Keeper,
  range: { fromBlock: number; toBlock: number },
  signal: AbortSignal | undefined,
): Promise<ConfigEvent | undefined> {
  const query = { address: keeper, event: configUpdatedEvent, ...range, ...withSignal(signal) }
  for await (const { logs } of execution.scanLogs(query, 'backwards')) {
    const newest = logs.at(-1)
    if (newest !== undefined) return toConfig(newest)
  }
  return undefined
}

/** The newest config of a block, by its receipts. */
async function findInBlock(
  execution: Pick<ExecutionClient, 'readBlockLogs'>,
  keeper: Keeper,
  block: number,
  signal?: AbortSignal,
): Promise<ConfigEvent | undefined> {
  const logs = await execution.readBlockLogs(block, signal)
  return findByLogs(logs, keeper, { fromBlock: block, toBlock: block }, signal)
}

/**
 * Finds the newest `ConfigUpdated` from a block on. It walks back from the head and stops at the first one found, so even
 * a node that answers 1,000 blocks at a time reads no more than what came since.
 *
 * An answer may lack an event and say nothing of it. So the blocks that are not looked at again are held against their own headers and
 * receipts first, some at each scan; but not the history before the first scan, whose blocks are too many.
 *
 * @param nextBlock first block to look at, by the scan before; nothing for the Keeper's first
 */
export async function findNewestConfig(
  execution: Execution,
  network: Keeper,
  nextBlock: number = network.keeperBlock,
  signal?: AbortSignal,
): Promise<ConfigScan> {
  const head = await execution.blockNumber()
  const isAhead = nextBlock > head + MOST_AHEAD
  const from = isAhead ? network.keeperBlock : Math.max(nextBlock, network.keeperBlock)
  const config = await findByLogs(execution, network, { fromBlock: from, toBlock: head }, signal)
  const next = Math.max(from, head - OVERLAP + 1)
  if (from === network.keeperBlock && next - from > MOST_HISTORY) return { config, nextBlock: next }
  const held = await holdAgainstBlocks(execution, network, from, Math.min(next, from + MOST_HELD) - 1, signal)
  const doubt = next - held.nextBlock > MOST_UNPROVEN ? held.doubt : undefined
  return { config: later(config, held.config), nextBlock: held.nextBlock, doubt }
}

/** The newest config that the blocks themselves have, as far as each can be proven. */
async function holdAgainstBlocks(
  execution: Execution,
  network: Keeper,
  fromBlock: number,
  toBlock: number,
  signal: AbortSignal | undefined,
): Promise<ConfigScan> {
  const query = {
    address: network.keeper,
    any: [{ event: configUpdatedEvent }],
    fromBlock,
    toBlock,
    ...withSignal(signal),
  }
  let config: ConfigEvent | undefined
  let nextBlock = fromBlock
  try {
    for await (const block of execution.findMaybe(query)) {
      nextBlock = block
      config = later(config, await findInBlock(execution, network, block, signal))
    }
    return { config, nextBlock: toBlock + 1 }
  } catch (error) {
    signal?.throwIfAborted()
    return { config, nextBlock, doubt: new UnprovenError(nextBlock, 'an oracle config', execution.host, error).message }
  }
}

const PAUSE_MS = {
  /** After the nodes were asked for what came since the newest config. */
  done: 6 * 3_600_000,
  /** After one of them was away. */
  failed: 10 * 60_000,
}
/** What such a look may take. */
const LOOK_MS = 20_000

/** The values of what succeeds, in its place. */
const settled = async <T>(work: readonly Promise<T>[]): Promise<(T | undefined)[]> =>
  (await Promise.allSettled(work)).map((answer) => (answer.status === 'fulfilled' ? answer.value : undefined))

/**
 * Creates a look at every node by itself, again and again, for a config that came after the newest one that is known: what an answer lacked
 * before the first scan, or what one node always lacks, another one has. `clockMs` counts from anywhere.
 */
export function createConfigLook(
  execution: Pick<ExecutionClient, 'each' | 'readBlockLogs'>,
  network: Keeper,
  clockMs: () => number = () => performance.now(),
) {
  // The first round is left to what is new.
  let dueMs: number | undefined
  let doubt: string | undefined

  /** Each node's newest config of the same blocks, which all of them have: nobody is asked to believe in one of a block that only one knows. */
  async function askEach(from: number): Promise<(ConfigEvent | undefined)[]> {
    const signal = AbortSignal.timeout(LOOK_MS)
    const heads = await settled(execution.each.map((node) => node.getBlock('latest', signal)))
    const present = execution.each.filter((_, position) => (heads[position]?.number ?? -1) >= from)
    const toBlock = Math.min(...heads.flatMap((head) => (head && head.number >= from ? [head.number] : []))) - OVERLAP
    const answers = await Promise.allSettled(
      present.map((node) => findByLogs(node, network, { fromBlock: from, toBlock }, signal)),
    )
    const seen = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    dueMs = clockMs() + (seen.length < execution.each.length ? PAUSE_MS.failed : PAUSE_MS.done)
    return seen
  }

  return {
    /**
     * Looks where it is time to.
     *
     * @returns the newest config after `known` that every node has, or that its block proves; what is doubtful, in words, until it is not
     */
    async look(known: Pick<ConfigEvent, 'blockNumber'> | undefined): Promise<Pick<ConfigScan, 'config' | 'doubt'>> {
      const isDue = dueMs !== undefined && clockMs() >= dueMs
      dueMs ??= clockMs()
      if (!isDue) return { config: undefined, doubt }
      const from = known === undefined ? network.keeperBlock : known.blockNumber + 1
      const seen = await askEach(from)
      doubt = undefined
      const config = seen.reduce(later, undefined)
      if (config === undefined) return { config: undefined }
      if (seen.every((other) => other?.blockNumber === config.blockNumber && other.cid === config.cid))
        return { config }
      try {
        return { config: await findInBlock(execution, network, config.blockNumber) }
      } catch (error) {
        doubt = new UnprovenError(config.blockNumber, 'an oracle config', 'one of EXECUTION_ENDPOINT', error).message
        dueMs = clockMs() + PAUSE_MS.failed
        return { config: undefined, doubt }
      }
    },
  }
}

/** A node whose head is older has not followed the chain lately, and cannot know what it announced. */
const CURRENT_SECONDS = 300

/**
 * Asks each execution node for a config that one has named: what is encrypted for oracles that somebody invented is never taken back. A
 * node that does not answer, or whose head is of long ago, does not count; one that follows the chain and does not have the event does.
 *
 * @param nowSeconds Unix seconds
 * @returns which node does not have it, in words; undefined when none contradicts
 */
export async function findDenial(
  nodes: readonly ExecutionNode[],
  network: Pick<Network, 'keeper'>,
  config: Pick<ConfigEvent, 'cid' | 'blockNumber'>,
  nowSeconds: number,
): Promise<string | undefined> {
  const answers = await Promise.allSettled(
    nodes.map(async (node) => ((await denies(node, network, config, nowSeconds)) ? node.host : undefined)),
  )
  const hosts = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value ? [answer.value] : []))
  if (hosts.length === 0) return undefined
  return `the execution node at ${hosts.join(', ')} does not have what another says the Keeper announced in block ${config.blockNumber}: one of them is behind, on another chain, or lies`
}

async function denies(
  node: ExecutionNode,
  { keeper }: Pick<Network, 'keeper'>,
  { cid, blockNumber }: Pick<ConfigEvent, 'cid' | 'blockNumber'>,
  nowSeconds: number,
): Promise<boolean> {
  const head = await node.getBlock('latest')
  if (head === undefined || head.timestamp < nowSeconds - CURRENT_SECONDS) return false
  if (head.number < blockNumber) return true
  const query = { address: keeper, event: configUpdatedEvent, fromBlock: blockNumber, toBlock: blockNumber }
  for await (const { logs } of node.scanLogs(query))
    if (logs.some(({ args }) => args.configIpfsHash === cid)) return false
  // What its answer left out its own block may have.
  try {
    for await (const { logs } of (await node.readBlockLogs(blockNumber)).scanLogs(query))
      if (logs.some(({ args }) => args.configIpfsHash === cid)) return false
  } catch {
    // It shows neither: it does not have it.
  }
  return true
}
