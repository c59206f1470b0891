/**
 * Relayer CPU for one validator's exit: check 4 shares, interpolate, verify, split, encrypt for 11 oracles (threshold 7 of 11, cluster 3 of 4).
 *
 * Three programs side by side in one process, since absolute times swing; the ratios are what counts:
 *
 * - ours: what the tasks of a worker do for a batch of 32 validators, its check of its own output included: `finish` what the nodes of a
 *   threshold have posted and nobody has verified, from bytes alone, in the slices of the pool; then judge the node that came late;
 * - native sum: one straightforward call of blst, secp256k1 and node:crypto for every step, no check of the output;
 * - plain: @noble/curves and eciesjs used straightforwardly.
 */

import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import type { PublicKey, Signature } from '@chainsafe/blst'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { lagrangeFactors } from '@dvt-relayer/crypto/bls/lagrange.ts'
import { createNobleEngine } from '@dvt-relayer/crypto/bls/noble.ts'
import { bytesToNumber, GROUP_ORDER, modOrder, randomScalarBytes, scalarBytes } from '@dvt-relayer/crypto/bls/scalar.ts'
import { createFastEcies, createPlainEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { splitWithCoefficients } from '@dvt-relayer/crypto/oracle/oracle-split.ts'
import { SLICE } from '../../apps/relayer/src/crypto-workers/pool.ts'
import { createTasks, type MessageToFinish } from '../../apps/relayer/src/crypto-workers/tasks.ts'

/** CPU milliseconds for one validator. */
export interface Row {
  name: string
  ours_ms: number
  native_sum_ms: number
  plain_ms?: number
}

const [NODES, THRESHOLD, ORACLES, ORACLE_THRESHOLD, BATCH] = [4, 3, 11, 7, 32]
const INDEXES = Array.from({ length: NODES }, (_, i) => BigInt(i + 1))

interface Validator {
  message: Uint8Array
  publicKey: Uint8Array
  keyShares: Uint8Array[]
  partials: Uint8Array[]
}

const blst = createRequire(import.meta.url)('@chainsafe/blst') as typeof import('@chainsafe/blst')
const secp256k1 = createRequire(import.meta.url)('secp256k1/bindings.js') as {
  publicKeyCreate(secret: Uint8Array, compressed: boolean): Uint8Array
  ecdh(key: Uint8Array, secret: Uint8Array, options: object, output: Uint8Array): Uint8Array
}

function polynomialAt(coefficients: readonly bigint[], x: bigint): bigint {
  return coefficients.reduceRight((sum, coefficient) => modOrder(sum * x + coefficient), 0n)
}

function makeValidator(): Validator {
  const coefficients = Array.from({ length: THRESHOLD }, () => bytesToNumber(randomScalarBytes()))
  const secretAt = (x: bigint) => blst.SecretKey.fromBytes(scalarBytes(polynomialAt(coefficients, x)))
  const message = randomBytes(32)
  return {
    message,
    publicKey: secretAt(0n).toPublicKey().toBytes(),
    keyShares: INDEXES.map((x) => secretAt(x).toPublicKey().toBytes()),
    partials: INDEXES.map((x) => secretAt(x).sign(message).toBytes()),
  }
}

/** CPU milliseconds of a call, all threads of the process. */
function cpuMs(run: () => void): number {
  const start = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000
}

function assertDone(ok: boolean): void {
  if (!ok) throw new Error('a step of the benchmark gave a wrong result')
}

/** Slices of so many, as the pool makes them. */
function sliced<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))
}

