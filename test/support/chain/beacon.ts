/** A consensus node stand-in: the beacon API the relayer and the sidecar read, over a registry that tests and the demo write. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import {
  createBeaconRegistry,
  type FoundValidator,
  GWEI_PER_ETH,
  type StandInDeposit,
  type StandInValidator,
  type State,
} from './beacon-registry.ts'
import { type HttpStandIn, type StandInAnswer, type StandInRequest, startHttpStandIn } from './http-stand-in.ts'

export { madeUpKey, type StandInDeposit, type StandInValidator } from './beacon-registry.ts'

export interface BeaconOptions {
  network: Network
  /** How many made-up validators the registry starts with; their keys are `madeUpKey(index)`. Default 100. */
  validators?: number
  /** How nodes differ: no POST for validators, no states by state root. */
  quirks?: { noPost?: boolean; noStateRoots?: boolean }
}

export interface Beacon extends HttpStandIn {
  /** Adds validators to the registry, in a new head. Returns the index of the first. */
  addValidators(...publicKeys: Uint8Array[]): number
  /** Adds one validator to the registry, in a new head. Returns its index. */
  addValidator(validator: StandInValidator): number
  /** Changes a validator, made-up ones included, in a new head. */
  setValidator(index: number, change: Omit<StandInValidator, 'publicKey'>): void
  /** The head's validator of this key or index, undefined when it has none. */
  findValidator(id: Uint8Array | number): FoundValidator | undefined
  /** Adds pending deposits, in a new head. */
  addPendingDeposits(...deposits: StandInDeposit[]): void
  /**
   * Takes pending deposits off the queue (all unless `count` says how many), in a new head: those of keys the state has are
   * top-ups, those of new keys make validators where `isValid` (every one unless given).
   */
  processDeposits(count?: number, isValid?: (deposit: StandInDeposit) => boolean): void
  /** Makes a new head without other changes. */
  advance(): void
  /** Drops the newest heads: what they added is gone, and the next head has another root. */
  reorg(heads: number): void
  /** Makes the state so many heads behind the head the finalized one (unless a later one is). Before that it is the first of all. */
  finalize(behind?: number): void
  /** Says this of its finalized states from now on: `{}` nothing, undefined the truth. */
  setStanding(standing: { execution_optimistic?: boolean; finalized?: boolean } | undefined): void
  /** Claims another genesis from now on (undefined: the network's own). */
  setGenesis(validatorsRoot: Uint8Array | undefined): void
  /** The head's root. */
  readonly headRoot: string
  readonly headSlot: number
  /** Number of validators in the head state. */
  readonly validatorCount: number
}

