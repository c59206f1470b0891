/**
 * The JSON that the program reads, all of it: what the relayer answers, what the Operator hands on, what lies on IPFS. Fields that a
 * verdict needs are read strictly, unknown ones passed over.
 */

import { type OracleConfig, parseOracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { JsonField, parseJson, SMALL_JSON } from '@dvt-relayer/crypto/json-field.ts'
import { unreadable } from './errors.ts'
import type { Claims, Exit } from './exit-message.ts'

export const MAX_FILE_BYTES = 16 * 1024 * 1024
/** An oracle share is a text of 200 letters or more. */
const MAX_VALUES = 200_000
const MOST_ORACLES = 256
const MOST_ITEMS = 100_000
const CIPHERTEXT_BYTES = 193

/** What shares say of the oracle set they were made for. */
export interface SetLabels {
  cid: string | undefined
  threshold: number | undefined
  /** How many oracles. */
  oracles: number | undefined
  /** 20 bytes each, in order. */
  addresses: readonly Uint8Array[] | undefined
  /** Whether the relayer knows of a newer set. */
  isOutdated: boolean
}

/** One oracle's share: an item of `GET /oracles/{oracle}/exit-shares`. */
export interface ShareItem {
  exit: Exit
  labels: SetLabels
  /** The oracle's place, from 1. */
  place: number | undefined
  publicKeyShare: Uint8Array
  ciphertext: Uint8Array
  receipt: Uint8Array | undefined
}

/** All shares of one exit: `GET /validators/{public_key}/oracle-shares`, or what the Operator gets. */
export interface ShareSet {
  exit: Exit
  labels: SetLabels
  publicKeyShares: readonly Uint8Array[]
  ciphertexts: readonly Uint8Array[]
  receipt: Uint8Array | undefined
}

/** An exit encrypted to the owner of its vault. */
export interface OwnerCopy {
  publicKey: Uint8Array
  /** What is said of it beside the ciphertext. */
  validatorIndex: number | undefined
  epoch: number
  /** 65 bytes: whom it is encrypted to. */
  ownerPublicKey: Uint8Array | undefined
  ciphertext: Uint8Array
}

/** A reader of the JSON of a file; `label` is how errors call it. @throws {InputError} unreadable */
function openJson(text: string, label: string): JsonField {
  const fault = (path: string, reason: string) => unreadable(`${label}: ${path === '' ? 'it' : path} ${reason}`)
  return new JsonField(parseJson(text, { bytes: MAX_FILE_BYTES, values: MAX_VALUES }, fault), '', fault)
}

const optional = <T>(field: JsonField, read: (field: JsonField) => T): T | undefined =>
  field.absent ? undefined : read(field)

/** A field of an object that may be missing as a whole. */
const inner = (object: JsonField, name: string): JsonField => (object.absent ? object : object.get(name))

function readLabels(file: JsonField): SetLabels {
  const set = file.get('oracle_set')
  const count = inner(set, 'oracles')
  const addresses = file.get('oracles')
  const isCurrent = inner(set, 'is_current')
  return {
    cid: optional(inner(set, 'cid'), (field) => field.text(256)),
    threshold: optional(inner(set, 'threshold'), (field) => field.integer(1)),
    oracles: optional(count, (field) => (Array.isArray(field.value) ? field.value.length : field.integer(1))),
    addresses: optional(addresses, (field) => field.items(MOST_ORACLES).map((item) => item.hex(20))),
    isOutdated: file.get('is_outdated').value === true || isCurrent.value === false,
  }
}

/** The exit that a file tells, its gaps filled with what the caller says. */
function readExit(file: JsonField, claims: Claims, label: string): Exit {
  const publicKey = optional(file.get('public_key'), (field) => field.hex(48)) ?? claims.publicKey
  const validatorIndex = optional(file.get('validator_index'), (field) => field.integer(0)) ?? claims.validatorIndex
  if (publicKey === undefined) throw unreadable(`${label}: it does not name its validator: give --public-key`)
  if (validatorIndex === undefined) throw unreadable(`${label}: it has no validator_index: give --validator-index`)
  return { publicKey, validatorIndex, epoch: optional(file.get('epoch'), (field) => field.integer(0)) ?? claims.epoch }
}

function readItem(file: JsonField, claims: Claims, label: string): ShareItem {
  return {
    exit: readExit(file, claims, label),
    labels: { ...readLabels(file), addresses: undefined },
    place: optional(inner(file.get('oracle_set'), 'place'), (field) => field.integer(1)),
    publicKeyShare: file.get('public_key_share').hex(48),
    ciphertext: file.get('encrypted_exit_signature').hex(CIPHERTEXT_BYTES),
    receipt: optional(file.get('receipt'), (field) => field.hex(32)),
  }
}

function readSet(file: JsonField, claims: Claims, label: string): ShareSet {
  const list = (name: string, bytes: number) =>
    file
      .get(name)
      .items(MOST_ORACLES)
      .map((item) => item.hex(bytes))
  return {
    exit: readExit(file, claims, label),
    labels: readLabels(file),
    publicKeyShares: list('public_keys', 48),
    ciphertexts: list('encrypted_exit_signatures', CIPHERTEXT_BYTES),
    receipt: optional(file.get('receipt'), (field) => field.hex(32)),
  }
}

/**
 * The shares in a file: an item, a page of items, or a whole set. Of a page with a public key claimed, that validator's items.
 *
 * @throws {InputError} unreadable
 */
export function readShares(text: string, label: string, claims: Claims): { items: ShareItem[] } | { set: ShareSet } {
  const file = openJson(text, label)
  if (!Array.isArray(file.value) && !file.get('encrypted_exit_signatures').absent)
    return { set: readSet(file, claims, label) }
  if (!Array.isArray(file.value) && !file.get('encrypted_exit_signature').absent)
    return { items: [readItem(file, claims, label)] }
  const page = Array.isArray(file.value) ? file : file.get('exit_shares')
  if (page.absent) throw unreadable(`${label}: it is neither an item of exit-shares nor a set of oracle-shares`)
  const items = page.items(MOST_ITEMS).map((item) => readItem(item, { ...claims, publicKey: undefined }, label))
  const { publicKey } = claims
  const wanted = items.filter(({ exit }) => publicKey === undefined || toHex(exit.publicKey) === toHex(publicKey))
  if (wanted.length === 0)
    throw unreadable(`${label}: it holds no share${items.length > 0 ? ' of that validator' : ''}`)
  return { items: wanted }
}

/** The whole set in a file. @throws {InputError} unreadable, also for what is no whole set */
export function readShareSet(text: string, label: string, claims: Claims): ShareSet {
  return readSet(openJson(text, label), claims, label)
}

/** The oracle config as it lies on IPFS. @throws {InputError} unreadable, with the reason */
export function readConfig(text: string, label: string): OracleConfig {
  try {
    return parseOracleConfig(openJson(text, label).value)
  } catch (error) {
    throw unreadable(`${label}: ${(error as Error).message.replace(`${label}: `, '')}`)
  }
}

/** A decrypted share: hex of 96 bytes. @throws {InputError} unreadable */
export function readPlainShare(text: string, label: string): Uint8Array {
  const share = parseHex(text.trim(), 96)
  if (share === undefined) throw unreadable(`${label}: it must be a decrypted share, hex of 96 bytes`)
  return share
}

/**
 * An owner's copy: the ciphertext as hex, or an item or a page of the relayer's answer around it; of a page the one that is claimed.
 *
 * @throws {InputError} unreadable
 */
export function readOwnerCopy(text: string, label: string, claims: Claims): OwnerCopy {
  const bare = parseHex(text.trim())
  const file = bare === undefined ? findOwnerCopy(openJson(text, label), label, claims) : undefined
  const field = <T>(name: string, read: (found: JsonField) => T): T | undefined =>
    file === undefined ? undefined : optional(file.get(name), read)
  const publicKey = field('public_key', (found) => found.hex(48)) ?? claims.publicKey
  if (publicKey === undefined) throw unreadable(`${label}: it does not name its validator: give --public-key`)
  return {
    publicKey,
    validatorIndex: field('validator_index', (found) => found.integer(0)),
    epoch: field('epoch', (found) => found.integer(0)) ?? claims.epoch,
    ownerPublicKey: field('owner_public_key', (found) => found.hex(65)),
    ciphertext: bare ?? (file === undefined ? new Uint8Array() : readHex(file.get('ciphertext'))),
  }
}

/** The copy that is meant: the file itself, or the only one of a page that is of the validator and index claimed. */
function findOwnerCopy(file: JsonField, label: string, { publicKey, validatorIndex }: Claims): JsonField {
  if (file.get('owner_copies').absent) return file
  const wanted = file
    .get('owner_copies')
    .items(MOST_ITEMS)
    .filter((item) => publicKey === undefined || toHex(item.get('public_key').hex(48)) === toHex(publicKey))
    .filter((item) => validatorIndex === undefined || item.get('validator_index').value === validatorIndex)
  const [first, second] = wanted
  if (first === undefined) throw unreadable(`${label}: it holds no copy of that validator`)
  if (second === undefined) return first
  throw unreadable(
    `${label}: it holds ${wanted.length} copies: give --public-key, and --validator-index where that is not enough`,
  )
}

/** Bytes of a hex text of any length. */
function readHex(field: JsonField): Uint8Array {
  const bytes = parseHex(field.text(65_536))
  if (bytes === undefined) throw field.fault('must be hex')
  return bytes
}

/** A signed exit of the beacon API. */
export interface SignedExit {
  epoch: number
  validatorIndex: number
  signature: Uint8Array
}

/** `SignedVoluntaryExit` from what an owner's copy holds; undefined when it is none. Says nothing of the text: it holds a signature. */
export function parseSignedExit(plaintext: Uint8Array): SignedExit | undefined {
  const fault = () => new Error()
  const number = (field: JsonField) => {
    const value = Number(field.uint64Text())
    if (!Number.isSafeInteger(value)) throw fault()
    return value
  }
  try {
    const file = new JsonField(parseJson(new TextDecoder().decode(plaintext), SMALL_JSON, fault), '', fault)
    const message = file.get('message')
    return {
      epoch: number(message.get('epoch')),
      validatorIndex: number(message.get('validator_index')),
      signature: file.get('signature').hex(96),
    }
  } catch {
    return undefined
  }
}