/** The path of trusted public key shares: what a threshold of nodes sent is finished and verified together, then the last node is judged. */
function runOurs(oracles: readonly Uint8Array[]) {
  const tasks = createTasks(createBlstEngine(), createFastEcies())
  const oracleSet = { threshold: ORACLE_THRESHOLD, publicKeys: oracles }
  // Bytes of their own, as they come out of the database: nothing that was parsed before is known.
  const toFinish = ({ message, publicKey, keyShares, partials }: Validator, nodes: number): MessageToFinish => ({
    message,
    publicKey: Uint8Array.from(publicKey),
    threshold: THRESHOLD,
    signature: undefined,
    candidates: partials
      .slice(0, nodes)
      .map((partial, i) => ({ shareIndex: i + 1, signatures: [Uint8Array.from(partial)] })),
    trusted: keyShares.slice(0, nodes).map((key, i) => ({
      shareIndex: i + 1,
      publicKeyShare: Uint8Array.from(key),
      isVerified: nodes > THRESHOLD && i < THRESHOLD,
    })),
    hints: [],
  })
  return (validators: readonly Validator[]): void => {
    for (const slice of sliced(validators, SLICE.finish)) {
      const finished = tasks.finish(
        slice.map((validator) => toFinish(validator, THRESHOLD)),
        oracleSet,
        32,
      )
      const late = slice.flatMap((validator, i): MessageToFinish[] => {
        const result = finished[i]
        assertDone(result?.status === 'finished' && result.right.length === THRESHOLD && result.shares !== undefined)
        return result?.status === 'finished' ? [{ ...toFinish(validator, NODES), signature: result.signature }] : []
      })
      for (const result of tasks.finish(late, undefined, 32))
        assertDone(result.status === 'finished' && result.right.length === NODES)
    }
  }
}

/** A point times a public factor, with the additions that the binding offers. */
function times<P>(point: P, factor: number, add: (points: P[]) => P): P {
  return add(Array.from({ length: factor }, () => point))
}

function nativeOne(validator: Validator, oracles: readonly Uint8Array[]): void {
  const { message } = validator
  const sumSignatures = (points: Signature[]) => blst.aggregateSignatures(points)
  const key = blst.PublicKey.fromBytes(validator.publicKey, true)
  const partials = validator.partials.map((bytes, i) => {
    const share = blst.PublicKey.fromBytes(validator.keyShares[i] ?? bytes, true)
    const partial = blst.Signature.fromBytes(bytes, true, true)
    assertDone(blst.verify(message, share, partial))
    return partial
  })
  const [first, second, third] = partials
  if (first === undefined || second === undefined || third === undefined) return
  const negated = Uint8Array.from(times(second, 3, sumSignatures).toBytes())
  negated[0] = (negated[0] ?? 0) ^ 0x20
  const signature = sumSignatures([times(first, 3, sumSignatures), blst.Signature.fromBytes(negated), third])
  assertDone(blst.verify(message, key, signature))
  nativeSplit(message, key, signature, oracles)
}

/** The split and the encryption alone. */
function nativeSplit(message: Uint8Array, key: PublicKey, signature: Signature, oracles: readonly Uint8Array[]): void {
  const coefficients = Array.from({ length: ORACLE_THRESHOLD - 1 }, () => bytesToNumber(randomScalarBytes()))
  oracles.forEach((oracle, i) => {
    const blind = blst.SecretKey.fromBytes(scalarBytes(polynomialAt([0n, ...coefficients], BigInt(i + 1))))
    const share = blst.aggregateSignatures([signature, blind.sign(message)]).toBytes()
    blst.aggregatePublicKeys([key, blind.toPublicKey()]).toBytes()
    nativeEncrypt(oracle, share)
  })
}

function nativeEncrypt(oracle: Uint8Array, data: Uint8Array): Uint8Array {
  const secret = randomBytes(32)
  const ephemeral = secp256k1.publicKeyCreate(secret, false)
  const hashfn = (x: Uint8Array, y: Uint8Array) => Uint8Array.from([4, ...x, ...y])
  const shared = secp256k1.ecdh(oracle, secret, { hashfn }, new Uint8Array(65))
  const key = hkdfSync('sha256', Buffer.concat([ephemeral, shared]), new Uint8Array(), new Uint8Array(), 32)
  const nonce = randomBytes(16)
  const cipher = createCipheriv('aes-256-gcm', new Uint8Array(key), nonce)
  const encrypted = Buffer.concat([cipher.update(data), cipher.final()])
  return Buffer.concat([ephemeral, nonce, cipher.getAuthTag(), encrypted])
}

