/** Carries out what `next-step.ts` says, one action at a time. Here is every effect that a rotation has. */

import type { TransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import { findOpenRotation, voidRotation } from '@dvt-relayer/db/queries/rotations.ts'
import type { Context } from '../../context.ts'
import { createRotationApprovals } from './approvals.ts'
import { createRotationExits, type RotationExits } from './exits.ts'
import type { RotationLocks } from './locks.ts'
import type { Action, Learnt, OpenRotation, RotationState } from './next-step.ts'
import { isInTime } from './next-step.ts'
import { askOutdated, type RotationOracles } from './oracles.ts'
import type { Update } from './steps.ts'
import { createRotationSender } from './transaction.ts'
import { createRotationUpdates, type VaultView } from './updates.ts'

/** The oracles are asked this often which validators are outdated; sooner where they named none, for some may be behind the change. */
const FRESH_MS = 300_000
const FRESH_EMPTY_MS = 60_000
/** Exits are collected for so many batches at once. */
const BATCHES_AHEAD = 10

/** One call for one vault, and the oracles in force during it. */
export interface Errand {
  vault: Uint8Array
  set: OracleSetRow
  oracles: RotationOracles
  signal: AbortSignal
}

/** Creates the part of the service that acts. It is a list of small effects, and so longer than a page. */
export function createCarryOut(
  context: Pick<Context, 'config' | 'db' | 'chain' | 'events'>,
  locks: RotationLocks,
  wallet: TransactionWallet | undefined,
) {
  const { db, events } = context
  const updates = createRotationUpdates(context)
  const exits = createRotationExits(context)
  const approvals = createRotationApprovals(context)
  const sender = createRotationSender(context)
  const learning = createLearning(exits)

  const isSpent = async (row: RotationRow, view: VaultView, signal: AbortSignal) =>
    isInTime(row, view) && (await sender.isSpent(row, view.finalHash, signal))

  async function findOpen({ vault, signal }: Errand, view: VaultView): Promise<OpenRotation | undefined> {
    const row = await findOpenRotation(db, vault)
    if (row === undefined) return undefined
    const content = await approvals.findContent(row)
    return { row, content, isSpent: await isSpent(row, view, signal) }
  }

  async function giveUp(vault: Uint8Array, row: RotationRow, reason: string): Promise<void> {
    await voidRotation(db, row.id)
    events.rotationEnded('void', vault, 1, reason)
  }

  async function send(
    { vault, signal }: Errand,
    { latest }: VaultView,
    row: Pick<RotationRow, 'id' | 'transactionHash'>,
    { data, deadline }: Update,
  ): Promise<NonNullable<RotationState['sent']>> {
    if (wallet === undefined) throw new Error('nothing is sent without a wallet')
    const update = { vault, data, deadline, now: latest.timestamp }
    const sending = await locks.holdWallet(() => sender.send(wallet, row, update, signal))
    if (sending === 'too_dear') return { step: 'too_dear' }
    return { step: 'sent', transactionHash: (await findOpenRotation(db, vault))?.transactionHash ?? undefined }
  }

  /** Carries out an action on a vault that was looked at; returns what is known since. */
  async function act(
    action: Exclude<Action, { do: 'look' | 'rest' }>,
    errand: Errand,
    view: VaultView,
  ): Promise<Partial<RotationState>> {
    const { vault, set, oracles, signal } = errand
    switch (action.do) {
      case 'give_up':
        await giveUp(vault, action.row, action.reason)
        return { open: undefined }
      case 'learn':
        return { learnt: await learning.learn(errand, view) }
      case 'collect':
        await exits.want(action.missing, set.id)
        return { isCollected: true }
      case 'wait':
        return { isPatienceOver: await exits.isPatienceOver(vault, set.id) }
      case 'open':
        await exits.open({ vault, oracleSetId: set.id, nonce: action.nonce }, action.exits)
        return { hasOpened: true, open: await findOpen(errand, view) }
      case 'send_again':
        await sender.again(action.row, vault, signal)
        return { isSentAgain: true }
      case 'price':
        return { isTooDear: await sender.isTooDear(signal) }
      case 'ask':
        return { approval: await approvals.ask({ vault, ...action }, oracles, view, signal) }
      case 'send':
        return { sent: await send(errand, view, action.row, action.update) }
    }
  }

  return {
    updates,
    isSpent,
    giveUp,
    learn: learning.learn,
    forget: learning.forget,

    /** Carries out an action; returns what is known since. */
    async run(
      action: Exclude<Action, { do: 'rest' }>,
      errand: Errand,
      state: RotationState,
    ): Promise<Partial<RotationState>> {
      if (action.do === 'look' || state.view === undefined) {
        const view = await updates.settle(errand.vault, errand.signal)
        return { view, open: await findOpen(errand, view) }
      }
      return act(action, errand, state.view)
    },
  }
}

/** Learns from the oracles what is outdated. It remembers their answers, for the loop comes by more often than they need to be asked. */
function createLearning(exits: RotationExits) {
  const said = new Map<string, { key: string; at: number; indexes: number[] }>()

  /** What enough oracles name; the number of answers where they are too few. */
  async function findOutdated({ vault, set, oracles, signal }: Errand, view: VaultView): Promise<number[] | number> {
    const { needed, sinceBlock } = view
    const key = `${set.id}:${view.finalNonce}`
    const known = said.get(toHex(vault))
    const freshMs = known === undefined || known.indexes.length === 0 ? FRESH_EMPTY_MS : FRESH_MS
    if (known?.key === key && performance.now() - known.at < freshMs) return known.indexes
    const { answers, indexes } = await askOutdated(oracles, { vault, sinceBlock, needed }, signal)
    if (answers < needed) return answers
    said.set(toHex(vault), { key, at: performance.now(), indexes })
    return indexes
  }

  return {
    /** What the oracles name, checked against the chain, with its exits. */
    async learn(errand: Errand, view: VaultView): Promise<Learnt> {
      const { vault, set, oracles } = errand
      const indexes = await findOutdated(errand, view)
      if (typeof indexes === 'number') return { isEnough: false, answers: indexes }
      if (indexes.length === 0) return { isEnough: true, exits: [], leftOut: 0 }
      const { renewable, leftOut } = await exits.findRenewable(vault, indexes, BATCHES_AHEAD * oracles.batchLimit)
      const found = renewable.length === 0 ? [] : await exits.findExits(renewable, set.id)
      return { isEnough: true, exits: found, leftOut }
    },

    /** Forgets what the oracles said of a vault, so that they are asked anew. */
    forget: (vault: Uint8Array): boolean => said.delete(toHex(vault)),
  }
}
