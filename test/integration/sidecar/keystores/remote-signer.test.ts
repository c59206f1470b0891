/** Sidecars whose key shares are in remote signers: over TLS, through a relayer to the oracles, and with signers that fail in every way. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Hex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig, type SidecarConfig } from '../../../../apps/sidecar/src/config.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { fromHex, toHex } from '../../../../libs/common/src/hex.ts'
import { silentLogger } from '../../../../libs/common/src/log/logger.ts'
import { skipWithoutAnvil } from '../../../support/chain/anvil.ts'
import { openShares } from '../../../support/keys/fixture-shares.ts'
import { loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import { makeCluster } from '../../../support/keys/make-cluster.ts'
import { loadSsvCluster, ssvPath } from '../../../support/keys/ssv.ts'
import { nextIndex, registerUntilReady } from '../../../support/operator/operator.ts'
import { makeCa } from '../../../support/services/certificates.ts'
import { type SignerMode, startWeb3Signer, type Web3Signer } from '../../../support/services/web3signer.ts'
import { assertOraclesCanExit, untilShares } from '../../../support/world/nodes.ts'
import { startVaultWorld } from '../../../support/world/vault-world.ts'
import { eventually } from '../../../support/world/world.ts'
import { type StandInRelayer, startStandInRelayer } from '../stand-in.ts'
import {
  expectAllPairsRight,
  expectAllRight,
  first,
  hasten,
  journalFolder,
  keysOf,
  recordingLogger,
} from '../support.ts'
import { bootError } from './ssv-support.ts'

const NAME = 'cluster-4'
const CLUSTER = loadFixtureCluster(NAME)
const [KEY = '', OTHER = '', THIRD = '', FOURTH = ''] = keysOf(NAME)
const ca = makeCa('signers')
/** Secret keys and public key shares of each node, in lock order. */
const nodes: { secrets: Uint8Array[]; keys: string[] }[] = []
let dir = ''
let count = 0

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sidecar-signer-'))
  for (const [node, { keystoresDir }] of CLUSTER.nodes.entries()) {
    const shares = await openShares(keystoresDir)
    const keys = CLUSTER.expected.validators.map(
      ({ public_key_shares }) => public_key_shares[node]?.public_key_share ?? '',
    )
    nodes.push({ keys, secrets: keys.map((key) => shares.get(key) ?? new Uint8Array()) })
  }
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const secretsOf = (node: number) => nodes[node]?.secrets ?? []
const keyOf = (node: number, position: number) => nodes[node]?.keys[position] ?? ''

async function fileOf(text: string): Promise<string> {
  const file = join(dir, String(count++))
  await writeFile(file, text)
  return file
}

/** Settings of TLS with a client certificate of an authority. */
async function tlsOf(authority = ca, options: { ended?: boolean } = {}): Promise<Record<string, string>> {
  const client = authority.issue('sidecar', options)
  return {
    REMOTE_SIGNER_CA_FILE: await fileOf(ca.cert),
    REMOTE_SIGNER_CERT_FILE: await fileOf(client.cert),
    REMOTE_SIGNER_KEY_FILE: await fileOf(client.key),
  }
}

/** For signers that never answer: soon enough for a test to wait for, and longer than an answer takes on a busy machine. */
const IMPATIENT = { REMOTE_SIGNER_TIMEOUT: '3' }
const patienceWith = (mode: SignerMode) => (mode === 'never' ? IMPATIENT : {})

function configOf(url: string, signers: readonly { url: string }[], more: Record<string, string> = {}): SidecarConfig {
  const { config } = readConfig({
    NETWORK: 'hoodi',
    RELAYER_ENDPOINT: url,
    REMOTE_SIGNER_URL: signers.map((signer) => signer.url).join(),
    REMOTE_SIGNER_TIMEOUT: '60',
    OBOL_CLUSTER_LOCK_FILE: CLUSTER.lockFile,
    GENERATION: '3',
    ...more,
  })
  const hastened = hasten(config, 100)
  return { ...hastened, relayer: { ...hastened.relayer, pollIntervalMs: 20 } }
}

