/** The Keeper contract: where the newest oracle config is (docs/protocol.md#7-oracle-set). */

import type { ExecutionClient } from '../execution/execution.ts'
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

/**
 * Finds the newest `ConfigUpdated` from a block on. It walks back from the head and stops at the first one found, so even
 * a node that answers 1,000 blocks at a time reads no more than what came since.
 *
 * @param from first block to look at: `nextBlock` of the scan before, or nothing for the Keeper's first
 * @returns the event, if there is one, and where the next scan begins
 */
export async function findNewestConfig(
  execution: Pick<ExecutionClient, 'blockNumber' | 'scanLogs'>,
  network: Pick<Network, 'keeper' | 'keeperBlock'>,
  from: number = network.keeperBlock,
  signal?: AbortSignal,
): Promise<{ config: ConfigEvent | undefined; nextBlock: number }> {
  const head = await execution.blockNumber()
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
