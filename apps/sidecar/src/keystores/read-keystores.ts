/** Reads and decrypts the keystores of a folder, a few at a time. */

import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls.ts'
import { decryptKeystore } from '@dvt-relayer/crypto/eip2335.ts'
import { isWeakKdf, parseKeystore } from '@dvt-relayer/crypto/eip2335-format.ts'

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

/** After this many unreadable keystores the rest is not tried. */
const MAX_PROBLEMS = 5

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

/**
 * Decrypts keystores, `concurrency` at a time (key derivation runs on libuv's threads, not on the event loop).
 *
 * @param onOpened told after each
 * @throws {BootError} KEYSTORE_UNREADABLE, with each file and its fault, after the first five
 */
export async function openKeystores(
  files: readonly string[],
  engine: BlsEngine,
  options: { concurrency: number; signal: AbortSignal; onOpened(): void },
): Promise<OpenedKeystore[]> {
  const opened: (OpenedKeystore | undefined)[] = []
  const problems: string[] = []
  let next = 0
  const work = async () => {
    while (next < files.length && problems.length < MAX_PROBLEMS && !options.signal.aborted) {
      const place = next++
      const file = files[place] ?? ''
      try {
        opened[place] = await openKeystore(file, engine)
        options.onOpened()
      } catch (error) {
        problems.push(`${file}: ${error instanceof BootError ? error.message : withoutPrefix(messageOf(error))}`)
      }
    }
  }
  await Promise.all(Array.from({ length: options.concurrency }, work))
  const keystores = opened.filter((keystore) => keystore !== undefined)
  if (problems.length === 0) return keystores
  for (const { secretKey } of keystores) secretKey.fill(0)
  const more = problems.length >= MAX_PROBLEMS ? '\n  - … the others were not tried' : ''
  throw new BootError(
    'KEYSTORE_UNREADABLE',
    `keystores that cannot be opened:\n${problems.map((line) => `  - ${line}`).join('\n')}${more}`,
  )
}

async function openKeystore(file: string, engine: BlsEngine): Promise<OpenedKeystore> {
  const passwordFile = file.replace(/\.json$/, '.txt')
  const json = await read(file)
  const { crypto, publicKey: stated } = parseKeystore(json.toString('utf8'))
  const password = await read(passwordFile)
  try {
    const secretKey = await decryptKeystore(json.toString('utf8'), password)
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

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw new BootError('KEYSTORE_UNREADABLE', `${basename(file)} cannot be read (${reasonOf(error)})`)
  }
}

const withoutPrefix = (message: string) => message.replace(/^keystore: /, '')

/** The system's code, such as ENOENT. */
function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : messageOf(error)
}
