/** The bundled apps of the images, in a folder that has what an image has, do what the sources do. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { ROOT, run } from '../../support/deploy/tools.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { programFile } from '../../support/runner/programs.ts'
import { startProcess, startProgram } from '../../support/services/process.ts'
import { postValidators, untilShares } from '../../support/world/nodes.ts'
import { startWorld, type World } from '../../support/world/world.ts'

const cluster = loadFixtureCluster('cluster-4')
let image = ''
let world: World

beforeAll(async () => {
  image = mkdtempSync(join(tmpdir(), 'image-'))
  run(process.execPath, ['deploy/bundle.ts', image], { cwd: ROOT })
  // What the images' file copies beside the bundle.
  for (const name of ['package.json', 'migrations', 'node_modules']) symlinkSync(join(ROOT, name), join(image, name))
  world = await startWorld()
}, 120_000)
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  if (image !== '') rmSync(image, { recursive: true, force: true })
})

/** Starts a bundled app; the flags are those of the image. */
function startBundled(
  app: 'relayer' | 'sidecar',
  environment: Record<string, string | undefined>,
  args: string[] = [],
) {
  const program = startProgram(app, [join(image, 'apps', app, 'dist/main.js'), ...args], {
    LOG_FORMAT: 'json',
    ...environment,
  })
  onTestFinished(() => program[Symbol.asyncDispose]())
  return program
}

it('makes an exit ready, on an embedded PostgreSQL that commands may read, and stops when it is told to', {
  timeout: 300_000,
}, async () => {
  const dataDir = join(image, 'data')
  mkdirSync(dataDir)
  const settings = world.environment({
    DATABASE_URL: '',
    SEALING_KEY: '',
    DATA_DIR: dataDir,
    CLUSTER_LOCK_FILES: cluster.nodes[0]?.lockFile,
    SIGNATURE_THRESHOLD: String(cluster.expected.threshold),
  })
  const relayer = startBundled('relayer', settings)
  const { url } = (await relayer.logged('relayer started')) as { url: string }
  const key = String(cluster.expected.validators[0]?.public_key)
  await postValidators(url, [key])
  for (const node of cluster.nodes.slice(0, cluster.expected.threshold))
    startBundled('sidecar', {
      NETWORK: world.network.name,
      RELAYER_ENDPOINT: url,
      OBOL_KEYSTORES_DIR: node.keystoresDir,
      OBOL_CLUSTER_LOCK_FILE: node.lockFile,
    })
  await untilShares(url, [key])
  const command = startProcess('relayer', { ...settings, LOG_LEVEL: 'error' }, ['explain', '--json', key])
  expect(await command.ended).toBe(0)
  expect(JSON.parse(command.output())).toMatchObject({ public_key: key, verdict: { code: 'READY' } })
  expect(await relayer.end('SIGTERM')).toBe(0)
})

it.skipIf(process.env['DVT_TEST_PROGRAMS'] === '')('is what tests start', () => {
  for (const source of ['apps/relayer/src/main.ts', 'apps/sidecar/src/main.ts']) {
    const file = programFile(source)
    expect(file).toMatch(/dist\/main\.js$/)
    expect(readFileSync(file).equals(readFileSync(join(image, file.slice(file.indexOf('apps/')))))).toBe(true)
  }
  expect(programFile('test/support/services/quick-relayer.ts')).toMatch(/\.js$/)
})

it.each(['relayer/dist/main.js', 'relayer/dist/worker.js', 'relayer/dist/import-worker.js', 'sidecar/dist/main.js'])(
  '%s is ASCII, where a single other character makes every one take two bytes of memory, and without the word lists of wallets',
  (program) => {
    const text = readFileSync(join(image, 'apps', program), 'utf8')
    const other = text.search(/[^\0-\x7f]/)
    expect(other < 0 ? undefined : text.slice(Math.max(0, other - 60), other + 60)).toBeUndefined()
    expect(text).not.toContain('abaisser')
  },
)

it.each(['relayer', 'sidecar'])('has a map that finds a line of the %s in the sources', (app) => {
  const folder = join(image, 'apps', app, 'dist')
  const before = readFileSync(join(folder, 'main.js'), 'utf8').split('process.exitCode=await')[0]?.split('\n') ?? []
  const map = JSON.parse(readFileSync(join(folder, 'main.js.map'), 'utf8')) as SourceMapPayload
  const entry = new SourceMap(map).findEntry(before.length - 1, before.at(-1)?.length ?? 0)
  if (!('originalSource' in entry)) throw new Error(`line ${before.length} of the bundle is of nothing`)
  expect(resolve(folder, entry.originalSource)).toContain(`apps/${app}/src/main.ts`)
  const source = readFileSync(join(ROOT, 'apps', app, 'src/main.ts'), 'utf8').split('\n')
  expect(source[entry.originalLine]).toContain('process.exitCode = await')
})
