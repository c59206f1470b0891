/** `dvt-verify` as others get it: packed, installed elsewhere without a network, run as one file. */

import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeOracleShares } from '../../support/keys/oracle-shares.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'dvt-verify-'))
const home = join(folder, 'node_modules/dvt-verify')
const made = makeOracleShares()
const names = { config: 'config.json', set: 'set.json', key: 'oracle.key' }

interface Ended {
  code: number | string | null | undefined
  out: string
  err: string
}

/** Runs a program to its end. */
const run = (file: string, args: readonly string[], cwd: string): Promise<Ended> =>
  new Promise((resolve) => {
    execFile(file, args, { cwd, timeout: 240_000, maxBuffer: 1 << 24 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : error.code, out, err }),
    )
  })

/** Runs the installed program, which npm has linked as its bin, in the folder of the files. */
const verify = (...args: readonly string[]): Promise<Ended> =>
  run(process.execPath, [join(folder, 'node_modules/.bin/dvt-verify'), ...args], folder)

beforeAll(async () => {
  expect(await run('npm', ['run', '-s', 'build', '-w', 'dvt-verify'], ROOT)).toMatchObject({ code: 0, err: '' })
  const packed = await run('npm', ['pack', '-w', 'dvt-verify', '--json', '--pack-destination', folder], ROOT)
  expect(packed).toMatchObject({ code: 0 })
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  writeFileSync(join(folder, 'package.json'), '{"private": true}')
  const options = ['--offline', '--no-audit', '--no-fund', '--cache', join(folder, 'cache')]
  const installed = await run('npm', ['install', ...options, join(folder, tarball ?? '')], folder)
  expect(installed).toMatchObject({ code: 0 })
  writeFileSync(join(folder, names.config), made.text)
  writeFileSync(join(folder, names.set), JSON.stringify(made.set))
  writeFileSync(join(folder, names.key), toHex(made.secretKeys[2] ?? new Uint8Array()))
}, 300_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the package', () => {
  it('is one file, what is to be read about it, and no dependency', () => {
    expect(readdirSync(home, { recursive: true }).sort()).toEqual([
      'LICENSE',
      'README.md',
      'dist',
      'dist/dvt-verify.js',
      'package.json',
    ])
    expect(readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['dvt-verify'])
    const manifest = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
    for (const field of ['dependencies', 'peerDependencies', 'optionalDependencies'])
      expect(manifest).not.toHaveProperty(field)
    expect(manifest).toMatchObject({ license: 'Apache-2.0', bin: { 'dvt-verify': 'dist/dvt-verify.js' } })
  })

  it('imports nothing but Node, and carries nothing native', () => {
    const bundle = readFileSync(join(home, 'dist/dvt-verify.js'), 'utf8')
    const imported = [...bundle.matchAll(/^import (?:[^'"]*? from )?["']([^"']+)["']/gm)].map(([, name]) => name ?? '')
    expect(imported.length).toBeGreaterThan(0)
    expect(imported.filter((name) => !isBuiltin(name))).toEqual([])
    expect(bundle).not.toMatch(/createRequire|\brequire\(|\bimport\(/)
    const inside = [
      ...new Set(
        [...bundle.matchAll(/^\/\/ (?:\.\.\/)*node_modules\/((?:@[^/]+\/)?[^/\n]+)/gm)].map(([, name]) => name),
      ),
    ]
    expect(inside.sort()).toEqual(['@noble/curves', '@noble/hashes', 'multiformats'])
    expect(bundle).not.toMatch(/@chainsafe\/blst|from "viem|from "pg"|eciesjs\/dist/)
  })

  it('carries the licences of what is in it', () => {
    const bundle = readFileSync(join(home, 'dist/dvt-verify.js'), 'utf8')
    for (const name of ['@noble/curves', '@noble/hashes'])
      expect(bundle).toMatch(new RegExp(`/\\*\n${name}\n\nThe MIT License`))
    // Of the two licences it offers, Apache 2.0 is the package's own.
    expect(bundle).toContain('/*\nmultiformats\n\nThis project is dual licensed under MIT and Apache-2.0.')
  })
})

describe('the program', () => {
  const common = ['--network', 'mainnet', '--config', names.config]

  it('judges a share and a set, and says what it takes', async () => {
    const share = await verify('verify-share', ...common, '--share', names.set, '--key-file', names.key, '--json')
    expect({ code: share.code, verdict: JSON.parse(share.out).verdict }).toEqual({ code: 0, verdict: 'ok' })
    expect(await verify('verify-set', ...common, '--set', names.set)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^ok: /),
    })
    expect(await verify('--help')).toMatchObject({ code: 0, err: '' })
  })

  it('ends with 1 for a verdict against, with 2 for what it cannot read', async () => {
    const exit = await verify('verify-exit', ...common, '--set', names.set, '--key-file', names.key)
    expect(exit).toMatchObject({ code: 1, out: expect.stringMatching(/^not_enough: /) })
    expect(await verify('verify-set', ...common, '--set', names.key)).toMatchObject({ code: 2, out: '' })
  })
})
