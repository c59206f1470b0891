/**
 * The three hashes of a cluster lock, v1.5 to v1.11: SSZ hash tree roots of what the lock says.
 *
 * Empty addresses and signatures count as zero bytes of their length; texts are their UTF-8 bytes.
 *
 * @see docs/protocol.md#11-obol
 */

import {
  booleanRoot,
  byteListRoot,
  bytesRoot,
  containerRoot,
  listRoot,
  uint64ListRoot,
  uint64Root,
} from '../messages/ssz.ts'
import {
  type ClusterLock,
  type LockDeposit,
  type LockOperator,
  type LockRegistration,
  type LockValidator,
  MAX_AMOUNTS,
  MAX_OPERATORS,
  MAX_SIGNERS,
  MAX_VALIDATORS,
} from './cluster-lock.ts'

const textRoot = (text: string, limit: number) => byteListRoot(new TextEncoder().encode(text), limit)

/** Root of `Bytes<length>`, of zeros where there are none. */
function bytesOrZeroRoot(bytes: Uint8Array, length: number): Uint8Array {
  return bytesRoot(bytes.length === 0 ? new Uint8Array(length) : bytes, length)
}

/** A wallet's signature: Bytes65, from 1.11 on List[Bytes65, 32]. */
function walletSignatureRoot(signature: Uint8Array, minor: number): Uint8Array {
  if (minor < 11) return bytesOrZeroRoot(signature, 65)
  const single = Array.from({ length: signature.length / 65 }, (_, position) =>
    bytesRoot(signature.subarray(position * 65, (position + 1) * 65), 65),
  )
  return listRoot(single, MAX_SIGNERS)
}

/** How operators and creator enter the definition: with their signatures, or with the address alone. */
interface PeopleRoots {
  operators: Uint8Array[]
  creator: Uint8Array
}

/** Roots of the fields that configuration and definition have in common, with operators and creator given. */
function definitionFieldRoots(lock: ClusterLock, people: PeopleRoots): Uint8Array[] {
  const addresses = lock.addresses.map(({ feeRecipient, withdrawal }) =>
    containerRoot([bytesOrZeroRoot(feeRecipient, 20), bytesOrZeroRoot(withdrawal, 20)]),
  )
  return [
    textRoot(lock.uuid, 64),
    textRoot(lock.name, 256),
    textRoot(lock.version, 16),
    textRoot(lock.timestamp, 32),
    uint64Root(lock.numValidators),
    uint64Root(lock.threshold),
    textRoot(lock.dkgAlgorithm, 32),
    bytesRoot(lock.forkVersion, 4),
    listRoot(people.operators, MAX_OPERATORS),
    people.creator,
    listRoot(addresses, MAX_VALIDATORS),
    ...(lock.minor < 8 ? [] : [uint64ListRoot(lock.depositAmountsGwei, MAX_AMOUNTS)]),
    ...(lock.minor < 9 ? [] : [textRoot(lock.consensusProtocol, 256)]),
    ...(lock.minor < 10 ? [] : [uint64Root(lock.targetGasLimit), booleanRoot(lock.compounding)]),
  ]
}

/** The hash of what the cluster's creator configured: no ENRs, no signatures. */
export function configHash(lock: ClusterLock): Uint8Array {
  return containerRoot(
    definitionFieldRoots(lock, {
      operators: lock.operators.map(({ address }) => containerRoot([bytesOrZeroRoot(address, 20)])),
      creator: containerRoot([bytesOrZeroRoot(lock.creator.address, 20)]),
    }),
  )
}

function operatorRoot(operator: LockOperator, minor: number): Uint8Array {
  return containerRoot([
    bytesOrZeroRoot(operator.address, 20),
    textRoot(operator.enr, 1024),
    walletSignatureRoot(operator.configSignature, minor),
    walletSignatureRoot(operator.enrSignature, minor),
  ])
}

/** The hash of the configuration with the operators' ENRs and all signatures. Covers the lock's stated `config_hash`. */
export function definitionHash(lock: ClusterLock): Uint8Array {
  const fields = definitionFieldRoots(lock, {
    operators: lock.operators.map((operator) => operatorRoot(operator, lock.minor)),
    creator: containerRoot([
      bytesOrZeroRoot(lock.creator.address, 20),
      walletSignatureRoot(lock.creator.configSignature, lock.minor),
    ]),
  })
  return containerRoot([...fields, bytesRoot(lock.configHash, 32)])
}

function depositFieldRoots(deposit: LockDeposit): Uint8Array[] {
  return [
    bytesRoot(deposit.publicKey, 48),
    bytesRoot(deposit.withdrawalCredentials, 32),
    uint64Root(deposit.amountGwei),
    bytesOrZeroRoot(deposit.signature, 96),
  ]
}

function registrationRoot(registration: LockRegistration): Uint8Array {
  const message = containerRoot([
    bytesOrZeroRoot(registration.feeRecipient, 20),
    uint64Root(registration.gasLimit),
    uint64Root(registration.timestamp),
    bytesRoot(registration.publicKey, 48),
  ])
  return containerRoot([message, bytesOrZeroRoot(registration.signature, 96)])
}

/** The deposits' part of a validator: nothing, four fields laid flat (1.6), one container (1.7), a list. */
function depositRoots(deposits: readonly LockDeposit[], minor: number): Uint8Array[] {
  if (minor < 6) return []
  if (minor === 6) return deposits.flatMap(depositFieldRoots)
  const containers = deposits.map((deposit) => containerRoot(depositFieldRoots(deposit)))
  return minor === 7 ? containers : [listRoot(containers, MAX_AMOUNTS)]
}

function validatorRoot(validator: LockValidator, minor: number): Uint8Array {
  const shares = validator.publicKeyShares.map((share) => bytesRoot(share, 48))
  return containerRoot([
    bytesRoot(validator.publicKey, 48),
    listRoot(shares, MAX_OPERATORS),
    ...depositRoots(validator.deposits, minor),
    ...(validator.registration === undefined ? [] : [registrationRoot(validator.registration)]),
  ])
}

/**
 * The lock hash: over the whole definition and every validator's keys, deposits and registration.
 * The definition enters with its stated hashes left to `definitionHash` and `configHash` to check.
 */
export function lockHash(lock: ClusterLock): Uint8Array {
  const validators = lock.validators.map((validator) => validatorRoot(validator, lock.minor))
  return containerRoot([definitionHash(lock), listRoot(validators, MAX_VALIDATORS)])
}
