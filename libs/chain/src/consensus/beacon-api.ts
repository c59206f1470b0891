/** The beacon API calls the consensus client makes, each checked against its schema. */

import { type HttpAsk, readJson } from '@dvt-relayer/common/http/client.ts'
import {
  assertFinal,
  assertVerified,
  type ChainValidator,
  Genesis,
  type Head,
  Header,
  notAskedFor,
  notFinalYet,
  PendingDeposits,
  parseDecimal,
  parseUint64,
  Root,
  Spec,
  Syncing,
} from './beacon-answers.ts'
import { createFindValidators, isStatus } from './find-validators.ts'

/** Bytes of an answer about one thing. */
const SMALL = 1024 * 1024
/** A pending deposit is about 450 bytes of JSON and 6 values; 300,000 of them are three times the longest queue of mainnet. */
const QUEUE = { maxBytes: 128 * 1024 * 1024, maxValues: 2_000_000 }

export type BeaconApi = ReturnType<typeof createBeaconApi>

/** What a node says of itself, or shows by its head where it says nothing. Nodes of old do not say the last two. */
export interface NodeStep {
  /** It did not say so: the rest is taken from its head and the clock. */
  isInferred: boolean
  isSyncing: boolean
  /** How many slots it is behind. */
  distance: number
  headSlot: number
  /** Its execution node has not verified its head. */
  isOptimistic: boolean
  /** Its execution node does not answer. */
  elOffline: boolean
}

/**
 * The calls, over one endpoint or all. `state` is a state root, a slot or `head`. What needs the head is answered only by an
 * endpoint that the client vouches for, from a head that it has verified.
 */
export function createBeaconApi(http: HttpAsk, signal?: AbortSignal) {
  const common = { maxBytes: SMALL, ...(signal === undefined ? {} : { signal }) }
  const atHead = { ...common, isVouched: true }
  const statePath = (state: string) => `/eth/v1/beacon/states/${state}`
  const findValidators = createFindValidators(http, signal)

  return {
    /** The validators the state has of these indexes or keys. */
    validators: (state: string, ids: readonly string[]) =>
      findValidators({ path: `${statePath(state)}/validators`, isVouched: true }, ids, assertVerified),
    /** The same of a finalized state. @throws {ChainError} CONSENSUS_INVALID when the node says that it is not */
    finalValidators: (state: string, ids: readonly string[], check = assertFinal) =>
      findValidators({ path: `${statePath(state)}/validators` }, ids, check),
    /** The root of the newest finalized state. @throws {ChainError} CONSENSUS_INVALID when the node says that it is not */
    async finalizedRoot(): Promise<string> {
      const isThere = (status: number) => status >= 200 && status < 300
      const accepts = (status: number) => isThere(status) || status === 400 || status === 404
      return http.read({ ...common, path: `${statePath('finalized')}/root`, accepts }, async (answer) => {
        // Another node may have one already.
        if (!isThere(answer.status)) throw notFinalYet(answer.host)
        const said = await readJson(answer, Root)
        assertFinal(said, answer.host)
        return said.data.root.toLowerCase()
      })
    },
    /** `GET /eth/v1/beacon/genesis` */
    async genesis() {
      const { data } = await http.json({ ...common, path: '/eth/v1/beacon/genesis' }, Genesis)
      return {
        validatorsRoot: data.genesis_validators_root.toLowerCase(),
        forkVersion: data.genesis_fork_version,
        time: data.genesis_time,
      }
    },
    /** `GET /eth/v1/config/spec`; nothing where a proxy or a node of old does not give it. */
    async spec(): Promise<Readonly<Record<string, unknown>>> {
      try {
        return (await http.json({ ...common, path: '/eth/v1/config/spec' }, Spec)).data
      } catch (error) {
        if (isStatus(error, 400, 403, 404, 405, 501)) return {}
        throw error
      }
    },
    /** `GET /eth/v1/beacon/headers/head` */
    async head(): Promise<Head> {
      const { data } = await http.json({ ...atHead, path: '/eth/v1/beacon/headers/head' }, Header, assertVerified)
      const { slot, state_root } = data.header.message
      return { root: data.root.toLowerCase(), slot: parseDecimal(slot, 'slot'), stateRoot: state_root.toLowerCase() }
    },
    /** The slot of the head of whatever node, in step or not, and whether it says that this head is verified. */
    async headStanding(): Promise<{ slot: number; isVerified: boolean }> {
      const said = await http.json({ ...common, path: '/eth/v1/beacon/headers/head' }, Header)
      const slot = parseDecimal(said.data.header.message.slot, 'slot')
      return { slot, isVerified: said.execution_optimistic === false }
    },
    /** `GET /eth/v1/node/syncing` */
    async syncing(): Promise<NodeStep> {
      const { data } = await http.json({ ...common, path: '/eth/v1/node/syncing' }, Syncing)
      return {
        isInferred: false,
        isSyncing: data.is_syncing,
        distance: parseDecimal(data.sync_distance, 'sync distance'),
        headSlot: parseDecimal(data.head_slot, 'head slot'),
        isOptimistic: data.is_optimistic ?? false,
        elOffline: data.el_offline ?? false,
      }
    },
    /** `GET …/states/{state}/root`; undefined when the node does not know the state by this name: clients answer 400 or 404. */
    async stateRoot(state: string): Promise<string | undefined> {
      try {
        const { data } = await http.json({ ...common, path: `${statePath(state)}/root` }, Root)
        return data.root.toLowerCase()
      } catch (error) {
        if (isStatus(error, 400, 404)) return undefined
        throw error
      }
    },
    /**
     * The validator at an index; undefined when there is none. Asked as a list, from which every client leaves out what it does
     * not have: to a question about one, some answer 404 and some 400.
     */
    async validator(state: string, index: number): Promise<ChainValidator | undefined> {
      const request = { path: `${statePath(state)}/validators`, isVouched: true }
      const [found, ...more] = await findValidators(request, [String(index)], assertVerified)
      if ((found !== undefined && found.index !== index) || more.length > 0) throw notAskedFor()
      return found
    },
    /** `GET …/states/{state}/pending_deposits`, in the order of the queue. */
    async pendingDeposits(state: string) {
      const path = `${statePath(state)}/pending_deposits`
      const { data } = await http.json({ ...atHead, path, ...QUEUE }, PendingDeposits, assertVerified)
      return data.map((item) => ({
        publicKey: item.pubkey.toLowerCase(),
        withdrawalCredentials: item.withdrawal_credentials.toLowerCase(),
        amountGwei: parseUint64(item.amount, 'deposit amount'),
        signature: item.signature.toLowerCase(),
      }))
    },
  }
}
