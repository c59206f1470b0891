/** The consensus client: which chain, which validators, and what the next validator index will be (docs/protocol.md#14-chain-calls). */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { createHttpClient, type HttpClientOptions } from '@dvt-relayer/common/http/client.ts'
import { checkEndpoints } from '../check-endpoints.ts'
import { ChainError } from '../errors.ts'
import { assertChain, type ComparedNetwork } from './assert-chain.ts'
import { type ChainValidator, type Head, notAskedFor } from './beacon-answers.ts'
import { createBeaconApi, type NodeStep } from './beacon-api.ts'
import { isStatus } from './find-validators.ts'
import { askStep, createStepCheck } from './in-step.ts'
import { byKey } from './known-keys.ts'
import { type ConsensusNode, createConsensusNode } from './node.ts'
import { createDepositFilter, type VerifyBatch } from './pending-deposits.ts'
import { createRegistryReader, type RegistryView } from './registry-view.ts'

export type { ChainValidator, Head } from './beacon-answers.ts'
export type { ConsensusNode } from './node.ts'
export type { VerifyBatch } from './pending-deposits.ts'
export type { RegistryView } from './registry-view.ts'

export interface ConsensusOptions {
  endpoints: readonly (string | URL)[]
  timeoutMs: number
  retryTimeoutMs: number
  network: ComparedNetwork
  /** Checks deposit signatures away from the event loop. Without it `nextValidatorIndex` and `findKnown` throw. */
  verifyBatch?: VerifyBatch
  onResult?: NonNullable<HttpClientOptions['onResult']>
  /** First and largest back-off; for tests. */
  backoffMs?: { first: number; most: number }
  /** A clock in milliseconds that only ever goes on; for tests. */
  now?: () => number
  /** The Unix time in milliseconds; for tests. */
  unixMs?: () => number
}

export interface ConsensusClient {
  /** The endpoints, for what must be asked of each. */
  readonly each: readonly ConsensusNode[]
  /** Compares every endpoint's chain with the network. @throws {ChainError} CHAIN_MISMATCH; {HttpError} when none answers */
  checkChain(): Promise<void>
  /** The head block of a node that is in step. @throws {ChainError} CONSENSUS_INVALID, in words, when there is none */
  head(): Promise<Head>
  /** What the node says of itself, in step or not, or shows by its head where it says nothing. */
  syncing(): Promise<NodeStep>
  /** The validators the state has of these keys (48 bytes each), by lower-case hex. */
  findValidators(publicKeys: readonly Uint8Array[], state?: string): Promise<Map<string, ChainValidator>>
  /** The root of the newest finalized state. @throws {ChainError} CONSENSUS_INVALID when the node does not vouch for it */
  finalizedRoot(): Promise<string>
  /**
   * The validators that the finalized state of this root has of these keys, by lower-case hex.
   *
   * @throws {ChainError} CONSENSUS_INVALID when the node does not vouch for it, or has moved on to another one
   */
  findFinalized(publicKeys: readonly Uint8Array[], root: string): Promise<Map<string, ChainValidator>>
  /** The validator at this index, undefined when the state has none. */
  findValidatorByIndex(index: number, state?: string): Promise<ChainValidator | undefined>
  /** The validators the state has at these indexes, by index. */
  findValidatorsByIndex(indexes: readonly number[], state?: string): Promise<Map<number, ChainValidator>>
  /** The next validator index; read anew only when the head has changed. Concurrent calls share one reading. */
  nextValidatorIndex(): Promise<RegistryView>
  /** Which of these keys the chain knows already, by lower-case hex, at the head of `nextValidatorIndex`. */
  findKnown(publicKeys: readonly Uint8Array[]): Promise<Map<string, 'validator' | 'pending'>>
}

/** Who asks what the chain knows has just asked for the next index: one question for the head is enough for both. */
const SAME_HEAD_MS = 500

/**
 * Creates the client. An endpoint answers nothing before it has shown that it is on the network's chain, and nothing that needs
 * the head while it is syncing, optimistic or without its execution node: the next one is asked then.
 */
export function createConsensusClient(options: ConsensusOptions): ConsensusClient {
  const { network, verifyBatch } = options
  const clock = { network, unixMs: options.unixMs ?? Date.now }
  const now = options.now ?? (() => performance.now())
  const step = createStepCheck(now, clock)
  const http = createHttpClient({
    endpoints: options.endpoints,
    timeoutMs: options.timeoutMs,
    retryTimeoutMs: options.retryTimeoutMs,
    admit(ask) {
      step.forget(ask)
      return assertChain(ask, network)
    },
    vouch: step.assertInStep,
    ...(options.onResult === undefined ? {} : { onResult: options.onResult }),
    ...(options.backoffMs === undefined ? {} : { backoffMs: options.backoffMs }),
  })
  const api = createBeaconApi(http)
  const newKeys = createDepositFilter(network.genesisForkVersion, (triples) => {
    if (verifyBatch === undefined) throw new TypeError('this consensus client was made without verifyBatch')
    return verifyBatch(triples)
  })
  const read = createRegistryReader(api, newKeys, now)

  async function findValidators(publicKeys: readonly Uint8Array[], state = 'head') {
    const keys = new Set(publicKeys.map((key) => toHex(key)))
    return byKey(await api.validators(state, [...keys]), keys)
  }

  return {
    each: http.each.map((ask) => createConsensusNode(ask, network)),
    checkChain: () => checkEndpoints(http.each, (ask) => assertChain(ask, network)),
    head: api.head,
    syncing: () => askStep(http, clock),
    findValidators,
    finalizedRoot: api.finalizedRoot,
    async findFinalized(publicKeys, root) {
      const keys = new Set(publicKeys.map((key) => toHex(key)))
      // A root means one state for ever; nodes that know none by root are asked by name, and again whether it still means that state.
      const isKnown = (await api.stateRoot(root)) === root
      const found = byKey(await api.finalValidators(isKnown ? root : 'finalized', [...keys]), keys)
      if (!isKnown && (await api.finalizedRoot()) !== root)
        throw new ChainError('CONSENSUS_INVALID', 'the finalized state moved on while it was read')
      return found
    },
    findValidatorByIndex: (index, state = 'head') => api.validator(state, index),
    async findValidatorsByIndex(indexes, state = 'head') {
      const asked = new Set(indexes)
      const found = new Map<number, ChainValidator>()
      for (const validator of await api.validators(state, [...asked].map(String))) {
        if (!asked.has(validator.index) || found.has(validator.index)) throw notAskedFor()
        found.set(validator.index, validator)
      }
      return found
    },
    nextValidatorIndex: async () => (await read()).view,
    async findKnown(publicKeys) {
      const { view, state } = await read(SAME_HEAD_MS)
      const known = new Map<string, 'validator' | 'pending'>()
      for (const key of publicKeys.map((bytes) => toHex(bytes)))
        if (view.pendingKeys.has(key)) known.set(key, 'pending')
      const inState = await findValidators(publicKeys, state).catch((error: unknown) => {
        // The state has been forgotten since it was read: what it knows the head knows too.
        if (isStatus(error, 400, 404)) return findValidators(publicKeys)
        throw error
      })
      for (const key of inState.keys()) known.set(key, 'validator')
      return known
    },
  }
}
