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

  /** An answer from a state. */
  function from(state: State, data: unknown): StandInAnswer {
    const isFinal = state.slot <= finalized.slot && (hasFinalized || quirks.beforeFinality === undefined)
    const truth = { execution_optimistic: step.is_optimistic ?? false, finalized: isFinal }
    const said = state.slot <= finalized.slot && standing !== undefined ? standing : truth
    return { status: 200, body: { ...(quirks.noStanding === true ? {} : said), data } }
  }

  function none(message: string): StandInAnswer {
    const code = quirks.none ?? 404
    return { status: code, body: { code, message } }
  }

  function answerState(state: State, rest: string, request: StandInRequest): StandInAnswer {
    const one = /^validators\/([^/]+)$/.exec(rest)
    if (rest === 'root') return from(state, { root: state.stateRoot })
    if (rest === 'pending_deposits') return from(state, state.pending.map(depositJson))
    if (one !== null) {
      const found = registry.find(state, one[1] ?? '')
      return found === undefined ? none('validator not found') : from(state, validatorJson(found))
    }
    if (rest !== 'validators') return notFound('no such path')
    if (request.method === 'POST' && quirks.noPost !== undefined && quirks.noPost !== false) {
      const code = quirks.noPost === true ? 405 : quirks.noPost
      return { status: code, body: { code, message: 'no such method' } }
    }
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

/** What clients answer of the settings they run with: text, but for the newest ones. */
function specOf(network: Network) {
  return {
    CONFIG_NAME: network.name,
    PRESET_BASE: network.name === 'gnosis' ? 'gnosis' : 'mainnet',
    MIN_GENESIS_ACTIVE_VALIDATOR_COUNT: '16384',
    MIN_GENESIS_TIME: String(network.genesisTimestamp),
    GENESIS_FORK_VERSION: toHex(network.genesisForkVersion),
    GENESIS_DELAY: '600',
    ALTAIR_FORK_VERSION: '0x20000910',
    ALTAIR_FORK_EPOCH: '0',
    BELLATRIX_FORK_VERSION: '0x30000910',
    BELLATRIX_FORK_EPOCH: '0',
    CAPELLA_FORK_VERSION: toHex(network.capellaForkVersion),
    CAPELLA_FORK_EPOCH: String(network.capellaEpoch),
    DENEB_FORK_VERSION: '0x50000910',
    DENEB_FORK_EPOCH: String(network.capellaEpoch),
    ELECTRA_FORK_VERSION: '0x60000910',
    ELECTRA_FORK_EPOCH: String(network.capellaEpoch + 2048),
    FULU_FORK_VERSION: '0x70000910',
    FULU_FORK_EPOCH: '18446744073709551615',
    SECONDS_PER_SLOT: String(network.secondsPerSlot),
    SLOT_DURATION_MS: String(network.secondsPerSlot * 1000),
    SECONDS_PER_ETH1_BLOCK: '14',
    MIN_VALIDATOR_WITHDRAWABILITY_DELAY: '256',
    SHARD_COMMITTEE_PERIOD: '256',
    ETH1_FOLLOW_DISTANCE: '2048',
    EJECTION_BALANCE: '16000000000',
    MIN_PER_EPOCH_CHURN_LIMIT: '4',
    CHURN_LIMIT_QUOTIENT: '65536',
    PROPOSER_SCORE_BOOST: '40',
    DEPOSIT_CHAIN_ID: String(network.chainId),
    DEPOSIT_NETWORK_ID: String(network.chainId),
    DEPOSIT_CONTRACT_ADDRESS: toHex(network.depositContract),
    SLOTS_PER_EPOCH: String(network.slotsPerEpoch),
    MIN_DEPOSIT_AMOUNT: '1000000000',
    MAX_EFFECTIVE_BALANCE: '32000000000',
    MAX_EFFECTIVE_BALANCE_ELECTRA: '2048000000000',
    VALIDATOR_REGISTRY_LIMIT: '1099511627776',
    PENDING_DEPOSITS_LIMIT: '134217728',
    DOMAIN_DEPOSIT: '0x03000000',
    DOMAIN_VOLUNTARY_EXIT: '0x04000000',
    BLOB_SCHEDULE: [{ EPOCH: '18446744073709551615', MAX_BLOBS_PER_BLOCK: '9' }],
  }
}

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
