/**
 * The beginning of the deposit registry: with the network's dump of all deposits up to a block where there is one, else empty. All or
 * nothing: keys and checkpoint are written in one transaction, so a process that is killed leaves nothing that looks like a whole.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { readDeposits } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import type { RegistryDump } from '@dvt-relayer/chain/stakewise/registry-dump.ts'
import { parseRegistryDump } from '@dvt-relayer/chain/stakewise/registry-dump.ts'
import {
  clearRegistered,
  insertCheckpoint,
  insertRegistered,
  MOST_REGISTERED,
} from '@dvt-relayer/db/queries/registry.ts'
import { storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import type { Context } from '../../context.ts'
import { judgeUnverified } from '../../unverified-content.ts'
import { checkpointOf, type Position, REGISTRY_CHECKPOINT } from './position.ts'

/** Blocks before the dump's end that are looked at first for the last deposit. */
const FIRST_LOOK = 256
/** Five million keys. */
const MOST_DUMP_BYTES = 256 * 1024 * 1024

type Start = Omit<Position, 'count'>

/** Creates the part of the service that begins. */
export function createDepositSeed({
  config,
  db,
  chain: { execution, ipfs },
  events,
  logger,
}: Pick<Context, 'config' | 'db' | 'chain' | 'events' | 'logger'>) {
  const { network } = config

  /**
   * Where the scan begins behind a dump: at the last deposit up to the dump's last block. Its index is known, so a node that leaves
   * out what comes after it is found out.
   */
  async function findStart(lastBlock: number, signal: AbortSignal): Promise<Start> {
    if ((await execution.getBlock(lastBlock, signal)) === undefined)
      throw new ChainError(
        'EXECUTION_INVALID',
        `the execution node at ${execution.host} has not come to block ${lastBlock} yet, where the registry dump ends`,
      )
    for (let blocks = FIRST_LOOK; ; blocks *= 4) {
      const from = Math.max(network.depositContractBlock, lastBlock - blocks + 1)
      let start: Start | undefined
      for await (const { deposits } of readDeposits(execution, network, from, lastBlock, signal)) {
        const last = deposits.at(-1)
        if (last !== undefined) start = { nextBlock: last.blockNumber, nextDepositIndex: last.depositIndex + 1 }
      }
      if (start !== undefined) return start
      if (from === network.depositContractBlock) return { nextBlock: from, nextDepositIndex: 0 }
    }
  }

  async function fetchDump(cid: string, lastBlock: number, signal: AbortSignal): Promise<RegistryDump> {
    const request = { what: 'the registry dump', maxBytes: MOST_DUMP_BYTES, ...config.ipfs.dump }
    const { content, verification } = await ipfs.fetchContent(cid, request, signal)
    // A hostile gateway could hide keys that have a deposit, or invent some.
    judgeUnverified({ config, logger }, { what: 'registry dump', cid, verification })
    return parseRegistryDump(content, lastBlock)
  }

  return {
    /**
     * Begins, unless another process has meanwhile.
     *
     * @param onProgress is told, in words, how far it has come
     */
    async begin(signal: AbortSignal, onProgress: (words: string) => void): Promise<void> {
      const startMs = performance.now()
      const position = { nextBlock: network.depositContractBlock, nextDepositIndex: 0, count: 0 }
      let dump: RegistryDump | undefined
      if (network.registryDump !== undefined) {
        const { cid, lastBlock } = network.registryDump
        onProgress('the registry dump is being fetched')
        Object.assign(position, await findStart(lastBlock, signal))
        dump = await fetchDump(cid, lastBlock, signal)
      }
      const begun = await db.transaction(async (tx) => {
        if ((await insertCheckpoint(tx, REGISTRY_CHECKPOINT, checkpointOf(network, position))) === 'exists')
          return false
        // Keys without a checkpoint are of nobody knows when.
        await clearRegistered(tx)
        for (const keys of dump?.records(MOST_REGISTERED) ?? []) {
          signal.throwIfAborted()
          position.count += await insertRegistered(tx, keys)
          onProgress(`the registry dump is being stored: ${position.count} of ${dump?.count} validators`)
        }
        await storeCheckpoint(tx, REGISTRY_CHECKPOINT, checkpointOf(network, position))
        return true
      })
      if (begun) events.registryBegun(position.count, position.nextBlock, (performance.now() - startMs) / 1000)
    },
  }
}
