/** Obol cluster locks: their typed form, read from untrusted JSON. Nothing here is verified yet: see `lock-verify.ts`. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { JsonField, parseJson } from '../json-field.ts'

export type ClusterLockErrorCode =
  /** The file is not JSON, too large, or a field is missing or of the wrong type, length or form. */
  | 'LOCK_MALFORMED'
  | 'LOCK_VERSION_UNKNOWN'
  /** The lock is for another network. */
  | 'LOCK_NETWORK_WRONG'
  /** Two lists, or a list and a number, that must agree do not. */
  | 'LOCK_COUNT_MISMATCH'
  | 'LOCK_THRESHOLD_INVALID'
  /** A validator key or public key share stands in the lock twice. */
  | 'LOCK_DUPLICATE'
  /** Not a compressed point of the right subgroup, or infinity. */
  | 'LOCK_POINT_INVALID'
  /** The contents do not have the hash that the lock states: it was changed after it was made. */
  | 'LOCK_HASH_MISMATCH'
  /** A validator's public key shares do not belong to its key and the threshold. */
  | 'LOCK_SHARES_UNFIT'
  /** The shares' aggregate signature or a node's signature over the lock hash does not verify. */
  | 'LOCK_SIGNATURE_INVALID'

/** What is wrong with a cluster lock. `meta` has `file`, `field` (JSON path) and `reason`; the message has all three. */
export class ClusterLockError extends CodedError<ClusterLockErrorCode> {
  constructor(code: ClusterLockErrorCode, file: string, field: string, reason: string) {
    super(code, `${file}: ${field === '' ? '' : `${field} `}${reason}`, { meta: { file, field, reason } })
  }
}

/** A place in a version's list of minors: 11 is v1.11.0. */
const NEWEST_MINOR = 11

export interface LockOperator {
  /** 20 bytes, or none. */
  address: Uint8Array
  enr: string
  /** 65 bytes, none, or from 1.11 on several times 65. Base64 before 1.2. */
  configSignature: Uint8Array
  enrSignature: Uint8Array
}

export interface LockDeposit {
  publicKey: Uint8Array
  withdrawalCredentials: Uint8Array
  amountGwei: bigint
  /** 96 bytes, or none. */
  signature: Uint8Array
}

export interface LockRegistration {
  /** 20 bytes, or none. */
  feeRecipient: Uint8Array
  gasLimit: number
  /** Unix seconds. */
  timestamp: number
  publicKey: Uint8Array
  /** 96 bytes, or none. */
  signature: Uint8Array
}

export interface LockValidator {
  publicKey: Uint8Array
  /** In operator order: position + 1 is the share index. */
  publicKeyShares: readonly Uint8Array[]
  /** 20 bytes; undefined where the lock states none. */
  withdrawalAddress: Uint8Array | undefined
  feeRecipientAddress: Uint8Array | undefined
  /** One to 1.7 (none before 1.6), one for each amount from 1.8 on. */
  deposits: readonly LockDeposit[]
  /** From 1.7 on. */
  registration: LockRegistration | undefined
}

/** Addresses of one validator in the definition, 20 bytes each or none. */
export interface LockAddresses {
  feeRecipient: Uint8Array
  withdrawal: Uint8Array
}

/** A cluster lock of any known version. What a version does not have is empty, 0 or false. */
export interface ClusterLock {
  /** `v1.0.0` … `v1.11.0` */
  version: string
  /** The second number of the version. */
  minor: number
  name: string
  uuid: string
  timestamp: string
  /** `num_validators`: what the definition says, to be compared with `validators.length`. */
  numValidators: number
  threshold: number
  dkgAlgorithm: string
  /** The network's genesis fork version, 4 bytes. */
  forkVersion: Uint8Array
  operators: readonly LockOperator[]
  creator: { address: Uint8Array; configSignature: Uint8Array }
  /** The definition's `validators`, from 1.5 on. */
  addresses: readonly LockAddresses[]
  depositAmountsGwei: readonly bigint[]
  consensusProtocol: string
  targetGasLimit: number
  compounding: boolean
  configHash: Uint8Array
  definitionHash: Uint8Array
  validators: readonly LockValidator[]
  lockHash: Uint8Array
  /** 96 bytes; none in some locks of 1.0 and 1.1. */
  signatureAggregate: Uint8Array
  /** From 1.7 on: 65 bytes by each operator's node. */
  nodeSignatures: readonly Uint8Array[]
}

