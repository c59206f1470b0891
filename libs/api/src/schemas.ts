/**
 * The shapes on the wire, both directions, as one set of schemas: the relayer's routes, the OpenAPI document, the sidecar's
 * client and the tests all use these.
 *
 * Requests: hex in any letter case, with or without `0x`. Answers: lower case with `0x`, except where a request's spelling is
 * echoed. Numbers are JSON integers up to 2^53 − 1.
 */

import type { Static } from 'typebox'
import { Type } from 'typebox'

/** Hex of exactly `bytes` bytes as a request may spell it. */
const looseHex = (bytes: number, description: string) =>
  Type.String({ pattern: `^(0[xX])?[0-9a-fA-F]{${bytes * 2}}$`, description })

/** Hex of exactly `bytes` bytes as an answer spells it. */
const strictHex = (bytes: number, description: string) =>
  Type.String({ pattern: `^0x[0-9a-f]{${bytes * 2}}$`, description })

/** A whole number the wire can carry without loss. */
const safeInteger = (minimum: number, description: string) =>
  Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, description })

const validatorIndex = safeInteger(0, 'validator index the exit is made for')
const shareIndexList = (description: string) => Type.Array(safeInteger(1, 'share index'), { description })

/** `GET /info`. Relayers of generation 3 do not know the second field. */
export const Info = Type.Object({
  network: Type.String({ description: 'name of the network' }),
  validators_manager_address: Type.Optional(
    Type.Union([
      Type.String({
        pattern: '^0x[0-9a-fA-F]{40}$',
        description: 'wallet that signs for vaults (generation 4), checksummed',
      }),
      Type.Null(),
    ]),
  ),
})
export type Info = Static<typeof Info>

/** `POST /validators`, generation 3: the operator's request, which is also its poll. */
export const ValidatorsRequest = Type.Object({
  public_keys: Type.Array(looseHex(48, 'validator public key'), { minItems: 1 }),
})
export type ValidatorsRequest = Static<typeof ValidatorsRequest>

/** The oracle shares of one exit, both lists in the order of the oracle config. */
export const OracleExitSignatureShares = Type.Object({
  public_keys: Type.Array(strictHex(48, 'public key share of the oracle at this place')),
  encrypted_exit_signatures: Type.Array(strictHex(193, 'exit signature share, encrypted to the oracle at this place')),
})
export type OracleExitSignatureShares = Static<typeof OracleExitSignatureShares>

/** Answer to `POST /validators`: every key asked for, in the spelling it was asked in. */
export const ValidatorsResponse = Type.Object({
  ready: Type.Boolean({ description: 'whether every validator has its oracle shares' }),
  validators: Type.Array(
    Type.Object({
      public_key: Type.String({ description: 'validator public key, spelled as in the request' }),
      oracles_exit_signature_shares: Type.Union([OracleExitSignatureShares, Type.Null()]),
    }),
  ),
})
export type ValidatorsResponse = Static<typeof ValidatorsResponse>

/** Query of the lists: long polling, an extension of ours. */
export const ListQuery = Type.Object({
  wait: Type.Optional(
    Type.String({ pattern: '^([0-9]|[1-5][0-9]|60)$', description: 'seconds to wait for a change, 0 to 60' }),
  ),
  after: Type.Optional(
    Type.String({
      pattern: '^[0-9]{1,16}$',
      description: 'a revision from an earlier answer: only exits that changed after it are listed',
    }),
  ),
})
export type ListQuery = Static<typeof ListQuery>

/** One exit of `GET /exits`. The last two fields are ours; existing sidecars ignore them. */
export const ExitItem = Type.Object({
  public_key: strictHex(48, 'validator public key'),
  validator_index: validatorIndex,
  is_exit_signature_ready: Type.Boolean({ description: 'whether the exit signature is complete' }),
  created_at_timestamp: safeInteger(0, 'Unix seconds'),
  created_at_string: Type.String({ description: 'the same time as text, UTC' }),
  share_indexes_ready: shareIndexList('share indexes whose partial signature is in and verified'),
  share_indexes_unverified: Type.Optional(
    shareIndexList('share indexes with a partial signature that waits unverified'),
  ),
  share_indexes_rejected: Type.Optional(
    shareIndexList('share indexes that sent a wrong partial signature and no right one yet'),
  ),
})
export type ExitItem = Static<typeof ExitItem>

