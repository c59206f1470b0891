/** The beacon API calls the consensus client makes, each checked against its schema. */

import type { HttpAsk } from '@dvt-relayer/common/http-client.ts'
import { ChainError } from '../errors.ts'
import {
  assertFinal,
  type ChainValidator,
  Genesis,
  type Head,
  Header,
  OneValidator,
  PendingDeposits,
  parseDecimal,
  parseUint64,
  Root,
  Syncing,
  toValidator,
} from './beacon-answers.ts'
import { createFindValidators, isStatus } from './find-validators.ts'

/** Bytes of an answer; a mainnet queue of 100,000 pending deposits is about 45 MB of JSON. */
const SMALL = 1024 * 1024
const LARGE = 256 * 1024 * 1024

export type BeaconApi = ReturnType<typeof createBeaconApi>

/** The calls, over one endpoint or all. `state` is a state root, a slot or `head`. */
export function createBeaconApi(http: HttpAsk, signal?: AbortSignal) {
  const common = { maxBytes: SMALL, ...(signal === undefined ? {} : { signal }) }
  const statePath = (state: string) => `/eth/v1/beacon/states/${state}`
  const findValidators = createFindValidators(http, signal)

  return {
    /** The validators the state has of these indexes or keys. */
    validators: (state: string, ids: readonly string[]) => findValidators(`${statePath(state)}/validators`, ids),
    /** The same of a finalized state. @throws {ChainError} CONSENSUS_INVALID when the node says that it is not */
    finalValidators: (state: string, ids: readonly string[]) =>
      findValidators(`${statePath(state)}/validators`, ids, assertFinal),
    /** The root of the newest finalized state. @throws {ChainError} CONSENSUS_INVALID when the node says that it is not */
    async finalizedRoot(): Promise<string> {
      const answer = await http.json({ ...common, path: `${statePath('finalized')}/root` }, Root)
      assertFinal(answer)
      return answer.data.root.toLowerCase()
    },
    /** `GET /eth/v1/beacon/genesis` */
    async genesis() {
      const { data } = await http.json({ ...common, path: '/eth/v1/beacon/genesis' }, Genesis)
      return { validatorsRoot: data.genesis_validators_root.toLowerCase(), forkVersion: data.genesis_fork_version }
    },
    /** `GET /eth/v1/beacon/headers/head` */
    async head(): Promise<Head> {
      const { data } = await http.json({ ...common, path: '/eth/v1/beacon/headers/head' }, Header)
      const { slot, state_root } = data.header.message
      return { root: data.root.toLowerCase(), slot: parseDecimal(slot, 'slot'), stateRoot: state_root.toLowerCase() }
    },
    /** `GET /eth/v1/node/syncing` */
    async syncing() {
      const { data } = await http.json({ ...common, path: '/eth/v1/node/syncing' }, Syncing)
      return { isSyncing: data.is_syncing, distance: parseDecimal(data.sync_distance, 'sync distance') }
    },
    /** `GET …/states/{state}/root`; undefined when the node does not know the state by this name. */
    async stateRoot(state: string): Promise<string | undefined> {
      try {
        return (await http.json({ ...common, path: `${statePath(state)}/root` }, Root)).data.root.toLowerCase()
      } catch (error) {
        if (isStatus(error, 400, 404)) return undefined
        throw error
      }
    },
    /** `GET …/states/{state}/validators/{id}`, id an index or a key; undefined when there is none. */
    async validator(state: string, id: number | string): Promise<ChainValidator | undefined> {
      try {
        const path = `${statePath(state)}/validators/${id}`
        const found = toValidator((await http.json({ ...common, path }, OneValidator)).data)
        if (found.index === id || found.publicKey === id) return found
      } catch (error) {
        if (isStatus(error, 404)) return undefined
        throw error
      }
      throw new ChainError('CONSENSUS_INVALID', 'the consensus node answers with another validator than was asked for')
    },
    /** `GET …/states/{state}/pending_deposits`, in the order of the queue. */
    async pendingDeposits(state: string) {
      const path = `${statePath(state)}/pending_deposits`
      const { data } = await http.json({ ...common, path, maxBytes: LARGE }, PendingDeposits)
      return data.map((item) => ({
        publicKey: item.pubkey.toLowerCase(),
        withdrawalCredentials: item.withdrawal_credentials.toLowerCase(),
        amountGwei: parseUint64(item.amount, 'deposit amount'),
        signature: item.signature.toLowerCase(),
      }))
    },
  }
}