/** The limits of the lists in the lock's hash. */
export const MAX_OPERATORS = 256
export const MAX_VALIDATORS = 65_536
export const MAX_AMOUNTS = 256
/** A validator of thirteen nodes with deposits of three amounts has some 50 values. */
const BOUNDS = { bytes: 256 << 20, values: 128 * MAX_VALIDATORS }
/** Signatures of one operator in 1.11. */
export const MAX_SIGNERS = 32

const ADDRESS = [0, 20] as const
const SIGNATURES = Array.from({ length: MAX_SIGNERS + 1 }, (_, signers) => signers * 65)

/** Bytes that versions 1.0 and 1.1 write in base64, later ones in hex. */
function bytesOf(field: JsonField, minor: number, lengths: readonly number[]): Uint8Array {
  return minor < 2 ? field.base64(...lengths) : field.hex(...lengths)
}

/** A text that may be left out. */
function optionalText(field: JsonField, maxBytes: number): string {
  return field.absent ? '' : field.text(maxBytes)
}

function parseMinor(definition: JsonField, file: string): number {
  const field = definition.get('version')
  const minor = Number(/^v1\.(\d|[1-9]\d)\.0$/.exec(field.text(16))?.[1] ?? 'NaN')
  if (minor <= NEWEST_MINOR) return minor
  throw new ClusterLockError('LOCK_VERSION_UNKNOWN', file, field.path, `is not one of v1.0.0 to v1.${NEWEST_MINOR}.0`)
}

function parseOperator(operator: JsonField, minor: number): LockOperator {
  const lengths = minor < 11 ? [0, 65] : SIGNATURES
  return {
    address: operator.get('address').hex(...ADDRESS),
    enr: operator.get('enr').text(1_024),
    configSignature: bytesOf(operator.get('config_signature'), minor, lengths),
    enrSignature: bytesOf(operator.get('enr_signature'), minor, lengths),
  }
}

function parseCreator(creator: JsonField, minor: number): ClusterLock['creator'] {
  if (creator.absent && minor < 4) return { address: new Uint8Array(), configSignature: new Uint8Array() }
  return {
    address: creator.get('address').hex(...ADDRESS),
    configSignature: bytesOf(creator.get('config_signature'), minor, minor < 11 ? [0, 65] : SIGNATURES),
  }
}

function parseAddresses(holder: JsonField): LockAddresses {
  return {
    feeRecipient: holder.get('fee_recipient_address').hex(...ADDRESS),
    withdrawal: holder.get('withdrawal_address').hex(...ADDRESS),
  }
}

function parseDeposit(deposit: JsonField): LockDeposit {
  return {
    publicKey: deposit.get('pubkey').hex(48),
    withdrawalCredentials: deposit.get('withdrawal_credentials').hex(32),
    amountGwei: deposit.get('amount').uint64Text(),
    signature: deposit.get('signature').hex(0, 96),
  }
}

function parseDeposits(validator: JsonField, minor: number): LockDeposit[] {
  if (minor < 6) return []
  if (minor < 8) return [parseDeposit(validator.get('deposit_data'))]
  const deposits = validator.get('partial_deposit_data')
  return deposits.absent ? [] : deposits.items(MAX_AMOUNTS).map(parseDeposit)
}

function parseRegistration(validator: JsonField): LockRegistration {
  const registration = validator.get('builder_registration')
  const message = registration.get('message')
  return {
    feeRecipient: message.get('fee_recipient').hex(...ADDRESS),
    gasLimit: message.get('gas_limit').integer(0),
    timestamp: message.get('timestamp').integer(0),
    publicKey: message.get('pubkey').hex(48),
    signature: registration.get('signature').hex(0, 96),
  }
}

