/** What the next validator index will be: the state's validators, and the pending deposits that will make new ones. */

import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { ChainError } from '../errors.ts'
import type { Head } from './beacon-answers.ts'
import type { BeaconApi } from './beacon-api.ts'
import { isStatus } from './find-validators.ts'
import { createKnownKeys } from './known-keys.ts'
import type { createDepositFilter } from './pending-deposits.ts'

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
  /** The withdrawal credentials (lower-case hex) that each of them will have as a validator. */
  pendingCredentials: ReadonlyMap<string, string>
}

/** A view, and the name of the state that it was read from. */
export interface Reading {
  view: RegistryView
  state: string
}

/** How often a reading starts again because the head moved under it. */
const TRIES = 4

/**
 * Creates the reader: it reads anew only when the head has changed, and concurrent calls share one reading. `now` is a clock in milliseconds
 * that only ever goes on.
 *
 * @returns reads; `goodForMs` says how long ago the node may have been asked for its head
 */
export function createRegistryReader(
  api: BeaconApi,
  newKeys: ReturnType<typeof createDepositFilter>,
  now: () => number,
): (goodForMs?: number) => Promise<Reading> {
  const knownKeys = createKnownKeys(api)
  let last: Reading | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let reading: Promise<Reading> | undefined

  /** Undefined when the head moved while it was read, or its state is not known by this name any more. */
  async function tryAt(head: Head): Promise<Reading | undefined> {
    const state = await stateOf(api, head)
    if (state === undefined) return undefined
    try {
      return await readAt(head, state)
    } catch (error) {
      if (isStatus(error, 400, 404) && (await api.stateRoot(state)) !== head.stateRoot) return undefined
      throw error
    }
  }

  async function readAt(head: Head, state: string): Promise<Reading | undefined> {
    const stateCount = await knownKeys.count(state)
    const queue = await api.pendingDeposits(state)
    const inState = await knownKeys.present(state, new Set(queue.map(({ publicKey }) => publicKey)))
    // A slot can come to mean another state while it is read; a state root cannot.
    if (state !== head.stateRoot && (await api.stateRoot(state)) !== head.stateRoot) return undefined
    const pendingCredentials = await newKeys(queue, inState)
    const pendingKeys = new Set(pendingCredentials.keys())
    const nextIndex = stateCount + pendingKeys.size
    const view = { nextIndex, headRoot: head.root, headSlot: head.slot, stateCount, pendingKeys, pendingCredentials }
    return { view, state }
  }

  async function read(): Promise<Reading> {
    for (let tries = 1; tries <= TRIES; tries++) {
      const at = now()
      const head = await api.head()
      const found = last?.view.headRoot === head.root ? last : await tryAt(head)
      if (found === undefined) continue
      last = found
      askedAt = at
      return found
    }
    throw new ChainError('CONSENSUS_INVALID', 'the head moved each time its state was read')
  }

  return async (goodForMs = 0) => {
    if (last !== undefined && now() - askedAt < goodForMs) return last
    // For all who ask: what is verified for it stands in the line of none of them.
    reading ??= onOwnAccount(read).finally(() => {
      reading = undefined
    })
    return reading
  }
}

/** The name under which the node knows the state of this head: its root, else its slot. */
async function stateOf(api: BeaconApi, head: Head): Promise<string | undefined> {
  for (const name of [head.stateRoot, String(head.slot)])
    if ((await api.stateRoot(name)) === head.stateRoot) return name
  return undefined
}
