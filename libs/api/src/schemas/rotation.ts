/** `GET` and `POST /vaults/{vault}/rotation`: new exit signatures for new oracles. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { anyHex, checksummedAddress, checksummedVault, safeInteger, strictHex } from './fields.ts'
import { currentOracleSet } from './oracles.ts'

const rotationNonce = safeInteger(0, '`Keeper.exitSignaturesNonces(vault)` that the oracles sign')

const ipfsHash = Type.String({ description: 'what the oracles have approved, as it goes on chain' })

const transactionHash = Type.Union([strictHex(32, 'the newest transaction of the wallet'), Type.Null()])

/** Answer to `GET /vaults/{vault}/rotation`. */
export const RotationResponse = Type.Object({
  vault: checksummedVault,
  state: Type.Union(
    [Type.Literal('idle'), Type.Literal('collecting'), Type.Literal('prepared'), Type.Literal('sent')],
    {
      description:
        'idle: nothing under way; collecting: exits are signed or split; prepared: ready for approvals; sent: a transaction of ours is on its way',
    },
  ),
  oracle_set: currentOracleSet,
  validators: Type.Array(
    Type.Object({
      public_key: strictHex(48, 'validator public key'),
      validator_index: safeInteger(0, 'index that the chain gave it'),
      state: Type.Union([Type.Literal('collecting'), Type.Literal('ready')]),
    }),
  ),
  nonce: Type.Union([rotationNonce, Type.Null()]),
  ipfs_hash: Type.Union([ipfsHash, Type.Null()]),
  transaction_hash: transactionHash,
  last: Type.Union(
    [
      Type.Object({
        state: Type.Union([Type.Literal('done'), Type.Literal('void')]),
        nonce: rotationNonce,
        ipfs_hash: Type.Union([ipfsHash, Type.Null()]),
        transaction_hash: transactionHash,
        ended_at_timestamp: safeInteger(0, 'Unix seconds'),
      }),
      Type.Null(),
    ],
    { description: 'the newest update that has ended, while none is under way' },
  ),
})
export type RotationResponse = Static<typeof RotationResponse>

/** Answer to `POST /vaults/{vault}/rotation`: a transaction for anybody to send before the deadline. */
export const RotationUpdate = Type.Object({
  to: checksummedAddress('the Keeper, checksummed'),
  data: anyHex('calldata of updateExitSignatures'),
  deadline: safeInteger(0, 'Unix seconds until which the Keeper takes it'),
  nonce: rotationNonce,
  validators: Type.Array(
    Type.Object({
      public_key: strictHex(48, 'validator public key'),
      validator_index: safeInteger(0, 'index that the chain gave it'),
    }),
  ),
  ipfs_hash: ipfsHash,
})
export type RotationUpdate = Static<typeof RotationUpdate>
