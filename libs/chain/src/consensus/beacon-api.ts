/** The beacon API calls the consensus client makes, each checked against its schema. Numbers are decimal strings there. */

import { type HttpAsk, HttpError } from '@dvt-relayer/common/http-client.ts'
import { type Static, Type } from 'typebox'
import { ChainError } from '../errors.ts'

const hex = (bytes: number) => Type.String({ pattern: `^0x[0-9a-fA-F]{${bytes * 2}}$` })
const decimal = Type.String({ pattern: '^(0|[1-9][0-9]{0,19})$' })

const Genesis = Type.Object({
  data: Type.Object({ genesis_validators_root: hex(32), genesis_fork_version: hex(4) }),
})
const Header = Type.Object({
  data: Type.Object({
    root: hex(32),
    header: Type.Object({ message: Type.Object({ slot: decimal, state_root: hex(32) }) }),
  }),
})
/** What a node says of the state it answers from; nodes of old leave it out. */
const standing = { execution_optimistic: Type.Optional(Type.Boolean()), finalized: Type.Optional(Type.Boolean()) }
const Root = Type.Object({ ...standing, data: Type.Object({ root: hex(32) }) })
const ValidatorItem = Type.Object({
  index: decimal,
  balance: decimal,
  status: Type.String({ pattern: '^[a-z_]{1,40}$' }),
  validator: Type.Object({ pubkey: hex(48), withdrawal_credentials: hex(32), effective_balance: decimal }),
})
const OneValidator = Type.Object({ data: ValidatorItem })
const ManyValidators = Type.Object({ ...standing, data: Type.Array(ValidatorItem) })
const PendingDeposits = Type.Object({
  data: Type.Array(
    Type.Object({
      pubkey: hex(48),
      withdrawal_credentials: hex(32),
      amount: decimal,
      signature: hex(96),
    }),
  ),
})
const Syncing = Type.Object({
  data: Type.Object({ is_syncing: Type.Boolean(), head_slot: decimal, sync_distance: decimal }),
})

/** The head of the chain; roots are lower-case hex. */
export interface Head {
  root: string
  slot: number
  stateRoot: string
}

/** A validator the state knows; public key and withdrawal credentials are lower-case hex. */
export interface ChainValidator {
  index: number
  publicKey: string
  /** As the beacon API names it: `pending_queued`, `active_ongoing`, `active_exiting`, `withdrawal_done` … */
  status: string
  withdrawalCredentials: string
  balanceGwei: bigint
  effectiveBalanceGwei: bigint
}

/** Bytes of an answer; a mainnet queue of 100,000 pending deposits is about 45 MB of JSON. */
const SMALL = 1024 * 1024
const LARGE = 256 * 1024 * 1024
const POST_IDS = 1_000
/** 30 keys are 3 kB of URL, which servers still take. */
const GET_IDS = 30

/**
 * A decimal string as a number.
 *
 * @throws {ChainError} CONSENSUS_INVALID above 2^53 − 1: never rounded
 */
export function parseDecimal(text: string, what: string): number {
  const value = Number(text)
  if (!/^(0|[1-9]\d*)$/.test(text) || !Number.isSafeInteger(value))
    throw new ChainError('CONSENSUS_INVALID', `${what} is not a whole number up to 2^53 - 1`)
  return value
}

/** A decimal string as a uint64. @throws {ChainError} CONSENSUS_INVALID above 2^64 − 1 */
function parseUint64(text: string, what: string): bigint {
  const value = BigInt(text)
  if (value >= 2n ** 64n) throw new ChainError('CONSENSUS_INVALID', `${what} is above 2^64 - 1`)
  return value
}

/** @throws {ChainError} CONSENSUS_INVALID when the node itself does not vouch for the state it answered from */
function assertFinal({
  execution_optimistic: isOptimistic,
  finalized,
}: Pick<Static<typeof Root>, 'execution_optimistic' | 'finalized'>) {
  if (isOptimistic === true)
    throw new ChainError(
      'CONSENSUS_INVALID',
      'the consensus node has not verified its finalized state (execution_optimistic): its execution node is behind or away',
    )
  if (finalized === false)
    throw new ChainError('CONSENSUS_INVALID', 'the consensus node says that its finalized state is not finalized')
}

function toValidator({ index, balance, status, validator }: Static<typeof ValidatorItem>): ChainValidator {
  return {
    index: parseDecimal(index, 'validator index'),
    publicKey: validator.pubkey.toLowerCase(),
    status,
    withdrawalCredentials: validator.withdrawal_credentials.toLowerCase(),
    balanceGwei: parseUint64(balance, 'balance'),
    effectiveBalanceGwei: parseUint64(validator.effective_balance, 'effective balance'),
  }
}

/** The calls, over one endpoint or all. `state` is a state root, a slot or `head`. */
export function createBeaconApi(http: HttpAsk, signal?: AbortSignal) {
  const common = { maxBytes: SMALL, ...(signal === undefined ? {} : { signal }) }
  const statePath = (state: string) => `/eth/v1/beacon/states/${state}`
  let postRefused = false

  type Check = (answer: Static<typeof ManyValidators>) => void

  async function byGet(state: string, ids: readonly string[], check: Check): Promise<ChainValidator[]> {
    const found: ChainValidator[] = []
    for (let from = 0; from < ids.length; from += GET_IDS) {
      const query = { id: ids.slice(from, from + GET_IDS).join(',') }
      const path = `${statePath(state)}/validators`
      const answer = await http.json({ ...common, path, query }, ManyValidators)
      check(answer)
      found.push(...answer.data.map(toValidator))
    }
    return found
  }

  /** `POST …/states/{state}/validators` in chunks; with `GET` at nodes that know no POST. */
  async function validators(state: string, ids: readonly string[], check: Check = () => {}): Promise<ChainValidator[]> {
    const found: ChainValidator[] = []
    for (let from = 0; from < ids.length; from += POST_IDS) {
      const chunk = ids.slice(from, from + POST_IDS)
      if (postRefused) {
        found.push(...(await byGet(state, chunk, check)))
        continue
      }
      const path = `${statePath(state)}/validators`
      try {
        const request = { ...common, method: 'POST' as const, path, body: { ids: chunk }, idempotent: true }
        const answer = await http.json({ ...request, maxBytes: LARGE }, ManyValidators)
        check(answer)
        found.push(...answer.data.map(toValidator))
      } catch (error) {
        if (!isStatus(error, 404, 405)) throw error
        found.push(...(await byGet(state, chunk, check)))
        postRefused = true
      }
    }
    return found
  }

  return {
    validators: (state: string, ids: readonly string[]) => validators(state, ids),
    /** The same of a finalized state. @throws {ChainError} CONSENSUS_INVALID when the node says that it is not */
    finalValidators: (state: string, ids: readonly string[]) => validators(state, ids, assertFinal),
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

function isStatus(error: unknown, ...statuses: number[]): boolean {
  return error instanceof HttpError && error.code === 'HTTP_STATUS' && statuses.includes(error.status ?? 0)
}
