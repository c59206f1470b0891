/** A sidecar without a token: it signs its requests with charon's key or the SSV operator's, and says what is wrong when they are refused. */

import { constants, createHash, createPublicKey, verify } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { recoverMessageAddress } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import { createToken } from '../../../../apps/relayer/src/http/auth/tokens.ts'
import { readConfig } from '../../../../apps/sidecar/src/config.ts'
import { examine } from '../../../../apps/sidecar/src/doctor/doctor.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { findFreePorts } from '../../../demo/ports.ts'
import { loadFixtureCluster, readFixture, readFixtureJson } from '../../../support/keys/fixtures.ts'
import { loadSsvCluster, operatorFiles, ssvPath } from '../../../support/keys/ssv.ts'
import { textOf } from '../../../support/stages/identity.ts'
import { postValidators } from '../../../support/world/nodes.ts'
import { ask, eventually, startWorld } from '../../../support/world/world.ts'
import { type StandInRelayer, startStandInRelayer } from '../stand-in.ts'
import { configOf, first, hasten, isRight, journalFolder, keysOf, recordingLogger } from '../support.ts'

const NAME = 'cluster-4'
const LOCK_HASH = '0xb84f4ba95344f3c4f218867c2567da012848c0380b2f046ae010ac655eafa01f'
const KEY = first(keysOf(NAME))
const ENR_FILE = new URL('../../../fixtures/obol/cluster-4/node0/charon-enr-private-key', import.meta.url).pathname
const enrKey = readFixture('obol/cluster-4/node0/charon-enr-private-key')
  .trim()
  .replace(/^(0x)?/, '0x') as `0x${string}`
const node = privateKeyToAccount(enrKey)

type Seen = StandInRelayer['seen'][number]

/** As it was sent: whoever reads JSON without blanks writes the same. */
const bodyOf = ({ body }: Seen): string => (body === undefined ? '' : JSON.stringify(body))

/** What the text of a request to a stand-in was, by the protocol. */
function signedText(relayer: StandInRelayer, request: Seen, body: string, time: string, nonce: string): string {
  const { method, path, query } = request
  const search = query.size === 0 ? '' : `?${query}`
  return textOf({ method, path: `${path}${search}`, body, relayer: relayer.url, time: Number(time), nonce })
}