async function startLogged(config: SidecarConfig) {
  const { logger, find, text } = recordingLogger()
  const sidecar = await startSidecar(config, { logger })
  return { sidecar, find, text, [Symbol.asyncDispose]: () => sidecar[Symbol.asyncDispose]() }
}

type Logged = Awaited<ReturnType<typeof startLogged>>

async function outcomes({ sidecar }: Logged, outcome: string): Promise<number> {
  const line = (await sidecar.metrics())
    .split('\n')
    .find((text) => text.startsWith(`dvt_sidecar_remote_signer_requests_total{outcome="${outcome}"}`))
  return Number(line?.split(' ')[1])
}

const untilCheck = (logged: Logged, name: string, isGood: boolean) =>
  eventually(`${name} ${isGood ? 'good' : 'bad'}`, async () => {
    const check = logged.sidecar.ready().checks[name]
    return check?.ok === isGood ? check : undefined
  })

const postsOf = (relayer: StandInRelayer, key: string) => relayer.posts.filter(({ publicKey }) => publicKey === key)

describe('through a relayer', () => {
  it.skipIf(skipWithoutAnvil)(
    'signers behind TLS sign exits and deposits in generation 4, and exits in generation 3, to shares that oracles open',
    { timeout: 300_000 },
    async () => {
      await using world = await startVaultWorld()
      await using folder = await journalFolder()
      const vault = await world.deployVault({ address: CLUSTER.expected.withdrawal_address as Hex })
      await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: CLUSTER.lockFile, VAULTS: vault.address })
      await using stack = new AsyncDisposableStack()
      const tls = await tlsOf()
      // One sidecar has a signer of its own node, one serves two nodes with the one signer that both keep their keys in.
      const own = stack.use(await startWeb3Signer({ keys: secretsOf(0), ca }))
      const shared = stack.use(await startWeb3Signer({ keys: [...secretsOf(2), ...secretsOf(3)], ca }))
      const start = async (signer: Web3Signer, more: Record<string, string>) => {
        const settings = { NETWORK: world.networkFile, JOURNAL_FILE: folder.file(signer.port), GENERATION: 'auto' }
        const config = configOf(relayer.url, [signer], { ...tls, ...settings, ...more })
        stack.use(await startSidecar(config, { logger: silentLogger }))
      }
      await start(own, {})
      await start(shared, { OBOL_NODE_INDEXES: '2,3' })

      const startIndex = nextIndex(world.beacon)
      const request = { vault: vault.address, startIndex, amounts: [32e9, 32e9], type: '0x01' as const }
      const answer = await registerUntilReady(relayer.url, request)
      const { network, oracles } = world
      for (const [position, { public_key, oracles_exit_signature_shares: shares }] of answer.validators.entries())
        await assertOraclesCanExit(network, oracles, 7, fromHex(public_key), startIndex + position, shares)
      const deposits = own.signed.filter(({ type }) => type === 'DEPOSIT')
      expect(deposits.map(({ deposit }) => deposit?.pubkey)).toEqual(
        expect.arrayContaining(answer.validators.map(({ public_key }) => public_key)),
      )

      const last = keysOf(NAME).slice(-2)
      const { validators } = await untilShares(relayer.url, last)
      for (const [position, { public_key, oracles_exit_signature_shares: shares }] of validators.entries())
        await assertOraclesCanExit(network, oracles, 7, fromHex(public_key), startIndex + position, shares)
      expect(new Set(shared.signed.map(({ type }) => type))).toEqual(new Set(['VOLUNTARY_EXIT', 'DEPOSIT']))
    },
  )
})

