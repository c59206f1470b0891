/** The oracle config (docs/protocol.md#7-oracle-set): who the oracles are and how many of them rebuild an exit. */

import { TextError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import { oracleAddress, parseOraclePublicKey } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { ChainError } from '../errors.ts'
import type { Content, IpfsClient } from '../ipfs/ipfs.ts'

/** One oracle; its place in the list, from 1, is the x of its share. */
export interface Oracle {
  /** 65 bytes, uncompressed. */
  readonly publicKey: Uint8Array
  /** Checksummed address of the public key. */
  readonly address: string
  readonly endpoints: readonly string[]
}

/** An accepted config. Fields that only some need are undefined when missing or unusable. */
export interface OracleConfig {
  readonly threshold: number
  readonly oracles: readonly Oracle[]
  readonly exitSignatureEpoch: number | undefined
  readonly untilForceExitEpochs: number | undefined
  readonly validatorsApprovalBatchLimit: number | undefined
  readonly validatorsExitRotationBatchLimit: number | undefined
  readonly signatureValidityPeriod: number | undefined
}

type Fields = Readonly<Record<string, unknown>>

/** More oracles than any set will have; each costs an encryption per validator. */
const MOST_ORACLES = 256
/** An oracle has some five: its key and a few endpoints. */
const MAX_VALUES = 10_000

/**
 * Reads an oracle config.
 *
 * @throws {ChainError} ORACLE_CONFIG_INVALID with the reason: no oracles, a duplicate or wrong public key (in whatever
 * spelling), a threshold below 1 or above the number of oracles, a needed field missing or of the wrong type
 */
export function parseOracleConfig(json: unknown): OracleConfig {
  if (!isFields(json)) throw refuse('it is not a JSON object')
  const { oracles: list, exit_signature_recover_threshold: threshold } = json
  if (!Array.isArray(list)) throw refuse('oracles is missing or not a list')
  if (list.length === 0 || list.length > MOST_ORACLES) throw refuse(`it has ${list.length} oracles`)
  const oracles = list.map(parseOracle)
  const seen = new Map<string, number>()
  for (const [position, { publicKey }] of oracles.entries()) {
    const first = seen.get(toHex(publicKey))
    if (first !== undefined) throw refuse(`oracles ${first + 1} and ${position + 1} have the same public key`)
    seen.set(toHex(publicKey), position)
  }
  if (!isWhole(threshold)) throw refuse('exit_signature_recover_threshold is missing or not a whole number')
  if (threshold < 1 || threshold > oracles.length)
    throw refuse(`exit_signature_recover_threshold is ${threshold} with ${oracles.length} oracles`)
  return {
    threshold,
    oracles,
    exitSignatureEpoch: wholeOf(json, 'exit_signature_epoch'),
    untilForceExitEpochs: wholeOf(json, 'until_force_exit_epochs'),
    validatorsApprovalBatchLimit: wholeOf(json, 'validators_approval_batch_limit'),
    validatorsExitRotationBatchLimit: wholeOf(json, 'validators_exit_rotation_batch_limit'),
    signatureValidityPeriod: wholeOf(json, 'signature_validity_period'),
  }
}

/**
 * Fetches and reads the oracle config of a CID.
 *
 * @throws {ChainError} ORACLE_CONFIG_INVALID, and what `fetchContent` throws
 */
export async function fetchOracleConfig(
  ipfs: IpfsClient,
  cid: string,
  signal?: AbortSignal,
): Promise<Content & { config: OracleConfig }> {
  const found = await ipfs.fetchContent(cid, { what: 'the oracle config' }, signal)
  return { ...found, config: parseOracleConfig(parseJson(found.content)) }
}

function parseJson(content: Uint8Array): unknown {
  try {
    return parseJsonText(new TextDecoder('utf-8', { fatal: true }).decode(content), MAX_VALUES)
  } catch (error) {
    throw refuse(error instanceof TextError ? `it ${error.message}` : 'it is not JSON')
  }
}

function parseOracle(item: unknown, position: number): Oracle {
  const who = `oracle ${position + 1}`
  if (!isFields(item)) throw refuse(`${who} is not an object`)
  const { public_key: text, endpoints } = item
  if (typeof text !== 'string') throw refuse(`${who} has no public_key`)
  let publicKey: Uint8Array
  try {
    publicKey = parseOraclePublicKey(text)
  } catch (cause) {
    throw refuse(`the public_key of ${who} is not a point of secp256k1`, cause)
  }
  return {
    publicKey,
    address: oracleAddress(publicKey),
    endpoints: Array.isArray(endpoints) ? endpoints.filter((url) => typeof url === 'string' && URL.canParse(url)) : [],
  }
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value)

function wholeOf(json: Fields, name: string): number | undefined {
  const value = json[name]
  return isWhole(value) && value >= 0 ? value : undefined
}

function refuse(reason: string, cause?: unknown): ChainError {
  return new ChainError('ORACLE_CONFIG_INVALID', `the oracle config is refused: ${reason}`, { cause })
}
