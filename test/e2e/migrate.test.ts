/**
 * Whoever runs the existing relayer and sidecar starts ours in their place, with the `.env` files they have: every variable that the existing
 * ones know is set. docs/operating/migrate-from-python.md says what becomes of each; the table is held against protocol and settings.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SettingsSchema } from '@dvt-relayer/common/settings.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RELAYER_IGNORED, RELAYER_SETTINGS } from '../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../apps/sidecar/src/config.ts'
import { loadFixtureCluster } from '../support/keys/fixtures.ts'
import { startProcess } from '../support/services/process.ts'
import { postValidators, untilOracleSet, untilShares } from '../support/world/nodes.ts'
import { startWorld, type World } from '../support/world/world.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFile(new URL(path, root), 'utf8')

/** Names in backquotes of a paragraph of docs/protocol.md, which lists what existing software knows. */
async function namesOfExisting(app: 'Relayer' | 'Sidecar'): Promise<string[]> {
  const section = (await read('docs/protocol.md')).split('## 15. Settings')[1]?.split('\n## ')[0] ?? ''
  const paragraphs = section.split('\n\n')
  const own = paragraphs.find((paragraph) => paragraph.startsWith(`${app}: `)) ?? ''
  const ignored = paragraphs.find((paragraph) => paragraph.includes('accepted and')) ?? ''
  return [...`${own}${ignored}`.matchAll(/`([A-Z][A-Z0-9_]+)`/g)].map(([, name = '']) => name)
}

/** Rows of a table of the page: name, default of the existing software, what becomes of it. */
async function rowsOf(heading: string): Promise<{ name: string; before: string; here: string }[]> {
  const page = await read('docs/operating/migrate-from-python.md')
  const part = page.split(`## ${heading}`)[1]?.split('\n## ')[0] ?? ''
  return [...part.matchAll(/^\| `([A-Z_0-9]+)` \| (.*?) \| (.*) \|$/gm)].map(
    ([, name = '', before = '', here = '']) => ({
      name,
      before,
      here,
    }),
  )
}

describe.each([
  ['Relayer', 'The relayer, setting by setting', RELAYER_SETTINGS],
  ['Sidecar', 'A sidecar, setting by setting', SIDECAR_SETTINGS],
] as const)('the page on the %s', (app, heading, schema: SettingsSchema) => {
  it('has every setting of the existing one, and no other', async () => {
    const names = (await rowsOf(heading)).map(({ name }) => name)
    const more = app === 'Relayer' ? ['DEPOSIT_DATA_PATH'] : []
    expect(names.toSorted()).toEqual([...(await namesOfExisting(app)), ...more].toSorted())
  })

  it('says of each what the settings say', async () => {
    for (const { name, before, here } of await rowsOf(heading)) {
      const setting = schema[name]
      const isIgnored = (RELAYER_IGNORED as readonly string[]).includes(name)
      expect([name, setting === undefined, here.startsWith('ignored')]).toEqual([name, isIgnored, isIgnored])
      if (/^\d+$/.test(before)) expect([name, setting?.shown]).toEqual([name, before])
    }
  })
})

