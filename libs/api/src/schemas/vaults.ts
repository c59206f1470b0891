/** Vaults by their registered validators, and the copies of exits for their owners. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import {
  anyHex,
  checksummedVault,
  epoch,
  queryCursor,
  queryNumber,
  safeInteger,
  strictHex,
  validatorIndex,
  vaultAddress,
} from './fields.ts'
import { currentOracleSet } from './oracles.ts'

/** A vault by its validators that the finalized chain has. */
export const VaultSummary = Type.Object({
  vault: checksummedVault,
  registered: safeInteger(0, 'validators on the finalized chain'),
  exited: safeInteger(0, 'of these, how many have left or are leaving; the others are what the next numbers are of'),
  outdated: safeInteger(0, 'validators whose shares on chain were made for another oracle set than the one in force'),
  wrong_index: safeInteger(0, 'validators whose newest shares were made for another validator index than they have'),
  force_exit_at_timestamp: Type.Union([safeInteger(0, 'Unix seconds'), Type.Null()], {
    description: 'when the first of the outdated validators may be exited by force; null where no oracle config says',
  }),
})
export type VaultSummary = Static<typeof VaultSummary>

/** Answer to `GET /vaults`. */
export const VaultsResponse = Type.Object({ oracle_set: currentOracleSet, vaults: Type.Array(VaultSummary) })
export type VaultsResponse = Static<typeof VaultsResponse>

/** `GET /vaults/{vault}`: which one. */
export const VaultParams = Type.Object({ vault: vaultAddress })
export type VaultParams = Static<typeof VaultParams>

/** Its query. */
export const VaultQuery = Type.Object({
  after: Type.Optional(queryCursor(15, 'next', '`next` of an earlier answer: what follows is listed')),
})
export type VaultQuery = Static<typeof VaultQuery>

/** Answer to `GET /vaults/{vault}`. */
export const VaultResponse = Type.Object({
  ...VaultSummary.properties,
  oracle_set: currentOracleSet,
  outdated_validators: Type.Array(
    Type.Object({
      public_key: strictHex(48, 'validator public key'),
      validator_index: safeInteger(0, 'index that the chain gave it'),
      oracle_set_cid: Type.Union([Type.String(), Type.Null()], {
        description: 'config its shares on chain were made for; null where that is not known',
      }),
    }),
    { description: 'at most 1000, by index' },
  ),
  next: Type.Union([safeInteger(0, 'pass it as `after` to get what follows'), Type.Null()]),
})
export type VaultResponse = Static<typeof VaultResponse>

/** `GET /vaults/{vault}/owner-copies`: its query. */
export const OwnerCopiesQuery = Type.Object({
  after: Type.Optional(queryCursor(15, 'cursor', 'the cursor of an earlier answer: what follows is listed')),
  limit: Type.Optional(queryNumber('^([1-9][0-9]{0,2}|1000)$', 1, 1000, 'items at most, 1 to 1000; 100 when left out')),
})
export type OwnerCopiesQuery = Static<typeof OwnerCopiesQuery>

/** Its answer. An empty list means that nothing follows. */
export const OwnerCopiesResponse = Type.Object({
  owner_copies: Type.Array(
    Type.Object({
      public_key: strictHex(48, 'validator public key'),
      validator_index: validatorIndex,
      epoch,
      owner_public_key: strictHex(65, 'secp256k1 key that the copy is encrypted to, uncompressed'),
      ciphertext: anyHex('ECIES of the JSON of a SignedVoluntaryExit of the beacon API'),
      created_at_timestamp: safeInteger(0, 'Unix seconds at which the copy was made'),
    }),
  ),
  cursor: safeInteger(0, 'pass it as `after` to get what follows'),
})
export type OwnerCopiesResponse = Static<typeof OwnerCopiesResponse>