describe('requests', () => {
  it('are what the signing API wants, by JSON and by text, with the credentials of the URL', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: secretsOf(1) })
    const withPassword = { url: signer.url.replace('//', '//sidecar:pass%20word@') }
    const settings = { GENERATION: 'auto', JOURNAL_FILE: folder.file() }
    const logged = await startLogged(configOf(relayer.url, [withPassword], settings))
    await using _sidecar = logged
    expect(logged.find('node found')).toMatchObject([{ dir: 'remote signer', node_index: 1, share_index: 2, keys: 12 }])
    relayer.addValidator(KEY, 2 ** 40 - 1)
    await relayer.until(() => relayer.pairs.length > 0)
    signer.answerText(true)
    relayer.addValidator(OTHER, 8, { amount: 2048e9, validator_type: '0x02' })
    await relayer.until(() => relayer.pairs.some(({ publicKey }) => publicKey === OTHER))
    expectAllPairsRight(NAME, relayer.pairs)
    expect(signer.authorization()).toBe(`Basic ${Buffer.from('sidecar:pass word').toString('base64')}`)
    const root = '0x212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f'
    expect(signer.signed).toContainEqual({
      type: 'VOLUNTARY_EXIT',
      fork_info: {
        fork: { previous_version: '0x40000910', current_version: '0x40000910', epoch: '0' },
        genesis_validators_root: root,
      },
      signingRoot: expect.any(String),
      voluntary_exit: { epoch: '0', validator_index: '1099511627775' },
    })
    expect(signer.signed).toContainEqual({
      type: 'DEPOSIT',
      signingRoot: expect.any(String),
      deposit: {
        pubkey: OTHER,
        withdrawal_credentials: `0x02${'00'.repeat(11)}8ae5c1046158526cf236f74d8fb88fabe2e94aca`,
        amount: '2048000000000',
        genesis_fork_version: '0x10000910',
      },
    })
    expect(signer.requests).toContain(`POST /api/v1/eth2/sign/${keyOf(1, 0)}`)
    expect(logged.text.join('')).not.toMatch(/pass.{0,3}word/)
  })

  it('are at most 16 at once, and every exit is posted', async () => {
    const network = networks.hoodi
    const address = new Uint8Array(20).fill(1)
    const made = { dir: join(dir, 'many'), nodes: 3, threshold: 2, validators: 40, network }
    const cluster = await makeCluster({ ...made, withdrawalAddress: address, feeRecipient: address })
    const keys = cluster.validators.map(({ publicKey }) => toHex(publicKey))
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({
      keys: cluster.validators.flatMap(({ shares }) => first(shares).secretKey),
    })
    // Longer than a batch waits, so that it ends without most of them.
    signer.behave({ delayMs: 500 })
    const config = configOf(relayer.url, [signer], { OBOL_CLUSTER_LOCK_FILE: cluster.lockFile })
    await using _sidecar = await startSidecar(config, { logger: silentLogger })
    for (const [position, key] of keys.entries()) relayer.addExit(key, 100 + position)
    await relayer.until(() => keys.every((key) => relayer.exits.get(key)?.share_indexes_ready.length === 1))
    expect(signer.mostAtOnce()).toBe(16)
  })

  it('go to the key shares of SSV operators as their keyshares files name them', async () => {
    const cluster = loadSsvCluster('cluster-4-gaps')
    const secrets = cluster.validators.flatMap(({ public_key_shares }) =>
      public_key_shares
        .filter(({ share_index }) => share_index === 70001)
        .map(({ secret_key_share }) => secret_key_share),
    )
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: [...secrets.map((key) => fromHex(key)), ...secretsOf(0)] })
    const ssv = {
      CLUSTER_TYPE: 'SSV',
      SSV_OPERATOR_ID: '70001',
      SSV_KEYSHARES_FILES: ssvPath('cluster-4-gaps/keyshares.json'),
    }
    const config = configOf(relayer.url, [signer], { ...ssv, OBOL_CLUSTER_LOCK_FILE: '' })
    await using logged = await startLogged(config)
    expect(logged.find('keys loaded')).toMatchObject([{ keys: secrets.length }])
    const { public_key = '', public_key_shares } = cluster.validators[0] ?? {}
    relayer.addExit(public_key, 7)
    await relayer.until(() => relayer.posts.length > 0)
    const share = public_key_shares?.find(({ share_index }) => share_index === 70001)?.public_key_share ?? ''
    expect(first(relayer.posts)).toMatchObject({ shareIndex: 70001, publicKey: public_key })
    expect(signer.requests).toContain(`POST /api/v1/eth2/sign/${share}`)

    const other = configOf(relayer.url, [signer], { ...ssv, OBOL_CLUSTER_LOCK_FILE: '', SSV_OPERATOR_ID: '5' })
    expect(await bootError(other)).toMatchObject({
      code: 'SIGNER_KEYS_OF_OTHERS',
      message: `none of the ${secrets.length + 12} keys of the remote signer is a key share of operator 5: are they of another cluster or node?`,
    })
  })
})

