/** Oracle sets, and the exit shares that are encrypted to their oracles. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import {
  checksummedAddress,
  checksummedVault,
  epoch,
  looseHex,
  queryNumber,
  safeInteger,
  shareReceipt,
  strictHex,
  validatorIndex,
  vaultAddress,
} from './fields.ts'

/** The oracle shares of one exit, both lists in the order of the oracle config. */
export const OracleExitSignatureShares = Type.Object({
  public_keys: Type.Array(strictHex(48, 'public key share of the oracle at this place')),
  encrypted_exit_signatures: Type.Array(strictHex(193, 'exit signature share, encrypted to the oracle at this place')),
})
export type OracleExitSignatureShares = Static<typeof OracleExitSignatureShares>

const blockNumber = safeInteger(0, 'block of the execution chain in which the Keeper announced the oracle set')

const oracleThreshold = safeInteger(1, 'how many shares make the exit')

const vaultWhereKnown = Type.Union([checksummedVault, Type.Null()])

const createdAt = safeInteger(0, 'Unix seconds at which the share set was made')

/** `GET /oracles/{oracle}/exit-shares`: whose shares. */
export const ExitSharesParams = Type.Object({
  oracle: textLike(
    '^(0[xX])?([0-9a-fA-F]{40}|[0-9a-fA-F]{66}|[0-9a-fA-F]{128}|[0-9a-fA-F]{130})$',
    '0x and 40 hex digits (an address), or 66, 128 or 130 (a public key); 0x may be left out',
    'address of the oracle (in mixed case checksummed, EIP-55), or its secp256k1 public key: 64, 65 or 33 bytes of hex',
  ),
})
export type ExitSharesParams = Static<typeof ExitSharesParams>

/** Its query. */
export const ExitSharesQuery = Type.Object(
  {
    vault: Type.Optional(vaultAddress),
    public_key: Type.Optional(looseHex(48, 'validator public key')),
    after: Type.Optional(
      textLike(
        '^[0-9]{1,16}\\.[0-9]{1,16}\\.[0-9]{1,16}$',
        'the `cursor` of an earlier answer: three numbers with dots between them',
        'the cursor of an earlier answer to the same question: only what came after it is listed',
      ),
    ),
    limit: Type.Optional(
      queryNumber('^([1-9][0-9]{0,2}|1000)$', 1, 1000, 'items at most, 1 to 1000; 100 when left out'),
    ),
    wait: Type.Optional(queryNumber('^([0-9]|1[0-9]|2[0-5])$', 0, 25, 'seconds to wait for the first item, 0 to 25')),
  },
  { additionalProperties: false },
)
export type ExitSharesQuery = Static<typeof ExitSharesQuery>

/** One oracle's share of one exit. */
export const ExitShareItem = Type.Object({
  public_key: strictHex(48, 'validator public key'),
  validator_index: validatorIndex,
  epoch,
  vault: vaultWhereKnown,
  public_key_share: strictHex(48, 'public key share of this oracle: its exit signature share verifies under it'),
  encrypted_exit_signature: strictHex(193, 'exit signature share, encrypted to this oracle'),
  oracle_set: Type.Object({
    cid: Type.String({ description: 'CID of the config on IPFS' }),
    threshold: oracleThreshold,
    oracles: safeInteger(1, 'how many oracles the set has'),
    place: safeInteger(1, 'place of this oracle in it, from 1'),
    block_number: blockNumber,
  }),
  receipt: shareReceipt,
  created_at_timestamp: createdAt,
  is_outdated: Type.Boolean({
    description: 'whether the oracle set is not the current one: the chain knows the validator by it until a rotation',
  }),
})
export type ExitShareItem = Static<typeof ExitShareItem>

/** Answer to `GET /oracles/{oracle}/exit-shares`. An empty list means that there is nothing after the cursor now. */
export const ExitSharesResponse = Type.Object({
  exit_shares: Type.Array(ExitShareItem),
  cursor: Type.String({ description: 'pass it as `after` to get what follows' }),
})
export type ExitSharesResponse = Static<typeof ExitSharesResponse>

/** `GET /validators/{public_key}/oracle-shares`: of which validator. */
export const OracleSharesParams = Type.Object({ public_key: looseHex(48, 'validator public key') })
export type OracleSharesParams = Static<typeof OracleSharesParams>

/** Its answer: the whole share set of one exit, all lists in the order of the oracle config. */
export const OracleSharesResponse = Type.Object({
  public_key: strictHex(48, 'validator public key'),
  validator_index: validatorIndex,
  epoch,
  vault: vaultWhereKnown,
  oracle_set: Type.Object({
    cid: Type.String({ description: 'CID of the config on IPFS' }),
    threshold: oracleThreshold,
    block_number: blockNumber,
    is_current: Type.Boolean({ description: 'whether the Keeper has announced no newer set' }),
  }),
  oracles: Type.Array(checksummedAddress('address of the oracle at this place, checksummed')),
  oracle_public_keys: Type.Array(strictHex(65, 'secp256k1 public key of the oracle at this place, uncompressed')),
  public_keys: OracleExitSignatureShares.properties.public_keys,
  encrypted_exit_signatures: OracleExitSignatureShares.properties.encrypted_exit_signatures,
  receipt: shareReceipt,
  created_at_timestamp: createdAt,
})
export type OracleSharesResponse = Static<typeof OracleSharesResponse>

/** The oracle set in force. */
export const OracleSetInfo = Type.Object({
  cid: Type.String({ description: 'CID of the config on IPFS' }),
  block_number: safeInteger(0, 'block of the execution chain in which the Keeper announced it'),
  announced_at_timestamp: safeInteger(0, 'time of that block, Unix seconds'),
  threshold: safeInteger(1, 'how many shares make an exit'),
  oracles: safeInteger(1, 'how many oracles it has'),
})
export type OracleSetInfo = Static<typeof OracleSetInfo>

export const currentOracleSet = Type.Union([OracleSetInfo, Type.Null()], {
  description: 'null before any was announced',
})
