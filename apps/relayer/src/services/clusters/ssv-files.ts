/** Keyshares files of SSV validators (docs/protocol.md#12-ssv), with the proofs of a DKG where there are any: read at boot. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { parseProofsFile, verifyProofs } from '@dvt-relayer/crypto/ssv/dkg-proofs.ts'
import { KeysharesError, type KeysharesItem, parseKeysharesFile } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import type { RelayerConfig } from '../../config.ts'

/** One validator of a file. Its proofs are checked; points, polynomial and owner signature are not. */
export interface FileItem {
  readonly file: string
  readonly item: KeysharesItem
}

/** How messages name where an item stands. */
export const originOf = ({ file, item }: FileItem): string => `${file} ${item.field}`

/**
 * The validators of all keyshares files, and how many of them are of other owners than those that count.
 *
 * @throws {BootError} KEYSHARES_UNREADABLE, KEYSHARES_MISSING, KEYSHARES_MALFORMED, KEYSHARES_DUPLICATE, PROOF_MISSING, PROOF_INVALID
 */
export function readKeysharesFiles({ owners, keysharesFiles, proofsFiles }: RelayerConfig['ssv']): {
  items: FileItem[]
  otherOwners: number
} {
  try {
    const all = keysharesFiles.flatMap(filesOf).flatMap((file) => readFile(file, proofsFiles))
    const items = all.filter(
      ({ item }) => owners.length === 0 || owners.some((owner) => equalBytes(owner, item.ownerAddress)),
    )
    return { items, otherOwners: all.length - items.length }
  } catch (error) {
    if (error instanceof KeysharesError) throw new BootError(error.code, error.message, { cause: error })
    throw error
  }
}

/**
 * Of each validator the item that counts: the one with the highest owner nonce, since an owner who splits a key again means the
 * later split.
 *
 * @throws {BootError} KEYSHARES_AMBIGUOUS naming both places, where two owners, or two splits under one nonce, claim one validator
 */
export function newestItems(items: readonly FileItem[]): FileItem[] {
  const newest = new Map<string, FileItem>()
  for (const item of items) {
    const key = toHex(item.item.publicKey)
    const other = newest.get(key)
    if (other !== undefined && contradict(other.item, item.item))
      throw new BootError(
        'KEYSHARES_AMBIGUOUS',
        `${originOf(other)} and ${originOf(item)} say different things of the validator ${key} of SSV_KEYSHARES_FILES: keep the one that is registered`,
      )
    if (other === undefined || item.item.ownerNonce > other.item.ownerNonce) newest.set(key, item)
  }
  return [...newest.values()]
}

const contradict = (a: KeysharesItem, b: KeysharesItem) =>
  !equalBytes(a.ownerAddress, b.ownerAddress) ||
  (a.ownerNonce === b.ownerNonce && !equalBytes(a.data.bytes, b.data.bytes))

function readFile(file: string, named: readonly string[]): FileItem[] {
  const items = parseKeysharesFile(readText(file, 'SSV_KEYSHARES_FILES'), { file })
  const beside = join(dirname(file), 'proofs.json')
  const proofsFiles = named.length > 0 ? named : existsSync(beside) ? [beside] : []
  if (proofsFiles.length > 0) {
    const proofs = proofsFiles.flatMap((name) => parseProofsFile(readText(name, 'SSV_PROOFS_FILES'), { file: name }))
    verifyProofs(items, proofs, { file: proofsFiles.join(', ') })
  }
  return items.map((item) => ({ file, item }))
}

/** The files that an entry of SSV_KEYSHARES_FILES names. */
function filesOf(path: string): string[] {
  let names: string[]
  try {
    if (!statSync(path).isDirectory()) return [path]
    names = readdirSync(path).filter((name) => /^keyshares.*\.json$/.test(name))
  } catch (error) {
    throw unreadable(path, 'SSV_KEYSHARES_FILES', error)
  }
  if (names.length === 0)
    throw new BootError(
      'KEYSHARES_MISSING',
      `the folder ${path} of SSV_KEYSHARES_FILES holds no keyshares*.json: name the right one`,
    )
  return names.sort().map((name) => join(path, name))
}

function readText(file: string, setting: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw unreadable(file, setting, error)
  }
}

const unreadable = (path: string, setting: string, error: unknown) =>
  new BootError(
    'KEYSHARES_UNREADABLE',
    `${path} cannot be read (${reasonOf(error)}); ${setting} must name files this user may read`,
    { cause: error },
  )
