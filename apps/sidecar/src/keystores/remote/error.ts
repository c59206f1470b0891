/** Why a remote signer gave no signature that can be used. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import type { SignerOutcome } from '../../metrics.ts'

export type SignerFault = Exclude<SignerOutcome, 'ok'>
/** `AWAY`: nobody was asked, because every signer is being left alone. `STOPPED`: the wait was given up. */
export type SignerErrorCode = `SIGNER_${Uppercase<SignerFault> | 'AWAY' | 'STOPPED'}`

/** A signer is in trouble; the message names it by its host and says what to do. */
export class SignerError extends CodedError<SignerErrorCode> {
  /** What its answer was; undefined where nobody was asked or waited for. */
  readonly fault: SignerFault | undefined

  constructor(fault: SignerFault | 'away' | 'stopped', message: string, reason?: string) {
    super(`SIGNER_${fault.toUpperCase() as Uppercase<SignerFault | 'away' | 'stopped'>}`, message, {
      meta: reason === undefined ? {} : { reason },
    })
    this.fault = fault === 'away' || fault === 'stopped' ? undefined : fault
  }
}
