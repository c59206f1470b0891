/** `POST /exit-signature` and `POST /signatures`: partial signatures as sidecars hand them in. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { Failure } from './errors.ts'
import { safeInteger } from './fields.ts'

/**
 * `POST /exit-signature`: partial exit signatures of one share index. The texts of an item are judged one by one, so that
 * one bad item never costs a good one.
 */
export const ExitSignatureRequest = Type.Object({
  share_index: safeInteger(1, 'share index of the node that signed, from 1'),
  shares: Type.Array(
    Type.Object({
      public_key: Type.String({ description: 'validator public key, hex of 48 bytes', maxLength: 200 }),
      exit_signature: Type.String({ description: 'partial exit signature, hex of 96 bytes', maxLength: 400 }),
    }),
  ),
})
export type ExitSignatureRequest = Static<typeof ExitSignatureRequest>

/** Answer to posts of partial signatures. Existing sidecars do not read it. */
export const SharesResponse = Type.Object({ failures: Type.Optional(Type.Array(Failure)) })
export type SharesResponse = Static<typeof SharesResponse>

/**
 * `POST /signatures`: exit and deposit partial signatures of one share index. The texts of an item are judged one by one, so
 * that one bad item never costs a good one.
 */
export const SignaturesRequest = Type.Object({
  share_index: safeInteger(1, 'share index of the node that signed, from 1'),
  shares: Type.Array(
    Type.Object({
      public_key: Type.String({ description: 'validator public key, hex of 48 bytes', maxLength: 200 }),
      exit_signature: Type.String({ description: 'partial exit signature, hex of 96 bytes', maxLength: 400 }),
      deposit_signature: Type.String({ description: 'partial deposit signature, hex of 96 bytes', maxLength: 400 }),
      public_key_shares: Type.Optional(
        Type.Union([
          Type.Array(
            Type.Object({
              share_index: Type.Number({ description: 'share index of a node' }),
              public_key_share: Type.String({ description: 'its public key share, hex of 48 bytes', maxLength: 200 }),
            }),
            { maxItems: 256, description: "every node's public key share: a hint, whoever sends it" },
          ),
          Type.Null(),
        ]),
      ),
    }),
  ),
})
export type SignaturesRequest = Static<typeof SignaturesRequest>
