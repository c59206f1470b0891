/** How far a rotation of one vault has come: the steps that a call ends at, and each of them in words. */

import { ApiError } from '../../errors.ts'

/** An update of a vault's exit signatures that the Keeper takes until its deadline. */
export interface Update {
  /** Calldata of `updateExitSignatures`, as hex. */
  data: `0x${string}`
  /** Unix seconds. */
  deadline: number
  nonce: number
  ipfsHash: string
  /** 48 bytes each, in the order they are handed in. */
  validators: readonly { publicKey: Uint8Array; validatorIndex: number }[]
}

/** Where a vault stands. `leftOut`: validators that oracles name and that are not ours, not final, or not active. */
export type Step =
  | { step: 'no_oracle_set' }
  | { step: 'unlearnt'; answers: number; needed: number; oracles: number }
  | { step: 'nothing'; leftOut: number }
  | { step: 'collecting'; ready: number; toSign: number; toSplit: number; leftOut: number }
  | { step: 'open'; validators: number }
  | { step: 'no_validity' }
  | { step: 'unapproved'; approvals: number; needed: number; oracles: number }
  | { step: 'refused' }
  | { step: 'too_dear' }
  | { step: 'approved'; update: Update }
  | { step: 'sent'; transactionHash: Uint8Array | undefined }

/** The step in words, for logs, `/ready`, errors and the command. */
export function describeStep(step: Step): string {
  switch (step.step) {
    case 'no_oracle_set':
      return 'no oracle config is in force yet'
    case 'unlearnt':
      return `${step.answers} of ${step.oracles} oracles say which validators are outdated, and ${step.needed} are needed`
    case 'nothing':
      return `nothing is outdated${step.leftOut === 0 ? '' : `; ${step.leftOut} validators that the oracles name are not ours, not active or not final`}`
    case 'collecting':
      return `${step.ready} exits are ready, ${step.toSign} are collected from the sidecars, ${step.toSplit} are being split${step.leftOut === 0 ? '' : `; ${step.leftOut} more that the oracles name are not ours, not active or not final`}`
    case 'open':
      return `the update of ${step.validators} validators is prepared; the oracles have not been asked`
    case 'no_validity':
      return 'the oracle config has no signature_validity_period, so no approval can be asked for'
    case 'unapproved':
      return `${step.approvals} of ${step.oracles} oracles approve the same update, and ${step.needed} are needed`
    case 'refused':
      return 'the Keeper would not take what the oracles have approved; they are asked again'
    case 'too_dear':
      return 'the chain asks for more than ROTATION_MAX_FEE_GWEI; nothing is sent until it is cheaper'
    case 'approved':
      return `the update of ${step.update.validators.length} validators is approved until ${new Date(step.update.deadline * 1000).toISOString()}`
    case 'sent':
      return 'an update is on its way, or not final yet'
  }
}

/** Steps at which something is wrong that will not pass by itself, or should have passed. */
const TROUBLES: readonly Step['step'][] = ['unlearnt', 'no_validity', 'unapproved', 'refused', 'too_dear']

/** Whether a person should know of a step. */
export const isTrouble = ({ step }: Step): boolean => TROUBLES.includes(step)

/** The update of a step. @throws {ApiError} the code that says what is missing */
export function updateOf(step: Step): Update {
  switch (step.step) {
    case 'approved':
      return step.update
    case 'nothing':
      throw new ApiError('ROTATION_NOTHING', describeStep(step))
    case 'collecting':
    case 'open':
      throw new ApiError('ROTATION_COLLECTING', describeStep(step))
    case 'sent':
      throw new ApiError('ROTATION_SENT', describeStep(step))
    case 'no_oracle_set':
    case 'no_validity':
    case 'unlearnt':
      throw new ApiError('ROTATION_UNLEARNT', describeStep(step))
    case 'unapproved':
    case 'refused':
    case 'too_dear':
      throw new ApiError('ROTATION_UNAPPROVED', describeStep(step))
  }
}