/** Starts a beacon node stand-in. */
export async function startBeacon(options: BeaconOptions): Promise<Beacon> {
  const { network, quirks = {} } = options
  const registry = createBeaconRegistry(network.name, options.validators ?? 100)
  const { head } = registry
  let genesisRoot: Uint8Array | undefined
  let finalized = head()
  let standing: Parameters<Beacon['setStanding']>[0]

  function findState(id: string): State | undefined {
    if (id === 'head') return head()
    if (id === 'finalized') return finalized
    if (id.startsWith('0x')) {
      if (quirks.noStateRoots) return undefined
      return id === finalized.stateRoot ? finalized : registry.findState((state) => state.stateRoot === id)
    }
    return registry.findState((state) => String(state.slot) === id)
  }

  /** An answer from a state. */
  function from(state: State, data: unknown): StandInAnswer {
    const isFinal = state.slot <= finalized.slot
    const said = isFinal && standing !== undefined ? standing : { execution_optimistic: false, finalized: isFinal }
    return { status: 200, body: { ...said, data } }
  }

  function answerState(state: State, rest: string, request: StandInRequest): StandInAnswer {
    const one = /^validators\/([^/]+)$/.exec(rest)
    if (rest === 'root') return from(state, { root: state.stateRoot })
    if (rest === 'pending_deposits') return from(state, state.pending.map(depositJson))
    if (one !== null) {
      const found = registry.find(state, one[1] ?? '')
      return found === undefined ? notFound('validator not found') : from(state, validatorJson(found))
    }
    if (rest !== 'validators') return notFound('no such path')
    if (request.method === 'POST' && quirks.noPost)
      return { status: 405, body: { code: 405, message: 'no such method' } }
    const ids =
      request.method === 'POST'
        ? (request.body as { ids?: string[] }).ids
        : request.query.getAll('id').flatMap((list) => list.split(','))
    const found = new Map((ids ?? []).flatMap((id) => registry.find(state, id) ?? []).map((one) => [one.index, one]))
    return from(state, [...found.values()].map(validatorJson))
  }

  function answer(request: StandInRequest): StandInAnswer {
    const state = /^\/eth\/v1\/beacon\/states\/([^/]+)\/(.+)$/.exec(request.path)
    if (state !== null) {
      const found = findState(state[1] ?? '')
      return found === undefined ? notFound('state not found') : answerState(found, state[2] ?? '', request)
    }
    switch (request.path) {
      case '/eth/v1/beacon/genesis':
        return ok({
          genesis_time: String(network.genesisTimestamp),
          genesis_validators_root: toHex(genesisRoot ?? network.genesisValidatorsRoot),
          genesis_fork_version: toHex(network.genesisForkVersion),
        })
      case '/eth/v1/beacon/headers/head': {
        const { root, slot, stateRoot } = head()
        const message = {
          slot: String(slot),
          proposer_index: '0',
          parent_root: root,
          state_root: stateRoot,
          body_root: root,
        }
        return ok({ root, canonical: true, header: { message, signature: `0x${'00'.repeat(96)}` } })
      }
      case '/eth/v1/config/spec':
        return ok({
          SECONDS_PER_SLOT: String(network.secondsPerSlot),
          SLOTS_PER_EPOCH: String(network.slotsPerEpoch),
          GENESIS_FORK_VERSION: toHex(network.genesisForkVersion),
          DEPOSIT_CONTRACT_ADDRESS: toHex(network.depositContract),
          DEPOSIT_CHAIN_ID: String(network.chainId),
        })
      case '/eth/v1/node/syncing':
        return ok({ head_slot: String(head().slot), sync_distance: '0', is_syncing: false, is_optimistic: false })
      case '/eth/v1/node/version':
        return ok({ version: 'stand-in/1' })
      default:
        return notFound('no such path')
    }
  }

  const server = await startHttpStandIn(answer)
  return {
    ...server,
    addValidators: (...publicKeys) => registry.addValidators(publicKeys.map((publicKey) => ({ publicKey }))),
    addValidator: (validator) => registry.addValidators([validator]),
    setValidator: registry.setValidator,
    findValidator: (id) => registry.find(head(), typeof id === 'number' ? String(id) : toHex(id)),
    addPendingDeposits: (...deposits) => registry.addPendingDeposits(deposits),
    processDeposits: (count = head().pending.length, isValid = () => true) => registry.processDeposits(count, isValid),
    advance: registry.advance,
    reorg: registry.reorg,
    finalize(behind = 0) {
      const state = registry.findState(({ slot }) => slot <= head().slot - behind)
      if (state !== undefined && state.slot > finalized.slot) finalized = state
    },
    setStanding(next) {
      standing = next
    },
    setGenesis(validatorsRoot) {
      genesisRoot = validatorsRoot
    },
    get headRoot() {
      return head().root
    },
    get headSlot() {
      return head().slot
    },
    get validatorCount() {
      return registry.count()
    },
  }
}

const ok = (data: unknown): StandInAnswer => ({
  status: 200,
  body: { execution_optimistic: false, finalized: false, data },
})
const notFound = (message: string): StandInAnswer => ({ status: 404, body: { code: 404, message } })

function validatorJson({ index, publicKey, withdrawalCredentials, balanceGwei, status }: FoundValidator) {
  const most = (withdrawalCredentials[0] === 2 ? 2_048n : 32n) * GWEI_PER_ETH
  const whole = balanceGwei - (balanceGwei % GWEI_PER_ETH)
  return {
    index: String(index),
    balance: String(balanceGwei),
    status,
    validator: {
      pubkey: toHex(publicKey),
      withdrawal_credentials: toHex(withdrawalCredentials),
      effective_balance: String(whole < most ? whole : most),
    },
  }
}

function depositJson({ publicKey, withdrawalCredentials, amountGwei, signature }: StandInDeposit) {
  return {
    pubkey: toHex(publicKey),
    withdrawal_credentials: toHex(withdrawalCredentials),
    amount: String(amountGwei),
    signature: toHex(signature),
    slot: '1',
  }
}

/** A deposit of `test/fixtures/vectors/deposit_data.json`. */
export function depositOfVector(vector: {
  pubkey: string
  withdrawal_credentials: string
  amount_gwei: string
  signature: string
}): StandInDeposit {
  return {
    publicKey: fromHex(vector.pubkey, 48),
    withdrawalCredentials: fromHex(vector.withdrawal_credentials, 32),
    amountGwei: BigInt(vector.amount_gwei),
    signature: fromHex(vector.signature, 96),
  }
}