describe('keys that do not fit', () => {
  it.each([
    ['no key', [], {}, 'the remote signer lists no keys: load the key shares of this node there'],
    [
      'keys of others',
      [7],
      {},
      'none of the 1 keys of the remote signer stands in the cluster lock: are they of another cluster or node?',
    ],
    [
      'keys of two nodes',
      [0, 2],
      {},
      'the remote signer holds the keys of nodes 0, 2 of the cluster: say which node this is with OBOL_NODE_INDEX',
    ],
    [
      'another node',
      [0],
      { OBOL_NODE_INDEX: '3' },
      'the node index is set to 3, but the remote signer holds the keys of node 0: correct or unset OBOL_NODE_INDEX',
    ],
  ] as const)('stop the boot: %s', async (_, held, more, message) => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const keys = held.flatMap((node) => (node === 7 ? [new Uint8Array(32).fill(7)] : secretsOf(node)))
    await using signer = await startWeb3Signer({ keys })
    expect((await bootError(configOf(relayer.url, [signer], more))).message).toBe(message)
  })

  it('come and go without a restart; what is wrong later takes nothing away', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: secretsOf(0).slice(0, 1) })
    const config = { ...configOf(relayer.url, [signer]), reloadIntervalMs: 40 }
    await using logged = await startLogged(config)
    relayer.addExit(KEY, 7)
    relayer.addExit(OTHER, 8)
    await relayer.until(() => relayer.posts.length > 0)
    signer.setKeys(secretsOf(0).slice(0, 2))
    await relayer.until(() => postsOf(relayer, OTHER).length > 0)
    signer.setKeys([])
    const check = await untilCheck(logged, 'keys', false)
    expect(check.message).toMatch(/lists no keys/)
    expect(logged.find('keys changed')).toHaveLength(1)
  })
})

