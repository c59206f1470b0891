import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { expect, it, onTestFinished } from 'vitest'
import { openKey } from './wallet-key.ts'

const vectors = new URL('../../../../../test/fixtures/vectors/web3_keystore.json', import.meta.url)
const { cases } = JSON.parse(readFileSync(vectors, 'utf8')) as {
  cases: { password_file_text: string; private_key: string; keystore: object }[]
}

it('the key of a wallet is wiped once it was handed on, whatever comes of it', async () => {
  // One that costs little.
  const [, wallet] = cases
  const dir = mkdtempSync(join(tmpdir(), 'dvt-key-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const files = { keyFile: join(dir, 'key.json'), passwordFile: join(dir, 'password.txt') }
  writeFileSync(files.keyFile, JSON.stringify(wallet?.keystore))
  writeFileSync(files.passwordFile, wallet?.password_file_text ?? '')
  const settings = { key: 'KEY_FILE', password: 'PASSWORD_FILE', code: 'KEY_INVALID' }
  const { hex, key } = await openKey(files, settings, (key) => ({ hex: toHex(key), key }))
  expect(hex).toBe(toHex(Buffer.from(wallet?.private_key.replace(/^0x/, '') ?? '', 'hex')))
  expect(key).toEqual(new Uint8Array(32))

  let handed: Uint8Array = new Uint8Array()
  const refused = openKey(files, settings, (key) => {
    handed = key
    throw new Error('no wallet comes of it')
  })
  await expect(refused).rejects.toMatchObject({ code: 'KEY_INVALID' })
  expect(handed).toEqual(new Uint8Array(32))
})
