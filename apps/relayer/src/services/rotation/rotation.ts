/**
 * Rotation (docs/protocol.md#16-rotation): when the oracles change, the exit shares of active validators are made anew for the new ones,
 * approved by them, and their hash is put on chain.
 *
 *     learn → check → exits at the real index, split for the current set → open row → approvals → transaction → final event
 *
 * Everything that must not be forgotten stands in the database before it has an effect outside; each call looks where things stand
 * and goes on from there. One process at a time is at a vault.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { TransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { findCurrentOracleSet } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import {
  findOldestOpen,
  findOpenRotation,
  findRotationContent,
  findRotationVaults,
  findUnsettledVaults,
  voidRotation,
} from '@dvt-relayer/db/queries/rotations.ts'
import { type Locked, tryLock } from '@dvt-relayer/db/try-lock.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { createRotationApprovals } from './approvals.ts'
import { createRotationExits, type RotationExit } from './exits.ts'
import { askOutdated, type RotationOracles, readRotationOracles } from './oracles.ts'
import { findRotationState } from './state.ts'
import { describeStep, isTrouble, type Step, type Update, updateOf } from './steps.ts'
import { createRotationSender } from './transaction.ts'
import { createRotationUpdates, type VaultView } from './updates.ts'

/** The lock of one vault's rotation. */
export const rotationLock = (vault: Uint8Array): string => `rotation:${toHex(vault)}`
/** The lock of the wallet: no two transactions of it may get one nonce. */
const WALLET_LOCK = 'rotation wallet'
/** How long somebody who asks waits for the process that is at it. */
const LOCK_PATIENCE_MS = 8_000
const LOCK_RETRY_MS = 250
/** Vaults that requests are at, each with a connection of its own to the database. */
const VAULTS_AT_ONCE = 4
/** Oracles that cannot be had, or do not agree, are left alone for twice as long each time; a question costs them less than shares. */
const MOST_REST_MS = 120_000
const MOST_REST_UNLEARNT_MS = 60_000
const FIRST_REST_MS = 6_000
/** The oracles are asked this often which validators are outdated; sooner where they named none, for some may be behind the change. */
const LEARN_MS = 300_000
const LEARN_AGAIN_MS = 60_000
/** What was opened and could not be approved for so long is looked at anew: some of its validators may have left since. */
const STALE_SECONDS = 1800
/** Exits are collected for so many batches at once. */
const BATCHES_AHEAD = 10

/** How far a call goes: to an open row, to approved calldata, to a transaction. */
export type Goal = 'prepare' | 'approve' | 'send'

