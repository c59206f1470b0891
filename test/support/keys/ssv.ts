/** SSV clusters for tests: the fixtures by operator, and fresh ones with any operator ids, as logs of the contract and as keyshares files. */

import { constants, createPublicKey, generateKeyPairSync, publicEncrypt } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { operatorAddedEvent, validatorAddedEvent, validatorRemovedEvent } from '@dvt-relayer/chain/ssv/events.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { decryptKeystoreCrypto } from '@dvt-relayer/crypto/keystores/eip2335.ts'
import { parseKeystoreCrypto } from '@dvt-relayer/crypto/keystores/eip2335-format.ts'
import { ssvThreshold } from '@dvt-relayer/crypto/ssv/shares.ts'
import type { AbiEvent, Hex } from 'viem'
import { encodeAbiParameters, encodeEventTopics, getAddress, keccak256, toBytes } from 'viem/utils'
import type { StandInLog } from '../chain/rpc.ts'
import { engine, type KeyedValidator } from '../world/nodes.ts'
import { readFixtureJson } from './fixtures.ts'
import { createTestKeys } from './keys.ts'

const ROOT = fileURLToPath(new URL('../../fixtures/ssv', import.meta.url))
export const SSV_CONTRACT = '0x58410bef803ecd7e63b23664c586a6db72daf59c'
export const SSV_CLUSTERS = ['cluster-4', 'cluster-4-gaps', 'cluster-7', 'cluster-4-readded', 'cluster-4-dkg'] as const
export type SsvClusterName = (typeof SSV_CLUSTERS)[number]

/** What `expected.json` says of a cluster. */
export interface SsvCluster {
  owner: string
  operator_ids: number[]
  threshold: number
  validators: {
    public_key: string
    owner_nonce: number
    secret_key: string
    public_key_shares: { share_index: number; public_key_share: string; secret_key_share: string }[]
  }[]
}

/** Path of a file of the fixtures. */
export const ssvPath = (path: string): string => `${ROOT}/${path}`

export const loadSsvCluster = (name: SsvClusterName): SsvCluster =>
  readFixtureJson(`ssv/${name}/expected.json`) as SsvCluster

/** Where the key of a fixture operator is, in three forms: encrypted (pbkdf2 or scrypt), and 70001's without a password. */
export function operatorFiles(id: number): { SSV_OPERATOR_KEY_FILE: string; SSV_OPERATOR_PASSWORD_FILE?: string } {
  const dir = ssvPath(`operators/${id}`)
  if (id === 70001) return { SSV_OPERATOR_KEY_FILE: `${dir}/private_key` }
  return {
    SSV_OPERATOR_KEY_FILE: `${dir}/encrypted_private_key.json`,
    SSV_OPERATOR_PASSWORD_FILE: `${dir}/password.txt`,
  }
}

/** The keys of fixture operators without their encryption, which takes a second each, as files `key-<id>` of a folder. */
export async function writePlainKeys(dir: string, ids: readonly number[]): Promise<void> {
  for (const id of ids) {
    const { SSV_OPERATOR_KEY_FILE: file, SSV_OPERATOR_PASSWORD_FILE: passwordFile } = operatorFiles(id)
    const text = await readFile(file, 'utf8')
    if (passwordFile === undefined) await writeFile(join(dir, `key-${id}`), text)
    else {
      const secret = await decryptKeystoreCrypto(parseKeystoreCrypto(JSON.parse(text)), await readFile(passwordFile))
      await writeFile(join(dir, `key-${id}`), secret)
    }
  }
}

interface RawLog extends Omit<StandInLog, 'blockNumber' | 'logIndex'> {
  blockNumber: string
  logIndex: string
}

/** The logs of a fixture file. */
export const ssvLogs = (file: 'operator-added.json' | 'validator-added.json'): StandInLog[] =>
  (readFixtureJson(`ssv/${file}`) as RawLog[]).map(({ address, topics, data, blockNumber, logIndex }) => ({
    address,
    topics,
    data,
    blockNumber: Number(blockNumber),
    logIndex: Number(logIndex),
  }))

/** An operator with a fresh key. */
export interface MadeOperator {
  id: number
  /** What an unencrypted key file holds. */
  keyFile: string
  /** As the chain and keyshares files spell it. */
  publicKeyText: string
  encrypt(secretKey: Uint8Array): Uint8Array
}

/** Makes operators with these ids. */
export function makeOperators(ids: readonly number[]): MadeOperator[] {
  return ids.map((id) => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString().replaceAll('PUBLIC KEY', 'RSA PUBLIC KEY')
    const key = createPublicKey(privateKey)
    return {
      id,
      keyFile: Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs1' }).toString()).toString('base64'),
      publicKeyText: Buffer.from(`${pem.trimEnd()}\n`).toString('base64'),
      encrypt: (secretKey) =>
        publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, Buffer.from(toHex(secretKey))),
    }
  })
}

