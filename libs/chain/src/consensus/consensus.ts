/** The consensus client: which chain, which validators, and what the next validator index will be (docs/protocol.md#14-chain-calls). */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { createHttpClient, type HttpAsk, type HttpClientOptions } from '@dvt-relayer/common/http-client.ts'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import { type ChainValidator, createBeaconApi, type Head } from './beacon-api.ts'
import { createDepositFilter, type VerifyBatch } from './pending-deposits.ts'
import { countValidators } from './validator-count.ts'

export type { ChainValidator, Head } from './beacon-api.ts'
export type { VerifyBatch } from './pending-deposits.ts'

export interface ConsensusOptions {
  endpoints: readonly (string | URL)[]
  timeoutMs: number
  retryTimeoutMs: number
  network: Pick<Network, 'name' | 'genesisValidatorsRoot' | 'genesisForkVersion'>
  /** Checks deposit signatures away from the event loop. Without it `nextValidatorIndex` and `findKnown` throw. */
  verifyBatch?: VerifyBatch
  onResult?: NonNullable<HttpClientOptions['onResult']>
  /** First and largest back-off; for tests. */
  backoffMs?: { first: number; most: number }
}

/** What is known of the registry at one head. */
export interface RegistryView {
  /** The index the next new validator will get once every deposit so far is processed. */
  nextIndex: number
  headRoot: string
  headSlot: number
  /** Validators in the state. */
  stateCount: number
  /** Keys (lower-case hex) of validly signed pending deposits that the state does not have, in no order. */
  pendingKeys: ReadonlySet<string>
}

export interface ConsensusClient {
  /** Compares every endpoint's chain with the network. @throws {ChainError} CHAIN_MISMATCH; {HttpError} when none answers */
  checkChain(): Promise<void>
  /** The head block. */
  head(): Promise<Head>
  /** Whether the node is still catching up, and by how many slots. */
  syncing(): Promise<{ isSyncing: boolean; distance: number }>
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

/** How often a reading starts again because the head moved under it. */
const TRIES = 4

/** Creates the client. An endpoint answers nothing before it has shown that it is on the network's chain. */
export function createConsensusClient(options: ConsensusOptions): ConsensusClient {
  const { network, verifyBatch } = options
  const http = createHttpClient({
    endpoints: options.endpoints,
    timeoutMs: options.timeoutMs,
    retryTimeoutMs: options.retryTimeoutMs,
    admit: (ask) => assertChain(ask, network),
    ...(options.onResult === undefined ? {} : { onResult: options.onResult }),
    ...(options.backoffMs === undefined ? {} : { backoffMs: options.backoffMs }),
  })
  const api = createBeaconApi(http)
  const newKeys = createDepositFilter(network.genesisForkVersion, (triples) => {
    if (verifyBatch === undefined) throw new TypeError('this consensus client was made without verifyBatch')
    return verifyBatch(triples)
  })
  const registry = createRegistry(api)
  let last: { view: RegistryView; state: string } | undefined
  let reading: Promise<{ view: RegistryView; state: string }> | undefined

  async function readRegistry(): Promise<{ view: RegistryView; state: string }> {
    for (let tries = 1; ; tries++) {
      const head = await api.head()
      if (last?.view.headRoot === head.root) return last
      const state = await stateOf(api, head)
      if (state !== undefined) {
        const stateCount = await registry.count(state)
        const queue = await api.pendingDeposits(state)
        const inState = await registry.present(state, new Set(queue.map(({ publicKey }) => publicKey)))
        // A slot can come to mean another state while it is read; a state root cannot.
        if (state === head.stateRoot || (await api.stateRoot(state)) === head.stateRoot) {
          const pendingKeys = await newKeys(queue, inState)
          const nextIndex = stateCount + pendingKeys.size
          last = { view: { nextIndex, headRoot: head.root, headSlot: head.slot, stateCount, pendingKeys }, state }
          return last
        }
      }
      if (tries === TRIES) throw new ChainError('CONSENSUS_INVALID', 'the head moved each time its state was read')
    }
  }

  function read() {
    reading ??= readRegistry().finally(() => {
      reading = undefined
    })
    return reading
  }

  async function findValidators(publicKeys: readonly Uint8Array[], state = 'head') {
    const keys = new Set(publicKeys.map((key) => toHex(key)))
    return byKey(await api.validators(state, [...keys]), keys)
  }

  return {
    async checkChain() {
      const results = await Promise.allSettled(http.each.map((ask) => assertChain(ask, network)))
      const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      const mismatch = failures.find((reason) => reason instanceof ChainError)
      if (mismatch !== undefined) throw mismatch
      if (failures.length === results.length) throw failures[0]
    },
    head: api.head,
    syncing: api.syncing,
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
      const { view, state } = await read()
      const known = new Map<string, 'validator' | 'pending'>()
      for (const key of publicKeys.map((bytes) => toHex(bytes)))
        if (view.pendingKeys.has(key)) known.set(key, 'pending')
      for (const key of (await findValidators(publicKeys, state)).keys()) known.set(key, 'validator')
      return known
    },
  }
}

