/** The Keeper contract: where the newest oracle config is (docs/protocol.md#7-oracle-set). */

import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import type { Network } from '../networks.ts'

/** `event ConfigUpdated(string configIpfsHash)` */
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

/** Blocks that are read again at the next scan: their events may have changed places. */
const OVERLAP = 64
/** A scan that stands so far above the head was led there by a node that was wrong, or this one is: it begins anew, which does no harm. */
const MOST_AHEAD = 1_000

/**
 * Finds the newest `ConfigUpdated` from a block on. It walks back from the head and stops at the first one found, so even
 * a node that answers 1,000 blocks at a time reads no more than what came since.
 *
 * @param since first block to look at: `nextBlock` of the scan before, or nothing for the Keeper's first
 * @returns the event, if there is one, and where the next scan begins
 */
export async function findNewestConfig(
  execution: Pick<ExecutionClient, 'blockNumber' | 'scanLogs'>,
  network: Pick<Network, 'keeper' | 'keeperBlock'>,
  since: number = network.keeperBlock,
  signal?: AbortSignal,
): Promise<{ config: ConfigEvent | undefined; nextBlock: number }> {
  const head = await execution.blockNumber()
  const from = since > head + MOST_AHEAD ? network.keeperBlock : since
  const nextBlock = Math.max(from, head - OVERLAP + 1)
  const query = {
    address: network.keeper,
    event: configUpdatedEvent,
    fromBlock: from,
    toBlock: head,
    ...(signal === undefined ? {} : { signal }),
  }
  for await (const { logs } of execution.scanLogs(query, 'backwards')) {
    const newest = logs.at(-1)
    if (newest === undefined) continue
    const { blockNumber, logIndex } = newest
    return { config: { cid: newest.args.configIpfsHash, blockNumber, logIndex }, nextBlock }
  }
  return { config: undefined, nextBlock }
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
  return true
}