describe('on real processes', () => {
  const cluster = loadFixtureCluster('cluster-4')
  let world: World
  beforeAll(async () => {
    world = await startWorld({ oracles: 3, threshold: 2 })
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  /** A folder with a `.env` that sets these. */
  async function folderWith(name: string, values: Record<string, string>): Promise<string> {
    const folder = join(world.dir, name)
    await mkdir(folder)
    const lines = Object.entries(values).map(([variable, value]) => `${variable}=${value}`)
    await writeFile(join(folder, '.env'), `\uFEFF# as it was\r\n${lines.join('\r\n')}\r\n`)
    return folder
  }
  const IGNORED = {
    DATABASE: 'top-secret.db',
    VERBOSE: 'true',
    SENTRY_DSN: 'https://top-secret@sentry.example/1',
    SENTRY_ENVIRONMENT: 'top-secret',
    SENTRY_RELEASE: 'top-secret',
  }

  it('relayer and sidecar take what the existing ones ran with, say what they read and ignore, and work', async () => {
    const theirs = {
      NETWORK: world.network.name,
      RELAYER_HOST: '127.0.0.1',
      // Another one holds in the environment.
      RELAYER_PORT: '1',
      SIGNATURE_THRESHOLD: '3',
      EXECUTION_ENDPOINT: world.anvil.url,
      EXECUTION_TIMEOUT: '60',
      EXECUTION_RETRY_TIMEOUT: '60',
      CONSENSUS_ENDPOINT: world.beacon.url,
      CONSENSUS_TIMEOUT: '60',
      CONSENSUS_RETRY_TIMEOUT: '60',
      IPFS_FETCH_ENDPOINTS: world.ipfs.url,
      IPFS_TIMEOUT: '60',
      IPFS_RETRY_TIMEOUT: '120',
      GENESIS_VALIDATORS_IPFS_TIMEOUT: '300',
      GENESIS_VALIDATORS_IPFS_RETRY_TIMEOUT: '600',
      VALIDATOR_LIFETIME: '3600',
      VALIDATORS_MANAGER_KEY_FILE: '',
      VALIDATORS_MANAGER_PASSWORD_FILE: '',
      PUBLIC_KEYS_FILE: 'public_keys.txt',
      LOG_LEVEL: 'INFO',
      LOG_FORMAT: 'json',
      ...IGNORED,
      DEPOSIT_DATA_PATH: 'deposit_data.json',
    }
    expect(Object.keys(theirs)).toEqual(expect.arrayContaining(await namesOfExisting('Relayer')))
    const relayerFolder = await folderWith('relayer', theirs)
    const keys = cluster.expected.validators.map(({ public_key }) => public_key)
    await writeFile(join(relayerFolder, 'public_keys.txt'), `${keys.join('\n')}\n`)
    await using relayer = startProcess('relayer', { RELAYER_PORT: '0' }, [], relayerFolder)
    const url = String((await relayer.logged('relayer started'))['url'])
    const said = await relayer.logged('settings were read from a file in the working folder')
    expect(said).toMatchObject({
      file: join(relayerFolder, '.env'),
      set_in_the_environment: ['LOG_FORMAT', 'RELAYER_PORT'],
    })
    expect(said['names']).toEqual(expect.arrayContaining(['NETWORK', 'SENTRY_DSN', 'PUBLIC_KEYS_FILE']))
    for (const name of [...Object.keys(IGNORED), 'DEPOSIT_DATA_PATH'])
      expect(relayer.output()).toContain(`"${name} is accepted and ignored"`)
    await untilOracleSet(url)

    const sidecarsTheirs = {
      NETWORK: world.network.name,
      RELAYER_ENDPOINT: url,
      RELAYER_TIMEOUT: '10',
      POLL_INTERVAL: '2',
      CLUSTER_TYPE: 'OBOL',
      OBOL_KEYSTORES_DIR: '',
      OBOL_KEYSTORES_DIR_TEMPLATE: join(cluster.dir, 'node{node_index}/validator_keys'),
      OBOL_CLUSTER_LOCK_FILE: cluster.lockFile,
      OBOL_NODE_INDEX: '',
      OBOL_NODE_INDEXES: '0,1,3',
      SSV_OPERATOR_KEY_FILE: '',
      SSV_OPERATOR_PASSWORD_FILE: '',
      SSV_OPERATOR_KEY_FILE_TEMPLATE: '',
      SSV_OPERATOR_PASSWORD_FILE_TEMPLATE: '',
      SSV_OPERATOR_ID: '',
      SSV_OPERATOR_IDS: '',
      EXECUTION_ENDPOINT: '',
      EXECUTION_TIMEOUT: '30',
      EXECUTION_RETRY_TIMEOUT: '60',
      CONSENSUS_ENDPOINT: world.beacon.url,
      CONSENSUS_TIMEOUT: '30',
      CONSENSUS_RETRY_TIMEOUT: '60',
      REMOTE_SIGNER_URL: '',
      REMOTE_SIGNER_TIMEOUT: '10',
      LOG_LEVEL: 'INFO',
      LOG_FORMAT: 'json',
      ...IGNORED,
    }
    expect(Object.keys(sidecarsTheirs)).toEqual(expect.arrayContaining(await namesOfExisting('Sidecar')))
    const sidecarFolder = await folderWith('sidecar', sidecarsTheirs)
    await using sidecar = startProcess('sidecar', {}, [], sidecarFolder)
    await sidecar.logged('sidecar started')
    for (const name of Object.keys(IGNORED)) expect(sidecar.output()).toContain(`"${name} is accepted and ignored"`)
    expect((await postValidators(url, keys)).status).toBe(200)
    expect((await untilShares(url, keys)).validators).toHaveLength(keys.length)
    for (const { output } of [relayer, sidecar]) expect(output()).not.toContain('top-secret')
    expect([await sidecar.end('SIGTERM'), await relayer.end('SIGTERM')]).toEqual([0, 0])
  })

  it.each(['relayer', 'sidecar'] as const)('a %s with a broken .env says which line, and ends with 1', async (app) => {
    const folder = await folderWith(`broken ${app}`, {})
    await writeFile(join(folder, '.env'), 'NETWORK=hoodi\ntop-secret\n')
    await using started = startProcess(app, {}, [], folder)
    expect(await started.ended).toBe(1)
    expect(started.output()).toContain(`${join(folder, '.env')} is not valid: line 2 is neither`)
    expect(started.output()).not.toContain('top-secret')
    await using help = startProcess(app, {}, ['--help'], folder)
    expect(await help.ended).toBe(0)
  })
})
