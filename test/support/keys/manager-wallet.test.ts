import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { decryptWeb3Keystore } from '@dvt-relayer/crypto/keystores/web3-keystore.ts'
import { expect, it } from 'vitest'
import { makeManagerWallet } from './manager-wallet.ts'

it('leaves a wallet that can be read', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'manager-wallet-'))
  try {
    const { keyFile, passwordFile, privateKey, address } = await makeManagerWallet(dir)
    const keystore = await readFile(keyFile, 'utf8')
    expect(toHex(await decryptWeb3Keystore(keystore, await readFile(passwordFile)))).toBe(privateKey)
    expect(JSON.parse(keystore)).toMatchObject({ version: 3, address: address.slice(2).toLowerCase() })
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