describe('TLS', () => {
  const start = async (settings: Record<string, string>, options: { ended?: boolean } = {}) => {
    const relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7)
    const signer = await startWeb3Signer({ keys: secretsOf(0), ca, ...options })
    const logged = await startLogged(configOf(relayer.url, [signer], settings))
    return {
      relayer,
      signer,
      logged,
      async [Symbol.asyncDispose]() {
        for (const one of [logged, signer, relayer]) await one[Symbol.asyncDispose]()
      },
    }
  }

  it.each([
    [
      'no client certificate',
      async () => ({ ...(await tlsOf()), REMOTE_SIGNER_CERT_FILE: '', REMOTE_SIGNER_KEY_FILE: '' }),
      /asks for a client certificate: set REMOTE_SIGNER_CERT_FILE/,
    ],
    [
      'one of another authority',
      () => tlsOf(makeCa('others')),
      /refuses our client certificate \(REMOTE_SIGNER_CERT_FILE\)/,
    ],
    ['one that has expired', () => tlsOf(ca, { ended: true }), /refuses our client certificate, which has expired/],
    [
      'another authority of ours',
      async () => ({ ...(await tlsOf()), REMOTE_SIGNER_CA_FILE: await fileOf(makeCa('x').cert) }),
      /not signed by a CA that this sidecar trusts/,
    ],
    [
      'the system’s authorities',
      async () => ({ ...(await tlsOf()), REMOTE_SIGNER_CA_FILE: '' }),
      /not signed by a CA that this sidecar trusts/,
    ],
  ] as const)('%s: says so and posts nothing', async (_, settings, message) => {
    await using stage = await start(await settings())
    const { logged, relayer, signer } = stage
    expect((await untilCheck(logged, 'signer', false)).message).toMatch(message)
    expect(logged.sidecar.ready().checks['keys']).toMatchObject({ ok: false })
    expect([relayer.posts, signer.requests]).toEqual([[], []])
    expect(logged.text.join('')).not.toContain('PRIVATE')
  })

  it('a signer whose own certificate has expired is not asked', async () => {
    await using stage = await start(await tlsOf(), { ended: true })
    const { message } = await untilCheck(stage.logged, 'signer', false)
    expect(message).toBe(
      `no connection to the remote signer 127.0.0.1:${stage.signer.port}: its certificate has expired`,
    )
  })

  it('takes new certificates without a restart', async () => {
    const settings = await tlsOf(ca, { ended: true })
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: secretsOf(0), ca })
    const config = { ...configOf(relayer.url, [signer], settings), reloadIntervalMs: 40 }
    await using logged = await startLogged(config)
    await untilCheck(logged, 'signer', false)
    const client = ca.issue('sidecar')
    // Certificate and key do not fit together for a moment, which changes nothing.
    await writeFile(settings['REMOTE_SIGNER_CERT_FILE'] ?? '', client.cert)
    await writeFile(settings['REMOTE_SIGNER_KEY_FILE'] ?? '', client.key)
    relayer.addExit(KEY, 7)
    await relayer.until(() => relayer.posts.length > 0)
    expect(logged.sidecar.ready().checks['signer']).toEqual({ ok: true })
  })

  it.each([
    ['REMOTE_SIGNER_KEY_FILE', 'no key', /REMOTE_SIGNER_KEY_FILE\) holds no private key/],
    ['REMOTE_SIGNER_CERT_FILE', 'no certificate', /REMOTE_SIGNER_CERT_FILE\) holds no certificate/],
    ['REMOTE_SIGNER_CA_FILE', undefined, /cannot be read \(ENOENT\); REMOTE_SIGNER_CA_FILE must name a PEM file/],
    ['REMOTE_SIGNER_KEY_FILE', 'another key', /is not that of the certificate in/],
  ])('a wrong file stops the boot: %s, %s', async (name, text, message) => {
    const content = text === 'another key' ? makeCa('x').key : text
    const settings = { ...(await tlsOf()), [name]: content === undefined ? '/none' : await fileOf(content) }
    const error = await bootError(configOf('http://127.0.0.1:1', [{ url: 'https://127.0.0.1:1' }], settings))
    expect(error).toMatchObject({ code: 'SIGNER_TLS_INVALID', message: expect.stringMatching(message) })
  })
})

