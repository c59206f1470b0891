/**
 * The oracles: each decrypts its shares and checks them, and enough of them rebuild an exit. With `eciesjs` and
 * `@noble/curves`, not with the project's own cryptography; their questions go by the client library.
 */

import { randomInt } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { withOracleKey } from '@dvt-relayer/client/authentication.ts'
import { connectRelayer } from '@dvt-relayer/client/connect.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { decrypt } from 'eciesjs'
import { DemoError } from '../errors.ts'
import type { Chain, Registered } from '../story/scene.ts'
import type { EncryptedShares } from './operator.ts'

const DST = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'
const { longSignatures: bls, G2, fields } = bls12_381

/** A share in the hands of its oracle. */
export interface OpenedShare {
  /** The oracle's place in the config, from 1. */
  x: number
  /** 96 bytes. */
  signature: Uint8Array
}

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.slice(2), 'hex'))

/** Whether this is the key's signature of the signing root; false for what is no signature or no key. */
export function verifySignature(signature: Uint8Array, root: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    return bls.verify(signature, bls.hash(root, DST), publicKey)
  } catch {
    return false
  }
}

/**
 * Every oracle decrypts its share of one exit and verifies it under its public key share.
 *
 * @param root the exit's signing root
 * @throws {DemoError} naming the oracle whose share is wrong
 */
export async function openShares(
  oracles: readonly { secretKey: Uint8Array }[],
  shares: EncryptedShares,
  root: Uint8Array,
): Promise<OpenedShare[]> {
  if (shares.public_keys.length !== oracles.length || shares.encrypted_exit_signatures.length !== oracles.length)
    throw new DemoError(`there are ${shares.public_keys.length} shares for ${oracles.length} oracles`)
  const message = bls.hash(root, DST)
  const opened: OpenedShare[] = []
  for (const [position, { secretKey }] of oracles.entries()) {
    // Signals are heard between two shares.
    await setImmediate()
    const publicKeyShare = bytesOf(shares.public_keys[position] ?? '')
    let signature: Uint8Array
    try {
      signature = Uint8Array.from(decrypt(secretKey, bytesOf(shares.encrypted_exit_signatures[position] ?? '')))
    } catch {
      throw new DemoError(`oracle ${position + 1} cannot decrypt its share`)
    }
    if (!bls.verify(signature, message, publicKeyShare))
      throw new DemoError(`the share of oracle ${position + 1} is not valid under its public key share`)
    opened.push({ x: position + 1, signature })
  }
  return opened
}

/**
 * Every oracle asks the relayer for its shares and compares them with what the operator got.
 *
 * @throws {DemoError} naming the oracle that was given something else than the operator
 */
export async function fetchShares(
  relayerUrl: string,
  { oracles, network }: Pick<Chain, 'oracles' | 'network'>,
  registered: readonly Registered[],
  signal: AbortSignal,
): Promise<void> {
  for (const [position, { publicKey, secretKey }] of oracles.entries()) {
    const authenticate = withOracleKey({ network: network.name }, secretKey)
    const relayer = connectRelayer({ url: relayerUrl, authenticate })
    const { exit_shares: items } = await relayer.getExitShares(toHex(publicKey), {}, signal)
    const found = new Map(items.map((item) => [item.public_key, item]))
    const isSame = ({ publicKey, validatorIndex, shares, receipt }: Registered) => {
      const item = found.get(publicKey)
      return (
        item?.validator_index === validatorIndex &&
        item.public_key_share === shares.public_keys[position] &&
        item.encrypted_exit_signature === shares.encrypted_exit_signatures[position] &&
        item.receipt === receipt
      )
    }
    if (found.size !== registered.length || !registered.every(isSame))
      throw new DemoError(`the relayer gives oracle ${position + 1} other shares than it gave the operator`)
  }
}

/** Takes `count` shares by chance. */
export function drawShares(shares: readonly OpenedShare[], count: number): OpenedShare[] {
  const left = [...shares]
  return Array.from({ length: count }, () => left.splice(randomInt(left.length), 1)).flat()
}

/**
 * Rebuilds the exit signature: `S = Σ λ_i S_i`, `λ_i = Π_{j ≠ i} x_j / (x_j − x_i)`.
 *
 * @throws {DemoError} when it is not the validator's signature of this signing root
 */
export function rebuildExit(shares: readonly OpenedShare[], root: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const { Fr } = fields
  const sum = shares.reduce((point, { x, signature }) => {
    const lambda = shares
      .filter((other) => other.x !== x)
      .reduce((product, other) => Fr.mul(product, Fr.div(BigInt(other.x), Fr.create(BigInt(other.x - x)))), Fr.ONE)
    return point.add(G2.Point.fromBytes(signature).multiply(lambda))
  }, G2.Point.ZERO)
  const rebuilt = sum.toBytes()
  if (!verifySignature(rebuilt, root, publicKey))
    throw new DemoError('an exit that the oracles rebuilt is not valid for its validator, index and epoch')
  return rebuilt
}
