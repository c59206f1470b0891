import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { operatorFiles } from '../../../../../test/support/keys/ssv.ts'
import { openOperators } from './operators.ts'

const { SSV_OPERATOR_KEY_FILE: plain } = operatorFiles(70001)
const { SSV_OPERATOR_KEY_FILE: encrypted } = operatorFiles(263)

let root = ''
const file = (name: string) => join(root, name)
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ssv-operators-'))
  await copyFile(plain, file('copy'))
  await writeFile(file('none'), 'no key')
  await writeFile(file('password'), 'secret')
})
afterAll(() => rm(root, { recursive: true, force: true }))

const open = (...files: [keyFile: string, passwordFile?: string][]) =>
  openOperators(
    files.map(([keyFile, passwordFile]) => ({ keyFile, passwordFile, operatorId: undefined })),
    { operatorKeyMislabelled: vi.fn() },
  )

describe('the key of an operator', () => {
  it('is opened without a password where its file has none', async () => {
    const [operator, ...more] = await open([plain])
    const publicKey = parseOperatorPublicKey(await readFile(plain.replace(/private_key$/, 'public_key'), 'utf8'))
    expect([operator?.source.keyFile, operator?.key.publicKey, more]).toEqual([plain, publicKey, []])
  })

  it('is one operator’s alone', async () => {
    await expect(open([plain], [file('copy')])).rejects.toMatchObject({
      ...{ code: 'OPERATOR_KEY_TWICE', message: `${plain} and ${file('copy')} hold the same operator key` },
    })
  })

  it.each<[string, () => [string, string?], RegExp]>([
    [
      'its file is away',
      () => [file('gone')],
      /^the operator key file .*gone cannot be read \(ENOENT\); SSV_OPERATOR_KEY_FILE /,
    ],
    [
      'its password file is away',
      () => [encrypted, file('gone')],
      /^the password file of the operator key .*gone cannot be read \(ENOENT\); SSV_OPERATOR_PASSWORD_FILE /,
    ],
    ['it wants a password', () => [encrypted], /cannot be opened: .*; name it with SSV_OPERATOR_PASSWORD_FILE$/],
    ['it is none', () => [file('none')], /^the operator key file .*none cannot be opened: [^;]*$/],
    [
      'it is none, for a password too',
      () => [file('none'), file('password')],
      /none cannot be opened: [^;]*; its password file is .*password$/,
    ],
  ])('is told by its file where %s', async (_, files, message) => {
    await expect(open(files())).rejects.toMatchObject({
      ...{ code: 'OPERATOR_KEY_UNREADABLE', message: expect.stringMatching(message) },
    })
  })
})
