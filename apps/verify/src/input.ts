/** Files and standard input. Errors name the option and the file, never what stands in it. */

import { messageOf, reasonOf, TextError } from '@dvt-relayer/common/errors.ts'
import { decodeText, readBytesSync } from '@dvt-relayer/common/files/text-file.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { addressOfSecretKey } from '@dvt-relayer/crypto/address.ts'
import { KeystoreError } from '@dvt-relayer/crypto/keystores/eip2335-format.ts'
import { decryptWeb3Keystore } from '@dvt-relayer/crypto/keystores/web3-keystore.ts'
import { unreadable, usage } from './errors.ts'
import { MAX_FILE_BYTES } from './read.ts'

/** Reads the file that an option names; `-` is standard input. */
export type ReadFile = (option: string, path: string) => Promise<Uint8Array>

async function readStream(stream: AsyncIterable<Uint8Array>, option: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > MAX_FILE_BYTES) throw unreadable(`--${option}: standard input is too large to be what it should`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** How errors call a file. */
export const labelOf = (path: string): string => (path === '-' ? 'standard input' : path)

/** The text of what was read from `path`. @throws {InputError} unreadable: it is of another encoding */
export function textOf(bytes: Uint8Array, path: string): string {
  try {
    return decodeText(bytes)
  } catch (error) {
    throw unreadable(`${labelOf(path)} ${messageOf(error)}`)
  }
}

/** A reader of files. */
export function createReadFile(stdin: AsyncIterable<Uint8Array>): ReadFile {
  return async (option, path) => {
    if (path === '-') return await readStream(stdin, option)
    try {
      return readBytesSync(path, MAX_FILE_BYTES)
    } catch (error) {
      if (error instanceof TextError) throw unreadable(`--${option}: ${path} is too large to be what it should`)
      throw unreadable(`--${option}: ${path} cannot be read (${reasonOf(error)})`)
    }
  }
}

/** The secp256k1 key in a file: 32 bytes. */
export async function readSecretKey(
  read: ReadFile,
  path: string,
  passwordPath: string | undefined,
): Promise<Uint8Array> {
  const text = textOf(await read('key-file', path), path).trim()
  if (text.startsWith('{')) return await openKeystore(text, path, passwordPath, read)
  const key = parseHex(text, 32)
  try {
    if (key !== undefined && addressOfSecretKey(key).length > 0) return key
  } catch {
    // No key of the curve: said below, as for every other text.
  }
  throw unreadable(`--key-file: ${labelOf(path)} must hold a secp256k1 key, 32 bytes of hex, or a Web3 keystore`)
}

async function openKeystore(
  text: string,
  path: string,
  passwordPath: string | undefined,
  read: ReadFile,
): Promise<Uint8Array> {
  if (passwordPath === undefined) throw usage(`--key-file: ${labelOf(path)} is a keystore: give --password-file`)
  try {
    return await decryptWeb3Keystore(text, await read('password-file', passwordPath))
  } catch (error) {
    if (error instanceof KeystoreError) throw unreadable(`--key-file: ${labelOf(path)}: ${error.message}`)
    throw error
  }
}
