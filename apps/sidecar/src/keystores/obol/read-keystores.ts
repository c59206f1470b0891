/** Reads and decrypts the keystores of a folder, a few at a time. */

import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { decodeText, readBytes } from '@dvt-relayer/common/files/text-file.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { decryptKeystore } from '@dvt-relayer/crypto/keystores/eip2335.ts'
import { isWeakKdf, parseKeystore } from '@dvt-relayer/crypto/keystores/eip2335-format.ts'

/** One decrypted keystore. */
export interface OpenedKeystore {
  /** Name of the file in its folder. */
  readonly file: string
  /** 32 bytes. */
  readonly secretKey: Uint8Array
  /** 48 bytes, derived from the secret key. */
  readonly publicKey: Uint8Array
  /** Cheap to guess (charon's `--insecure-keys`). */
  readonly isWeak: boolean
  /** The file names another public key than the one its secret key has. */
  readonly isMislabelled: boolean
}

/** The files of a folder that are named like keystores, in order of their numbers. @throws {BootError} KEYSTORES_MISSING */
export async function listKeystores(dir: string): Promise<string[]> {
  let entries: string[]
  try {
    entries = await readdir(dir)
  } catch (error) {
    throw new BootError(
      'KEYSTORES_MISSING',
      `the keystores folder ${dir} cannot be read (${reasonOf(error)}); OBOL_KEYSTORES_DIR must name a folder this user may read`,
      {
        cause: error,
      },
    )
  }
  const files = entries.filter((name) => /^keystore.*\.json$/.test(name))
  if (files.length === 0)
    throw new BootError(
      'KEYSTORES_MISSING',
      `the keystores folder ${dir} holds no keystore-*.json: name the right one with OBOL_KEYSTORES_DIR`,
    )
  const byNumber = new Intl.Collator('en', { numeric: true })
  return files.sort(byNumber.compare).map((name) => join(dir, name))
}

/** The file of a keystore's password. */
export const passwordFileOf = (file: string): string => file.replace(/\.json$/, '.txt')

/** What came of one file. */
export type KeystoreOutcome = { readonly keystore: OpenedKeystore } | { readonly problem: string }

/**
 * Decrypts keystores, `concurrency` at a time (key derivation runs on libuv's threads, not on the event loop).
 *
 * @param options `mostProblems`: after so many files that cannot be opened the others are not tried; `onOpened` is told after each
 * @returns by path what came of each file that was tried
 */
export async function openKeystores(
  files: readonly string[],
  engine: BlsEngine,
  options: { concurrency: number; mostProblems: number; signal: AbortSignal; onOpened(): void },
): Promise<Map<string, KeystoreOutcome>> {
  const outcomes = new Map<string, KeystoreOutcome>()
  let problems = 0
  let next = 0
  const work = async () => {
    while (next < files.length && problems < options.mostProblems && !options.signal.aborted) {
      const file = files[next++] ?? ''
      try {
        outcomes.set(file, { keystore: await openKeystore(file, engine) })
      } catch (error) {
        problems++
        outcomes.set(file, { problem: error instanceof BootError ? error.message : withoutPrefix(messageOf(error)) })
      }
      options.onOpened()
    }
  }
  await Promise.all(Array.from({ length: options.concurrency }, work))
  return outcomes
}

/** The error that names each of these files with its fault. */
export function unreadableKeystores(problems: ReadonlyMap<string, string>, isGivenUp: boolean): BootError {
  const lines = Array.from(problems, ([file, problem]) => `  - ${file}: ${problem}`)
  if (isGivenUp) lines.push('  - … the others were not tried')
  return new BootError('KEYSTORE_UNREADABLE', `keystores that cannot be opened:\n${lines.join('\n')}`)
}

async function openKeystore(file: string, engine: BlsEngine): Promise<OpenedKeystore> {
  const json = await read(file, decodeText)
  const { crypto, publicKey: stated } = parseKeystore(json)
  const password = await read(passwordFileOf(file), (bytes) => bytes)
  try {
    const secretKey = await decryptKeystore(json, password)
    const publicKey = engine.publicKeyOf(secretKey)
    return {
      file: basename(file),
      secretKey,
      publicKey,
      isWeak: isWeakKdf(crypto.kdf),
      isMislabelled: stated !== undefined && !equalBytes(stated, publicKey),
    }
  } finally {
    password.fill(0)
  }
}

async function read<T>(file: string, take: (bytes: Buffer) => T): Promise<T> {
  try {
    return take(await readBytes(file))
  } catch (error) {
    throw new BootError('KEYSTORE_UNREADABLE', `${basename(file)} cannot be read (${reasonOf(error)})`)
  }
}

const withoutPrefix = (message: string) => message.replace(/^keystore: /, '')
