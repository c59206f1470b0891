import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWallet } from './manager.ts'

interface Case {
  name: string
  password: string
  password_file_text: string
  private_key: string
  address: string
  keystore: Record<string, unknown>
}
const vectors = new URL('../../../../../test/fixtures/vectors/web3_keystore.json', import.meta.url)
const { cases } = JSON.parse(readFileSync(vectors, 'utf8')) as { cases: Case[] }
/** One that costs little. */
const [, first] = cases as [Case, Case]

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'dvt-wallet-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** The wallet of two files with this content; a content left out is a file that is not there. */
async function open(keystore: string | undefined, password: string | Uint8Array | undefined) {
  const folder = mkdtempSync(join(dir, 'files-'))
  const manager = { keyFile: join(folder, 'key.json'), passwordFile: join(folder, 'password.txt') }
  if (keystore !== undefined) writeFileSync(manager.keyFile, keystore)
  if (password !== undefined) writeFileSync(manager.passwordFile, password)
  return openWallet({ manager })
}

/** What the boot error says, its causes included. */
async function refusal(keystore: string | undefined, password: string | Uint8Array | undefined): Promise<string> {
  const error: unknown = await open(keystore, password).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(BootError)
  expect(error).toMatchObject({ code: 'MANAGER_KEY_INVALID' })
  const texts: string[] = []
  for (let next = error; next instanceof Error; next = next.cause) texts.push(next.message)
  return texts.join('\n')
}

describe('the wallet', () => {
  it('is none where none is set', async () => {
    expect(await openWallet({ manager: undefined })).toBeUndefined()
  })

  it.each(cases)('of another implementation: $name', async ({ keystore, password_file_text, address }) => {
    expect((await open(JSON.stringify(keystore), password_file_text))?.address).toBe(address)
  })

  it.each(['%s\n', '%s\r\n', ' \t%s ', '\n\n%s\n\n', '\ufeff%s\n'])('takes a password file like %j', async (form) => {
    expect((await open(JSON.stringify(first.keystore), form.replace('%s', first.password)))?.address).toBe(
      first.address,
    )
  })

  it('holds its key where nobody reads it', async () => {
    const wallet = await open(JSON.stringify(first.keystore), first.password_file_text)
    expect(JSON.stringify([wallet, Object.getOwnPropertyDescriptors(wallet)])).not.toContain(first.private_key.slice(2))
    expect(Object.keys(wallet ?? {}).toSorted()).toEqual(['address', 'addressBytes', 'sign'])
  })
})

describe('a wallet is refused', () => {
  const good = () => structuredClone(first.keystore) as { crypto: Record<string, unknown> } & Record<string, unknown>
  const secrets = [first.private_key.slice(2), String(good().crypto['ciphertext']), String(good().crypto['mac'])]
  const canary = `canary-${randomBytes(6).toString('hex')}`

  it.each<[string, string | undefined, string | Uint8Array | undefined, RegExp]>([
    ['wrong password', JSON.stringify(good()), canary, /PASSWORD_FILE .*MAC does not fit \(wrong password/],
    ['inner space', JSON.stringify(good()), `${first.password.slice(0, 3)} ${first.password.slice(3)}`, /MAC/],
    ['another case', JSON.stringify(good()), first.password.toUpperCase(), /MAC/],
    ['empty password file', JSON.stringify(good()), '', /MAC/],
    ['password that is no text', JSON.stringify(good()), new Uint8Array([0xff, 0xfe, 0x6d]), /not UTF-8 text/],
    ['no key file', undefined, first.password, /^VALIDATORS_MANAGER_KEY_FILE .* cannot be read \(ENOENT\)/],
    [
      'no password file',
      JSON.stringify(good()),
      undefined,
      /^VALIDATORS_MANAGER_PASSWORD_FILE .* cannot be read \(ENOENT\)/,
    ],
    ['not JSON', canary, first.password, /is not JSON/],
    ['a key in the open', first.private_key, first.password, /is not JSON|must be an object/],
    ['an empty file', '', first.password, /is not JSON/],
    ['a list', '[]', first.password, /must be an object/],
    ['another version', JSON.stringify({ ...good(), version: 4 }), first.password, /version is not 3/],
    ['no crypto', JSON.stringify({ ...good(), crypto: undefined }), first.password, /crypto must be an object/],
    [
      'another cipher',
      JSON.stringify({ ...good(), crypto: { ...good().crypto, cipher: canary } }),
      first.password,
      /crypto\.cipher/,
    ],
    [
      'too many rounds',
      JSON.stringify({
        ...good(),
        crypto: { ...good().crypto, kdfparams: { n: 2 ** 30, r: 8, p: 1, dklen: 32, salt: '00' } },
      }),
      first.password,
      /crypto\.kdfparams\.n/,
    ],
    ['another address', JSON.stringify({ ...good(), address: '00'.repeat(20) }), first.password, /address/],
    ['too large', JSON.stringify({ ...good(), more: 'x'.repeat(2 ** 20) }), first.password, /larger than/],
  ])('%s', async (_, keystore, password, words) => {
    const said = await refusal(keystore, password)
    expect(said).toMatch(words)
    expect(said).toMatch(/VALIDATORS_MANAGER_(KEY|PASSWORD)_FILE/)
    for (const secret of [...secrets, canary, first.password]) expect(said.replaceAll(dir, '')).not.toContain(secret)
  })
})
