/** What `charon exit sign` and `charon deposit sign` post (OBOL_API): shapes of charon's, not of ours. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { looseHex, safeInteger, decimalText as uint64 } from '../fields.ts'

const lock = looseHex(32, 'lock_hash of the cluster lock')
const share = textLike('^[1-9][0-9]{0,15}$', 'a whole number from 1', 'share index of the node, from 1')

/** `POST /exp/partial_exits/{lock}`: of which cluster. */
export const PartialExitsParams = Type.Object({ lock })

/** Its body: partial exits in ascending order of their indexes, null where there is nothing to sign. */
export const PartialExitsRequest = Type.Object({
  partial_exits: Type.Union([
    Type.Array(
      Type.Object({
        public_key: looseHex(48, 'validator public key'),
        signed_exit_message: Type.Object({
          message: Type.Object({
            epoch: uint64('epoch, decimal'),
            validator_index: uint64('validator index, decimal'),
          }),
          signature: looseHex(96, 'partial exit signature'),
        }),
      }),
      { maxItems: 65_536 },
    ),
    Type.Null(),
  ]),
  share_idx: safeInteger(1, 'share index of the node, from 1'),
  signature: looseHex(65, "r, s and v of the node's ENR key, straight over the SSZ root of the two fields above"),
})
export type PartialExitsRequest = Static<typeof PartialExitsRequest>

/** `POST /deposit_data/partial_deposits/{lock}/{share}`: of which node. */
export const PartialDepositsParams = Type.Object({ lock, share })

/** Its body. Nobody signs it: each signature speaks for itself, under the node's key share. */
export const PartialDepositsRequest = Type.Object({
  partial_deposit_data: Type.Union([
    Type.Array(
      Type.Object({
        pubkey: looseHex(48, 'validator public key'),
        withdrawal_credentials: looseHex(32, 'withdrawal credentials'),
        amount: uint64('Gwei, decimal'),
        signature: looseHex(96, 'partial deposit signature'),
      }),
      { maxItems: 65_536 },
    ),
    Type.Null(),
  ]),
})
export type PartialDepositsRequest = Static<typeof PartialDepositsRequest>

/** Answer to both: all of it was taken. */
export const HandedIn = Type.Object({})

/** `GET /exp/exit/{lock}/{share}/{public_key}`: which exit, if any were handed out. */
export const FullExitParams = Type.Object({ lock, share, public_key: looseHex(48, 'validator public key') })
