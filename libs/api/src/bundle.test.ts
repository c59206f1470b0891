import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  BUNDLE_EXIT_CODES,
  type Bundle,
  type BundleError,
  MOST_ITEMS,
  makeBundle,
  makeSignedBundle,
  readBundle,
  readSignedBundle,
  writeBundle,
} from './bundle.ts'

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dvt-bundle-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const keyOf = (number: number) => `0x${number.toString(16).padStart(96, '0')}`
const VAULT = `0x${'8a'.repeat(20)}`
const LOCK = { kind: 'obol', lock_hash: `0x${'b8'.repeat(32)}` } as const
const ITEM = { public_key: keyOf(1), validator_index: 7 }
const DEPOSIT = { vault: VAULT, amount: 32_000_000_000, validator_type: '0x01' } as const
const OWNER = { network: 'hoodi', cluster: LOCK, share_index: 1, made_at: '2026-01-02T03:04:05Z' } as const
const bundle = makeBundle({ ...OWNER, exits: [ITEM], validators: [{ ...ITEM, ...DEPOSIT }] })
const signed = makeSignedBundle({
  ...OWNER,
  exits: [{ ...ITEM, exit_signature: `0x${'aa'.repeat(96)}` }],
  validators: [
    {
      ...ITEM,
      ...DEPOSIT,
      exit_signature: `0x${'aa'.repeat(96)}`,
      deposit_signature: `0x${'bb'.repeat(96)}`,
      public_key_shares: [{ share_index: 1, public_key_share: keyOf(2) }],
    },
  ],
})

/** Writes a text as a file, and says what reading it as a bundle ends with. */
async function faultOf(text: string, read: (path: string) => Promise<unknown> = readBundle) {
  const path = join(dir, 'fault.json')
  await writeFile(path, text)
  return read(path).then(
    () => undefined,
    ({ code, message }: BundleError) => ({ code, message: message.replace(path, 'FILE') }),
  )
}

/** The bundle with other contents, and the checksum they have. */
function made(change: object): string {
  const { sha256: _, ...rest } = bundle
  return JSON.stringify(makeBundle({ ...rest, ...change } as unknown as Parameters<typeof makeBundle>[0]))
}

