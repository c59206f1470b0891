/** Keyshares files of ssv-keys and ssv-dkg: the registrations of an owner without the chain (docs/protocol.md#12-ssv). */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '../bls/bls.ts'
import { JsonField, parseJson } from '../json-field.ts'
import { parseOperatorPublicKey } from './operator-key.ts'
import { MAX_SHARES_DATA_BYTES, parseSharesData, type SharesData, verifyShares } from './shares.ts'

export type KeysharesErrorCode =
  /** The file is not JSON, too large, or a field is missing or of the wrong type, length or form. */
  | 'KEYSHARES_MALFORMED'
  /** A validator key stands in the file twice. */
  | 'KEYSHARES_DUPLICATE'
  /** Points, polynomial or owner signature of a validator do not verify. */
  | 'KEYSHARES_INVALID'
  /** There is no proof of an operator's share of a validator. */
  | 'PROOF_MISSING'
  /** A proof's signature is not the operator's. */
  | 'PROOF_INVALID'

/** What is wrong with a keyshares or proofs file. `meta` has `file`, `field` (JSON path) and `reason`; the message has all three. */
export class KeysharesError extends CodedError<KeysharesErrorCode> {
  constructor(code: KeysharesErrorCode, file: string, field: string, reason: string) {
    super(code, `${file}: ${field === '' ? '' : `${field} `}${reason}`, { meta: { file, field, reason } })
  }
}

/** An operator as a keyshares file names it. */
export interface KeysharesOperator {
  id: number
  /** As `parseOperatorPublicKey` gives it. It is the file's word: compare it with the chain's where there is one. */
  publicKey: Uint8Array
}

/** One validator of a keyshares file. */
export interface KeysharesItem {
  /** Its path in the file, such as `shares[0]`; empty where the file is of this one. */
  field: string
  /** 20 bytes. */
  ownerAddress: Uint8Array
  ownerNonce: number
  /** 48 bytes. */
  publicKey: Uint8Array
  /** In the order of the shares. */
  operators: readonly KeysharesOperator[]
  data: SharesData
}

const MAX_ITEMS = 65_536
/** A validator of thirteen operators has some 60 values. */
const BOUNDS = { bytes: 256 << 20, values: 128 * MAX_ITEMS }
/** More than the largest cluster has: a longer list is refused by its length, not by this. */
const MAX_OPERATORS = 64

/**
 * Reads a keyshares file. Nothing in it is verified yet: see {@link verifyKeysharesItem}.
 *
 * @param json JSON text or its parsed value
 * @param file how errors name the file
 * @throws {KeysharesError} KEYSHARES_MALFORMED, KEYSHARES_DUPLICATE: the first fault found
 */
export function parseKeysharesFile(json: unknown, { file }: { file: string }): KeysharesItem[] {
  const items = itemsOf(json, file)
  const seen = new Map<string, string>()
  for (const { field, publicKey } of items) {
    const earlier = seen.get(toHex(publicKey))
    if (earlier !== undefined)
      throw new KeysharesError('KEYSHARES_DUPLICATE', file, field, `is of the same validator as ${earlier}`)
    seen.set(toHex(publicKey), field)
  }
  return items
}

function itemsOf(json: unknown, file: string): KeysharesItem[] {
  const fault = (path: string, reason: string) => new KeysharesError('KEYSHARES_MALFORMED', file, path, reason)
  const root = new JsonField(parseJson(json, BOUNDS, fault), '', fault)
  const shares = root.get('shares')
  if (shares.absent && !root.get('payload').absent) return [parseOldFile(root, file)]
  const items = shares.items(MAX_ITEMS).map(parseItem)
  if (items.length === 0) throw shares.fault('is empty')
  return items
}

/** A file of ssv-keys before 1.1, of one validator: those of 1.0 are what is an item today, older ones have another form. */
function parseOldFile(root: JsonField, file: string): KeysharesItem {
  const { value } = root.get('version')
  const version = typeof value === 'string' && /^v?\d[\d.]{0,11}$/.test(value) ? `version ${value}` : 'an old version'
  const fault = (path: string, reason: string) =>
    new KeysharesError(
      'KEYSHARES_MALFORMED',
      file,
      path,
      `${reason}: this is a keyshares file of ${version}; make it anew with ssv-keys 1.1 or later`,
    )
  return parseItem(new JsonField(root.value, '', fault))
}

function parseItem(item: JsonField): KeysharesItem {
  const data = item.get('data')
  const payload = item.get('payload')
  const publicKey = payload.get('publicKey').hex(48)
  if (Buffer.compare(data.get('publicKey').hex(48), publicKey) !== 0)
    throw data.get('publicKey').fault('is another key than payload.publicKey')
  const operatorIds = payload.get('operatorIds')
  const ids = operatorIds.items(MAX_OPERATORS).map((id) => id.integer(1))
  const operators = data.get('operators').items(MAX_OPERATORS).map(parseOperator)
  if (operators.length !== ids.length || !operators.every(({ id }, position) => id === ids[position]))
    throw operatorIds.fault('are not those of data.operators')
  return {
    field: item.path,
    ownerAddress: data.get('ownerAddress').hex(20),
    ownerNonce: data.get('ownerNonce').integer(0),
    publicKey,
    operators,
    data: parseShares(payload.get('sharesData'), ids),
  }
}

function parseOperator(operator: JsonField): KeysharesOperator {
  const key = operator.get('operatorKey')
  const publicKey = parseOperatorPublicKey(key.text(8_192))
  if (publicKey === undefined) throw key.fault('is not the base64 of an RSA-2048 public key')
  return { id: operator.get('id').integer(1), publicKey }
}

function parseShares(field: JsonField, ids: readonly number[]): SharesData {
  const bytes = parseHex(field.text(2 * MAX_SHARES_DATA_BYTES + 2))
  if (bytes === undefined) throw field.fault('must be hex')
  const data = parseSharesData(bytes, ids)
  if ('fault' in data) throw field.fault(data.reason)
  return data
}

/**
 * Verifies one validator of a keyshares file as an event of the chain would be: points, polynomial, owner signature. About 6 ms.
 *
 * @throws {KeysharesError} KEYSHARES_INVALID
 */
export function verifyKeysharesItem(engine: BlsEngine, item: KeysharesItem, { file }: { file: string }): void {
  const fault = verifyShares(engine, { ...item, nonce: item.ownerNonce })
  if (fault !== undefined)
    throw new KeysharesError(
      'KEYSHARES_INVALID',
      file,
      `${item.field === '' ? '' : `${item.field}.`}payload.sharesData`,
      fault.reason,
    )
}
