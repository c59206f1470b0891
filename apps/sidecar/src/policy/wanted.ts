/** What somebody wants signed for a validator. */

import type { ValidatorType } from '@dvt-relayer/api/schemas.ts'

/** A deposit somebody wants signed. */
export interface WantedDeposit {
  /** 20 bytes, lower-case hex with `0x`. */
  readonly vault: string
  readonly amountGwei: number
  readonly validatorType: ValidatorType
}

/** What is wanted for a validator: its exit, and by `GET /validators` its deposit too. */
export interface Wanted {
  readonly validatorIndex: number
  readonly deposit: WantedDeposit | undefined
}

/** Whether the same signatures serve both. */
export function isSameWanted(a: Wanted, b: Wanted): boolean {
  return (
    a.validatorIndex === b.validatorIndex &&
    a.deposit?.vault === b.deposit?.vault &&
    a.deposit?.amountGwei === b.deposit?.amountGwei &&
    a.deposit?.validatorType === b.deposit?.validatorType
  )
}
