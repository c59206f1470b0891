import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { KeysharesError, type KeysharesItem } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'
import { operatorKeyFingerprint } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  asBootError,
  checkProofs,
  findProofsFiles,
  findStranger,
  listKeysharesFiles,
  readKeysharesFile,
} from './keyshares-files.ts'

function makeFolder(...names: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'dvt-keyshares-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const name of names) writeFileSync(join(folder, name), '{}')
  return folder
}

describe('what an entry of SSV_KEYSHARES_FILES names', () => {
  it('is a file of any name, or those of a folder that are called so', async () => {
    const folder = makeFolder('keyshares-b.json', 'keyshares-a.json', 'keyshares.json.bak', 'proofs.json', 'any.json')
    const file = join(folder, 'any.json')
    expect(await listKeysharesFiles(file)).toEqual([file])
    const names = ['keyshares-a.json', 'keyshares-b.json'].map((name) => join(folder, name))
    expect(await listKeysharesFiles(folder)).toEqual(names)
    expect(await listKeysharesFiles(makeFolder('keyshares.json'))).toHaveLength(1)
  })

  it('is refused where there is nothing of the kind', async () => {
    await expect(listKeysharesFiles(makeFolder('proofs.json'))).rejects.toMatchObject({ code: 'KEYSHARES_MISSING' })
    const gone = join(makeFolder(), 'gone')
    const unreadable = {
      code: 'KEYSHARES_UNREADABLE',
      message: expect.stringMatching(`^${gone} cannot be read .*SSV_KEYSHARES_FILES`),
    }
    await expect(listKeysharesFiles(gone)).rejects.toMatchObject(unreadable)
    await expect(readKeysharesFile(gone)).rejects.toMatchObject(unreadable)
  })
})

describe('the proofs of a keyshares file', () => {
  it('are those that are named, else those beside it', () => {
    const folder = makeFolder('keyshares.json', 'proofs.json')
    const file = join(folder, 'keyshares.json')
    expect(findProofsFiles(file, [])).toEqual([join(folder, 'proofs.json')])
    expect(findProofsFiles(file, ['/named'])).toEqual(['/named'])
    expect(findProofsFiles(join(makeFolder(), 'keyshares.json'), [])).toEqual([])
  })

  it('must be there where a file is named, and nothing has to be proven without any', async () => {
    const item = { publicKey: new Uint8Array(48), operators: [] } as unknown as KeysharesItem
    await checkProofs([item], [])
    const empty = join(makeFolder(), 'proofs.json')
    writeFileSync(empty, '[]')
    await expect(checkProofs([item], [empty])).rejects.toBeInstanceOf(KeysharesError)
    await expect(checkProofs([item], ['/gone'])).rejects.toMatchObject({
      code: 'KEYSHARES_UNREADABLE',
      message: expect.stringContaining('SSV_PROOFS_FILES'),
    })
  })
})

it('an operator is a stranger where the contract has another key of it, and no other one is', () => {
  const [key, other] = [Uint8Array.of(1), Uint8Array.of(2)]
  const operators = [1, 2].map((id) => ({ id, publicKey: key })) as unknown as KeysharesItem['operators']
  const chain = (...known: [number, Uint8Array][]) => ({
    operators: new Map(known.map(([id, publicKey]) => [id, operatorKeyFingerprint(publicKey)])),
  })
  expect(findStranger({ operators }, chain([1, key], [2, other]))).toBe(operators[1])
  expect(findStranger({ operators }, chain([1, key], [2, key]))).toBeUndefined()
  expect(findStranger({ operators }, chain([3, other]))).toBeUndefined()
  expect(findStranger({ operators }, undefined)).toBeUndefined()
})

it('a fault of a file ends the boot in its own words, and nothing else is taken for one', () => {
  const boot = new BootError('KEYSHARES_MISSING', 'none')
  expect(asBootError(boot)).toBe(boot)
  const file = new KeysharesError('KEYSHARES_MALFORMED', 'a.json', 'version', 'is odd')
  expect(asBootError(file)).toMatchObject({ code: 'KEYSHARES_MALFORMED', message: file.message })
  expect(() => asBootError(new TypeError('ours'))).toThrow(TypeError)
})
