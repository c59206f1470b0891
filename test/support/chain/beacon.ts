/** A consensus node stand-in: the beacon API the relayer and the sidecar read, over a registry that tests and the demo write. */

import { createHash } from 'node:crypto'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { type HttpStandIn, type StandInAnswer, type StandInRequest, startHttpStandIn } from './http-stand-in.ts'

export interface StandInDeposit {
  publicKey: Uint8Array
  withdrawalCredentials: Uint8Array
  amountGwei: bigint
  signature: Uint8Array
}

/** A validator of the state as a test states it; what is left out is 32 ETH, active, with BLS credentials. */
export interface StandInValidator {
  publicKey: Uint8Array
  withdrawalCredentials?: Uint8Array
  /** The effective balance follows from it: whole ETH, at most 32 (type 0x02: 2048). */
  balanceGwei?: bigint
  /** As the beacon API names it: `active_ongoing`, `pending_queued`, `active_exiting`, `withdrawal_done` … */
  status?: string
}

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
  findValidator(id: Uint8Array | number): (Required<StandInValidator> & { index: number }) | undefined
  /** Adds pending deposits, in a new head. */
  addPendingDeposits(...deposits: StandInDeposit[]): void
  /** Takes pending deposits off the queue, valid or not: new keys become validators, the rest top-ups, in a new head. */
  processDeposits(count?: number): void
  /** Makes a new head without other changes. */
  advance(): void
  /** Drops the newest heads: what they added is gone, and the next head has another root. */
  reorg(heads: number): void
  /** Claims another genesis from now on (undefined: the network's own). */
  setGenesis(validatorsRoot: Uint8Array | undefined): void
  /** The head's root. */
  readonly headRoot: string
  /** Number of validators in the head state. */
  readonly validatorCount: number
}

type Fields = Required<Omit<StandInValidator, 'publicKey'>>

/** One state: the keys after the made-up ones (along a chain they only grow), what differs from the default, the queue. */
interface State {
  root: string
  stateRoot: string
  slot: number
  added: readonly string[]
  /** By index. */
  fields: ReadonlyMap<number, Fields>
  pending: readonly StandInDeposit[]
}

const GWEI_PER_ETH = 1_000_000_000n
const MADE_UP: Fields = {
  withdrawalCredentials: new Uint8Array(32).fill(0xee).fill(0x00, 0, 1),
  balanceGwei: 32n * GWEI_PER_ETH,
  status: 'active_ongoing',
}

/** The key of a made-up validator: not a point of the curve, its index in the last 4 bytes. */
export function madeUpKey(index: number): Uint8Array {
  const key = Buffer.alloc(48, 0xee)
  key.writeUInt32BE(index, 44)
  return new Uint8Array(key)
}

