/**
 * The validators-manager's signature (docs/protocol.md#10-manager-signature): the `validators` bytes of each action, and the wallet that
 * signs them as EIP-712.
 *
 * The vault contract takes the bytes apart by their length alone. What it must refuse (empty bytes, a length that stands for
 * both types) is not encoded here, so that it cannot be signed.
 */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfSecretKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { depositDataRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { ChainError } from '../errors.ts'
import { recoverSigner } from '../execution/recover-signer.ts'

/** `0x01` deposits exactly 32 ETH, `0x02` (compounding) the amount given. */
export type ValidatorType = '0x01' | '0x02'

export interface Registration {
  /** 48 bytes. */
  publicKey: Uint8Array
  amountGwei: bigint
  /** 96 bytes, by the validator key, over the deposit message with this vault's credentials. */
  signature: Uint8Array
}

/** A top-up or, with amount 0, a full exit. */
export interface AmountOfKey {
  /** 48 bytes. */
  publicKey: Uint8Array
  amountGwei: bigint
}

export interface Consolidation {
  /** 48 bytes. */
  sourcePublicKey: Uint8Array
  /** 48 bytes. */
  targetPublicKey: Uint8Array
}

/** What a manager signs: at this vault on this chain, these bytes under this root. */
export interface ManagerMessage {
  chainId: number
  /** 20 bytes. */
  vault: Uint8Array
  /** 32 bytes: the deposit contract's root for a registration, {@link nonceToRoot} of the vault's nonce for all else. */
  validatorsRegistryRoot: Uint8Array
  /** Of one of the encoders here. */
  validators: Uint8Array
}

export interface ManagerWallet {
  /** Checksummed. */
  readonly address: `0x${string}`
  /** 20 bytes. */
  readonly addressBytes: Uint8Array
  /**
   * Signs a message: its 32-byte digest and `r ++ s ++ v`, 65 bytes, low s, v 27 or 28.
   *
   * @throws {ChainError} VALIDATORS_INVALID for no bytes or a field of another length; MANAGER_SIGNATURE_WRONG
   */
  sign(message: ManagerMessage): Promise<{ digest: Uint8Array; signature: Uint8Array }>
}

/** Signs a 32-byte digest with a 32-byte secret key: `r ++ s ++ v`. */
export type SignDigest = (digest: Uint8Array, secretKey: Uint8Array) => Promise<Uint8Array>

const ETH_GWEI = 1_000_000_000n
const MIN_ACTIVATION_GWEI = 32n * ETH_GWEI
const MAX_EFFECTIVE_GWEI = 2048n * ETH_GWEI
const UINT64_MAX = 2n ** 64n - 1n
/** Bytes of one validator of a registration: public key 48, signature 96, deposit data root 32, and of type 0x02 the amount 8. */
const ENTRY_BYTES: Readonly<Record<ValidatorType, number>> = { '0x01': 176, '0x02': 184 }
/** Bytes of one withdrawal: public key 48, amount 8. */
const WITHDRAWAL_BYTES = 56

/** Whether the vault registers a validator of this type with this amount: 32 ETH, of type `0x02` up to 2048 ETH. */
export function isRegistrationAmount(type: ValidatorType, amountGwei: bigint): boolean {
  return (
    amountGwei === MIN_ACTIVATION_GWEI ||
    (type === '0x02' && amountGwei > MIN_ACTIVATION_GWEI && amountGwei <= MAX_EFFECTIVE_GWEI)
  )
}

/** Whether bytes of a registration or funding could be of either type: 23 of type `0x01` are as long as 22 of type `0x02`. */
export function isAmbiguousLength(validators: Pick<Uint8Array, 'length'>): boolean {
  return Object.values(ENTRY_BYTES).every((size) => validators.length % size === 0)
}

/**
 * The `validators` bytes of a registration.
 *
 *     type 0x01: Σ  pubkey (48) ++ deposit signature (96) ++ deposit data root (32)
 *     type 0x02: Σ  the same ++ amount (uint64, big-endian, Gwei)
 *
 * The deposit data root holds the amount for both types; whether the vault takes that amount says {@link isRegistrationAmount}.
 *
 * @param registration.vault 20 bytes; it and the type make the withdrawal credentials
 * @throws {ChainError} VALIDATORS_INVALID for no validators, or a number that could be of either type;
 * {CryptoError} MESSAGE_INVALID for a field of another length or an amount beyond uint64
 */
export function encodeRegistration(registration: {
  vault: Uint8Array
  type: ValidatorType
  validators: readonly Registration[]
}): Uint8Array {
  const { vault, type, validators } = registration
  const credentials = withdrawalCredentials(type, vault)
  const entries = validators.map(({ publicKey, amountGwei, signature }) => {
    const root = depositDataRoot({ publicKey, withdrawalCredentials: credentials, amountGwei, signature })
    return [publicKey, signature, root, ...(type === '0x02' ? [uint64(amountGwei)] : [])]
  })
  const bytes = join(entries)
  if (isAmbiguousLength(bytes))
    throw invalid(`${validators.length} validators of type ${type} cannot be told from the other type by the vault`)
  return bytes
}

/**
 * The `validators` bytes of a funding: those of a registration of type `0x02` with 96 zero bytes for each signature, which
 * also enter the deposit data root.
 *
 * @throws {ChainError} VALIDATORS_INVALID as {@link encodeRegistration}, and for a number that could be withdrawals; {CryptoError}
 */
export function encodeFunding(funding: { vault: Uint8Array; validators: readonly AmountOfKey[] }): Uint8Array {
  const signature = new Uint8Array(96)
  const validators = funding.validators.map((validator) => ({ ...validator, signature }))
  return noWithdrawals(encodeRegistration({ vault: funding.vault, type: '0x02', validators }), validators.length)
}

/**
 * The `validators` bytes of withdrawals: Σ pubkey (48) ++ amount (uint64, big-endian, Gwei; 0 is a full exit).
 *
 * @throws {ChainError} VALIDATORS_INVALID for none, a key of another length, an amount beyond uint64
 */
export function encodeWithdrawals(withdrawals: readonly AmountOfKey[]): Uint8Array {
  return join(withdrawals.map(({ publicKey, amountGwei }) => [keyBytes(publicKey), uint64(amountGwei)]))
}

/**
 * The `validators` bytes of consolidations: Σ source pubkey (48) ++ target pubkey (48).
 *
 * @throws {ChainError} VALIDATORS_INVALID for none, a number that could be withdrawals, or a key of another length
 */
export function encodeConsolidations(consolidations: readonly Consolidation[]): Uint8Array {
  const entries = consolidations.map(({ sourcePublicKey, targetPublicKey }) => [
    keyBytes(sourcePublicKey),
    keyBytes(targetPublicKey),
  ])
  return noWithdrawals(join(entries), consolidations.length)
}

/**
 * The manager signs bytes under a nonce, not what they are for: 7 fundings are as long as 23 withdrawals, the first of them a full
 * exit (its amount is 8 of the zero bytes), and 7 consolidations as long as 12. Whoever sees the signature could have the vault
 * withdraw instead.
 */
function noWithdrawals(validators: Uint8Array, count: number): Uint8Array {
  if (validators.length % WITHDRAWAL_BYTES === 0)
    throw invalid(`${count} validators cannot be told from withdrawals by the vault`)
  return validators
}

/**
 * The same validators whatever order they were asked for in: the entries of `validators`, all of one size, in the order of their bytes.
 * The vault hashes the bytes as they come, so that each order has a signature of its own; of all that are given under one root it takes one.
 *
 * @throws {ChainError} VALIDATORS_INVALID where the bytes are not `count` entries
 */
export function inCanonicalOrder(validators: Uint8Array, count: number): Uint8Array {
  const size = validators.length / count
  if (!Number.isSafeInteger(size) || size === 0) throw invalid(`the bytes are not those of ${count} validators`)
  const entries = Array.from({ length: count }, (_, position) =>
    validators.subarray(position * size, (position + 1) * size),
  )
  return new Uint8Array(Buffer.concat(entries.toSorted(Buffer.compare)))
}

/** The vault's nonce as the `validatorsRegistryRoot` of what is no registration: 32 bytes, big-endian. @throws {ChainError} VALIDATORS_INVALID */
export function nonceToRoot(nonce: bigint): Uint8Array {
  if (nonce < 0n || nonce >= 2n ** 256n) throw invalid('a nonce is a uint256')
  return fromHex(nonce.toString(16).padStart(64, '0'), 32)
}

/** Domain {name, version, chainId, verifyingContract} and primary type of the vault contract. */
const MANAGER_TYPES = {
  VaultValidators: [
    { name: 'validatorsRegistryRoot', type: 'bytes32' },
    { name: 'validators', type: 'bytes' },
  ],
} as const

/**
 * The 32-byte EIP-712 digest of a message.
 *
 *     keccak256(0x1901 ++ domain separator ++ keccak256(type hash ++ root ++ keccak256(validators)))
 *
 * @throws {ChainError} VALIDATORS_INVALID for no bytes, or a field of another length
 */
export async function managerDigest(message: ManagerMessage): Promise<Uint8Array> {
  const { chainId, vault, validatorsRegistryRoot, validators } = message
  if (validators.length === 0) throw invalid('there are no validators')
  if (vault.length !== 20) throw invalid('a vault has 20 bytes')
  if (validatorsRegistryRoot.length !== 32) throw invalid('a registry root has 32 bytes')
  // Loaded at first use, as everywhere in this library: it takes a quarter of a second.
  const { hashTypedData } = await import('../viem/utils.ts')
  return fromHex(
    hashTypedData({
      domain: { name: 'VaultValidators', version: '1', chainId, verifyingContract: toHex(vault) },
      types: MANAGER_TYPES,
      primaryType: 'VaultValidators',
      message: { validatorsRegistryRoot: toHex(validatorsRegistryRoot), validators: toHex(validators) },
    }),
    32,
  )
}

/** Loads what a first signature would wait a third of a second for. */
export async function prepareSigning(): Promise<void> {
  await Promise.all([import('../viem/utils.ts'), import('../viem/accounts.ts')])
}

async function signWithViem(digest: Uint8Array, secretKey: Uint8Array): Promise<Uint8Array> {
  const { sign } = await import('../viem/accounts.ts')
  return sign({ hash: toHex(digest), privateKey: toHex(secretKey), to: 'bytes' })
}

/**
 * The wallet of a 32-byte secret key. The key is copied, and nothing that leaves the wallet holds it: the caller may wipe its
 * own. A signature leaves only after the wallet's address has been recovered from it: one that a fault damaged would cost
 * the operator a transaction, and can give the key away.
 *
 * @param signDigest how a digest is signed
 * @throws {CryptoError} SCALAR_INVALID when it is no secp256k1 secret key
 */
export function createManagerWallet(privateKey: Uint8Array, signDigest: SignDigest = signWithViem): ManagerWallet {
  const secretKey = Uint8Array.from(privateKey)
  const addressBytes = addressOfSecretKey(secretKey)
  const address = checksumAddress(addressBytes)
  return Object.freeze({
    address,
    addressBytes,
    async sign(message: ManagerMessage) {
      const digest = await managerDigest(message)
      let signature: Uint8Array
      try {
        signature = await signDigest(digest, secretKey)
      } catch {
        // No cause: what a library says of a failed signature may hold the key.
        throw wrongSignature(address)
      }
      if (recoverSigner(digest, signature) !== address) throw wrongSignature(address)
      return { digest, signature }
    },
  })
}

const wrongSignature = (address: string) =>
  new ChainError('MANAGER_SIGNATURE_WRONG', `the validators-manager's wallet ${address} gave no right signature`, {
    meta: { address },
  })

function join(entries: readonly (readonly Uint8Array[])[]): Uint8Array {
  if (entries.length === 0) throw invalid('there are no validators')
  return new Uint8Array(Buffer.concat(entries.flat()))
}

function keyBytes(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== 48) throw invalid('a public key has 48 bytes')
  return publicKey
}

function uint64(value: bigint): Uint8Array {
  if (value < 0n || value > UINT64_MAX) throw invalid('an amount is a uint64')
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

const invalid = (reason: string) => new ChainError('VALIDATORS_INVALID', `nothing to sign: ${reason}`)