describe('faults of one key', () => {
  it.each([
    [{ status: 404 }, 'unknown_key', 'SIGNER_UNKNOWN_KEY'],
    [{ status: 412 }, 'refused', 'SIGNER_REFUSED'],
    [{ status: 400 }, 'bad_request', 'SIGNER_BAD_REQUEST'],
    [{ status: 403 }, 'unauthorized', 'SIGNER_UNAUTHORIZED'],
    [{ status: 500 }, 'server_error', 'SIGNER_SERVER_ERROR'],
    [{ status: 302 }, 'status', 'SIGNER_STATUS'],
    ['wrong_signature', 'wrong_signature', ''],
    ['other_key', 'wrong_signature', ''],
    ['garbage', 'invalid', ''],
    ['huge', 'too_large', ''],
    ['never', 'timeout', ''],
  ] as [SignerMode, string, string][])('%o: counted, told once, and the other keys go on', async (mode, outcome) => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: secretsOf(0) })
    signer.behave(mode, keyOf(0, 0))
    await using logged = await startLogged(configOf(relayer.url, [signer], patienceWith(mode)))
    for (const [position, key] of [KEY, OTHER, THIRD].entries()) relayer.addExit(key, 70 + position)
    await relayer.until(() => postsOf(relayer, OTHER).length > 0 && postsOf(relayer, THIRD).length > 0)
    await eventually(outcome, async () => ((await outcomes(logged, outcome)) > 0 ? true : undefined))
    const told = () => logged.find('remote signer gives no signature that can be used: nothing is posted', { outcome })
    await eventually('a line', async () => (told().length > 0 ? true : undefined))
    expect(told()).toMatchObject([{ validator_indexes: [70], count: 1 }])
    expect(logged.sidecar.ready().checks['signer']).toEqual({ ok: true })

    // It is asked again later, not in a tight loop, and told no second time.
    const path = `POST /api/v1/eth2/sign/${keyOf(0, 0)}`
    const asked = () => signer.requests.filter((line) => line === path).length
    await signer.until(() => asked() >= 2)
    expect(asked()).toBe(2)
    expect(postsOf(relayer, KEY)).toEqual([])
    signer.behave('right', keyOf(0, 0))
    await relayer.until(() => postsOf(relayer, KEY).length > 0)
    expectAllRight(NAME, relayer.posts)
    expect(told()).toHaveLength(1)
  })

  it('a refused deposit leaves the exit to go out alone', async () => {
    await using folder = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: secretsOf(0) })
    signer.refuse('DEPOSIT')
    const settings = { GENERATION: 'auto', JOURNAL_FILE: folder.file() }
    await using logged = await startLogged(configOf(relayer.url, [signer], settings))
    relayer.addValidator(KEY, 7)
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    expect(relayer.pairs).toEqual([])
    expect(await outcomes(logged, 'refused')).toBeGreaterThan(0)
  })
})