/** Creates the service. Without a wallet nothing is sent. */
export function createRotation(
  context: Pick<Context, 'config' | 'db' | 'chain' | 'events'>,
  wallet: TransactionWallet | undefined,
) {
  const { config, db, events } = context
  const updates = createRotationUpdates(context)
  const exits = createRotationExits(context)
  const approvals = createRotationApprovals(context)
  const sender = createRotationSender(context)
  /** What the oracles said last, by vault: for the loop, which comes by more often than they need to be asked. */
  const learnt = new Map<string, { key: string; at: number; indexes: number[] }>()
  /** The vaults whose oracles the loop leaves alone for a while, under one oracle set. */
  const resting = new Map<string, { setId: number; until: number; restMs: number; problem: string }>()
  /** Locks that this process is at or has: who waits for one of them needs no connection for that. */
  const held = new Set<string>()
  let isCollecting = false

  const isOurs = (vault: Uint8Array) => config.vaults?.some((known) => equalBytes(known, vault)) ?? true

  /**
   * What the oracles name, checked against the chain: the next batch, what is ready first, so that validators whose nodes are gone
   * keep nobody else waiting; and all whose exits are missing.
   */
  async function learn(
    vault: Uint8Array,
    set: OracleSetRow,
    oracles: RotationOracles,
    view: VaultView,
    signal: AbortSignal,
    goal?: Goal,
  ): Promise<Step | { step: 'learnt'; batch: RotationExit[]; missing: RotationExit[]; leftOut: number }> {
    const { needed, sinceBlock } = view
    const key = `${set.id}:${view.finalNonce}`
    const known = learnt.get(toHex(vault))
    const freshMs = known === undefined || known.indexes.length === 0 ? LEARN_AGAIN_MS : LEARN_MS
    let indexes = known?.key === key && performance.now() - known.at < freshMs ? known.indexes : undefined
    if (indexes === undefined) {
      const said = await askOutdated(oracles, { vault, sinceBlock, needed }, signal)
      if (said.answers < needed)
        return { step: 'unlearnt', answers: said.answers, needed, oracles: oracles.oracles.length }
      indexes = said.indexes
      learnt.set(toHex(vault), { key, at: performance.now(), indexes })
    }
    if (indexes.length === 0) return { step: 'nothing', leftOut: 0 }
    const { renewable, leftOut } = await exits.findRenewable(vault, indexes, BATCHES_AHEAD * oracles.batchLimit)
    if (renewable.length === 0) return { step: 'nothing', leftOut }
    // Oracles that ask for the same again and again may not empty the wallet.
    const found = (await exits.findExits(renewable, set.id)).filter(({ isDone }) => goal !== 'send' || !isDone)
    if (found.length === 0) return { step: 'nothing', leftOut: leftOut + renewable.length }
    const missing = found.filter(({ state }) => state !== 'ready')
    const ready = found.filter(({ state }) => state === 'ready')
    return { step: 'learnt', batch: [...ready, ...missing].slice(0, oracles.batchLimit), missing, leftOut }
  }

  /** Opens a rotation of what is ready, once nothing is missing or what is missing has been waited for. */
  async function begin(
    vault: Uint8Array,
    set: OracleSetRow,
    oracles: RotationOracles,
    view: VaultView,
    signal: AbortSignal,
    goal: Goal,
  ): Promise<Step | undefined> {
    const found = await learn(vault, set, oracles, view, signal, goal)
    if (found.step !== 'learnt') return found
    const { batch, missing, leftOut } = found
    const ready = batch.filter(({ state }) => state === 'ready')
    await exits.want(missing, set.id)
    const isTime = ready.length === batch.length || (await exits.isPatienceOver(vault, set.id))
    if (ready.length === 0 || !isTime) {
      const toSplit = missing.filter(({ state }) => state === 'kept').length
      return { step: 'collecting', ready: ready.length, toSign: missing.length - toSplit, toSplit, leftOut }
    }
    await exits.open({ vault, oracleSetId: set.id, nonce: view.latestNonce }, ready)
    return undefined
  }

  /** Whether a transaction of this rotation can still be carried out by a block after the newest one. */
  const isUnderWay = async (row: RotationRow, { latest }: VaultView, signal: AbortSignal) =>
    row.deadline !== null && latest.timestamp <= row.deadline && !(await sender.isSpent(row, signal))

  async function giveUp(vault: Uint8Array, row: RotationRow, reason: string): Promise<undefined> {
    await voidRotation(db, row.id)
    events.rotationEnded('void', vault, 1, reason)
    return undefined
  }

  /** The vault's open rotation with what it hands in, if it is still worth anything. */
  async function findOpen(vault: Uint8Array, set: OracleSetRow, view: VaultView, signal: AbortSignal) {
    const row = await findOpenRotation(db, vault)
    if (row === undefined) return undefined
    const content = await approvals.findContent(row)
    if (await isUnderWay(row, view, signal)) return { row, content: content ?? [], isSent: true }
    if (row.nonce < view.finalNonce) return giveUp(vault, row, 'another update of the vault was final first')
    if (row.oracleSetId !== set.id) return giveUp(vault, row, 'the oracles have changed')
    if (content === undefined) return giveUp(vault, row, 'some of its exits are gone')
    return { row, content, isSent: false }
  }

  /** One step after the other, as far as the goal says and the world lets us. The caller has the lock. */
  async function advance(vault: Uint8Array, goal: Goal, signal: AbortSignal): Promise<Step> {
    const set = await findCurrentOracleSet(db)
    if (set === undefined) return { step: 'no_oracle_set' }
    const view = await updates.settle(vault, signal)
    const oracles = readRotationOracles(config.network, set)
    let open = await findOpen(vault, set, view, signal)
    if (view.latestNonce > view.finalNonce)
      return { step: 'sent', transactionHash: open?.row.transactionHash ?? undefined }
    if (open === undefined) {
      const step = await begin(vault, set, oracles, view, signal, goal)
      if (step !== undefined) return step
      open = await findOpen(vault, set, view, signal)
      if (open === undefined) return { step: 'nothing', leftOut: 0 }
    }
    const { row, content, isSent } = open
    if (isSent) {
      if (goal === 'send') await sender.again(row, vault, signal)
      return { step: 'sent', transactionHash: row.transactionHash ?? undefined }
    }
    if (goal === 'prepare') return { step: 'open', validators: content.length }
    // Before the oracles are troubled for what could not be sent.
    if (goal === 'send' && wallet !== undefined && (await sender.isTooDear(signal))) return { step: 'too_dear' }
    const asked = await approvals.ask({ vault, row, content }, oracles, view, signal)
    if (asked.step !== 'approved' && row.ageSeconds > STALE_SECONDS)
      await giveUp(vault, row, 'it was not approved for too long')
    if (asked.step !== 'approved' || goal !== 'send' || wallet === undefined) return asked
    const { deadline, data } = asked.update
    const position = {
      id: asked.rotationId ?? row.id,
      transactionHash: asked.rotationId === row.id ? row.transactionHash : null,
    }
    const update = { vault, data, deadline, now: view.latest.timestamp }
    const sending = await alone(WALLET_LOCK, () => sender.send(wallet, position, update, signal))
    if (sending === 'too_dear') return { step: 'too_dear' }
    return { step: 'sent', transactionHash: (await findOpenRotation(db, vault))?.transactionHash ?? undefined }
  }

  /** Runs one call under the lock, unless this process or another is at it. */
  async function tryHold<T>(lock: string, work: () => Promise<T>): Promise<Locked<T>> {
    if (held.has(lock)) return { isOurs: false, holder: 'this one' }
    held.add(lock)
    try {
      return await tryLock(db, lock, work)
    } finally {
      held.delete(lock)
    }
  }

  /** Runs one call under the lock, waiting a little for who has it. @throws {ApiError} ROTATION_BUSY */
  async function alone<T>(lock: string, work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + LOCK_PATIENCE_MS
    for (;;) {
      // Who has a vault waits for the wallet, so that one is not counted.
      const isFull = lock !== WALLET_LOCK && held.size >= VAULTS_AT_ONCE
      const locked: Locked<T> = isFull ? { isOurs: false, holder: 'this one' } : await tryHold(lock, work)
      if (locked.isOurs) return locked.value
      if (performance.now() > deadline)
        throw new ApiError('ROTATION_BUSY', `another process is at it (${locked.holder}); ask again`)
      await pause(LOCK_RETRY_MS)
    }
  }

  return {
    /** The address that sends; null where the calldata is handed out. */
    sender: wallet?.address ?? null,

    /** Whether exits are being collected, so that a round is worth while as soon as some are ready. */
    get isCollecting(): boolean {
      return isCollecting
    },

    /**
     * One round over all vaults; with ROTATION off only those whose updates may be final by now. Returns what a person should know, in
     * words.
     */
    async round(signal: AbortSignal): Promise<string | undefined> {
      const problems: string[] = []
      let isWanted = false
      const setId = (await findCurrentOracleSet(db))?.id ?? 0
      const each = async (vaults: readonly Uint8Array[], work: (vault: Uint8Array) => Promise<Step | undefined>) => {
        for (const vault of vaults) {
          signal.throwIfAborted()
          const rest = resting.get(toHex(vault))
          if (rest?.setId === setId && performance.now() < rest.until) {
            problems.push(rest.problem)
            continue
          }
          try {
            const locked = await tryHold(rotationLock(vault), () => work(vault))
            const step = locked.isOurs ? locked.value : undefined
            if (step?.step === 'collecting') isWanted = true
            resting.delete(toHex(vault))
            if (step === undefined || !isTrouble(step)) continue
            const problem = `${checksumAddress(vault)}: ${describeStep(step)}`
            problems.push(problem)
            if (step.step === 'too_dear') continue
            const mostMs = step.step === 'unlearnt' ? MOST_REST_UNLEARNT_MS : MOST_REST_MS
            const restMs = Math.min(mostMs, rest?.setId === setId ? 2 * rest.restMs : FIRST_REST_MS)
            resting.set(toHex(vault), { setId, until: performance.now() + restMs, restMs, problem })
          } catch (error) {
            if (signal.aborted) throw error
            problems.push(`${checksumAddress(vault)}: ${messageOf(error)}`)
          }
        }
      }
      const { enabled } = config.rotation
      const vaults = enabled ? (await findRotationVaults(db)).filter(isOurs) : []
      await each(vaults, (vault) => advance(vault, wallet === undefined ? 'prepare' : 'send', signal))
      const isAmong = (vault: Uint8Array) => vaults.some((other) => equalBytes(other, vault))
      await each(
        (await findUnsettledVaults(db)).filter((vault) => !isAmong(vault)),
        async (vault) => {
          const view = await updates.settle(vault, signal)
          const row = enabled ? await findOpenRotation(db, vault) : undefined
          if (row !== undefined && row.ageSeconds > STALE_SECONDS && !(await isUnderWay(row, view, signal)))
            await giveUp(vault, row, 'the vault has no validators here any more, or is not ours')
          return undefined
        },
      )
      isCollecting = isWanted
      events.rotationsOpen(await findOldestOpen(db))
      return problems.length > 0 ? problems.join('; ') : undefined
    },

    /** Takes one vault as far as the goal says. @throws {ApiError} ROTATION_BUSY */
    advance: (vault: Uint8Array, goal: Goal, signal: AbortSignal): Promise<Step> =>
      alone(rotationLock(vault), () => advance(vault, goal, signal)),

    /** The approved update of a vault, every oracle asked anew. @throws {ApiError} ROTATION_… */
    async request(vault: Uint8Array, signal: AbortSignal): Promise<Update> {
      // Who asks for a vault of nobody's costs neither memory nor rows nor the oracles anything.
      const isKnown = (await findRotationVaults(db)).some((known) => equalBytes(known, vault))
      if (!isKnown) return updateOf({ step: 'nothing', leftOut: 0 })
      try {
        const step = await alone(rotationLock(vault), () => {
          learnt.delete(toHex(vault))
          return advance(vault, 'approve', signal)
        })
        return updateOf(step)
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        throw new ApiError('DEPENDENCY_AWAY', `the chain cannot be asked: ${error.message}`, { cause: error })
      }
    },

    /** What would be done for a vault, with reading alone: nothing is written, and no oracle is asked to approve. */
    async plan(vault: Uint8Array, signal: AbortSignal) {
      const set = await findCurrentOracleSet(db)
      if (set === undefined) return { step: { step: 'no_oracle_set' } as Step, batch: [], leftOut: 0 }
      const view = await updates.look(vault, signal)
      const row = await findOpenRotation(db, vault)
      if (row !== undefined || view.latestNonce > view.finalNonce) {
        const content = row === undefined ? [] : await findRotationContent(db, row.id)
        const step: Step =
          view.latestNonce > view.finalNonce || (row !== undefined && (await isUnderWay(row, view, signal)))
            ? { step: 'sent', transactionHash: row?.transactionHash ?? undefined }
            : { step: 'open', validators: content.length }
        return { step, batch: [], leftOut: 0 }
      }
      const found = await learn(vault, set, readRotationOracles(config.network, set), view, signal)
      if (found.step !== 'learnt') return { step: found, batch: [], leftOut: 0 }
      return { step: undefined, batch: found.batch, leftOut: found.leftOut }
    },

    /** What the database has of a vault's rotation. */
    state: (vault: Uint8Array) => findRotationState(db, vault),
  }
}
export type Rotation = ReturnType<typeof createRotation>
