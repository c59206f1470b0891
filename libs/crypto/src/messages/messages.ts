/**
 * The two messages of the protocol, as SSZ: their domains, signing roots, and the deposit data root (docs/protocol.md#3-messages).
 * The containers are fixed and small, so each root is written out as its tree of SHA-256 nodes.
 */

import { hash } from 'node:crypto'
import { CryptoError } from '../errors.ts'

/** What the exit domain depends on. The Capella fork version whatever fork is current (EIP-7044). */
export interface ExitFork {
  /** 4 bytes. */
  capellaForkVersion: Uint8Array
  /** 32 bytes. */
  genesisValidatorsRoot: Uint8Array
}

/** What the deposit domain depends on: deposits are valid across forks, from before genesis on. */
export interface DepositFork {
  /** 4 bytes. */
  genesisForkVersion: Uint8Array
}

/** A voluntary exit; both fields are uint64. */
export interface VoluntaryExit {
  epoch: bigint | number
  validatorIndex: bigint | number
}

/** What a deposit signature is made over. */
export interface DepositMessage {
  /** 48 bytes. */
  publicKey: Uint8Array
  /** 32 bytes. */
  withdrawalCredentials: Uint8Array
  /** Gwei, uint64. */
  amountGwei: bigint
}

const EXIT_DOMAIN_TYPE = Uint8Array.of(4, 0, 0, 0)
const DEPOSIT_DOMAIN_TYPE = Uint8Array.of(3, 0, 0, 0)
const ZERO_CHUNK = new Uint8Array(32)
const UINT64_MAX = 2n ** 64n - 1n

function sized(bytes: Uint8Array, length: number, field: string): Uint8Array {
  if (bytes.length !== length) {
    throw new CryptoError('MESSAGE_INVALID', `${field} must have ${length} bytes`, {
      meta: { field, length: bytes.length },
    })
  }
  return bytes
}

/** The parent of two nodes: SHA-256 of left ++ right. */
function node(left: Uint8Array, right: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', Buffer.concat([left, right]), 'buffer'))
}

function chunk(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(32)
  padded.set(bytes)
  return padded
}

function uint64Chunk(value: bigint | number, field: string): Uint8Array {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw new CryptoError('MESSAGE_INVALID', `${field} must be a whole number below 2^53`, { meta: { field } })
  }
  const number = BigInt(value)
  if (number < 0n || number > UINT64_MAX) {
    throw new CryptoError('MESSAGE_INVALID', `${field} must fit into 64 bits`, { meta: { field } })
  }
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setBigUint64(0, number, true)
  return bytes
}

/**
 * A signing domain.
 *
 *     domain = type (4) ++ root(ForkData{version, genesis_validators_root})[0:28]
 */
function domain(type: Uint8Array, forkVersion: Uint8Array, genesisValidatorsRoot: Uint8Array): Uint8Array {
  const forkDataRoot = node(
    chunk(sized(forkVersion, 4, 'fork_version')),
    sized(genesisValidatorsRoot, 32, 'genesis_validators_root'),
  )
  const bytes = new Uint8Array(32)
  bytes.set(type)
  bytes.set(forkDataRoot.subarray(0, 28), 4)
  return bytes
}

/** The domain of voluntary exits: type `0x04000000`, Capella's fork version. 32 bytes. @throws {CryptoError} MESSAGE_INVALID */
export function exitDomain(fork: ExitFork): Uint8Array {
  return domain(EXIT_DOMAIN_TYPE, fork.capellaForkVersion, fork.genesisValidatorsRoot)
}

/** The domain of deposits: type `0x03000000`, genesis fork version, a root of zeros. 32 bytes. @throws {CryptoError} MESSAGE_INVALID */
export function depositDomain(fork: DepositFork): Uint8Array {
  return domain(DEPOSIT_DOMAIN_TYPE, fork.genesisForkVersion, ZERO_CHUNK)
}

/**
 * What nodes sign to let a validator exit: root of SigningData{root(VoluntaryExit), exitDomain}. 32 bytes.
 *
 * @throws {CryptoError} MESSAGE_INVALID for a number beyond uint64 or a field of another length
 */
export function exitSigningRoot(fork: ExitFork, exit: VoluntaryExit): Uint8Array {
  const root = node(uint64Chunk(exit.epoch, 'epoch'), uint64Chunk(exit.validatorIndex, 'validator_index'))
  return node(root, exitDomain(fork))
}

function publicKeyAndCredentials(message: DepositMessage): Uint8Array {
  const publicKey = sized(message.publicKey, 48, 'pubkey')
  return node(
    node(publicKey.subarray(0, 32), chunk(publicKey.subarray(32))),
    sized(message.withdrawalCredentials, 32, 'withdrawal_credentials'),
  )
}

/** Hash tree root of a DepositMessage. 32 bytes. @throws {CryptoError} MESSAGE_INVALID */
export function depositMessageRoot(message: DepositMessage): Uint8Array {
  return node(publicKeyAndCredentials(message), node(uint64Chunk(message.amountGwei, 'amount'), ZERO_CHUNK))
}

/**
 * What nodes sign to let a validator deposit: root of SigningData{root(DepositMessage), depositDomain}. 32 bytes.
 *
 * @throws {CryptoError} MESSAGE_INVALID
 */
export function depositSigningRoot(fork: DepositFork, message: DepositMessage): Uint8Array {
  return node(depositMessageRoot(message), depositDomain(fork))
}

/**
 * Hash tree root of DepositData, which the deposit contract and the vault check. 32 bytes.
 *
 * @throws {CryptoError} MESSAGE_INVALID
 */
export function depositDataRoot(data: DepositMessage & { signature: Uint8Array }): Uint8Array {
  const signature = sized(data.signature, 96, 'signature')
  const signatureRoot = node(
    node(signature.subarray(0, 32), signature.subarray(32, 64)),
    node(signature.subarray(64), ZERO_CHUNK),
  )
  return node(publicKeyAndCredentials(data), node(uint64Chunk(data.amountGwei, 'amount'), signatureRoot))
}

/**
 * Withdrawal credentials of a vault: type byte, 11 zero bytes, the vault's 20-byte address.
 *
 * @throws {CryptoError} MESSAGE_INVALID
 */
export function withdrawalCredentials(type: '0x01' | '0x02', vault: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(32)
  bytes[0] = type === '0x01' ? 1 : 2
  bytes.set(sized(vault, 20, 'vault'), 12)
  return bytes
}
