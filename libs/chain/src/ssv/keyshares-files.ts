/** Keyshares files of SSV validators on disk, with the proofs of a DKG where there are any (docs/protocol.md#12-ssv). */

import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { LARGE_FILE_BYTES, readText } from '@dvt-relayer/common/files/text-file.ts'
import { parseProofsFile, verifyProofs } from '@dvt-relayer/crypto/ssv/dkg-proofs.ts'
import {
  KeysharesError,
  type KeysharesItem,
  type KeysharesOperator,
  parseKeysharesFile,
} from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import { operatorKeyFingerprint } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { SsvState } from './registry.ts'

/** One validator of a keyshares file. */
export interface FileItem {
  readonly file: string
  readonly item: KeysharesItem
}

/** How messages name where an item stands. */
export const originOf = ({ file, item }: FileItem): string => `${file} ${item.field}`.trimEnd()

/**
 * The files that an entry of SSV_KEYSHARES_FILES names: itself, or the `keyshares*.json` of a folder in the order of their names.
 *
 * @throws {BootError} KEYSHARES_UNREADABLE, KEYSHARES_MISSING
 */
export async function listKeysharesFiles(path: string): Promise<string[]> {
  let names: string[]
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    names = (await readdir(path)).filter((name) => /^keyshares.*\.json$/.test(name)).sort()
  } catch (error) {
    throw unreadable(path, 'SSV_KEYSHARES_FILES', error)
  }
  if (names.length === 0)
    throw new BootError(
      'KEYSHARES_MISSING',
      `the folder ${path} of SSV_KEYSHARES_FILES holds no keyshares*.json: name the right one`,
    )
  return names.map((name) => join(path, name))
}

/**
 * The validators of a file. Nothing of them is verified.
 *
 * @throws {BootError} KEYSHARES_UNREADABLE; {KeysharesError} KEYSHARES_MALFORMED, KEYSHARES_DUPLICATE
 */
export async function readKeysharesFile(file: string): Promise<KeysharesItem[]> {
  return parseKeysharesFile(await readNamed(file, 'SSV_KEYSHARES_FILES'), { file })
}

/** The proofs that a keyshares file must stand up to: those of SSV_PROOFS_FILES, else the `proofs.json` beside it; none where there is none. */
export function findProofsFiles(file: string, named: readonly string[]): readonly string[] {
  if (named.length > 0) return named
  const beside = join(dirname(file), 'proofs.json')
  return existsSync(beside) ? [beside] : []
}

/**
 * Checks that these files prove every one of the validators. Without files nothing has to be proven.
 *
 * @throws {BootError} KEYSHARES_UNREADABLE; {KeysharesError} KEYSHARES_MALFORMED, PROOF_MISSING, PROOF_INVALID
 */
export async function checkProofs(items: readonly KeysharesItem[], proofsFiles: readonly string[]): Promise<void> {
  if (proofsFiles.length === 0) return
  const proofs = []
  for (const file of proofsFiles) proofs.push(...parseProofsFile(await readNamed(file, 'SSV_PROOFS_FILES'), { file }))
  verifyProofs(items, proofs, { file: proofsFiles.join(', ') })
}

/**
 * An operator that a file gives another key than the SSV contract does; undefined where there is none, and for operators that the chain
 * does not know. The proofs of a file are by the operator keys that it names, so these must be the right ones.
 */
export function findStranger(
  { operators }: Pick<KeysharesItem, 'operators'>,
  state: Pick<SsvState, 'operators'> | undefined,
): KeysharesOperator | undefined {
  return operators.find(({ id, publicKey }) => {
    const known = state?.operators.get(id)
    return known !== undefined && known !== operatorKeyFingerprint(publicKey)
  })
}

/** What is wrong with a file as an error of the boot. @throws what is no fault of a file */
export function asBootError(error: unknown): BootError {
  if (error instanceof BootError) return error
  if (error instanceof KeysharesError) return new BootError(error.code, error.message, { cause: error })
  throw error
}

async function readNamed(file: string, setting: string): Promise<string> {
  try {
    return await readText(file, LARGE_FILE_BYTES)
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
