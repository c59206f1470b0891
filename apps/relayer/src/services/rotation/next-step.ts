/**
 * What comes next for the rotation of one vault, as a pure function of what is known. Nothing is asked, written or sent here.
 *
 *     look → give up → learn → collect → wait → open → send again → price → ask → send → rest
 *
 * A call begins knowing next to nothing. `rotation.ts` carries out what this function says, adds what came of it to the state, and
 * calls the function again, until it says `rest`. So a fact is found out only when something depends on it.
 */

import type { RotationContentRow, RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import type { RotationExit } from './exits.ts'
import type { Step, Update } from './steps.ts'
import type { VaultView } from './updates.ts'

/** What is open for so long without approval is begun anew: some of its validators may have left since. */
export const STALE_SECONDS = 1800

/** How far a call goes: to an open row, to approved calldata, to a transaction. */
export type Goal = 'prepare' | 'approve' | 'send'

/** The vault's open rotation. */
export interface OpenRotation {
  row: RotationRow
  /** What it hands in; undefined when some of it is gone. */
  content: readonly RotationContentRow[] | undefined
  /** Whether its transaction's nonce is used in a final block, by it or by another one. Known only while it is in time. */
  isSpent: boolean
}

/** What the oracles say is outdated: too few of them answered, or the exits of what they name. */
export type Learnt =
  | { isEnough: false; answers: number }
  | {
      isEnough: true
      exits: readonly RotationExit[]
      /** Validators that the oracles name and that are not ours, not final, or not active. */
      leftOut: number
    }

/** What the oracles said when they were asked to approve. */
export type Approval =
  | Extract<Step, { step: 'no_validity' | 'unapproved' | 'refused' }>
  /** `rotationId` is the open rotation, which is another one than before where the oracles came to another hash. */
  | { step: 'approved'; update: Update; rotationId: number }

/** What is known of a vault at one moment of a call. What is undefined was not found out yet, unless it says otherwise. */
export interface RotationState {
  goal: Goal
  hasWallet: boolean
  /** The oracle set in force, and how many validators it takes in one update. Undefined: there is none yet. */
  oracles: { setId: number; count: number; batchLimit: number } | undefined
  view?: VaultView
  /** Undefined: there is none. */
  open?: OpenRotation | undefined
  learnt?: Learnt
  /** Whether the exits that are missing were asked for in this call. */
  isCollected?: boolean
  /** Whether those that are ready have waited long enough for those that are not. */
  isPatienceOver?: boolean
  /** Whether this call has opened a rotation. */
  hasOpened?: boolean
  /** Whether this call has sent the stored transaction again. */
  isSentAgain?: boolean
  /** Whether the chain asks for more than the cap. */
  isTooDear?: boolean
  approval?: Approval
  /** What became of the new transaction. */
  sent?: Extract<Step, { step: 'sent' | 'too_dear' }>
}

/** What is to be done now. */
export type Action =
  /** Look at the vault on chain, end what final updates have ended, and find its open rotation. */
  | { do: 'look' }
  | { do: 'give_up'; row: RotationRow; reason: string }
  /** Ask the oracles what is outdated, and find the exits of it. */
  | { do: 'learn' }
  /** Ask the nodes for these exits. */
  | { do: 'collect'; missing: readonly RotationExit[] }
  /** Find out for how long the missing exits have been waited for. */
  | { do: 'wait' }
  | { do: 'open'; exits: readonly RotationExit[]; nonce: number }
  | { do: 'send_again'; row: RotationRow }
  /** Find out whether the chain asks for more than the cap. */
  | { do: 'price' }
  /** Ask every oracle to approve. */
  | { do: 'ask'; row: RotationRow; content: readonly RotationContentRow[] }
  /** Send a new transaction for this rotation, in the place of the one that has this hash. */
  | { do: 'send'; row: Pick<RotationRow, 'id' | 'transactionHash'>; update: Update }
  /** Nothing more can be done now. */
  | { do: 'rest'; step: Step }

/** The next action. An open rotation comes before a new one, and the end of a transaction before everything else. */
export function nextStep(state: RotationState): Action {
  const { oracles, view, open } = state
  if (oracles === undefined) return rest({ step: 'no_oracle_set' })
  if (view === undefined) return { do: 'look' }
  if (state.sent !== undefined) return rest(state.sent)
  const isWaitedFor = open !== undefined && isUnderWay(open, view)
  if (open !== undefined && !isWaitedFor) {
    const reason = whyWorthless(open, view, oracles.setId)
    if (reason !== undefined) return { do: 'give_up', row: open.row, reason }
  }
  const transactionHash = open?.row.transactionHash ?? undefined
  // Some update of the vault is in a block that is not final: which one it was is known when it is.
  if (view.latestNonce > view.finalNonce) return rest({ step: 'sent', transactionHash })
  if (open === undefined) return withoutOpen(state, oracles, view)
  if (isWaitedFor)
    return state.goal === 'send' && state.isSentAgain !== true
      ? { do: 'send_again', row: open.row }
      : rest({ step: 'sent', transactionHash })
  if (state.goal === 'prepare') return rest({ step: 'open', validators: open.content?.length ?? 0 })
  return approve(state, open)
}

/** Whether the deadline of a rotation's transaction is still to come, by the time of the newest block. */
export const isInTime = ({ deadline }: Pick<RotationRow, 'deadline'>, { latest }: Pick<VaultView, 'latest'>): boolean =>
  deadline !== null && latest.timestamp <= deadline

/** Whether a rotation's transaction may still be carried out by a block after the newest one. */
export const isUnderWay = ({ row, isSpent }: Omit<OpenRotation, 'content'>, view: Pick<VaultView, 'latest'>): boolean =>
  isInTime(row, view) && !isSpent

/** Why an open rotation whose transaction is not under way can come to nothing any more. */
function whyWorthless({ row, content }: OpenRotation, { finalNonce }: VaultView, setId: number): string | undefined {
  if (row.nonce < finalNonce) return 'another update of the vault was final first'
  if (row.oracleSetId !== setId) return 'the oracles have changed'
  return content === undefined ? 'some of its exits are gone' : undefined
}

/** Without an open rotation: the end of a call that had one, or the beginning of a new one. */
function withoutOpen(
  state: RotationState,
  oracles: NonNullable<RotationState['oracles']>,
  { latestNonce, needed }: VaultView,
): Action {
  if (state.approval !== undefined) return rest(stepOf(state.approval))
  if (state.hasOpened === true) return rest({ step: 'nothing', leftOut: 0 })
  if (state.learnt === undefined) return { do: 'learn' }
  const chosen = chooseBatch(state.learnt, state.goal, { ...oracles, needed })
  if (chosen.step !== 'learnt') return rest(chosen)
  const { batch, missing, leftOut } = chosen
  if (missing.length > 0 && state.isCollected !== true) return { do: 'collect', missing }
  const ready = batch.filter(isReady)
  const isWhole = ready.length === batch.length
  if (!isWhole && state.isPatienceOver === undefined) return { do: 'wait' }
  if (ready.length > 0 && (isWhole || state.isPatienceOver === true))
    return { do: 'open', exits: ready, nonce: latestNonce }
  const toSplit = missing.filter((exit) => exit.state === 'kept').length
  return rest({ step: 'collecting', ready: ready.length, toSign: missing.length - toSplit, toSplit, leftOut })
}

/** From an open rotation to approved calldata, and on to a transaction where this call sends and there is a wallet. */
function approve({ goal, hasWallet, isTooDear, approval }: RotationState, { row, content }: OpenRotation): Action {
  const isSending = goal === 'send' && hasWallet
  // Before the oracles are troubled for what could not be sent.
  if (isSending && isTooDear === undefined) return { do: 'price' }
  if (isSending && isTooDear === true) return rest({ step: 'too_dear' })
  if (approval === undefined) return { do: 'ask', row, content: content ?? [] }
  if (approval.step !== 'approved')
    return row.ageSeconds > STALE_SECONDS
      ? { do: 'give_up', row, reason: 'it was not approved for too long' }
      : rest(approval)
  if (!isSending) return rest(stepOf(approval))
  const { rotationId: id, update } = approval
  return { do: 'send', row: { id, transactionHash: id === row.id ? row.transactionHash : null }, update }
}

/** The next batch, and all whose exits are missing. */
export interface Batch {
  batch: readonly RotationExit[]
  missing: readonly RotationExit[]
  leftOut: number
}

/**
 * The next batch of what the oracles name, or why there is none. What is ready comes first, so that validators whose nodes are gone keep
 * nobody else waiting.
 */
export function chooseBatch(
  learnt: Learnt,
  goal: Goal,
  oracles: { count: number; needed: number; batchLimit: number },
): Step | ({ step: 'learnt' } & Batch) {
  if (!learnt.isEnough)
    return { step: 'unlearnt', answers: learnt.answers, needed: oracles.needed, oracles: oracles.count }
  // Oracles that ask for the same again and again may not empty the wallet.
  const exits = learnt.exits.filter(({ isDone }) => goal !== 'send' || !isDone)
  if (exits.length === 0) return { step: 'nothing', leftOut: learnt.leftOut + learnt.exits.length }
  const missing = exits.filter((exit) => !isReady(exit))
  const batch = [...exits.filter(isReady), ...missing].slice(0, oracles.batchLimit)
  return { step: 'learnt', batch, missing, leftOut: learnt.leftOut }
}

const isReady = ({ state }: RotationExit): boolean => state === 'ready'

const rest = (step: Step): Action => ({ do: 'rest', step })

/** An answer of the oracles as the step that a call ends at. */
const stepOf = (approval: Approval): Step =>
  approval.step === 'approved' ? { step: 'approved', update: approval.update } : approval
