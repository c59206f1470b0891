/** A consensus node stand-in: the beacon API the relayer and the sidecar read, over a registry that tests and the demo write. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositJson, specOf, validatorJson } from './beacon-json.ts'
import {
  createBeaconRegistry,
  type FoundValidator,
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
  quirks?: Quirks
}

/** How nodes differ; what is left out is as most are. */
export interface Quirks {
  /** POST for validators is refused, with this status (true: 405). */
  noPost?: boolean | number
  /** States are not known by their root. */
  noStateRoots?: boolean
  /** How it says that it has no such state, and no such validator where it is asked for one. Default 404. */
  none?: 400 | 404
  /** A proxy before it refuses to be asked whether it is syncing, with this status. */
  noSyncing?: number | undefined
  /** Its answers do not say whether they are verified. */
  noStanding?: boolean
  /** What it says of its finalized state until `finalize`: not final; unknown. Left out: that the first of all is final. */
  beforeFinality?: 'not final' | 'unknown'
}

/** What a node says of itself; what is left out is as of a node in step. */
export interface StandInStep {
  is_syncing?: boolean
  is_optimistic?: boolean
  el_offline?: boolean
  /** Slots behind. */
  sync_distance?: number
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
  /** Says this of itself from now on (undefined: in step). An optimistic one says so of its states too. */
  setStep(step: StandInStep | undefined): void
  /** Claims another genesis from now on (undefined: the network's own). */
  setGenesis(validatorsRoot: Uint8Array | undefined, time?: number): void
  /** Says this of `/eth/v1/config/spec` instead of the network's own from now on; undefined of a name: leaves it out. */
  setSpec(differences: Readonly<Record<string, string | undefined>>): void
  /** May be changed. */
  readonly quirks: Quirks
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
  let genesis: { root: Uint8Array | undefined; time: number | undefined } = { root: undefined, time: undefined }
  let spec: Readonly<Record<string, string | undefined>> = {}
  let step: StandInStep = {}
  let finalized = head()
  let hasFinalized = false
  let standing: Parameters<Beacon['setStanding']>[0]

  function findState(id: string): State | undefined {
    if (id === 'head') return head()
    if (id === 'finalized') return !hasFinalized && quirks.beforeFinality === 'unknown' ? undefined : finalized
    if (id.startsWith('0x')) {
      if (quirks.noStateRoots) return undefined
      return id === finalized.stateRoot ? finalized : registry.findState((state) => state.stateRoot === id)
    }
    return registry.findState((state) => String(state.slot) === id)
  }

  /** An answer from a state; `more` stands beside what is asked for. */
  function from(state: State, data: unknown, more: object = {}): StandInAnswer {
    const isFinal = state.slot <= finalized.slot && (hasFinalized || quirks.beforeFinality === undefined)
    const truth = { execution_optimistic: step.is_optimistic ?? false, finalized: isFinal }
    const said = state.slot <= finalized.slot && standing !== undefined ? standing : truth
    return { status: 200, body: { ...more, ...(quirks.noStanding === true ? {} : said), data } }
  }

  function none(message: string): StandInAnswer {
    const code = quirks.none ?? 404
    return { status: code, body: { code, message } }
  }

  function answerState(state: State, rest: string, request: StandInRequest): StandInAnswer {
    const one = /^validators\/([^/]+)$/.exec(rest)
    if (rest === 'root') return from(state, { root: state.stateRoot })
    if (rest === 'pending_deposits') return from(state, state.pending.map(depositJson), { version: 'electra' })
    if (one !== null) {
      if (!VALIDATOR_ID.test(one[1] ?? '')) return invalid('Invalid validator ID')
      const found = registry.find(state, one[1] ?? '')
      return found === undefined ? none('validator not found') : from(state, validatorJson(found))
    }
    if (rest !== 'validators') return notFound('no such path')
    if (request.method === 'POST' && quirks.noPost !== undefined && quirks.noPost !== false) {
      const code = quirks.noPost === true ? 405 : quirks.noPost
      return { status: code, body: { code, message: 'no such method' } }
    }
    if (request.method === 'POST' && request.body === undefined) return invalid('No data submitted')
    const named =
      request.method === 'POST'
        ? ((request.body as { ids?: string[] | null }).ids ?? [])
        : request.query.getAll('id').flatMap((list) => list.split(','))
    if (!named.every((id) => VALIDATOR_ID.test(id))) return invalid('Invalid validator ID')
    // Who names none gets all of them.
    const ids = named.length > 0 ? named : Array.from({ length: registry.count(state) }, (_, index) => String(index))
    const found = new Map(ids.flatMap((id) => registry.find(state, id) ?? []).map((one) => [one.index, one]))
    return from(state, [...found.values()].map(validatorJson))
  }

  function answer(request: StandInRequest): StandInAnswer {
    const state = /^\/eth\/v1\/beacon\/states\/([^/]+)\/(.+)$/.exec(request.path)
    if (state !== null) {
      if (!STATE_ID.test(state[1] ?? '')) return invalid('Invalid state ID')
      const found = findState(state[1] ?? '')
      return found === undefined ? none('state not found') : answerState(found, state[2] ?? '', request)
    }
    switch (request.path) {
      case '/eth/v1/beacon/genesis':
        return ok({
          genesis_time: String(genesis.time ?? network.genesisTimestamp),
          genesis_validators_root: toHex(genesis.root ?? network.genesisValidatorsRoot),
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
        return from(head(), { root, canonical: true, header: { message, signature: `0x${'00'.repeat(96)}` } })
      }
      case '/eth/v1/config/spec':
        // What is undefined JSON leaves out.
        return ok({ ...specOf(network), ...spec })
      case '/eth/v1/node/syncing':
        if (quirks.noSyncing !== undefined) return { status: quirks.noSyncing, body: {} }
        return ok({
          head_slot: String(head().slot),
          sync_distance: String(step.sync_distance ?? 0),
          is_syncing: step.is_syncing ?? false,
          is_optimistic: step.is_optimistic ?? false,
          el_offline: step.el_offline ?? false,
        })
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
      hasFinalized = true
    },
    setStanding(next) {
      standing = next
    },
    setStep(next) {
      step = next ?? {}
    },
    setGenesis(root, time) {
      genesis = { root, time }
    },
    setSpec(differences) {
      spec = differences
    },
    quirks,
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

const ok = (data: unknown): StandInAnswer => ({ status: 200, body: { data } })
const notFound = (message: string): StandInAnswer => ({ status: 404, body: { code: 404, message } })
/** However a node says that it has none: what is no name at all it refuses with 400. */
const invalid = (message: string): StandInAnswer => ({ status: 400, body: { code: 400, message } })

const STATE_ID = /^(head|genesis|finalized|justified|\d{1,20}|0x[0-9a-fA-F]{64})$/
const VALIDATOR_ID = /^(\d{1,20}|0x[0-9a-fA-F]{96})$/

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
