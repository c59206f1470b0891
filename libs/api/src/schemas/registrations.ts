/** `POST /register`, `/fund`, `/withdraw`, `/consolidate`: what an operator asks the validators manager for (generation 4). */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { amountGwei, looseHex, receiptOfItem, safeInteger, strictHex, vaultAddress } from './fields.ts'
import { OracleExitSignatureShares } from './oracles.ts'

/** Type of a validator: the first byte of its withdrawal credentials. */
export const ValidatorType = Type.Union([Type.Literal('0x01'), Type.Literal('0x02')])
export type ValidatorType = Static<typeof ValidatorType>

const keyList = (description: string) => Type.Array(looseHex(48, 'validator public key'), { minItems: 1, description })

/** `POST /register`, generation 4: the operator's request, which is also its poll. One validator for each amount. */
export const RegisterRequest = Type.Object({
  vault: vaultAddress,
  validators_start_index: safeInteger(0, 'validator index of the first; the others follow'),
  amounts: Type.Array(amountGwei(1, 'Gwei to deposit'), { minItems: 1 }),
  validator_type: ValidatorType,
})
export type RegisterRequest = Static<typeof RegisterRequest>

/** Answer to `POST /register`. Nulls mean: not yet, ask again. */
export const RegisterResponse = Type.Object({
  validators: Type.Array(
    Type.Object({
      public_key: strictHex(48, 'validator public key'),
      amount: amountGwei(1, 'Gwei the deposit signature is for'),
      deposit_signature: Type.Union([strictHex(96, 'deposit signature'), Type.Null()]),
      exit_signature: Type.Null({ description: 'never given away; the oracles have their shares' }),
      oracles_exit_signature_shares: Type.Union([OracleExitSignatureShares, Type.Null()]),
      receipt: receiptOfItem,
    }),
  ),
  validators_manager_signature: Type.Union([
    strictHex(65, 'signature of the validators manager, r ++ s ++ v'),
    Type.Null(),
  ]),
})
export type RegisterResponse = Static<typeof RegisterResponse>

/** `POST /fund` and `POST /withdraw`: amounts by public key, both lists of one length. */
export const FundRequest = Type.Object({
  vault: vaultAddress,
  public_keys: keyList('validators to fund'),
  amounts: Type.Array(amountGwei(1, 'Gwei'), { minItems: 1 }),
})
export type FundRequest = Static<typeof FundRequest>

export const WithdrawRequest = Type.Object({
  vault: vaultAddress,
  public_keys: keyList('validators to withdraw from'),
  amounts: Type.Array(amountGwei(0, 'Gwei; 0 is the full exit'), { minItems: 1 }),
})
export type WithdrawRequest = Static<typeof WithdrawRequest>

/** `POST /consolidate`: the source at a position goes into the target at the same position. */
export const ConsolidateRequest = Type.Object({
  vault: vaultAddress,
  source_public_keys: keyList('validators that end'),
  target_public_keys: keyList('validators that get their balance'),
})
export type ConsolidateRequest = Static<typeof ConsolidateRequest>

/** Answer to `/fund`, `/withdraw` and `/consolidate`: never without a signature. */
export const ManagerSignatureResponse = Type.Object({
  validators_manager_signature: strictHex(65, 'signature of the validators manager, r ++ s ++ v'),
})
export type ManagerSignatureResponse = Static<typeof ManagerSignatureResponse>
