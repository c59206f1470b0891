/** The client library as others get it: packed, installed elsewhere without a network, its README's programs compiled and the calls made. */

import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestKeys } from '../../support/keys/keys.ts'
import { sidecarRound } from '../../support/world/nodes.ts'
import { hex, startWorld, type World } from '../../support/world/world.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'dvt-client-'))
const home = join(folder, 'node_modules/@dvt-relayer/client')
let world: World

/** Runs a program to its end. */
const run = (
  file: string,
  args: readonly string[],
  cwd: string,
): Promise<{ code: unknown; out: string; err: string }> =>
  new Promise((resolve) => {
    execFile(file, args, { cwd, timeout: 240_000, maxBuffer: 1 << 24 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : error.code, out, err }),
    )
  })
const pack = (what: string) =>
  run('npm', ['pack', what, '--ignore-scripts', '--json', '--pack-destination', folder], ROOT)

beforeAll(async () => {
  const build = ['run', '-s', 'build', '-w', '@dvt-relayer/client']
  expect(await run('npm', build, ROOT)).toMatchObject({ code: 0, err: '' })
  expect(await pack('./libs/client')).toMatchObject({ code: 0 })
  expect(await pack('./node_modules/typebox')).toMatchObject({ code: 0 })
  writeFileSync(join(folder, 'package.json'), '{"private": true, "type": "module"}')
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  const options = ['--offline', '--no-audit', '--no-fund', '--cache', join(folder, 'cache')]
  expect(await run('npm', ['install', ...options, ...tarballs.map((name) => `./${name}`)], folder)).toMatchObject({
    code: 0,
  })
  world = await startWorld()
}, 300_000)
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe('the package', () => {
  it('is one file with its types, and needs typebox alone', () => {
    expect(readdirSync(home).sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json'])
    const bundle = readFileSync(join(home, 'dist/index.js'), 'utf8')
    const imported = [...bundle.matchAll(/^import (?:[^'"]*? from )?["']([^"']+)["']/gm)].map(([, name]) => name ?? '')
    expect(imported.filter((name) => !isBuiltin(name) && !name.startsWith('typebox'))).toEqual([])
    expect(JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))).toMatchObject({
      license: 'Apache-2.0',
      dependencies: { typebox: expect.stringMatching(/^\d+\.\d+\.\d+$/) },
    })
  })

  it('has types by which the programs of its README compile, and a wrong field does not', async () => {
    const programs = [...readFileSync(join(home, 'README.md'), 'utf8').matchAll(/```ts\n(.*?)```/gs)].map(
      ([, text = '']) => text,
    )
    expect(programs).toHaveLength(3)
    const compilerOptions = {
      target: 'esnext',
      module: 'nodenext',
      strict: true,
      noEmit: true,
      pretty: false,
      // Nothing of the types is skipped, but for those of Node, which are this repository's.
      skipLibCheck: false,
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    }
    const wrong = (programs[0] ?? '').replace('validators_start_index', 'start_index')
    // Each is a module by itself, so that one run of the compiler judges them all.
    const files = [...programs.map((text, position) => [`program-${position}.ts`, text]), ['wrong.ts', wrong]]
    for (const [name = '', text = ''] of files) writeFileSync(join(folder, name), text)
    const settings = { compilerOptions, files: files.map(([name]) => name) }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings))
    const { code, out } = await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', '.'], folder)
    expect(code).not.toBe(0)
    // Lines that are indented say more of the error before them.
    const errors = out.trim().split(/\n(?=\S)/)
    expect(errors.filter((error) => !error.startsWith('wrong.ts('))).toEqual([])
    expect(errors.join('\n')).toContain('start_index')
  })

  it('asks a relayer: what is ready, what is refused, and what is not there', async () => {
    await using relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '1' })
    const validators = createTestKeys(1, { nodes: 1, threshold: 1 })
    const [key = ''] = validators.map(({ publicKey }) => hex(publicKey))
    writeFileSync(
      join(folder, 'ask.js'),
      `import { connectRelayer, followExits, untilExitsReady } from '@dvt-relayer/client'
const relayer = connectRelayer({ url: ${JSON.stringify(relayer.url)}, retryMs: 0 })
const signal = AbortSignal.timeout(120_000)
const ready = untilExitsReady(relayer, [${JSON.stringify(key)}], signal, 100)
for await (const exits of followExits(relayer, signal)) if (exits.length > 0) { console.log(JSON.stringify(exits[0].public_key)); break }
console.log((await ready).validators[0].oracles_exit_signature_shares.public_keys.length)
const wrong = { share_index: 1, shares: [{ public_key: 'no', exit_signature: 'no' }] }
console.log(await relayer.postExitSignature(wrong, signal).catch(({ code, failures }) => [code, failures[0].code].join(' ')))
console.log(await relayer.getExplanation('0x' + '11'.repeat(48), signal).catch(({ name, status, code }) => [name, status, code].join(' ')))
const away = connectRelayer({ url: 'http://127.0.0.1:1', retryMs: 0 })
console.log(await away.getInfo(signal).catch(({ name, code }) => [name, code].join(' ')))
`,
    )
    const asked = run(process.execPath, ['ask.js'], folder)
    // The node of this exit, once it was asked for.
    const signed = sidecarRoundWhenListed(relayer.url, validators)
    const { out, err } = await asked
    await signed
    expect([out.split('\n'), err]).toEqual([
      [
        JSON.stringify(key),
        String(world.oracles.length),
        'SHARES_WRONG PUBLIC_KEY_INVALID',
        expect.stringMatching(/^RelayerRefusal 40\d /),
        'HttpError HTTP_UNREACHABLE',
        '',
      ],
      '',
    ])
  }, 180_000)
})

async function sidecarRoundWhenListed(url: string, validators: ReturnType<typeof createTestKeys>): Promise<void> {
  const list = async () => ((await (await fetch(`${url}/exits`)).json()) as { exits: unknown[] }).exits
  while ((await list()).length === 0) await new Promise((resolve) => setTimeout(resolve, 100))
  await sidecarRound(url, world.network, validators, 1)
}