type BeaconApi = ReturnType<typeof createBeaconApi>

async function assertChain(ask: HttpAsk, network: ConsensusOptions['network']): Promise<void> {
  const { validatorsRoot, forkVersion } = await createBeaconApi(ask).genesis()
  const expectedRoot = toHex(network.genesisValidatorsRoot)
  if (validatorsRoot !== expectedRoot || forkVersion.toLowerCase() !== toHex(network.genesisForkVersion))
    throw new ChainError(
      'CHAIN_MISMATCH',
      `the consensus node at ${ask.host} is not on ${network.name}: its genesis validators root or fork version differs`,
      { meta: { host: ask.host, network: network.name } },
    )
}

/** The name under which the node knows the state of this head: its root, else its slot. */
async function stateOf(api: BeaconApi, head: Head): Promise<string | undefined> {
  for (const name of [head.stateRoot, String(head.slot)])
    if ((await api.stateRoot(name)) === head.stateRoot) return name
  return undefined
}

function byKey(validators: readonly ChainValidator[], asked: ReadonlySet<string>): Map<string, ChainValidator> {
  const found = new Map<string, ChainValidator>()
  for (const validator of validators) {
    if (!asked.has(validator.publicKey) || found.has(validator.publicKey)) throw notAskedFor()
    found.set(validator.publicKey, validator)
  }
  return found
}

const notAskedFor = () =>
  new ChainError('CONSENSUS_INVALID', 'the consensus node answers with a validator that was not asked for')

/** More new validators between two heads than are looked up one by one. */
const GROWTH = 1_000

/**
 * What stays known of the registry between heads. It only ever grows along one chain: while the last validator counted has
 * the same key as before, all before it are the same too, and only what came after is read.
 */
function createRegistry(api: BeaconApi) {
  let last: { total: number; lastKey: string } | undefined
  let present = new Set<string>()
  let absent = new Set<string>()

  return {
    /** Number of validators in the state. */
    async count(state: string): Promise<number> {
      const before = last
      const sameChain =
        before !== undefined && (await api.validator(state, before.total - 1))?.publicKey === before.lastKey
      const count = await countValidators((index) => api.validator(state, index), sameChain ? before : undefined)
      last = undefined
      const growth = sameChain ? count.total - before.total : Number.POSITIVE_INFINITY
      if (growth > GROWTH) {
        present = new Set()
        absent = new Set()
      } else if (growth > 0) {
        const ids = Array.from({ length: growth }, (_, i) => String(count.total - growth + i))
        for (const { publicKey } of await api.validators(state, ids))
          if (absent.delete(publicKey)) present.add(publicKey)
      }
      last = count
      return count.total
    },
    /** Which of these keys the state has; to be called after `count` of the same state. */
    async present(state: string, keys: ReadonlySet<string>): Promise<ReadonlySet<string>> {
      const asked = new Set([...keys].filter((key) => !present.has(key) && !absent.has(key)))
      const found = byKey(await api.validators(state, [...asked]), asked)
      for (const key of asked) (found.has(key) ? present : absent).add(key)
      present = present.intersection(keys)
      absent = absent.intersection(keys)
      return present
    },
  }
}