describe('with the key of charon', () => {
  it('each request is signed by it, anew, with its body', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7)
    await using _sidecar = await startSidecar(configOf(NAME, 0, `${relayer.url}/`, { OBOL_ENR_KEY_FILE: ENR_FILE }))
    await relayer.until(() => relayer.posts.length > 0)
    expect(isRight(NAME, first(relayer.posts))).toBe(true)
    const nonces = new Set<string>()
    const posted = relayer.seen.filter(({ method }) => method === 'POST')
    expect(posted.length).toBeGreaterThan(0)
    for (const request of relayer.seen) {
      const [scheme, time = '', nonce = '', signature = ''] = String(request.headers['authorization']).split(/[ :]/)
      expect(scheme).toBe('Node')
      expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(120)
      nonces.add(nonce)
      const text = signedText(relayer, request, bodyOf(request), time, nonce)
      expect(await recoverMessageAddress({ message: text, signature: signature as `0x${string}` })).toBe(node.address)
      const digest = createHash('sha256').update(bodyOf(request)).digest('base64')
      expect(request.headers['content-digest']).toBe(request.method === 'POST' ? `sha-256=:${digest}:` : undefined)
    }
    expect(nonces.size).toBe(relayer.seen.length)
  })

  it('a token in the URL goes before it, and the settings say so', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7)
    const url = relayer.url.replace('//', '//node-1:token@')
    const { warnings } = readConfig({
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: url,
      OBOL_KEYSTORES_DIR: '.',
      OBOL_ENR_KEY_FILE: ENR_FILE,
    })
    expect(warnings).toContain('OBOL_ENR_KEY_FILE is not used: the token in RELAYER_ENDPOINT goes before it')
    await using _sidecar = await startSidecar(configOf(NAME, 0, url, { OBOL_ENR_KEY_FILE: ENR_FILE }))
    await relayer.until(() => relayer.posts.length > 0)
    for (const { headers } of relayer.seen) expect(headers['authorization']).toMatch(/^Basic /)
  })

  it('is used for whom the file of the endpoint names now: another relayer, one with a token, and one without again', async () => {
    await using folder = await journalFolder()
    // Asked every moment: no question is held while the file changes.
    await using before = await startStandInRelayer({ generation: 'existing' })
    await using after = await startStandInRelayer({ generation: 'existing' })
    const file = join(dirname(folder.file()), 'endpoint')
    await mkdir(dirname(file))
    const files = new EventTarget()
    const moveTo = async (url: string) => {
      await writeFile(file, `${url}\n`)
      files.dispatchEvent(new Event('reload'))
    }
    const { config } = readConfig({
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: before.url,
      RELAYER_TIMEOUT: '60',
      OBOL_KEYSTORES_DIR: loadFixtureCluster(NAME).nodes[0]?.keystoresDir ?? '',
      OBOL_ENR_KEY_FILE: ENR_FILE,
      JOURNAL_FILE: folder.file(),
    })
    await writeFile(file, `${before.url}\n`)
    const relayer = { ...config.relayer, endpointFile: file }
    await using _sidecar = await startSidecar(hasten({ ...config, relayer }), { files })
    const shown = (scheme: string) => (seen: Seen) => String(seen.headers['authorization']).startsWith(`${scheme} `)
    await before.until(() => before.seen.some(shown('Node')))

    await moveTo(after.url)
    await after.until(() => after.seen.length > 0)
    const request = first(after.seen)
    const [scheme, time = '', nonce = '', signature = ''] = String(request.headers['authorization']).split(/[ :]/)
    expect(scheme).toBe('Node')
    const message = signedText(after, request, bodyOf(request), time, nonce)
    expect(await recoverMessageAddress({ message, signature: signature as `0x${string}` })).toBe(node.address)

    await moveTo(after.url.replace('//', '//node-1:token@'))
    await after.until(() => after.seen.some(shown('Basic')))
    const known = after.seen.length
    await moveTo(after.url)
    await after.until(() => after.seen.slice(known).some(shown('Node')))
  })

  it('that is none stops the start, and is not repeated', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const file = join(dirname(folder.file()), 'key')
    await mkdir(dirname(file))
    await writeFile(file, `${'ab'.repeat(31)}\n`)
    for (const [path, words] of [
      [file, 'is not a secp256k1 secret key'],
      ['/gone', 'cannot be read (ENOENT)'],
    ] as const) {
      const start = startSidecar(configOf(NAME, 0, relayer.url, { OBOL_ENR_KEY_FILE: path }))
      await expect(start).rejects.toMatchObject({ code: 'ENR_KEY_UNREADABLE', message: expect.stringContaining(words) })
      await expect(start).rejects.not.toMatchObject({ message: expect.stringContaining('abab') })
    }
  })

  it.each([
    ['REQUEST_TIME', /60 seconds apart: set both by NTP/],
    ['NODE_UNPINNED', /has not pinned the cluster lock of this node/],
    ['PUBLIC_URL_MISSING', /put a token into RELAYER_ENDPOINT/],
  ])('%s is said in words by the sidecar and its doctor', async (code, words) => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.hook = ({ path }) =>
      path === '/info' ? undefined : { status: code.startsWith('REQUEST') ? 401 : 403, body: { code, message: 'no' } }
    const { logger } = recordingLogger()
    const settings = { OBOL_ENR_KEY_FILE: ENR_FILE }
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, settings), { logger })
    const { message } = await eventually('it is said', async () => {
      const check = sidecar.ready().checks['relayer']
      return check?.message?.includes(code) === true ? check : undefined
    })
    expect(message).toMatch(words)
    await using folder = await journalFolder()
    const environment = {
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: relayer.url,
      RELAYER_TIMEOUT: '60',
      OBOL_KEYSTORES_DIR: loadFixtureCluster(NAME).nodes[0]?.keystoresDir ?? '',
      JOURNAL_FILE: folder.file(),
      ...settings,
    }
    const { findings } = await examine(environment, {
      isQuick: true,
      onProgress: () => {},
      signal: AbortSignal.any([]),
    })
    expect(findings.find(({ check }) => check === 'relayer')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(words),
    })
    expect(findings.find(({ check }) => check === 'credentials')?.message).toContain("charon's key")
  })
})

it('a list of another relayer, which the file of the endpoint names now, is asked for whole', async () => {
  await using folder = await journalFolder()
  await using before = await startStandInRelayer({ generation: 'ours' })
  await using after = await startStandInRelayer({ generation: 'ours' })
  const [, other = ''] = keysOf(NAME)
  after.addExit(KEY, 7)
  // It has come far beyond the revision at which this exit changed.
  for (let index = 8; index < 2000; index++) after.addExit(other, index)
  for (let index = 8; index < 20; index++) before.addExit(other, index)
  const file = join(dirname(folder.file()), 'endpoint')
  await mkdir(dirname(file))
  await writeFile(file, before.url)
  const files = new EventTarget()
  const { relayer, ...config } = hasten(configOf(NAME, 0, before.url), 3_600_000)
  await using _sidecar = await startSidecar({ ...config, relayer: { ...relayer, endpointFile: file } }, { files })
  await before.until(() => before.posts.length > 0)
  await writeFile(file, after.url)
  files.dispatchEvent(new Event('reload'))
  // Each change ends a question that waits at the relayer of before.
  let index = 20
  await eventually('the other one is asked', async () => {
    before.addExit(other, index++)
    return after.seen.length > 0 ? true : undefined
  })
  await after.until(() => after.posts.some(({ publicKey }) => publicKey === KEY))
})

