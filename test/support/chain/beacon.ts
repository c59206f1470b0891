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
  /** Adds pending deposits, in a new head. */
  addPendingDeposits(...deposits: StandInDeposit[]): void
  /** Takes pending deposits off the queue and makes validators of those that are new, in a new head. */
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

/** One state: the registry up to its length at that time (it only grows along a chain), and the queue. */
interface State {
  root: string
  stateRoot: string
  slot: number
  added: readonly string[]
  pending: readonly StandInDeposit[]
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

  function push(change: Partial<Pick<State, 'added' | 'pending'>>): void {
    heads++
    const hash = (what: string) => toHex(createHash('sha256').update(`${what} ${network.name} ${heads}`).digest())
    const before = states.at(-1) ?? { slot: 999, added: [], pending: [] }
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

  const validatorOf = (state: State, index: number) => ({
    index: String(index),
    balance: '32000000000',
    status: 'active_ongoing',
    validator: { pubkey: state.added[index - madeUp] ?? toHex(madeUpKey(index)), effective_balance: '32000000000' },
  })

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

  function withValidators(publicKeys: readonly string[]): readonly string[] {
    const added = head().added.concat(publicKeys)
    for (const [i, key] of publicKeys.entries()) places.set(key, head().added.length + i)
    return added
  }

  const server = await startHttpStandIn(answer)
  return {
    ...server,
    addValidators(...publicKeys) {
      const first = madeUp + head().added.length
      push({ added: withValidators(publicKeys.map((key) => toHex(key))) })
      return first
    },
    addPendingDeposits(...deposits) {
      push({ pending: head().pending.concat(deposits) })
    },
    processDeposits(count = head().pending.length) {
      const state = head()
      const keys = new Set(state.pending.slice(0, count).map(({ publicKey }) => toHex(publicKey)))
      const fresh = [...keys].filter((key) => indexOf(state, key) === undefined)
      push({ added: withValidators(fresh), pending: state.pending.slice(count) })
    },
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
