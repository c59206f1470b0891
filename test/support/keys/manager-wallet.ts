/** A validators-manager wallet as its owner keeps it, a Web3 Secret Storage keystore and a password file; and its signature. */

import { createCipheriv, pbkdf2Sync, randomBytes, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Hex } from 'viem'
import { generatePrivateKey, privateKeyToAccount, privateKeyToAddress } from 'viem/accounts'
import { keccak256 } from 'viem/utils'

export interface ManagerWallet {
  /** Checksummed. */
  readonly address: Hex
  readonly privateKey: Hex
  readonly keyFile: string
  readonly passwordFile: string
}

/** Few, so that a test does not wait for them. */
const ROUNDS = 16

/** Makes a wallet with a random key and writes its two files into the folder. */
export async function makeManagerWallet(dir: string): Promise<ManagerWallet> {
  const privateKey = generatePrivateKey()
  const address = privateKeyToAddress(privateKey)
  const password = randomBytes(12).toString('base64url')
  const keyFile = join(dir, 'validators-manager.json')
  const passwordFile = join(dir, 'validators-manager-password.txt')
  await writeFile(keyFile, JSON.stringify(keystoreOf(privateKey, address, password)), { mode: 0o600 })
  // Editors leave a newline behind.
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  return { address, privateKey, keyFile, passwordFile }
}

/** The EIP-712 signature a vault takes, made by viem (docs/protocol.md#10-manager-signature). */
export function signValidators(
  privateKey: Hex,
  domain: { chainId: number; vault: Hex; version?: string },
  message: { root: Hex; validators: Hex },
): Promise<Hex> {
  const { chainId, vault, version = '1' } = domain
  return privateKeyToAccount(privateKey).signTypedData({
    domain: { name: 'VaultValidators', version, chainId, verifyingContract: vault },
    types: {
      VaultValidators: [
        { name: 'validatorsRegistryRoot', type: 'bytes32' },
        { name: 'validators', type: 'bytes' },
      ],
    },
    primaryType: 'VaultValidators',
    message: { validatorsRegistryRoot: message.root, validators: message.validators },
  })
}

/**
 * The keystore, version 3.
 *
 *     key = pbkdf2-sha256(password)    ciphertext = aes-128-ctr(key[0:16], iv, private key)
 *     mac = keccak256(key[16:32] ++ ciphertext)
 */
function keystoreOf(privateKey: Hex, address: Hex, password: string) {
  const [salt, iv] = [randomBytes(32), randomBytes(16)]
  const key = pbkdf2Sync(password, salt, ROUNDS, 32, 'sha256')
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), iv)
  const ciphertext = Buffer.concat([cipher.update(fromHex(privateKey, 32)), cipher.final()])
  return {
    version: 3,
    id: randomUUID(),
    address: address.slice('0x'.length).toLowerCase(),
    crypto: {
      cipher: 'aes-128-ctr',
      cipherparams: { iv: iv.toString('hex') },
      ciphertext: ciphertext.toString('hex'),
      kdf: 'pbkdf2',
      kdfparams: { c: ROUNDS, dklen: 32, prf: 'hmac-sha256', salt: salt.toString('hex') },
      mac: keccak256(Buffer.concat([key.subarray(16), ciphertext])).slice('0x'.length),
    },
  }
}