describe('with the key of an SSV operator', () => {
  it('each request is signed by it once it is known whose it is', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const [validator] = loadSsvCluster('cluster-4').validators
    relayer.addExit(validator?.public_key ?? '', 7)
    await using folder = await journalFolder()
    const { config } = readConfig({
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: relayer.url,
      RELAYER_TIMEOUT: '60',
      CLUSTER_TYPE: 'SSV',
      ...operatorFiles(263),
      SSV_KEYSHARES_FILES: ssvPath('cluster-4/keyshares.json'),
      JOURNAL_FILE: folder.file(),
    })
    await using _sidecar = await startSidecar(hasten(config))
    await relayer.until(() => relayer.posts.length > 0)
    const { operators } = readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] }
    const pem = Buffer.from(operators.find(({ id }) => id === 263)?.public_key ?? '', 'base64').toString()
    const key = createPublicKey(pem.replaceAll('RSA PUBLIC KEY', 'PUBLIC KEY'))
    const signed = relayer.seen.filter(({ path }) => path !== '/info')
    expect(signed.some(({ method }) => method === 'POST')).toBe(true)
    for (const request of signed) {
      const [scheme, id, time = '', nonce = '', signature = ''] = String(request.headers['authorization']).split(/[ :]/)
      expect([scheme, id]).toEqual(['Operator', '263'])
      const text = signedText(relayer, request, bodyOf(request), time, nonce)
      const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
      expect(verify('sha256', Buffer.from(text), pss, Buffer.from(signature.slice(2), 'hex'))).toBe(true)
    }
  })
})

describe('with the relayer itself', () => {
  it('a node needs no token: it works, and doctor and relayer know it by its key', async () => {
    await using world = await startWorld({ oracles: 3, threshold: 2 })
    // The relayer has to be called by its port before it is there.
    const [port] = await findFreePorts(1)
    const { lockFile } = loadFixtureCluster(NAME)
    const operator = createToken('operator', 'operator', '*')
    const file = join(world.dir, 'tokens')
    await writeFile(file, `${operator.line}\nnodes *\n`)
    await using relayer = await world.startRelayer({
      RELAYER_PORT: String(port),
      PUBLIC_URL: `http://127.0.0.1:${port}`,
      CLUSTER_LOCK_FILES: lockFile,
      CLUSTER_LOCK_HASHES: LOCK_HASH,
      AUTH_TOKENS_FILE: file,
    })
    const asOperator = { authorization: `Bearer ${operator.token}` }
    await eventually('the oracle set', async () =>
      (await postValidators(relayer.url, [KEY], asOperator)).status === 200 ? true : undefined,
    )
    await using folder = await journalFolder()
    const settings = { OBOL_ENR_KEY_FILE: ENR_FILE, JOURNAL_FILE: folder.file() }
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url, settings))
    await eventually('its signature is there', async () => {
      const [row] = await world.query<{ share_index: string }>(
        `select share_index from partial_signatures where state = 'verified'`,
      )
      return row?.share_index === '1' ? true : undefined
    })
    const environment = {
      NETWORK: 'hoodi',
      RELAYER_ENDPOINT: relayer.url,
      RELAYER_TIMEOUT: '60',
      OBOL_KEYSTORES_DIR: loadFixtureCluster(NAME).nodes[0]?.keystoresDir ?? '',
      ...settings,
    }
    const { findings } = await examine(environment, {
      isQuick: false,
      onProgress: () => {},
      signal: AbortSignal.any([]),
    })
    expect(findings.find(({ check }) => check === 'relayer')).toMatchObject({
      status: 'good',
      message: expect.stringMatching(/; it takes us for node:0x[0-9a-f]{40} \(sidecar\), by charon's key$/),
      facts: { identity: 'node_key', token: `node:${node.address.toLowerCase()}` },
    })
    expect(findings.find(({ check }) => check === 'credentials')).toMatchObject({
      message: "charon's key (OBOL_ENR_KEY_FILE) for the relayer",
    })
    expect((await ask(relayer.url, '/exits')).status).toBe(401)
  })
})