/** Answer to `GET /exits`. `revision` is ours, for long polling. */
export const ExitsResponse = Type.Object({
  exits: Type.Array(ExitItem),
  revision: Type.Optional(safeInteger(0, 'pass it as `after` to be told of later changes only')),
})
export type ExitsResponse = Static<typeof ExitsResponse>

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

/** What failed in a batch: the place of the item, why, in a code and in words. */
export const Failure = Type.Object({
  index: safeInteger(0, 'place of the item in the request, from 0'),
  code: Type.String(),
  message: Type.String(),
  kind: Type.Optional(
    Type.Union([Type.Literal('exit'), Type.Literal('deposit')], {
      description: 'which signature of the item, where it brings two',
    }),
  ),
})
export type Failure = Static<typeof Failure>

/** Answer to posts of partial signatures. Existing sidecars do not read it. */
export const SharesResponse = Type.Object({ failures: Type.Optional(Type.Array(Failure)) })
export type SharesResponse = Static<typeof SharesResponse>

/** Every error answer. */
export const ErrorResponse = Type.Object({
  code: Type.String({ description: 'what programs act on; see the table of errors' }),
  message: Type.String({ description: 'what is wrong and what to do' }),
  request_id: Type.String({ description: 'stands in the log as well' }),
  failures: Type.Optional(Type.Array(Failure)),
})
export type ErrorResponse = Static<typeof ErrorResponse>

/** Type of a validator: the first byte of its withdrawal credentials. */
export const ValidatorType = Type.Union([Type.Literal('0x01'), Type.Literal('0x02')])
export type ValidatorType = Static<typeof ValidatorType>

const amountGwei = (minimum: number, description: string) => safeInteger(minimum, description)
const vaultAddress = looseHex(20, 'address of the vault; in mixed case it must be checksummed (EIP-55)')
const checksummedVault = Type.String({
  pattern: '^0x[0-9a-fA-F]{40}$',
  description: 'address of the vault, checksummed',
})
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

/** `POST /consolidate`: the source at a place goes into the target at the same place. */
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

/** One validator of `GET /validators`. The fields from `share_indexes_unverified` on are ours; existing sidecars ignore them. */
export const ValidatorItem = Type.Object({
  vault: checksummedVault,
  public_key: strictHex(48, 'validator public key'),
  amount: amountGwei(1, 'Gwei to deposit'),
  validator_index: validatorIndex,
  validator_type: ValidatorType,
  is_signatures_ready: Type.Boolean({ description: 'whether exit and deposit signature are complete' }),
  created_at_timestamp: safeInteger(0, 'Unix seconds'),
  created_at_string: Type.String({ description: 'the same time as text, UTC' }),
  share_indexes_ready: shareIndexList('share indexes whose exit and deposit signature are both in and verified'),
  share_indexes_unverified: Type.Optional(
    shareIndexList('share indexes whose exit or deposit signature waits unverified'),
  ),
  share_indexes_rejected: Type.Optional(
    shareIndexList('share indexes that sent a wrong exit or deposit signature and no right one yet'),
  ),
})
export type ValidatorItem = Static<typeof ValidatorItem>

/** Answer to `GET /validators`. `revision` is ours, for long polling. */
export const ValidatorListResponse = Type.Object({
  validators: Type.Array(ValidatorItem),
  revision: Type.Optional(safeInteger(0, 'pass it as `after` to be told of later changes only')),
})
export type ValidatorListResponse = Static<typeof ValidatorListResponse>

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

/** `GET /health`: the process answers. */
export const Health = Type.Object({ status: Type.Literal('ok') })

/** `GET /ready`: 200 when everything the main job needs has been seen working, else 503. */
export const Ready = Type.Object({
  status: Type.Union([Type.Literal('ready'), Type.Literal('degraded'), Type.Literal('not_ready')]),
  checks: Type.Record(
    Type.String(),
    Type.Object({ ok: Type.Boolean(), message: Type.Optional(Type.String({ description: 'what is wrong' })) }),
  ),
})
export type Ready = Static<typeof Ready>
