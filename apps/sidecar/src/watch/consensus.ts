/** Looks at the consensus node again and again: is it there, in step, and on our chain? Nothing is signed while it is not. */

import type { ConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import { inTime, pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { Health } from '../health.ts'

const CHECK_MS = 12_000
/** While it is away it is looked for more often. */
const AWAY_MS = 3000

type Watched = Pick<ConsensusClient, 'checkChain' | 'head'>

/** Looks once and reports, within 5 s. @throws {BootError} CHAIN_MISMATCH */
export async function checkConsensus(consensus: Watched, health: Health, signal: AbortSignal): Promise<void> {
  try {
    await untilAborted(inTime(look(consensus), 'the consensus node'), signal)
    health.report('consensus')
  } catch (error) {
    if (signal.aborted) return
    health.report('consensus', messageOf(error))
    if (error instanceof ChainError && error.code === 'CHAIN_MISMATCH')
      throw new BootError('CHAIN_MISMATCH', `${error.message} (CONSENSUS_ENDPOINT, NETWORK)`, { cause: error })
  }
}

async function look(consensus: Watched): Promise<void> {
  await consensus.checkChain()
  // Answered by a node that is in step: one that is behind takes a taken index for a free one.
  await consensus.head()
}

/** Goes on looking. A node that turns out to be on another chain is reported, not fatal: the one that was here may come back. */
export function startWatchingConsensus(consensus: Watched, health: Health): AsyncDisposable {
  const stop = new AbortController()
  const run = async () => {
    while (!stop.signal.aborted) {
      await pause(health.isGood('consensus') ? CHECK_MS : AWAY_MS, stop.signal)
      if (stop.signal.aborted) return
      // What it throws is reported already.
      await checkConsensus(consensus, health, stop.signal).catch(() => undefined)
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
