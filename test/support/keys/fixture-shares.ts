/** The secrets of a cluster of `test/fixtures`, decrypted: what each of its nodes can sign with. */

import { readFileSync } from 'node:fs'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { lagrangeFactors } from '@dvt-relayer/crypto/bls/lagrange.ts'
import { listKeystores, openKeystores } from '../../../apps/sidecar/src/keystores/obol/read-keystores.ts'
import { bytesToNumber, modOrder, scalarBytes } from '../../../libs/crypto/src/bls/scalar.ts'
import { engine, type KeyedValidator } from '../world/nodes.ts'
import type { ExpectedCluster, FixtureCluster } from './fixtures.ts'

/** Secret keys of 32 bytes, by public key share as lower-case hex. */
export async function openShares(keystoresDir: string): Promise<Map<string, Uint8Array>> {
  const files = await listKeystores(keystoresDir)
  const options = { concurrency: 2, mostProblems: 1, signal: new AbortController().signal, onOpened: () => {} }
  const outcomes = [...(await openKeystores(files, engine, options)).values()]
  return new Map(
    outcomes.map((outcome) => {
      if (!('keystore' in outcome)) throw new Error(outcome.problem)
      return [toHex(outcome.keystore.publicKey), outcome.keystore.secretKey]
    }),
  )
}

/** The validators of a cluster, in lock order, with those of their shares that these secrets are of. */
export function matchShares(
  expected: Pick<ExpectedCluster, 'validators'>,
  secrets: ReadonlyMap<string, Uint8Array>,
): Omit<KeyedValidator, 'secretKey'>[] {
  return expected.validators.map(({ public_key, public_key_shares }) => ({
    publicKey: fromHex(public_key, 48),
    shares: public_key_shares.flatMap(({ share_index, public_key_share }) => {
      const secretKey = secrets.get(public_key_share)
      if (secretKey === undefined) return []
      return [{ index: BigInt(share_index), secretKey, publicKey: fromHex(public_key_share, 48) }]
    }),
  }))
}

/** The validators of a cluster with all their shares and, made of them, the keys that exist nowhere. */
export async function openCluster({ nodes, expected }: FixtureCluster): Promise<KeyedValidator[]> {
  const secrets = new Map(
    (await Promise.all(nodes.map((node) => openShares(node.keystoresDir)))).flatMap((map) => [...map]),
  )
  return matchShares(expected, secrets).map(({ publicKey, shares }) => {
    const factors = lagrangeFactors(shares.map(({ index }) => index))
    const key = shares.reduce(
      (sum, { secretKey }, position) => sum + bytesToNumber(secretKey) * (factors[position] ?? 0n),
      0n,
    )
    return { publicKey, shares, secretKey: scalarBytes(modOrder(key)) }
  })
}

/** The passwords of a node's keystores. */
export async function readPasswords(keystoresDir: string): Promise<string[]> {
  const files = await listKeystores(keystoresDir)
  return files.map((file) => readFileSync(file.replace(/\.json$/, '.txt'), 'utf8').trim())
}
