/**
 * Transactions of a wallet of our own (EIP-1559): fees within a cap, signed, sent as raw bytes. What is stored of one is these
 * bytes; everything else is read from them.
 */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfSecretKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { Type } from 'typebox'
import { ChainError } from '../errors.ts'
import type { ExecutionClient } from './execution.ts'
import { Bytes, parseQuantity, Quantity } from './json-rpc.ts'
import { recoverSigner } from './recover-signer.ts'

type Node = Pick<ExecutionClient, 'request'>

/** What a transaction is to do. */
export interface Call {
  /** 20 bytes. */
  to: Uint8Array
  /** As hex. */
  data: `0x${string}`
}

/** A signed transaction. */
export interface SignedTransaction {
  /** 32 bytes. */
  hash: Uint8Array
  /** The bytes that are sent. */
  raw: Uint8Array
}

/** Wei that an address has. @throws {ChainError} EXECUTION_INVALID; {HttpError} */
export async function readBalance(node: Node, address: string, signal?: AbortSignal): Promise<bigint> {
  return BigInt(await node.request('eth_getBalance', [address, 'latest'], Quantity, signal))
}

/** What one unit of gas may cost, in wei. */
export interface Fees {
  maxFeePerGas: bigint
  maxPriorityFeePerGas: bigint
}

/** What is decided about a transaction before it is signed. */
export interface TransactionPlan extends Call, Fees {
  chainId: number
  /** Of the wallet. */
  nonce: number
  gas: bigint
}

export interface TransactionWallet {
  /** Checksummed. */
  readonly address: `0x${string}`
  /** Signs a transaction. @throws {ChainError} TRANSACTION_WRONG */
  sign(plan: TransactionPlan): Promise<SignedTransaction>
}

/** A node asks at least this much more for a transaction that takes the place of another: an eighth. */
const REPLACE_BY = 8n
/** What a validator of the chain is given at least: 0.01 Gwei. */
const LEAST_TIP = 10_000_000n
/** Gas used may grow a little between the estimate and the block: a quarter more. */
const MORE_GAS = 4n

/**
 * The wallet of a 32-byte secret key. The key is copied, the caller may wipe its own. A transaction leaves only after the wallet's
 * address has been recovered from it.
 *
 * @throws {CryptoError} SCALAR_INVALID when it is no secp256k1 secret key
 */
export function createTransactionWallet(privateKey: Uint8Array): TransactionWallet {
  const secretKey = Uint8Array.from(privateKey)
  const address = checksumAddress(addressOfSecretKey(secretKey))
  return Object.freeze({
    address,
    async sign({ to, ...plan }: TransactionPlan) {
      const [{ sign }, { keccak256, serializeTransaction }] = await Promise.all([
        import('../viem/accounts.ts'),
        import('../viem/utils.ts'),
      ])
      const transaction = { type: 'eip1559' as const, to: toHex(to), value: 0n, ...plan }
      const digest = keccak256(serializeTransaction(transaction))
      // No cause: what a library says of a failed signature may hold the key.
      const signature = await sign({ hash: digest, privateKey: toHex(secretKey) }).catch(() => undefined)
      const signer = signature === undefined ? undefined : recoverSigner(fromHex(digest, 32), bytesOf(signature))
      if (signature === undefined || signer !== address)
        throw new ChainError('TRANSACTION_WRONG', `the wallet ${address} gave no right signature`)
      const raw = serializeTransaction(transaction, signature)
      return { hash: fromHex(keccak256(raw), 32), raw: fromHex(raw) }
    },
  })
}

/** `r ++ s ++ v`. */
const bytesOf = ({ r, s, yParity }: { r: string; s: string; yParity?: number | undefined }) =>
  new Uint8Array([...fromHex(r, 32), ...fromHex(s, 32), 27 + (yParity ?? 0)])

