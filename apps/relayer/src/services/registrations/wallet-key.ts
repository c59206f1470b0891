/** The key of a wallet as its owner keeps it: a Web3 keystore, and a file with its password. */

import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { decodeText, readBytesSync } from '@dvt-relayer/common/files/text-file.ts'
import { decryptWeb3Keystore } from '@dvt-relayer/crypto/keystores/web3-keystore.ts'

/** The two files of a wallet, and the settings that name them. */
interface WalletFiles {
  keyFile: string
  passwordFile: string
}
interface WalletSettings {
  key: string
  password: string
  /** Code of the error. */
  code: string
}

/**
 * Reads a wallet's key and hands it to `make`; the key is wiped afterwards.
 *
 * @throws {BootError} with the names of the settings
 */
export async function openKey<T>(
  { keyFile, passwordFile }: WalletFiles,
  settings: WalletSettings,
  make: (key: Uint8Array) => T,
): Promise<T> {
  const read = <R>(file: string, name: string, take: (bytes: Buffer) => R): R => {
    try {
      return take(readBytesSync(file))
    } catch (error) {
      throw new BootError(settings.code, `${name} ${file} cannot be read (${reasonOf(error)})`, { cause: error })
    }
  }
  const keystore = read(keyFile, settings.key, decodeText)
  const password = read(passwordFile, settings.password, (bytes) => bytes)
  let key: Uint8Array | undefined
  try {
    key = await decryptWeb3Keystore(keystore, password)
    return make(key)
  } catch (error) {
    throw new BootError(
      settings.code,
      `${settings.key} ${keyFile} cannot be opened with ${settings.password} ${passwordFile}: ${messageOf(error)}`,
      { cause: error },
    )
  } finally {
    key?.fill(0)
    password.fill(0)
  }
}
