/** The outside world as the services see it, made of the clients of `libs/chain`. */

import { createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { doubtOfHead } from '@dvt-relayer/chain/consensus/in-step.ts'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { createExecutionClient, type ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { lookAtHead } from '@dvt-relayer/chain/execution/head-look.ts'
import { createIpfsClient } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { createConfigLook, findDenial, findNewestConfig } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { fetchOracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { anyAnswer, CHECK_MS, withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { RelayerConfig } from './config.ts'
import { type Context, type OracleSetSource, PATIENCE_MS, type ValidatorRegistry } from './context.ts'
import type { CryptoPool } from './crypto-workers/pool.ts'
import type { Events } from './events.ts'
import { judgeUnverified } from './unverified-content.ts'

/** The clients, and what services may ask of them. Nobody who waits for an answer waits longer than `patienceMs` for a node. */
export function createChain(
  config: RelayerConfig,
  crypto: CryptoPool,
  events: Events,
  logger: Logger,
  patienceMs = PATIENCE_MS,
) {
  const { network } = config
  const count = (target: 'consensus' | 'execution' | 'ipfs') => ({
    onResult: ({ outcome }: { outcome: string }) => events.outboundAnswered(target, outcome === 'ok'),
  })
  const consensus = createConsensusClient({
    ...config.consensus,
    network,
    verifyBatch: (triples) => crypto.verify(triples),
    ...count('consensus'),
  })
  const execution = createExecutionClient({ ...config.execution, network, ...count('execution') })
  /** The same nodes, each by itself: what is wrong with them is known at once, and whether any of them answers. */
  const alone = { timeoutMs: CHECK_MS, retryTimeoutMs: 0, network }
  const clock = { network, unixMs: Date.now }
  const watched = {
    consensus: watch(
      config.consensus.endpoints.map((at) => {
        const node = createConsensusClient({ ...alone, endpoints: [at] })
        return async () => doubtOfHead((await node.head()).slot, at.host, clock)
      }),
    ),
    execution: watch(
      config.execution.endpoints.map((at) => {
        const node = createExecutionClient({ ...alone, endpoints: [at] })
        return async () => {
          const { problem, doubt } = await lookAtHead(node, { host: at.host, network })
          if (problem !== undefined) throw new ChainError('EXECUTION_INVALID', problem)
          return doubt
        }
      }),
    ),
  }
  const ipfs = createIpfsClient({ ...config.ipfs, ...count('ipfs') })
  const registry: ValidatorRegistry = {
    nextIndex: async () => (await withTimeout(consensus.nextValidatorIndex(), patienceMs)).nextIndex,
    async knownKeys(publicKeys) {
      const known = await withTimeout(consensus.findKnown(publicKeys), patienceMs)
      return publicKeys.map((key) => known.has(toHex(key)))
    },
    async findPending(publicKeys) {
      const { pendingCredentials } = await withTimeout(consensus.nextValidatorIndex(), patienceMs)
      const wanted = new Set(publicKeys.map((key) => toHex(key) as string))
      return new Map([...pendingCredentials].filter(([key]) => wanted.has(key)))
    },
    findValidators: (publicKeys) => withTimeout(consensus.findValidators(publicKeys), patienceMs),
    // Nobody waits for these: the client's own limits are enough.
    findByIndex: consensus.findValidatorsByIndex,
    finalizedRoot: consensus.finalizedRoot,
    findFinalized: consensus.findFinalized,
  }
  const oracleSets: Context['chain']['oracleSets'] = {
    ...createAnnouncements(execution, network),
    async fetch(cid) {
      const { config: set, verification } = await fetchOracleConfig(ipfs, cid)
      // A hostile gateway could name its own oracles and have every exit encrypted to itself.
      judgeUnverified({ config, logger }, { what: 'oracle config', cid, verification })
      const { oracles, ...rest } = set
      const publicKeys = oracles.map(({ publicKey }) => publicKey)
      return {
        threshold: set.threshold,
        publicKeys,
        config: { ...rest, oracles: oracles.map(({ address, endpoints }) => ({ address, endpoints })) },
      }
    },
  }
  return { consensus, consensusNodes: consensus.each, execution, watched, ipfs, registry, oracleSets }
}
export type Chain = ReturnType<typeof createChain>

/** What the Keeper has announced, as the execution nodes have it. */
export function createAnnouncements(
  execution: ExecutionClient,
  network: Network,
): Pick<OracleSetSource, 'head' | 'newest' | 'findDenial'> {
  const elsewhere = createConfigLook(execution, network)
  return {
    async head() {
      const block = await execution.getBlock('latest')
      if (block === undefined) throw new ChainError('EXECUTION_INVALID', 'the execution node has no block yet')
      return `${block.hash} ${execution.host}`
    },
    async newest(from, known) {
      const { config: newest, nextBlock, doubt: recent } = await findNewestConfig(execution, network, from)
      const older = await elsewhere.look(newest ?? known)
      const [found, doubt] = [older.config ?? newest, recent ?? older.doubt]
      if (found === undefined) return { config: undefined, nextBlock, doubt }
      const block = await execution.getBlock(found.blockNumber)
      if (block === undefined)
        throw new ChainError(
          'EXECUTION_INVALID',
          'the block of the newest oracle config is gone; it is looked for again',
        )
      const { cid, blockNumber } = found
      return { config: { cid, blockNumber, announcedAt: block.timestamp }, nextBlock, doubt }
    },
    findDenial: async (announced) =>
      execution.each.length < 2
        ? undefined
        : findDenial(execution.each, network, announced, Math.floor(Date.now() / 1000)),
  }
}

/**
 * Asks every node by itself: one that is in order is enough. Each answers what may be wrong with it all the same, and that is returned of all
 * that were in order last.
 */
function watch(looks: readonly (() => Promise<string | undefined>)[]): () => Promise<string | undefined> {
  const doubts = new Map<number, string>()
  return async () => {
    await anyAnswer(
      looks.map(async (look, position) => {
        const doubt = await look().finally(() => doubts.delete(position))
        if (doubt !== undefined) doubts.set(position, doubt)
      }),
    )
    return doubts.size === 0 ? undefined : [...doubts.values()].join('; ')
  }
}