/** A validator that an owner has split among operators. */
export interface MadeSsvValidator extends KeyedValidator {
  owner: string
  ownerNonce: number
  operators: readonly MadeOperator[]
  /** `shares` of the event. */
  sharesData: Uint8Array
}

/** Makes validators with consecutive nonces of one owner. */
export function makeSsvValidators(
  count: number,
  operators: readonly MadeOperator[],
  { owner, firstNonce = 0, secretKey }: { owner: string; firstNonce?: number; secretKey?: Uint8Array | undefined },
): MadeSsvValidator[] {
  const indexes = operators.map(({ id }) => BigInt(id))
  const options = { nodes: operators.length, threshold: ssvThreshold(operators.length), indexes, secretKey }
  return createTestKeys(count, options).map((validator, position) => {
    const ownerNonce = firstNonce + position
    const text = `${getAddress(owner)}:${ownerNonce}`
    const sharesData = Buffer.concat([
      engine.sign(validator.secretKey, keccak256(toBytes(text), 'bytes')),
      ...validator.shares.map(({ publicKey }) => publicKey),
      ...validator.shares.map(({ secretKey }, at) => operators[at]?.encrypt(secretKey) ?? new Uint8Array()),
    ])
    return { ...validator, owner, ownerNonce, operators, sharesData: new Uint8Array(sharesData) }
  })
}

const CLUSTER_TYPES = ['uint32', 'uint64', 'uint64', 'bool', 'uint256']
const clusterParameter = {
  type: 'tuple',
  components: CLUSTER_TYPES.map((type, position) => ({ name: `f${position}`, type })),
}
const CLUSTER = { f0: 1, f1: 0n, f2: 0n, f3: true, f4: 0n }

function logOf(event: AbiEvent, args: Record<string, unknown>, data: Hex, position: [number, number]): StandInLog {
  const topics = encodeEventTopics({ abi: [event], args } as never) as string[]
  return { address: SSV_CONTRACT, topics, data, blockNumber: position[0], logIndex: position[1] }
}

/** The OperatorAdded log of an operator. */
export function operatorAddedLog({ id, publicKeyText }: MadeOperator, ...position: [number, number]): StandInLog {
  const wrapped = encodeAbiParameters([{ type: 'string' }], [publicKeyText])
  const data = encodeAbiParameters([{ type: 'bytes' }, { type: 'uint256' }], [wrapped, 0n])
  return logOf(operatorAddedEvent, { operatorId: BigInt(id), owner: `0x${'11'.repeat(20)}` }, data, position)
}

/** The ValidatorAdded log of a validator; its shares may be other ones. */
export function validatorAddedLog(
  { owner, operators, publicKey, sharesData }: Omit<MadeSsvValidator, keyof Omit<KeyedValidator, 'publicKey'>>,
  ...position: [number, number]
): StandInLog {
  const data = encodeAbiParameters(
    [{ type: 'uint64[]' }, { type: 'bytes' }, { type: 'bytes' }, clusterParameter],
    [operators.map(({ id }) => BigInt(id)), toHex(publicKey), toHex(sharesData), CLUSTER],
  )
  return logOf(validatorAddedEvent, { owner }, data, position)
}

/** The ValidatorRemoved log of a validator. */
export function validatorRemovedLog(
  { owner, operators, publicKey }: Pick<MadeSsvValidator, 'owner' | 'operators' | 'publicKey'>,
  ...position: [number, number]
): StandInLog {
  const data = encodeAbiParameters(
    [{ type: 'uint64[]' }, { type: 'bytes' }, clusterParameter],
    [operators.map(({ id }) => BigInt(id)), toHex(publicKey), CLUSTER],
  )
  return logOf(validatorRemovedEvent, { owner }, data, position)
}

/** A keyshares file as ssv-keys writes it. */
export function keysharesJson(validators: readonly MadeSsvValidator[]): string {
  const shares = validators.map(({ owner, ownerNonce, operators, publicKey, sharesData }) => ({
    data: {
      ownerNonce,
      ownerAddress: getAddress(owner),
      publicKey: toHex(publicKey),
      operators: operators.map(({ id, publicKeyText }) => ({ id, operatorKey: publicKeyText })),
    },
    payload: {
      publicKey: toHex(publicKey),
      operatorIds: operators.map(({ id }) => id),
      sharesData: toHex(sharesData),
    },
  }))
  return JSON.stringify({ version: 'v1.1.0', createdAt: '2025-01-01T00:00:00.000Z', shares })
}

/** A validator of the fixtures, with the secret shares that its cluster's `expected.json` has. */
export function keyedValidators(name: SsvClusterName): KeyedValidator[] {
  return loadSsvCluster(name).validators.map(({ public_key, secret_key, public_key_shares }) => ({
    publicKey: fromHex(public_key),
    secretKey: fromHex(secret_key),
    shares: public_key_shares.map(({ share_index, public_key_share, secret_key_share }) => ({
      index: BigInt(share_index),
      publicKey: fromHex(public_key_share),
      secretKey: fromHex(secret_key_share),
    })),
  }))
}