function plainOne(validator: Validator, oracles: readonly Uint8Array[]): void {
  const engine = createNobleEngine()
  const ecies = createPlainEcies()
  const { message, publicKey, keyShares, partials } = validator
  partials.forEach((partial, i) => {
    assertDone(engine.verify(keyShares[i] ?? publicKey, message, partial))
  })
  const base = INDEXES.slice(0, THRESHOLD)
  const [signature = new Uint8Array()] = engine.combineSignatures(partials.slice(0, THRESHOLD), [lagrangeFactors(base)])
  assertDone(engine.verify(publicKey, message, signature))
  const coefficients = Array.from({ length: ORACLE_THRESHOLD - 1 }, () => bytesToNumber(randomBytes(32)) % GROUP_ORDER)
  const { signatureShares } = splitWithCoefficients(engine, {
    message,
    publicKey,
    signature,
    threshold: ORACLE_THRESHOLD,
    oracles: ORACLES,
    coefficients,
    path: 'plain',
  })
  oracles.forEach((oracle, i) => {
    ecies.encrypt(oracle, signatureShares[i] ?? new Uint8Array())
  })
}

/** The median of CPU milliseconds for one validator, after one round to warm up. */
function median(times: readonly number[]): number {
  return [...times.slice(1)].sort((a, b) => a - b)[(times.length - 1) >> 1] ?? Number.NaN
}

/** Runs the three programs in turn and gives their CPU times for one validator. */
export async function benchCrypto(rounds = 6): Promise<Row[]> {
  const oracles = Array.from({ length: ORACLES }, () => secp256k1.publicKeyCreate(randomBytes(32), false))
  const ours = runOurs(oracles)
  const samples = { ours: [] as number[], native: [] as number[] }
  for (let round = 0; round <= rounds; round++) {
    const [one, two] = [0, 1].map(() => Array.from({ length: BATCH }, makeValidator))
    samples.ours.push(cpuMs(() => ours(one ?? [])) / BATCH)
    samples.native.push(cpuMs(() => two?.forEach((validator) => void nativeOne(validator, oracles))) / BATCH)
  }
  plainOne(makeValidator(), oracles)
  const validator = makeValidator()
  const plain = cpuMs(() => plainOne(validator, oracles))
  return [
    {
      name: `one validator's exit, ${THRESHOLD} of ${NODES} nodes, ${ORACLE_THRESHOLD} of ${ORACLES} oracles`,
      ours_ms: median(samples.ours),
      native_sum_ms: median(samples.native),
      plain_ms: plain,
    },
  ]
}

/** CPU milliseconds of the native sum for one split: for 11 oracles with threshold 7, encrypted, the signature at hand. */
export function benchNativeSplit(rounds = 4): number {
  const oracles = Array.from({ length: ORACLES }, () => secp256k1.publicKeyCreate(randomBytes(32), false))
  const samples = Array.from({ length: rounds + 1 }, () => {
    const ready = Array.from({ length: BATCH }, () => {
      const secret = blst.SecretKey.fromBytes(randomScalarBytes())
      const message = randomBytes(32)
      return { message, key: secret.toPublicKey(), signature: secret.sign(message) }
    })
    const split = () =>
      ready.forEach(({ message, key, signature }) => void nativeSplit(message, key, signature, oracles))
    return cpuMs(split) / BATCH
  })
  return median(samples)
}

if (import.meta.main) {
  for (const { name, ours_ms, native_sum_ms, plain_ms = Number.NaN } of await benchCrypto()) {
    console.log(
      `${name}: ours ${ours_ms.toFixed(2)} ms, native sum ${native_sum_ms.toFixed(2)} ms (${(ours_ms / native_sum_ms).toFixed(2)}), ` +
        `plain ${plain_ms.toFixed(0)} ms (${(plain_ms / ours_ms).toFixed(0)} times ours)`,
    )
  }
}
