/**
 * Rotation (docs/protocol.md#16-rotation): when the oracles change, the exit shares of active validators are made anew for the new ones,
 * approved by them, and their hash is put on chain.
 *
 *     next-step.ts   which action comes next, from what is known
 *     carry-out.ts   does it
 *     here           goes from one to the other until nothing more can be done, for the loop, a request or the command
 *
 * Everything that must not be forgotten stands in the database before it has an effect outside; each call looks where things stand
 * and goes on from there. One process at a time is at a vault.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { TransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { findCurrentOracleSet } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { findOpenRotation, findRotationContent, findRotationVaults } from '@dvt-relayer/db/queries/rotations.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { OracleSets } from '../oracles/sets.ts'
import { createCarryOut, type Errand } from './carry-out.ts'
import type { RotationExit } from './exits.ts'
import { createRotationLocks } from './locks.ts'
import { chooseBatch, type Goal, isUnderWay, nextStep, type RotationState, STALE_SECONDS } from './next-step.ts'
import { readRotationOracles } from './oracles.ts'
import { createRotationRounds } from './round.ts'
import { findRotationState } from './state.ts'
import { type Step, type Update, updateOf } from './steps.ts'

/** What would be done for a vault: a step that it stands at, or the batch that would be handed in. */
export interface RotationPlan {
  step: Step | undefined
  batch: readonly RotationExit[]
  leftOut: number
}

/** Creates the service. Without a wallet nothing is sent. It lists small methods, so it is longer than a page. */
export function createRotation(
  context: Pick<Context, 'config' | 'db' | 'chain' | 'events'> & { oracleSets: Pick<OracleSets, 'newest'> },
  wallet: TransactionWallet | undefined,
) {
  const { config, db, oracleSets } = context
  const locks = createRotationLocks(db)
  const carryOut = createCarryOut(context, locks, wallet)
  const rounds = createRotationRounds(context, locks, {
    advance: (vault, signal) => advance(vault, wallet === undefined ? 'prepare' : 'send', signal),
    finish,
  })

  async function findErrand(vault: Uint8Array, signal: AbortSignal): Promise<Errand | undefined> {
    const set = await findCurrentOracleSet(db)
    return set && { vault, set, oracles: readRotationOracles(config.network, set), signal }
  }

  /** One action after the other, as far as the goal says and the world lets us. The caller has the lock. */
  async function advance(vault: Uint8Array, goal: Goal, signal: AbortSignal): Promise<Step> {
    const errand = await findErrand(vault, signal)
    let state: RotationState = { goal, hasWallet: wallet !== undefined, oracles: errand && setOf(errand) }
    for (;;) {
      const next = nextStep(state)
      if (next.do === 'rest') return next.step
      if (errand === undefined) throw new Error('there are no oracles to act for')
      state = { ...state, ...(await carryOut.run(next, errand, state)) }
    }
  }

  /** Ends what final updates have ended, and gives up what nobody goes on with. */
  async function finish(vault: Uint8Array, signal: AbortSignal): Promise<undefined> {
    const view = await carryOut.updates.settle(vault, signal)
    const row = config.rotation.enabled ? await findOpenRotation(db, vault) : undefined
    if (row === undefined || row.ageSeconds <= STALE_SECONDS) return
    if (isUnderWay({ row, isSpent: await carryOut.isSpent(row, view, signal) }, view)) return
    await carryOut.giveUp(vault, row, 'the vault has no validators here any more, or is not ours')
  }

  return {
    /** The address that sends; null where the calldata is handed out. */
    sender: wallet?.address ?? null,

    /** Whether exits are being collected, so that a round is worth while as soon as some are ready. */
    get isCollecting(): boolean {
      return rounds.isCollecting
    },

    /**
     * One round over all vaults; with ROTATION off only those whose updates may be final by now. Returns what a person should know, in
     * words.
     */
    round: (signal: AbortSignal): Promise<string | undefined> => rounds.run(signal),

    /** Takes one vault as far as the goal says. @throws {ApiError} ROTATION_BUSY */
    advance: (vault: Uint8Array, goal: Goal, signal: AbortSignal): Promise<Step> =>
      locks.holdVault(vault, () => advance(vault, goal, signal)),

    /** The approved update of a vault for the newest oracles, every one asked anew. @throws {ApiError} ROTATION_…, DEPENDENCY_AWAY */
    async request(vault: Uint8Array, signal: AbortSignal): Promise<Update> {
      // Who asks for a vault of nobody's costs neither memory nor rows nor the oracles anything.
      const isKnown = (await findRotationVaults(db)).some((known) => equalBytes(known, vault))
      if (!isKnown) return updateOf({ step: 'nothing', leftOut: 0 })
      // An update for oracles that the chain has just replaced would be refused, or outdated as soon as it is there.
      await oracleSets.newest()
      try {
        const step = await locks.holdVault(vault, () => {
          carryOut.forget(vault)
          return advance(vault, 'approve', signal)
        })
        return updateOf(step)
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        throw new ApiError('DEPENDENCY_AWAY', `the chain cannot be asked: ${error.message}`, { cause: error })
      }
    },

    /** What would be done for a vault, with reading alone: nothing is written, and no oracle is asked to approve. */
    async plan(vault: Uint8Array, signal: AbortSignal): Promise<RotationPlan> {
      const errand = await findErrand(vault, signal)
      if (errand === undefined) return { step: { step: 'no_oracle_set' }, batch: [], leftOut: 0 }
      const view = await carryOut.updates.look(vault, signal)
      const row = await findOpenRotation(db, vault)
      const isWaitedFor = async () =>
        view.latestNonce > view.finalNonce ||
        (row !== undefined && isUnderWay({ row, isSpent: await carryOut.isSpent(row, view, signal) }, view))
      if (await isWaitedFor())
        return { step: { step: 'sent', transactionHash: row?.transactionHash ?? undefined }, batch: [], leftOut: 0 }
      if (row !== undefined) {
        const content = await findRotationContent(db, row.id)
        return { step: { step: 'open', validators: content.length }, batch: [], leftOut: 0 }
      }
      // As for calldata: what was handed in today already is asked for by hand on purpose.
      const found = chooseBatch(await carryOut.learn(errand, view), 'approve', {
        ...setOf(errand),
        needed: view.needed,
      })
      if (found.step !== 'learnt') return { step: found, batch: [], leftOut: 0 }
      return { step: undefined, batch: found.batch, leftOut: found.leftOut }
    },

    /** What the database has of a vault's rotation. */
    state: (vault: Uint8Array) => findRotationState(db, vault),
  }
}
export type Rotation = ReturnType<typeof createRotation>

/** What a decision needs to know of the oracle set. */
const setOf = ({ set, oracles: { oracles, batchLimit } }: Errand) => ({
  setId: set.id,
  count: oracles.length,
  batchLimit,
})