/** Who signed a stored transaction, its nonce and fees. */
export async function readTransaction(raw: Uint8Array): Promise<Fees & { from: string | undefined; nonce: number }> {
  const { keccak256, parseTransaction, serializeTransaction } = await import('../viem/utils.ts')
  const { r, s, v, yParity, ...unsigned } = parseTransaction(toHex(raw) as `0x02${string}`)
  const { nonce = 0, maxFeePerGas = 0n, maxPriorityFeePerGas = 0n } = unsigned
  const digest = fromHex(keccak256(serializeTransaction(unsigned)), 32)
  const signature = r === undefined || s === undefined ? new Uint8Array() : bytesOf({ r, s, yParity })
  return { from: recoverSigner(digest, signature), nonce, maxFeePerGas, maxPriorityFeePerGas }
}

/**
 * How many transactions of an address are in blocks, or in those up to the one of a hash: the nonce of its next one. By the hash a node
 * that is behind, or ahead, answers for no other block.
 */
export async function countTransactions(
  node: Node,
  address: string,
  signal?: AbortSignal,
  blockHash?: string,
): Promise<number> {
  const block = blockHash === undefined ? 'latest' : { blockHash, requireCanonical: true }
  return parseQuantity(await node.request('eth_getTransactionCount', [address, block], Quantity, signal))
}

/** The gas a call needs, and a quarter more. @throws {ChainError} EXECUTION_REFUSED when it would revert */
export async function estimateGas(node: Node, from: string, { to, data }: Call, signal?: AbortSignal): Promise<bigint> {
  const gas = BigInt(await node.request('eth_estimateGas', [{ from, to: toHex(to), data }], Quantity, signal))
  return gas + gas / MORE_GAS
}

const FeeHistory = Type.Object({ baseFeePerGas: Type.Array(Quantity, { minItems: 1, maxItems: 8 }) })

/**
 * The fees of a transaction that should be in one of the next blocks: twice the base fee of the next one, which stands six blocks of
 * growth, and the tip the node suggests.
 *
 * @param most the cap of `maxFeePerGas`, in wei
 * @param replaced the fees of a transaction of the same nonce, which a node gives up only for an eighth more: as far as the cap lets
 * it, for nobody may know that one any more, and whoever does has it mined and out of the way
 * @returns undefined while the chain asks for more than the cap
 */
export async function chooseFees(
  node: Node,
  most: bigint,
  replaced: Fees | undefined,
  signal?: AbortSignal,
): Promise<Fees | undefined> {
  const history = await node.request('eth_feeHistory', ['0x1', 'latest', []], FeeHistory, signal)
  const baseFee = BigInt(history.baseFeePerGas.at(-1) ?? '0x0')
  const suggested = BigInt(await node.request('eth_maxPriorityFeePerGas', [], Quantity, signal))
  const asked = larger(suggested, LEAST_TIP)
  if (baseFee + asked > most) return undefined
  const tip = smaller(larger(asked, raised(replaced?.maxPriorityFeePerGas)), most - baseFee)
  return {
    maxFeePerGas: smaller(larger(2n * baseFee + tip, raised(replaced?.maxFeePerGas)), most),
    maxPriorityFeePerGas: tip,
  }
}

const larger = (a: bigint, b: bigint) => (a > b ? a : b)
const smaller = (a: bigint, b: bigint) => (a < b ? a : b)
/** An eighth more, rounded up. */
const raised = (fee = 0n) => (fee === 0n ? 0n : fee + fee / REPLACE_BY + 1n)

/**
 * Sends a signed transaction. Sending it again changes nothing.
 *
 * @throws {ChainError} EXECUTION_REFUSED also when the node has it already, or its nonce is used; {HttpError}
 */
export async function sendRaw(node: Node, raw: Uint8Array, signal?: AbortSignal): Promise<void> {
  await node.request('eth_sendRawTransaction', [toHex(raw)], Bytes(32), signal)
}

const Receipt = Type.Union([Type.Null(), Type.Object({ status: Quantity, blockNumber: Quantity })])

/** What became of a transaction, undefined while it is in no block of the node's head. */
export async function findReceipt(
  node: Node,
  hash: Uint8Array,
  signal?: AbortSignal,
): Promise<{ ok: boolean; blockNumber: number } | undefined> {
  const receipt = await node.request('eth_getTransactionReceipt', [toHex(hash)], Receipt, signal)
  if (receipt === null) return undefined
  return { ok: BigInt(receipt.status) === 1n, blockNumber: parseQuantity(receipt.blockNumber) }
}
