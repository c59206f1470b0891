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

const shareReceipt = strictHex(32, 'receipt of the share set: the same wherever the same set was handed out')
/** Ours, beside the oracle shares of an item; existing operators ignore it. */
const receiptOfItem = Type.Optional(Type.Union([shareReceipt, Type.Null()]))

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

const epoch = safeInteger(0, 'epoch the exit is made for')
const blockNumber = safeInteger(0, 'block of the execution chain in which the Keeper announced the oracle set')
const oracleThreshold = safeInteger(1, 'how many shares make the exit')
const vaultWhereKnown = Type.Union([checksummedVault, Type.Null()])
const createdAt = safeInteger(0, 'Unix seconds at which the share set was made')

/** `GET /oracles/{oracle}/exit-shares`: whose shares. */
export const ExitSharesParams = Type.Object({
  oracle: Type.String({
    pattern: '^(0[xX])?([0-9a-fA-F]{40}|[0-9a-fA-F]{66}|[0-9a-fA-F]{128}|[0-9a-fA-F]{130})$',
    description:
      'address of the oracle (in mixed case checksummed, EIP-55), or its secp256k1 public key: 64, 65 or 33 bytes of hex',
  }),
})
export type ExitSharesParams = Static<typeof ExitSharesParams>

/** Its query. */
export const ExitSharesQuery = Type.Object(
  {
    vault: Type.Optional(vaultAddress),
    public_key: Type.Optional(looseHex(48, 'validator public key')),
    after: Type.Optional(
      Type.String({
        pattern: '^[0-9]{1,16}\\.[0-9]{1,16}\\.[0-9]{1,16}$',
        description: 'the cursor of an earlier answer to the same question: only what came after it is listed',
      }),
    ),
    limit: Type.Optional(
      Type.String({ pattern: '^([1-9][0-9]{0,2}|1000)$', description: 'items at most, 1 to 1000; 100 when left out' }),
    ),
    wait: Type.Optional(
      Type.String({ pattern: '^([0-9]|1[0-9]|2[0-5])$', description: 'seconds to wait for the first item, 0 to 25' }),
    ),
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
  oracles: Type.Array(
    Type.String({ pattern: '^0x[0-9a-fA-F]{40}$', description: 'address of the oracle at this place, checksummed' }),
  ),
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
const currentOracleSet = Type.Union([OracleSetInfo, Type.Null()], { description: 'null before any was announced' })

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
  after: Type.Optional(
    Type.String({ pattern: '^[0-9]{1,15}$', description: '`next` of an earlier answer: what follows is listed' }),
  ),
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
  to: Type.String({ pattern: '^0x[0-9a-fA-F]{40}$', description: 'the Keeper, checksummed' }),
  data: Type.String({ pattern: '^0x([0-9a-f]{2})+$', description: 'calldata of updateExitSignatures' }),
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

/** `GET /vaults/{vault}/owner-copies`: its query. */
export const OwnerCopiesQuery = Type.Object({
  after: Type.Optional(
    Type.String({ pattern: '^[0-9]{1,15}$', description: 'the cursor of an earlier answer: what follows is listed' }),
  ),
  limit: Type.Optional(
    Type.String({ pattern: '^([1-9][0-9]{0,2}|1000)$', description: 'items at most, 1 to 1000; 100 when left out' }),
  ),
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
      ciphertext: Type.String({
        pattern: '^0x([0-9a-f]{2})+$',
        description: 'ECIES of the JSON of a SignedVoluntaryExit of the beacon API',
      }),
      created_at_timestamp: safeInteger(0, 'Unix seconds at which the copy was made'),
    }),
  ),
  cursor: safeInteger(0, 'pass it as `after` to get what follows'),
})
export type OwnerCopiesResponse = Static<typeof OwnerCopiesResponse>

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