describe('bundles', () => {
  it('are read as they were written, by their owner alone, with nothing left beside them', async () => {
    const path = join(dir, 'whole.json')
    await writeBundle(path, bundle)
    expect(await readBundle(path)).toEqual(bundle)
    await writeBundle(path, signed)
    expect(await readSignedBundle(path)).toEqual(signed)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await readdir(dir)).filter((name) => name.startsWith('whole'))).toEqual(['whole.json'])
    // A person reads it.
    expect((await readFile(path, 'utf8')).split('\n').length).toBeGreaterThan(20)
  })

  it('are written whole or not at all', async () => {
    const path = join(dir, 'missing', 'bundle.json')
    await expect(writeBundle(path, bundle)).rejects.toMatchObject({
      code: 'BUNDLE_BROKEN',
      message: `${path} cannot be written (ENOENT): nothing is in it, or what was before`,
    })
  })

  it('may be written otherwise, as long as they say the same', async () => {
    expect(await faultOf(JSON.stringify(bundle))).toBeUndefined()
    expect(await faultOf(`\u{feff}${JSON.stringify(bundle, undefined, 4)}\n\n`)).toBeUndefined()
  })

  it('that are cut off anywhere are no bundles', async () => {
    const text = `${JSON.stringify(bundle, undefined, 1)}\n`
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: text.length - 3 }), async (length) => {
        expect(await faultOf(text.slice(0, length))).toMatchObject({ code: 'BUNDLE_BROKEN' })
      }),
      { numRuns: 60 },
    )
  })

  it.each([
    ['an index', { exits: [{ ...ITEM, validator_index: 8 }] }],
    ['a vault', { validators: [{ ...ITEM, ...DEPOSIT, vault: `0x${'00'.repeat(20)}` }] }],
    ['the share index', { share_index: 2 }],
    ['the network', { network: 'mainnet' }],
    ['the cluster', { cluster: { kind: 'ssv' } }],
    ['an item that is gone', { validators: [] }],
  ])('with %s changed are refused by their checksum', async (_, change) => {
    expect(await faultOf(JSON.stringify({ ...bundle, ...change }))).toMatchObject({
      code: 'BUNDLE_CHANGED',
      message: expect.stringContaining('was changed after it was made'),
    })
    // Who changes the checksum as well has made another bundle, of which the policy is the judge.
    expect(await faultOf(made(change))).toBeUndefined()
  })

  it.each<[string, string]>([
    ['no JSON', 'bundle'],
    ['null', 'null'],
    ['a list', '[]'],
    ['another object', '{"format": "other"}'],
    ['an unknown field', made({ more: 1 })],
    ['an unknown field of an item', made({ exits: [{ ...ITEM, signature: '0x' }] })],
    ['a negative index', made({ exits: [{ ...ITEM, validator_index: -1 }] })],
    ['an index of a half', made({ exits: [{ ...ITEM, validator_index: 1.5 }] })],
    ['an index that JSON cannot carry', made({ exits: [{ ...ITEM, validator_index: 2 ** 60 }] })],
    ['a key in upper case', made({ exits: [{ ...ITEM, public_key: `0x${'AB'.repeat(48)}` }] })],
    ['a short key', made({ exits: [{ ...ITEM, public_key: '0x00' }] })],
    ['an unknown type', made({ validators: [{ ...ITEM, ...DEPOSIT, validator_type: '0x03' }] })],
    ['no amount', made({ validators: [{ ...ITEM, ...DEPOSIT, amount: 0 }] })],
    ['share index 0', made({ share_index: 0 })],
    ['a network with a path in it', made({ network: '../x' })],
    ['a cluster of another kind', made({ cluster: { kind: 'other' } })],
    ['a time with a line in it', made({ made_at: '2026-01-02T03:04:05Z\nsigned' })],
    ['a validator twice', made({ exits: [ITEM, { ...ITEM, validator_index: 8 }] })],
    [
      'too many validators',
      made({ exits: Array.from({ length: MOST_ITEMS + 1 }, (_, n) => ({ ...ITEM, public_key: keyOf(n) })) }),
    ],
    ['brackets without end', '['.repeat(100_000)],
    ['more values than there are', `[${'0,'.repeat(1_600_000)}0]`],
    ['UTF-16', String(Buffer.from(JSON.stringify(bundle), 'utf16le'))],
  ])('with %s are no bundles', async (_, text) => {
    const fault = await faultOf(text)
    expect(fault).toMatchObject({ code: 'BUNDLE_BROKEN' })
    expect(fault?.message).toMatch(/^FILE (is|cannot|names) .{5,250}$/)
  })

  it('that are missing or endless say so', async () => {
    await expect(readBundle(join(dir, 'nowhere.json'))).rejects.toMatchObject({
      code: 'BUNDLE_BROKEN',
      message: expect.stringContaining('cannot be read (ENOENT)'),
    })
    await expect(readBundle('/dev/zero')).rejects.toMatchObject({ code: 'BUNDLE_BROKEN' })
  })

  it('of another version ask for an update', async () => {
    expect(await faultOf(JSON.stringify({ ...bundle, version: 2, more: 1 }))).toEqual({
      code: 'BUNDLE_VERSION',
      message: 'FILE is a bundle of version 2, and this knows version 1: update this machine',
    })
  })

  it('that were not signed, or are signed already, say what to do', async () => {
    expect(await faultOf(JSON.stringify(signed))).toMatchObject({
      code: 'BUNDLE_BROKEN',
      message: 'FILE is signed already: hand it in with npm run relayer -- take-bundle',
    })
    expect(await faultOf(JSON.stringify(bundle), readSignedBundle)).toMatchObject({
      code: 'BUNDLE_BROKEN',
      message: 'FILE is not signed yet: sign it with npm run sidecar -- sign-bundle',
    })
  })

  it('have an exit code for each fault, beside those that every command has', () => {
    const codes = Object.values(BUNDLE_EXIT_CODES)
    expect(new Set(codes).size).toBe(codes.length)
    expect(codes.some((code) => [0, 1, 75].includes(code))).toBe(false)
  })

  it('hold as many validators as they may', async () => {
    const exits: Bundle['exits'] = Array.from({ length: MOST_ITEMS }, (_, n) => ({ ...ITEM, public_key: keyOf(n) }))
    const validators = exits.map((item) => ({ ...item, ...DEPOSIT }))
    const path = join(dir, 'large.json')
    await writeBundle(path, makeBundle({ ...OWNER, exits, validators }))
    expect((await readBundle(path)).validators.length).toBe(MOST_ITEMS)
  })
})
