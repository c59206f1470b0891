/** A cluster lock of v1.10 or v1.11 as the JSON that charon writes. */

import { toHex } from '../../../libs/common/src/hex.ts'
import type { ClusterLock, LockDeposit, LockValidator } from '../../../libs/crypto/src/cluster-lock/cluster-lock.ts'

/** charon writes nothing, not `0x`, for bytes that are not there. */
const hexOrEmpty = (bytes: Uint8Array) => (bytes.length === 0 ? '' : toHex(bytes))

function depositToJson(deposit: LockDeposit): object {
  return {
    pubkey: toHex(deposit.publicKey),
    withdrawal_credentials: toHex(deposit.withdrawalCredentials),
    amount: String(deposit.amountGwei),
    signature: hexOrEmpty(deposit.signature),
  }
}

function validatorToJson({ publicKey, publicKeyShares, deposits, registration }: LockValidator): object {
  if (registration === undefined) throw new TypeError('a lock of v1.10 or later has registrations')
  return {
    distributed_public_key: toHex(publicKey),
    public_shares: publicKeyShares.map(toHex),
    builder_registration: {
      message: {
        fee_recipient: hexOrEmpty(registration.feeRecipient),
        gas_limit: registration.gasLimit,
        timestamp: registration.timestamp,
        pubkey: toHex(registration.publicKey),
      },
      signature: hexOrEmpty(registration.signature),
    },
    partial_deposit_data: deposits.map(depositToJson),
  }
}

function definitionToJson(lock: ClusterLock): object {
  return {
    ...(lock.name === '' ? {} : { name: lock.name }),
    creator: {
      address: hexOrEmpty(lock.creator.address),
      config_signature: hexOrEmpty(lock.creator.configSignature),
    },
    operators: lock.operators.map(({ address, enr, configSignature, enrSignature }) => ({
      address: hexOrEmpty(address),
      enr,
      config_signature: hexOrEmpty(configSignature),
      enr_signature: hexOrEmpty(enrSignature),
    })),
    uuid: lock.uuid,
    version: lock.version,
    ...(lock.timestamp === '' ? {} : { timestamp: lock.timestamp }),
    num_validators: lock.numValidators,
    threshold: lock.threshold,
    validators: lock.addresses.map(({ feeRecipient, withdrawal }) => ({
      fee_recipient_address: hexOrEmpty(feeRecipient),
      withdrawal_address: hexOrEmpty(withdrawal),
    })),
    dkg_algorithm: lock.dkgAlgorithm,
    fork_version: toHex(lock.forkVersion),
    deposit_amounts: lock.depositAmountsGwei.length === 0 ? null : lock.depositAmountsGwei.map(String),
    consensus_protocol: lock.consensusProtocol,
    target_gas_limit: lock.targetGasLimit,
    compounding: lock.compounding,
    config_hash: toHex(lock.configHash),
    definition_hash: toHex(lock.definitionHash),
  }
}

/** The JSON value of a lock, field order included. */
export function lockToJson(lock: ClusterLock): object {
  return {
    cluster_definition: definitionToJson(lock),
    distributed_validators: lock.validators.map(validatorToJson),
    signature_aggregate: hexOrEmpty(lock.signatureAggregate),
    lock_hash: toHex(lock.lockHash),
    node_signatures: lock.nodeSignatures.map(toHex),
  }
}