function parseValidator(validator: JsonField, minor: number, addresses: LockAddresses | undefined): LockValidator {
  const stated = (address: Uint8Array | undefined) => (address?.length === 20 ? address : undefined)
  return {
    publicKey: validator.get('distributed_public_key').hex(48),
    publicKeyShares: validator
      .get('public_shares')
      .items(MAX_OPERATORS)
      .map((share) => bytesOf(share, minor, [48])),
    withdrawalAddress: stated(addresses?.withdrawal),
    feeRecipientAddress: stated(addresses?.feeRecipient),
    deposits: parseDeposits(validator, minor),
    registration: minor < 7 ? undefined : parseRegistration(validator),
  }
}

function parseDepositAmounts(definition: JsonField, minor: number): bigint[] {
  const amounts = definition.get('deposit_amounts')
  return minor < 8 || amounts.absent ? [] : amounts.items(MAX_AMOUNTS).map((amount) => amount.uint64Text())
}

function parseDefinition(definition: JsonField, minor: number) {
  return {
    version: definition.get('version').text(16),
    minor,
    name: optionalText(definition.get('name'), 256),
    uuid: optionalText(definition.get('uuid'), 64),
    timestamp: optionalText(definition.get('timestamp'), 32),
    numValidators: definition.get('num_validators').integer(1, MAX_VALIDATORS),
    threshold: definition.get('threshold').integer(1, MAX_OPERATORS),
    dkgAlgorithm: optionalText(definition.get('dkg_algorithm'), 32),
    forkVersion: definition.get('fork_version').hex(4),
    operators: definition
      .get('operators')
      .items(MAX_OPERATORS)
      .map((operator) => parseOperator(operator, minor)),
    creator: parseCreator(definition.get('creator'), minor),
    addresses: minor < 5 ? [] : definition.get('validators').items(MAX_VALIDATORS).map(parseAddresses),
    depositAmountsGwei: parseDepositAmounts(definition, minor),
    consensusProtocol: minor < 9 ? '' : optionalText(definition.get('consensus_protocol'), 256),
    targetGasLimit: minor < 10 ? 0 : definition.get('target_gas_limit').integer(0),
    compounding: minor < 10 ? false : definition.get('compounding').flag(),
    configHash: bytesOf(definition.get('config_hash'), minor, [32]),
    definitionHash: bytesOf(definition.get('definition_hash'), minor, [32]),
  }
}

/**
 * Reads a cluster lock of v1.0.0 to v1.11.0. Fields that the lock's version does not have are ignored.
 *
 * @param json JSON text or its parsed value
 * @param file how errors name the file
 * @throws {ClusterLockError} LOCK_MALFORMED, LOCK_VERSION_UNKNOWN: the first fault found
 * @see docs/protocol.md#11-obol
 */
export function parseClusterLock(json: unknown, { file }: { file: string }): ClusterLock {
  const fault = (path: string, reason: string) => new ClusterLockError('LOCK_MALFORMED', file, path, reason)
  const lock = new JsonField(parseJson(json, BOUNDS, fault), '', fault)
  const definition = lock.get('cluster_definition')
  const minor = parseMinor(definition, file)
  const shared = minor < 5 ? parseAddresses(definition) : undefined
  const parsed = parseDefinition(definition, minor)
  return {
    ...parsed,
    validators: lock
      .get('distributed_validators')
      .items(MAX_VALIDATORS)
      .map((validator, position) => parseValidator(validator, minor, shared ?? parsed.addresses[position])),
    lockHash: bytesOf(lock.get('lock_hash'), minor, [32]),
    signatureAggregate: bytesOf(lock.get('signature_aggregate'), minor, minor < 2 ? [0, 96] : [96]),
    nodeSignatures:
      minor < 7
        ? []
        : lock
            .get('node_signatures')
            .items(MAX_OPERATORS)
            .map((signature) => signature.hex(65)),
  }
}