/** Starts a beacon node stand-in. */
export async function startBeacon(options: BeaconOptions): Promise<Beacon> {
  const { network, quirks = {} } = options
  const madeUp = options.validators ?? 100
  let genesisRoot: Uint8Array | undefined
  let heads = 0
  const states: State[] = []
  const head = () => states.at(-1) ?? fail()
  const places = new Map<string, number>()

  function push(change: Partial<Pick<State, 'added' | 'fields' | 'pending'>>): void {
    heads++
    const hash = (what: string) => toHex(createHash('sha256').update(`${what} ${network.name} ${heads}`).digest())
    const before = states.at(-1) ?? { slot: 999, added: [], fields: new Map(), pending: [] }
    states.push({ ...before, ...change, root: hash('block'), stateRoot: hash('state'), slot: before.slot + 1 })
    // Old states are forgotten, as nodes forget them.
    if (states.length > 1_000) states.shift()
  }
  push({})

  /** The index of a key in a state. Keys are unique, so one map with the place in the newest chain is enough. */
  function indexOf(state: State, id: string): number | undefined {
    if (/^\d+$/.test(id)) return Number(id) < madeUp + state.added.length ? Number(id) : undefined
    const key = id.toLowerCase()
    const place = places.get(key)
    if (place !== undefined && state.added[place] === key) return madeUp + place
    if (!key.startsWith(`0x${'ee'.repeat(44)}`)) return undefined
    const index = Number.parseInt(key.slice(-8), 16)
    return index < madeUp ? index : undefined
  }

  function validatorOf(state: State, index: number) {
    const { withdrawalCredentials, balanceGwei, status } = state.fields.get(index) ?? MADE_UP
    const most = (withdrawalCredentials[0] === 2 ? 2_048n : 32n) * GWEI_PER_ETH
    const whole = balanceGwei - (balanceGwei % GWEI_PER_ETH)
    return {
      index: String(index),
      balance: String(balanceGwei),
      status,
      validator: {
        pubkey: state.added[index - madeUp] ?? toHex(madeUpKey(index)),
        withdrawal_credentials: toHex(withdrawalCredentials),
        effective_balance: String(whole < most ? whole : most),
      },
    }
  }

  function findState(id: string): State | undefined {
    if (id === 'head') return head()
    if (id.startsWith('0x')) return quirks.noStateRoots ? undefined : states.findLast((state) => state.stateRoot === id)
    return states.findLast((state) => String(state.slot) === id)
  }

  function answerState(state: State, rest: string, request: StandInRequest): StandInAnswer {
    const one = /^validators\/([^/]+)$/.exec(rest)
    if (rest === 'root') return ok({ root: state.stateRoot })
    if (rest === 'pending_deposits') return ok(state.pending.map(depositJson))
    if (one !== null) {
      const index = indexOf(state, one[1] ?? '')
      return index === undefined ? notFound('validator not found') : ok(validatorOf(state, index))
    }
    if (rest !== 'validators') return notFound('no such path')
    if (request.method === 'POST' && quirks.noPost)
      return { status: 405, body: { code: 405, message: 'no such method' } }
    const ids =
      request.method === 'POST'
        ? (request.body as { ids?: string[] }).ids
        : request.query.getAll('id').flatMap((list) => list.split(','))
    const found = (ids ?? []).flatMap((id) => indexOf(state, id) ?? [])
    return ok([...new Set(found)].map((index) => validatorOf(state, index)))
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

  /** The head's registry with these validators at its end. */
  function withValidators(validators: readonly StandInValidator[]): Pick<State, 'added' | 'fields'> {
    const { added, fields } = head()
    const more = new Map(fields)
    for (const [i, { publicKey, ...rest }] of validators.entries()) {
      places.set(toHex(publicKey), added.length + i)
      if (Object.keys(rest).length > 0) more.set(madeUp + added.length + i, { ...MADE_UP, ...rest })
    }
    return { added: added.concat(validators.map(({ publicKey }) => toHex(publicKey))), fields: more }
  }

  function processDeposits(count: number): void {
    const { pending } = head()
    const fresh = new Map<string, Required<StandInValidator>>()
    const topUps = new Map<number, bigint>()
    for (const deposit of pending.slice(0, count)) {
      const { publicKey, withdrawalCredentials, amountGwei } = deposit
      const key = toHex(publicKey)
      const index = indexOf(head(), key)
      const earlier = fresh.get(key)
      if (index !== undefined) topUps.set(index, (topUps.get(index) ?? 0n) + amountGwei)
      else if (earlier !== undefined) earlier.balanceGwei += amountGwei
      else fresh.set(key, { publicKey, withdrawalCredentials, balanceGwei: amountGwei, status: 'pending_queued' })
    }
    const { added, fields } = withValidators([...fresh.values()])
    const changed = new Map(fields)
    for (const [index, gwei] of topUps) {
      const before = changed.get(index) ?? MADE_UP
      changed.set(index, { ...before, balanceGwei: before.balanceGwei + gwei })
    }
    push({ added, fields: changed, pending: pending.slice(count) })
  }

  const server = await startHttpStandIn(answer)
  return {
    ...server,
    addValidators(...publicKeys) {
      push(withValidators(publicKeys.map((publicKey) => ({ publicKey }))))
      return madeUp + head().added.length - publicKeys.length
    },
    addValidator(validator) {
      push(withValidators([validator]))
      return madeUp + head().added.length - 1
    },
    setValidator(index, change) {
      const { added, fields } = head()
      if (index >= madeUp + added.length) throw new RangeError(`no validator ${index}`)
      push({ fields: new Map(fields).set(index, { ...(fields.get(index) ?? MADE_UP), ...change }) })
    },
    findValidator(id) {
      const state = head()
      const index = indexOf(state, typeof id === 'number' ? String(id) : toHex(id))
      if (index === undefined) return undefined
      const key = state.added[index - madeUp]
      const publicKey = key === undefined ? madeUpKey(index) : fromHex(key, 48)
      return { index, publicKey, ...(state.fields.get(index) ?? MADE_UP) }
    },
    addPendingDeposits(...deposits) {
      push({ pending: head().pending.concat(deposits) })
    },
    processDeposits: (count = head().pending.length) => processDeposits(count),
    advance: () => push({}),
    reorg(count) {
      states.splice(Math.max(1, states.length - count))
      places.clear()
      for (const [place, key] of head().added.entries()) places.set(key, place)
      push({})
    },
    setGenesis(validatorsRoot) {
      genesisRoot = validatorsRoot
    },
    get headRoot() {
      return head().root
    },
    get validatorCount() {
      return madeUp + head().added.length
    },
  }
}

const ok = (data: unknown): StandInAnswer => ({
  status: 200,
  body: { execution_optimistic: false, finalized: false, data },
})
const notFound = (message: string): StandInAnswer => ({ status: 404, body: { code: 404, message } })

function depositJson({ publicKey, withdrawalCredentials, amountGwei, signature }: StandInDeposit) {
  return {
    pubkey: toHex(publicKey),
    withdrawal_credentials: toHex(withdrawalCredentials),
    amount: String(amountGwei),
    signature: toHex(signature),
    slot: '1',
  }
}

function fail(): never {
  throw new Error('a chain has a head')
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
