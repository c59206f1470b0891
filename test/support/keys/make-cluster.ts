/** Makes fresh Obol clusters in the folder layout that `charon create cluster --insecure-keys` leaves. */

import { randomBytes, randomUUID } from 'node:crypto'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import type { BlsEngine } from '../../../libs/crypto/src/bls/bls.ts'
import { createBlstEngine } from '../../../libs/crypto/src/bls/blst.ts'
import { bytesToNumber, GROUP_ORDER, randomScalarBytes, scalarBytes } from '../../../libs/crypto/src/bls/scalar.ts'
import type {
  ClusterLock,
  LockDeposit,
  LockRegistration,
  LockValidator,
} from '../../../libs/crypto/src/cluster-lock/cluster-lock.ts'
import { configHash, definitionHash, lockHash } from '../../../libs/crypto/src/cluster-lock/lock-hash.ts'
import { encryptKeystore } from '../../../libs/crypto/src/keystores/eip2335.ts'
import { bytesRoot, containerRoot, uint64Root } from '../../../libs/crypto/src/messages/ssz.ts'
import { lockToJson } from './lock-to-json.ts'
import { makeEnr } from './make-enr.ts'

export interface ClusterOptions {
  /** Where `node0` … are put; made when missing. */
  dir: string
  nodes: number
  threshold: number
  validators: number
  network: { genesisForkVersion: Uint8Array; name: string }
  /** 20 bytes. */
  withdrawalAddress: Uint8Array
  /** 20 bytes. */
  feeRecipient: Uint8Array
  name?: string
  /** The deposits that the lock carries whole for a validator; none unless it says so, so that the nodes sign them. */
  deposits?: (validator: MadeValidator, position: number) => LockDeposit[]
}

/** What a deposit of a lock says. */
export interface DepositOfLock {
  /** 20 bytes. */
  vault: Uint8Array
  type: '0x01' | '0x02'
  ether: bigint
  /** Of the network that it is signed for. */
  genesisForkVersion: Uint8Array
}

export interface MadeShare {
  /** Share index: node + 1. */
  index: bigint
  secretKey: Uint8Array
  publicKey: Uint8Array
}
export interface MadeValidator {
  publicKey: Uint8Array
  /** The whole key, which exists nowhere but here. */
  secretKey: Uint8Array
  shares: MadeShare[]
}
export interface MadeNode {
  dir: string
  keystoresDir: string
  lockFile: string
  enrKeyFile: string
}
export interface MadeCluster {
  lock: ClusterLock
  /** Node 0's copy; all are the same. */
  lockFile: string
  nodes: MadeNode[]
  /** In lock order. */
  validators: MadeValidator[]
}

const GWEI_PER_ETHER = 1_000_000_000n
const DOMAIN_DEPOSIT = Uint8Array.of(3, 0, 0, 0)
const DOMAIN_BUILDER = Uint8Array.of(0, 0, 0, 1)
/** Files written at once. */
const PARALLEL = 64

/** f(x) mod r by Horner's rule, the constant term first. */
function evaluate(coefficients: readonly bigint[], x: bigint): bigint {
  return coefficients.reduceRight((sum, coefficient) => (sum * x + coefficient) % GROUP_ORDER, 0n)
}

function makeValidator(engine: BlsEngine, nodes: number, threshold: number): MadeValidator {
  const coefficients = Array.from({ length: threshold }, () => bytesToNumber(randomScalarBytes()))
  const secretKey = scalarBytes(evaluate(coefficients, 0n))
  const shares = Array.from({ length: nodes }, (_, node) => {
    const index = BigInt(node + 1)
    const share = scalarBytes(evaluate(coefficients, index))
    return { index, secretKey: share, publicKey: engine.publicKeyOf(share) }
  })
  return { secretKey, publicKey: engine.publicKeyOf(secretKey), shares }
}

/** The signing root of an object outside any chain's history: genesis fork version, genesis validators root zero. */
function signingRoot(objectRoot: Uint8Array, domainType: Uint8Array, forkVersion: Uint8Array): Uint8Array {
  const forkRoot = containerRoot([bytesRoot(forkVersion, 4), new Uint8Array(32)])
  return containerRoot([objectRoot, Buffer.concat([domainType, forkRoot.subarray(0, 28)])])
}

/** A deposit signed with the whole key, as `charon` leaves it in a lock. */
export function makeLockDeposit(validator: MadeValidator, deposit: DepositOfLock): LockDeposit {
  const { publicKey, secretKey } = validator
  const withdrawalCredentials = new Uint8Array(32)
  withdrawalCredentials[0] = Number(deposit.type)
  withdrawalCredentials.set(deposit.vault, 12)
  const amountGwei = deposit.ether * GWEI_PER_ETHER
  const message = containerRoot([bytesRoot(publicKey, 48), withdrawalCredentials, uint64Root(amountGwei)])
  const root = signingRoot(message, DOMAIN_DEPOSIT, deposit.genesisForkVersion)
  return { publicKey, withdrawalCredentials, amountGwei, signature: createBlstEngine().sign(secretKey, root) }
}

function makeRegistration(engine: BlsEngine, validator: MadeValidator, options: ClusterOptions): LockRegistration {
  const { publicKey, secretKey } = validator
  const gasLimit = 60_000_000
  const timestamp = 1_742_213_400
  const fields = [
    bytesRoot(options.feeRecipient, 20),
    uint64Root(gasLimit),
    uint64Root(timestamp),
    bytesRoot(publicKey, 48),
  ]
  const root = signingRoot(containerRoot(fields), DOMAIN_BUILDER, options.network.genesisForkVersion)
  const signature = engine.sign(secretKey, root)
  return { feeRecipient: options.feeRecipient, gasLimit, timestamp, publicKey, signature }
}

