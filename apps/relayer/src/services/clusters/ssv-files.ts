/** The keyshares files of SSV_KEYSHARES_FILES, read at boot: which of their validators count, and which split of each. */

import {
  asBootError,
  checkProofs,
  type FileItem,
  findProofsFiles,
  listKeysharesFiles,
  originOf,
  readKeysharesFile,
} from '@dvt-relayer/chain/ssv/keyshares-files.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { KeysharesItem } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import type { RelayerConfig } from '../../config.ts'

/**
 * The validators of all keyshares files, and how many of them are of other owners than those that count. Their proofs are checked;
 * points, polynomial and owner signature are not.
 *
 * @throws {BootError} KEYSHARES_UNREADABLE, KEYSHARES_MISSING, KEYSHARES_MALFORMED, KEYSHARES_DUPLICATE, PROOF_MISSING, PROOF_INVALID
 */
export async function readKeysharesFiles({ owners, keysharesFiles, proofsFiles }: RelayerConfig['ssv']): Promise<{
  items: FileItem[]
  otherOwners: number
}> {
  try {
    const files: string[] = []
    for (const path of keysharesFiles) files.push(...(await listKeysharesFiles(path)))
    const all: FileItem[] = []
    for (const file of files) {
      const items = await readKeysharesFile(file)
      await checkProofs(items, findProofsFiles(file, proofsFiles))
      all.push(...items.map((item) => ({ file, item })))
    }
    const items = all.filter(
      ({ item }) => owners.length === 0 || owners.some((owner) => equalBytes(owner, item.ownerAddress)),
    )
    return { items, otherOwners: all.length - items.length }
  } catch (error) {
    throw asBootError(error)
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
