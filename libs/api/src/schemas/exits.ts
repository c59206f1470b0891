/** `POST /validators`: exits and their oracle shares as an operator asks for them (generation 3). */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { looseHex, receiptOfItem } from './fields.ts'
import { OracleExitSignatureShares } from './oracles.ts'

/** `POST /validators`, generation 3: the operator's request, which is also its poll. */
export const ValidatorsRequest = Type.Object({
  public_keys: Type.Array(looseHex(48, 'validator public key'), { minItems: 1 }),
})
export type ValidatorsRequest = Static<typeof ValidatorsRequest>

/** Answer to `POST /validators`: every key asked for, in the spelling it was asked in. */
export const ValidatorsResponse = Type.Object({
  ready: Type.Boolean({ description: 'whether every validator has its oracle shares' }),
  validators: Type.Array(
    Type.Object({
      public_key: Type.String({ description: 'validator public key, spelled as in the request' }),
      oracles_exit_signature_shares: Type.Union([OracleExitSignatureShares, Type.Null()]),
      receipt: receiptOfItem,
    }),
  ),
})
export type ValidatorsResponse = Static<typeof ValidatorsResponse>
