/** What a consensus client does with the deposits of the execution chain, for the beacon stand-in. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { depositSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { DepositContract, DepositEvent } from '../contracts/deposits.ts'
import type { Beacon, StandInDeposit } from './beacon.ts'

export interface DepositFollower {
  /**
   * Puts the deposits that are new on the execution chain into the beacon state's queue, valid or not, as EIP-6110 has it. Where
   * that chain has dropped some that were taken already, the beacon chain is reorganised to before them first, with whatever else
   * was changed since.
   */
  queue(): Promise<void>
  /** The same, and processes the whole queue. */
  sync(): Promise<void>
}

const engine = createBlstEngine()

/**
 * Whether a deposit for a new key makes a validator: its signature is over the deposit message under the deposit domain, and the
 * key is a point of the group (apply_pending_deposit, is_valid_deposit_signature).
 */
export function isValidDeposit(network: Pick<Network, 'genesisForkVersion'>, deposit: StandInDeposit): boolean {
  return engine.verify(deposit.publicKey, depositSigningRoot(network, deposit), deposit.signature)
}

/** Creates a follower; nothing happens but when it is called. Whoever uses it leaves `beacon.reorg` to it. */
export function followDeposits(
  beacon: Beacon,
  contract: Pick<DepositContract, 'events'>,
  network: Pick<Network, 'genesisForkVersion'>,
): DepositFollower {
  const taken: { id: string; slotBefore: number }[] = []

  async function queue(): Promise<void> {
    const events = await contract.events()
    const lost = taken.find(({ id }, position) => id !== idOf(events[position]))
    if (lost !== undefined) {
      const { slotBefore } = lost
      beacon.reorg(beacon.headSlot - slotBefore)
      taken.splice(taken.findIndex((entry) => entry.slotBefore === slotBefore))
    }
    const fresh = events.slice(taken.length)
    if (fresh.length === 0) return
    taken.push(...fresh.map((event) => ({ id: idOf(event), slotBefore: beacon.headSlot })))
    beacon.addPendingDeposits(...fresh)
  }

  return {
    queue,
    async sync() {
      await queue()
      beacon.processDeposits(undefined, (deposit) => isValidDeposit(network, deposit))
    },
  }
}

const idOf = (event: DepositEvent | undefined) => `${event?.blockHash} ${event?.index}`
