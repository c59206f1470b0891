/** Validators with shares, made in memory: a key f(0) and its shares f(1) … f(n) of a random polynomial. */

import { randomBytes } from 'node:crypto'
import type { KeyedValidator } from '../world/nodes.ts'
import { engine } from '../world/nodes.ts'

const GROUP_ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n

const scalar = () => (BigInt(`0x${randomBytes(48).toString('hex')}`) % (GROUP_ORDER - 1n)) + 1n
const bytesOf = (value: bigint) => new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'))

/** Makes `count` validators. `indexes` are the share indexes, 1 … nodes unless given; `secretKey` is split instead of fresh ones. */
export function createTestKeys(
  count: number,
  options: { nodes: number; threshold: number; indexes?: readonly bigint[]; secretKey?: Uint8Array | undefined },
): KeyedValidator[] {
  const indexes = options.indexes ?? Array.from({ length: options.nodes }, (_, position) => BigInt(position + 1))
  return Array.from({ length: count }, () => {
    const coefficients = Array.from({ length: options.threshold }, scalar)
    if (options.secretKey !== undefined) coefficients[0] = BigInt(`0x${Buffer.from(options.secretKey).toString('hex')}`)
    const at = (x: bigint) => coefficients.reduceRight((sum, coefficient) => (sum * x + coefficient) % GROUP_ORDER, 0n)
    const key = (x: bigint) => {
      const secretKey = bytesOf(at(x))
      return { secretKey, publicKey: engine.publicKeyOf(secretKey) }
    }
    return { ...key(0n), shares: indexes.map((index) => ({ index, ...key(index) })) }
  })
}