function lockValidator(
  engine: BlsEngine,
  validator: MadeValidator,
  position: number,
  options: ClusterOptions,
): LockValidator {
  return {
    publicKey: validator.publicKey,
    publicKeyShares: validator.shares.map(({ publicKey }) => publicKey),
    withdrawalAddress: options.withdrawalAddress,
    feeRecipientAddress: options.feeRecipient,
    deposits: options.deposits?.(validator, position) ?? [],
    registration: makeRegistration(engine, validator, options),
  }
}

/** Signs the lock hash with the sum of all share secrets: the aggregate of their signatures. */
function aggregateSignature(engine: BlsEngine, validators: readonly MadeValidator[], message: Uint8Array): Uint8Array {
  const sum = validators
    .flatMap(({ shares }) => shares)
    .reduce((total, { secretKey }) => total + bytesToNumber(secretKey), 0n)
  return engine.sign(scalarBytes(sum % GROUP_ORDER), message)
}

/** r ++ s ++ v over the lock hash itself. */
function nodeSignature(enrKey: Uint8Array, message: Uint8Array): Uint8Array {
  const signature = secp256k1.sign(message, enrKey, { prehash: false, format: 'recovered' })
  return Uint8Array.from([...signature.subarray(1), signature[0] ?? 0])
}

/** A complete lock of v1.11.0 for the given keys. */
export function makeLock(
  engine: BlsEngine,
  validators: readonly MadeValidator[],
  enrKeys: readonly Uint8Array[],
  options: ClusterOptions,
): ClusterLock {
  const none = new Uint8Array()
  const draft: ClusterLock = {
    version: 'v1.11.0',
    minor: 11,
    name: options.name ?? 'made for a test',
    uuid: randomUUID().toUpperCase(),
    timestamp: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
    numValidators: validators.length,
    threshold: options.threshold,
    dkgAlgorithm: 'default',
    forkVersion: options.network.genesisForkVersion,
    operators: enrKeys.map((key) => ({ address: none, enr: makeEnr(key), configSignature: none, enrSignature: none })),
    creator: { address: none, configSignature: none },
    addresses: validators.map(() => ({ feeRecipient: options.feeRecipient, withdrawal: options.withdrawalAddress })),
    depositAmountsGwei: [],
    consensusProtocol: '',
    targetGasLimit: 60_000_000,
    compounding: false,
    configHash: none,
    definitionHash: none,
    validators: validators.map((validator, position) => lockValidator(engine, validator, position, options)),
    lockHash: none,
    signatureAggregate: none,
    nodeSignatures: [],
  }
  const configured = { ...draft, configHash: configHash(draft) }
  const hashed = { ...configured, definitionHash: definitionHash(configured), lockHash: lockHash(configured) }
  return {
    ...hashed,
    signatureAggregate: aggregateSignature(engine, validators, hashed.lockHash),
    nodeSignatures: enrKeys.map((key) => nodeSignature(key, hashed.lockHash)),
  }
}

/** Calls `work` for every item, at most `PARALLEL` at once. */
async function forEachParallel<T>(
  items: readonly T[],
  work: (item: T, position: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries()
  const run = async () => {
    for (const [position, item] of queue) await work(item, position)
  }
  await Promise.all(Array.from({ length: PARALLEL }, run))
}

async function writeKeystore(keystoresDir: string, share: MadeShare, position: number): Promise<void> {
  const password = randomBytes(16).toString('hex')
  const keystore = await encryptKeystore(share.secretKey, password, {
    publicKey: share.publicKey,
    kdf: { function: 'pbkdf2', c: 16 },
    path: 'm/12381/3600/0/0/0',
  })
  const file = `${keystoresDir}/keystore-insecure-${position}`
  await writeFile(`${file}.json`, JSON.stringify(keystore, null, 1), { mode: 0o444 })
  await writeFile(`${file}.txt`, password, { mode: 0o400 })
}

/**
 * Makes a cluster: keys, shares, keystores with their passwords (16 rounds, as charon's insecure mode), ENR keys and a
 * lock of v1.11.0 that is valid in every hash and signature. No deposit-data files.
 */
export async function makeCluster(options: ClusterOptions): Promise<MadeCluster> {
  const engine = createBlstEngine()
  const validators = Array.from({ length: options.validators }, () =>
    makeValidator(engine, options.nodes, options.threshold),
  )
  const enrKeys = Array.from({ length: options.nodes }, () => secp256k1.utils.randomSecretKey())
  const lock = makeLock(engine, validators, enrKeys, options)
  const lockText = JSON.stringify(lockToJson(lock), null, 1)
  const nodes: MadeNode[] = []
  for (const [node, enrKey] of enrKeys.entries()) {
    const dir = `${options.dir}/node${node}`
    const made: MadeNode = {
      dir,
      keystoresDir: `${dir}/validator_keys`,
      lockFile: `${dir}/cluster-lock.json`,
      enrKeyFile: `${dir}/charon-enr-private-key`,
    }
    await mkdir(made.keystoresDir, { recursive: true })
    await writeFile(made.lockFile, lockText)
    await chmod(made.lockFile, 0o400)
    await writeFile(made.enrKeyFile, Buffer.from(enrKey).toString('hex'), { mode: 0o600 })
    await forEachParallel(validators, async ({ shares }, position) => {
      const share = shares[node]
      if (share !== undefined) await writeKeystore(made.keystoresDir, share, position)
    })
    nodes.push(made)
  }
  return { lock, lockFile: `${options.dir}/node0/cluster-lock.json`, nodes, validators }
}