describe('faults of a signer', () => {
  it.each([
    ['never', /has not answered within 3000 ms/],
    [{ status: 503 }, /answers with status 503/],
  ] as const)('%o: the check fails, nothing is posted, and it recovers by itself', async (mode, problem) => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using signer = await startWeb3Signer({ keys: secretsOf(0) })
    await using logged = await startLogged(configOf(relayer.url, [signer], patienceWith(mode)))
    signer.behaveAll(mode)
    relayer.addExit(KEY, 7)
    expect((await untilCheck(logged, 'signer', false)).message).toMatch(problem)
    expect(logged.sidecar.ready().status).toBe('not_ready')
    const before = signer.requests.length
    relayer.addExit(OTHER, 8)
    await signer.until(() => signer.requests.length > before)
    // While it is left alone it is asked whether it is up, and nothing else.
    expect(new Set(signer.requests.slice(before))).toEqual(new Set(['GET /upcheck']))
    expect(relayer.posts).toEqual([])
    signer.behaveAll('right')
    await relayer.until(() => postsOf(relayer, KEY).length > 0 && postsOf(relayer, OTHER).length > 0)
    expectAllRight(NAME, relayer.posts)
    await untilCheck(logged, 'signer', true)
    expect(logged.find('remote signer is back')).toHaveLength(1)
  })

  it.each(['wrong_signature', 'never'] as const)(
    'one that is up and answers %s to three keys is left, and good again only when it has signed',
    async (mode) => {
      await using relayer = await startStandInRelayer({ generation: 'ours' })
      await using signer = await startWeb3Signer({ keys: secretsOf(0) })
      await using logged = await startLogged(configOf(relayer.url, [signer], patienceWith(mode)))
      signer.behave(mode)
      for (const [position, key] of [KEY, OTHER, THIRD].entries()) relayer.addExit(key, 70 + position)
      await untilCheck(logged, 'signer', false)
      await signer.until(() => signer.requests.at(-1) === 'GET /upcheck')
      const before = signer.requests.length
      // Under trial it is asked for signatures again, and still bad.
      await signer.until(() => signer.requests.slice(before).some((line) => line.startsWith('POST')))
      expect(logged.sidecar.ready().checks['signer']?.ok).toBe(false)
      expect(relayer.posts).toEqual([])
      signer.behave('right')
      await relayer.until(() => [KEY, OTHER, THIRD].every((key) => postsOf(relayer, key).length > 0))
      await untilCheck(logged, 'signer', true)
      expectAllRight(NAME, relayer.posts)
    },
  )

  it('one that is away at start is waited for', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const gone = await startWeb3Signer({ keys: [] })
    await gone[Symbol.asyncDispose]()
    relayer.addExit(KEY, 7)
    await using logged = await startLogged(configOf(relayer.url, [gone]))
    expect(logged.sidecar.ready().checks).toMatchObject({
      keys: { ok: false },
      signer: {
        ok: false,
        message: `GET /api/v1/eth2/publicKeys at the remote signer 127.0.0.1:${gone.port} failed (ECONNREFUSED)`,
      },
    })
    await using _signer = await startWeb3Signer({ keys: secretsOf(0), port: gone.port })
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
    await untilCheck(logged, 'keys', true)
  })

  it('one that hangs does not hold up the other, nor the keys of the other', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using hanging = await startWeb3Signer({ keys: secretsOf(0) })
    await using good = await startWeb3Signer({ keys: secretsOf(0) })
    await using logged = await startLogged(configOf(relayer.url, [hanging, good], IMPATIENT))
    hanging.behaveAll('never')
    for (const [position, key] of [KEY, OTHER, THIRD, FOURTH].entries()) relayer.addExit(key, 70 + position)
    await relayer.until(() => [KEY, OTHER, THIRD, FOURTH].every((key) => postsOf(relayer, key).length > 0))
    expectAllRight(NAME, relayer.posts)
    expect(logged.find('remote signer is left alone for a while')).toMatchObject([
      { host: `127.0.0.1:${hanging.port}` },
    ])
    expect(logged.sidecar.ready().checks['signer']).toEqual({ ok: true })
  })

  it('those that say they hold a key are asked first, wherever they stand', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using one = await startWeb3Signer({ keys: secretsOf(0).slice(1) })
    await using two = await startWeb3Signer({ keys: secretsOf(0) })
    await using _logged = await startLogged(configOf(relayer.url, [one, two]))
    relayer.addExit(KEY, 7)
    relayer.addExit(OTHER, 8)
    await relayer.until(() => [KEY, OTHER].every((key) => postsOf(relayer, key).length > 0))
    expect(one.requests).not.toContain(`POST /api/v1/eth2/sign/${keyOf(0, 0)}`)
    // Both have it: the first.
    expect(two.requests).not.toContain(`POST /api/v1/eth2/sign/${keyOf(0, 1)}`)
    expectAllRight(NAME, relayer.posts)
  })

  it('a refusal is not taken to another signer, an unknown key is', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using one = await startWeb3Signer({ keys: secretsOf(0) })
    await using two = await startWeb3Signer({ keys: secretsOf(0) })
    one.behave({ status: 412 }, keyOf(0, 0))
    one.behave({ status: 404 }, keyOf(0, 1))
    await using logged = await startLogged(configOf(relayer.url, [one, two]))
    relayer.addExit(KEY, 7)
    relayer.addExit(OTHER, 8)
    await relayer.until(() => postsOf(relayer, OTHER).length > 0)
    await eventually('a refusal', async () => ((await outcomes(logged, 'refused')) > 0 ? true : undefined))
    expect(two.requests).toContain(`POST /api/v1/eth2/sign/${keyOf(0, 1)}`)
    expect(two.requests).not.toContain(`POST /api/v1/eth2/sign/${keyOf(0, 0)}`)
    expect(postsOf(relayer, KEY)).toEqual([])
  })
})
