/** How an execution node's newest block stands to the clock: the one judgement of `/ready` and of the doctors of relayer and sidecar. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import { Type } from 'typebox'
import { ChainError } from '../errors.ts'
import { hasRealStake, type Network } from '../networks.ts'
import type { BlockRef } from './blocks.ts'
import type { ExecutionClient } from './execution.ts'

/** A newest block that is older asks for a reason. */
const OLD_SECONDS = 60
/** How long an answer to the second question is waited for: the head itself is known by then. */
const SAID_MS = 2_000
/** Chains with real stake make a block every few seconds; one of one's own may make none for days. */
const STOPPED_SECONDS = 300

/** What was seen. Of what may be wrong, and need not, there is a doubt: the node is worked with. */
export interface HeadLook {
  readonly block: BlockRef | undefined
  readonly ageSeconds: number | undefined
  readonly problem?: string
  readonly doubt?: string
}

type Asked = Pick<ExecutionClient, 'getBlock' | 'request'>

/** Looks at the newest block of the node at `host`; where it is old, asks whether the node is catching up. @throws {ChainError}; {HttpError} */
export async function lookAtHead(
  node: Asked,
  { host, network, unixMs = Date.now() }: { host: string; network: Pick<Network, 'chainId'>; unixMs?: number },
  signal?: AbortSignal,
): Promise<HeadLook> {
  const block = await node.getBlock('latest', signal)
  if (block === undefined)
    return { block, ageSeconds: undefined, problem: `the execution node at ${host} has no block yet` }
  const ageSeconds = Math.round(unixMs / 1000 - block.timestamp)
  if (ageSeconds <= OLD_SECONDS) return { block, ageSeconds }
  const newest = `the newest block of the execution node at ${host} is of ${timeText(block.timestamp)}`
  if (await isSyncing(node, signal))
    return { block, ageSeconds, problem: `${newest}: it is still catching up (eth_syncing)` }
  if (hasRealStake(network) && ageSeconds > STOPPED_SECONDS)
    return {
      ...{ block, ageSeconds },
      problem: `${newest}, and it does not say that it is catching up: is its consensus client away, or this machine's clock wrong?`,
    }
  return {
    ...{ block, ageSeconds },
    doubt: `${newest}, and it does not say that it is catching up: the chain makes no blocks, the node hears of none, or this machine's clock is wrong`,
  }
}

/** Whether it says so; proxies and small nodes do not know the question, and some let it hang. */
async function isSyncing(node: Asked, signal?: AbortSignal): Promise<boolean> {
  const late = () => new ChainError('EXECUTION_INVALID', 'eth_syncing is not answered')
  try {
    const said = await withTimeout(node.request('eth_syncing', [], Type.Unknown(), signal), SAID_MS, late)
    return said !== false && said !== null
  } catch (error) {
    if (error instanceof CodedError) return false
    throw error
  }
}
