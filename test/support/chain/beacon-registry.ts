/** What the consensus node stand-in knows: a chain of states, each a registry of validators and a queue of deposits. */

import { createHash } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'

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

/** A validator as it stands in a state. */
export type FoundValidator = Required<StandInValidator> & { index: number }

type Fields = Required<Omit<StandInValidator, 'publicKey'>>

/** One state: the keys after the made-up ones (along a chain they only grow), what differs from the default, the queue. */
export interface State {
  root: string
  stateRoot: string
  slot: number
  added: readonly string[]
  /** By index. */
  fields: ReadonlyMap<number, Fields>
  pending: readonly StandInDeposit[]
}

export const GWEI_PER_ETH = 1_000_000_000n
const MADE_UP: Fields = {
  withdrawalCredentials: new Uint8Array(32).fill(0xee).fill(0x00, 0, 1),
  balanceGwei: 32n * GWEI_PER_ETH,
  status: 'active_ongoing',
}
/** States that are kept. */
const KEPT = 1_000

/** The key of a made-up validator: not a point of the curve, its index in the last 4 bytes. */
export function madeUpKey(index: number): Uint8Array {
  const key = Buffer.alloc(48, 0xee)
  key.writeUInt32BE(index, 44)
  return new Uint8Array(key)
}

/** Creates a chain of one state with `madeUp` validators. `name` makes its roots differ from those of other chains. */
export function createBeaconRegistry(name: string, madeUp: number) {
  let heads = 0
  const states: State[] = []
  const head = () => states.at(-1) ?? fail()
  const count = (state = head()) => madeUp + state.added.length
  const positions = new Map<string, number>()

  function push(change: Partial<Pick<State, 'added' | 'fields' | 'pending'>>): void {
    heads++
    const hash = (what: string) => toHex(createHash('sha256').update(`${what} ${name} ${heads}`).digest())
    const before = states.at(-1) ?? { slot: 999, added: [], fields: new Map(), pending: [] }
    states.push({ ...before, ...change, root: hash('block'), stateRoot: hash('state'), slot: before.slot + 1 })
    // Old states are forgotten, as nodes forget them.
    if (states.length > KEPT) states.shift()
  }
  push({})

  /** The index of a key in a state. Keys are unique, so one map with the place in the newest chain is enough. */
  function indexOf(state: State, id: string): number | undefined {
    if (/^\d+$/.test(id)) return Number(id) < count(state) ? Number(id) : undefined
    const key = id.toLowerCase()
    const position = positions.get(key)
    if (position !== undefined && state.added[position] === key) return madeUp + position
    if (!key.startsWith(`0x${'ee'.repeat(44)}`)) return undefined
    const index = Number.parseInt(key.slice(-8), 16)
    return index < madeUp ? index : undefined
  }

  /** The validator of a key (hex) or an index (decimal). */
  function find(state: State, id: string): FoundValidator | undefined {
    const index = indexOf(state, id)
    if (index === undefined) return undefined
    const key = state.added[index - madeUp]
    const publicKey = key === undefined ? madeUpKey(index) : fromHex(key, 48)
    return { index, publicKey, ...(state.fields.get(index) ?? MADE_UP) }
  }

  /** The head's registry with these validators at its end. */
  function withValidators(validators: readonly StandInValidator[]): Pick<State, 'added' | 'fields'> {
    const { added, fields } = head()
    const more = new Map(fields)
    for (const [i, { publicKey, ...rest }] of validators.entries()) {
      positions.set(toHex(publicKey), added.length + i)
      if (Object.keys(rest).length > 0) more.set(count() + i, { ...MADE_UP, ...rest })
    }
    return { added: added.concat(validators.map(({ publicKey }) => toHex(publicKey))), fields: more }
  }

  return {
    head,
    find,
    findState: (fits: (state: State) => boolean) => states.findLast(fits),
    count,
    advance: () => push({}),
    /** Adds validators in a new head. Returns the index of the first. */
    addValidators(validators: readonly StandInValidator[]): number {
      const first = count()
      push(withValidators(validators))
      return first
    },
    setValidator(index: number, change: Omit<StandInValidator, 'publicKey'>): void {
      const { fields } = head()
      if (index >= count()) throw new RangeError(`no validator ${index}`)
      push({ fields: new Map(fields).set(index, { ...(fields.get(index) ?? MADE_UP), ...change }) })
    },
    addPendingDeposits: (deposits: readonly StandInDeposit[]) => push({ pending: head().pending.concat(deposits) }),
    /** Takes deposits off the queue; `isValid` says whether one for a new key makes a validator. */
    processDeposits(taken: number, isValid: (deposit: StandInDeposit) => boolean): void {
      const { pending } = head()
      const fresh = new Map<string, StandInValidator & { balanceGwei: bigint }>()
      const topUps = new Map<number, bigint>()
      for (const deposit of pending.slice(0, taken)) {
        const { publicKey, withdrawalCredentials, amountGwei: balanceGwei } = deposit
        const key = toHex(publicKey)
        const index = indexOf(head(), key)
        const earlier = fresh.get(key)
        if (index !== undefined) topUps.set(index, (topUps.get(index) ?? 0n) + balanceGwei)
        else if (earlier !== undefined) earlier.balanceGwei += balanceGwei
        else if (isValid(deposit))
          fresh.set(key, { publicKey, withdrawalCredentials, balanceGwei, status: 'pending_queued' })
      }
      const { added, fields } = withValidators([...fresh.values()])
      const changed = new Map(fields)
      for (const [index, gwei] of topUps) {
        const before = changed.get(index) ?? MADE_UP
        changed.set(index, { ...before, balanceGwei: before.balanceGwei + gwei })
      }
      push({ added, fields: changed, pending: pending.slice(taken) })
    },
    /** Drops the newest states; the next one has another root than any before. */
    reorg(dropped: number): void {
      states.splice(Math.max(1, states.length - dropped))
      positions.clear()
      for (const [position, key] of head().added.entries()) positions.set(key, position)
      push({})
    },
  }
}

function fail(): never {
  throw new Error('a chain has a head')
}
