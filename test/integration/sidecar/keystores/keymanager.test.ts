/** Sidecars whose key shares are in a validator client: it signs exits of validators that the chain knows, and fails in every way. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../../apps/sidecar/src/config.ts'
import { examine } from '../../../../apps/sidecar/src/doctor/doctor.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { fromHex, toHex } from '../../../../libs/common/src/hex.ts'
import { skipWithoutAnvil } from '../../../support/chain/anvil.ts'
import { type Beacon, startBeacon } from '../../../support/chain/beacon.ts'
import { openCluster, openShares } from '../../../support/keys/fixture-shares.ts'
import { type FixtureClusterName, loadFixtureCluster } from '../../../support/keys/fixtures.ts'
import {
  CLIENT_NAMES,
  type ClientMode,
  type Keymanager,
  type KeymanagerOptions,
  startKeymanager,
} from '../../../support/services/keymanager.ts'
import {
  addRegistered,
  announceOracles,
  type RotationOracle,
  startRotationOracle,
} from '../../../support/stages/rotation.ts'
import { getExits, sidecarRound } from '../../../support/world/nodes.ts'
import { startVaultWorld } from '../../../support/world/vault-world.ts'
import { ask, eventually } from '../../../support/world/world.ts'
import { type StandInRelayer, startStandInRelayer } from '../stand-in.ts'
import { expectAllRight, first, hasten, keysOf, recordingLogger } from '../support.ts'

const NAME = 'cluster-4'
const TOKEN = 'api-token-0xabc'
const [KEY = '', OTHER = '', THIRD = '', FOURTH = ''] = keysOf(NAME)
let dir = ''
let tokenFile = ''
const secrets = new Map<string, ReadonlyMap<string, Uint8Array>>()

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sidecar-keymanager-'))
  tokenFile = join(dir, 'token')
  await writeFile(tokenFile, `${TOKEN}\n`)
  for (const name of [NAME, 'cluster-7'] as const)
    secrets.set(name, await openShares(first(loadFixtureCluster(name).nodes).keystoresDir))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

/** Fork versions of the networks, as validator clients have them. */
const FORKS = {
  hoodi: [0x10, 0x20, 0x30, 0x40, 0x50].map((first) => ({ epoch: 0, version: Uint8Array.of(first, 0, 9, 0x10) })),
  mainnet: [
    { epoch: 0, version: Uint8Array.of(0, 0, 0, 0) },
    { epoch: 74_240, version: Uint8Array.of(1, 0, 0, 0) },
    { epoch: 144_896, version: Uint8Array.of(2, 0, 0, 0) },
    { epoch: 194_048, version: Uint8Array.of(3, 0, 0, 0) },
    { epoch: 269_568, version: Uint8Array.of(4, 0, 0, 0) },
  ],
} as const
const CAPELLA = { hoodi: Uint8Array.of(0x40, 0, 9, 0x10), mainnet: Uint8Array.of(3, 0, 0, 0) } as const

/** The public key share of node 0 of a validator. */
const shareOf = (key: string, name: FixtureClusterName = NAME) =>
  loadFixtureCluster(name).expected.validators.find(({ public_key }) => public_key === key)?.public_key_shares[0]
    ?.public_key_share ?? ''

interface Stage extends AsyncDisposable {
  relayer: StandInRelayer
  beacon: Beacon
  client: Keymanager
  environment: Record<string, string>
  /** Puts a validator on the chain, and lists its exit at the index it got. Returns the index. */
  add(key: string): number
  start(): Promise<
    ReturnType<typeof recordingLogger> & AsyncDisposable & { metrics(): Promise<string>; isReady(): boolean }
  >
}

async function stage(options: Partial<KeymanagerOptions> = {}, name: FixtureClusterName = NAME): Promise<Stage> {
  const stack = new AsyncDisposableStack()
  const { expected, lockFile } = loadFixtureCluster(name)
  const network = networks[expected.network]
  const relayer = stack.use(await startStandInRelayer({ generation: 'ours', network: network.name }))
  const beacon = stack.use(await startBeacon({ network }))
  // Charon's beacon API: who asks for a public key share is told of the validator that it is of.
  const validatorOf = new Map(
    expected.validators.map(({ public_key, public_key_shares }) => [
      public_key_shares[0]?.public_key_share,
      public_key,
    ]),
  )
  const indexOf = (share: string) => beacon.findValidator(fromHex(validatorOf.get(share) ?? '0x'))?.index
  const client = stack.use(
    await startKeymanager({
      ...{ keys: [...(secrets.get(name)?.values() ?? [])], token: TOKEN, indexOf },
      ...{ genesisValidatorsRoot: network.genesisValidatorsRoot, forks: FORKS[expected.network] },
      ...{ capella: CAPELLA[expected.network], ...options },
    }),
  )
  const environment = {
    ...{ NETWORK: network.name, RELAYER_ENDPOINT: relayer.url, CONSENSUS_ENDPOINT: beacon.url, RELAYER_TIMEOUT: '60' },
    ...{ KEYMANAGER_URL: client.url, KEYMANAGER_TOKEN_FILE: tokenFile, OBOL_CLUSTER_LOCK_FILE: lockFile },
  }
  return {
    ...{ relayer, beacon, client, environment },
    add(key) {
      const index = beacon.addValidators(fromHex(key))
      relayer.addExit(key, index)
      return index
    },
    async start() {
      const recording = recordingLogger()
      const hastened = hasten(readConfig(environment).config, 100)
      const config = { ...hastened, relayer: { ...hastened.relayer, pollIntervalMs: 20 } }
      const sidecar = stack.use(await startSidecar(config, { logger: recording.logger }))
      return {
        ...recording,
        metrics: sidecar.metrics,
        isReady: () => sidecar.ready().status === 'ready',
        [Symbol.asyncDispose]: () => sidecar[Symbol.asyncDispose](),
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

const postsOf = (relayer: StandInRelayer, key: string) => relayer.posts.filter(({ publicKey }) => publicKey === key)

describe('exits of a validator client', () => {
  it.each(CLIENT_NAMES)('as %s answers are posted, right under the key share', async (client) => {
    const all = [...(secrets.get(NAME)?.values() ?? [])]
    const split = client === 'without remote keys' ? all.length : 6
    await using staged = await stage({ client, keys: all.slice(0, split), remoteKeys: all.slice(split) })
    const indexes = new Map(keysOf(NAME).map((key) => [key, staged.add(key)]))
    await using sidecar = await staged.start()
    await staged.relayer.until(() => new Set(staged.relayer.posts.map(({ publicKey }) => publicKey)).size === 12)
    expectAllRight(NAME, staged.relayer.posts)
    expect(staged.relayer.posts.map((post) => post.shareIndex)).toEqual(staged.relayer.posts.map(() => 1))
    expect(staged.relayer.posts.every((post) => post.validatorIndex === indexes.get(post.publicKey))).toBe(true)
    expect(new Set(staged.client.asked)).toEqual(new Set(keysOf(NAME).map((key) => `${shareOf(key)}?epoch=0`)))
    expect(sidecar.find('node found')).toMatchObject([{ dir: 'validator client', node_index: 0, keys: 12 }])
    await eventually('ready', async () => (sidecar.isReady() ? true : undefined))
    expect(sidecar.text.join('')).not.toContain(TOKEN)
  })

  it('are those of validators that the chain knows: others are not asked for until it does, and deposits never', async () => {
    await using staged = await stage()
    staged.relayer.addValidator(KEY, staged.beacon.validatorCount)
    staged.add(OTHER)
    await using sidecar = await staged.start()
    await staged.relayer.until(() => postsOf(staged.relayer, OTHER).length > 0)
    await eventually('a refusal', async () =>
      sidecar.find('exits refused by policy', { reason: 'key_not_on_chain' }).length > 0 ? true : undefined,
    )
    expect(staged.client.asked).toEqual([`${shareOf(OTHER)}?epoch=0`])
    staged.relayer.addExit(KEY, staged.beacon.addValidators(fromHex(KEY)))
    await staged.relayer.until(() => postsOf(staged.relayer, KEY).length > 0)
    expectAllRight(NAME, staged.relayer.posts)
    expect(staged.relayer.pairs).toEqual([])
    expect(staged.relayer.seen.filter(({ path }) => path === '/validators' || path === '/signatures')).toEqual([])
  })

  it('are at the epoch of Capella, where an older client signs under Capella too, on networks that had another fork then', async () => {
    await using staged = await stage({ capella: undefined }, 'cluster-7')
    const key = first(keysOf('cluster-7'))
    staged.add(key)
    await using _sidecar = await staged.start()
    await staged.relayer.until(() => postsOf(staged.relayer, key).length > 0)
    expectAllRight('cluster-7', staged.relayer.posts)
    expect(first(staged.client.asked)).toBe(`${shareOf(key, 'cluster-7')}?epoch=194048`)
  })
})

describe('through a relayer', () => {
  it.skipIf(skipWithoutAnvil)(
    'exits of a rotation become ready with the part of a validator client, and not without it',
    { timeout: 300_000 },
    async () => {
      await using stack = new AsyncDisposableStack()
      const cluster = loadFixtureCluster(NAME)
      const vault = cluster.expected.withdrawal_address
      const world = stack.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
      const oracles: RotationOracle[] = []
      for (let i = 0; i < 3; i++) oracles.push(stack.use(await startRotationOracle(world.network)))
      await announceOracles(world, oracles, { threshold: 2, needed: 3 })
      await world.anvil.mine(4)
      const relayer = stack.use(await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile }))
      const validators = (await openCluster(cluster)).slice(0, 2)
      const indexes: number[] = []
      for (const validator of validators) indexes.push(await addRegistered(world, vault, validator))
      for (const oracle of oracles) oracle.outdated = indexes
      await eventually('what is collected', async () =>
        (await ask(relayer.url, `/vaults/${vault}/rotation`, { method: 'POST' })).text.includes('ROTATION_COLLECTING')
          ? true
          : undefined,
      )
      for (const share of [2, 3]) await sidecarRound(relayer.url, world.network, validators, share)
      const readiness = async () => (await getExits(relayer.url)).map((exit) => exit.is_exit_signature_ready)
      expect(await readiness()).toEqual([false, false])

      const shares = new Map(
        validators.map(({ publicKey, shares: [share] }) => [toHex(share?.publicKey ?? publicKey), publicKey]),
      )
      const client = stack.use(
        await startKeymanager({
          ...{ keys: [...(secrets.get(NAME)?.values() ?? [])], token: TOKEN },
          ...{ genesisValidatorsRoot: world.network.genesisValidatorsRoot, forks: [] },
          capella: world.network.capellaForkVersion,
          indexOf: (share) =>
            world.beacon.findValidator(shares.get(share as `0x${string}`) ?? new Uint8Array(48))?.index,
        }),
      )
      const { config } = readConfig({
        ...{ NETWORK: world.networkFile, RELAYER_ENDPOINT: relayer.url, CONSENSUS_ENDPOINT: world.beacon.url },
        ...{ KEYMANAGER_URL: client.url, KEYMANAGER_TOKEN_FILE: tokenFile, OBOL_CLUSTER_LOCK_FILE: cluster.lockFile },
      })
      stack.use(await startSidecar(hasten(config, 100), { logger: recordingLogger().logger }))
      await eventually('every exit', async () => ((await readiness()).every((isReady) => isReady) ? true : undefined))
      expect((await getExits(relayer.url)).map((exit) => exit.validator_index)).toEqual(indexes)
    },
  )
})

describe('what is not posted', () => {
  it.each<[ClientMode, string, RegExp]>([
    [
      'other_index',
      'wrong_message',
      /has signed an exit of validator index \d+ where that of \d+ is asked for: is it behind/,
    ],
    ['other_epoch', 'wrong_message', /has signed an exit of epoch 1 where that of 0 is asked for/],
    ['other_key', 'wrong_signature', /answers with a wrong signature: it is of another key than this key share, or/],
    ['other_exit', 'wrong_signature', /EIP-7044/],
    ['garbage', 'invalid', /answers no signed exit/],
    ['nothing', 'invalid', /answers no signed exit/],
    ['nested', 'invalid', /answers no signed exit/],
    ['numbers', 'invalid', /answers no signed exit/],
    ['huge', 'too_large', /answers with more than 4096 bytes/],
    [{ status: 400 }, 'bad_request', /answers with status 400/],
    [{ status: 403 }, 'unauthorized', /answers with status 403/],
    [{ status: 404 }, 'unknown_key', /answers with status 404/],
    [{ status: 500 }, 'server_error', /answers with status 500/],
    [{ status: 302 }, 'status', /answers with status 302/],
  ])('%o of one key: %s, and the others go on', async (mode, outcome, detail) => {
    await using staged = await stage()
    staged.client.behave(mode, shareOf(KEY))
    for (const key of [KEY, OTHER, THIRD, FOURTH]) staged.add(key)
    await using sidecar = await staged.start()
    await staged.relayer.until(() => [OTHER, THIRD, FOURTH].every((key) => postsOf(staged.relayer, key).length > 0))
    const line = await eventually(
      'a line',
      async () => sidecar.find('remote signer gives no signature that can be used: nothing is posted', { outcome })[0],
    )
    expect(line['detail']).toMatch(detail)
    expect(line['detail']).toContain('validator client 127.0.0.1:')
    expect(postsOf(staged.relayer, KEY)).toEqual([])
    expect(await sidecar.metrics()).toMatch(new RegExp(`requests_total\\{outcome="${outcome}"\\} [1-9]`))
    // Once it does as it should, it is posted without a restart.
    staged.client.behave('right', shareOf(KEY))
    await staged.relayer.until(() => postsOf(staged.relayer, KEY).length > 0)
    expectAllRight(NAME, staged.relayer.posts)
    expect(sidecar.text.join('')).not.toContain(TOKEN)
  })

  it('is an exit of a client that does not keep to EIP-7044, where the network was past Capella at its epoch', async () => {
    await using staged = await stage({ capella: undefined })
    staged.add(KEY)
    await using sidecar = await staged.start()
    const outcome = 'wrong_signature'
    const line = await eventually(
      'a line',
      async () => sidecar.find('remote signer gives no signature that can be used: nothing is posted', { outcome })[0],
    )
    expect(line['detail']).toContain(
      'another fork version than that of Capella, which every exit has since Deneb (EIP-7044)',
    )
    expect(staged.relayer.posts).toEqual([])
  })

  it('is what has not come within 10 s', { timeout: 120_000 }, async () => {
    await using staged = await stage()
    staged.client.behave('never', shareOf(KEY))
    staged.add(KEY)
    staged.add(OTHER)
    await using sidecar = await staged.start()
    await staged.relayer.until(() => postsOf(staged.relayer, OTHER).length > 0)
    const outcome = 'timeout'
    const line = await eventually(
      'a line',
      async () => sidecar.find('remote signer gives no signature that can be used: nothing is posted', { outcome })[0],
    )
    expect(line['detail']).toMatch(
      /POST \/eth\/v1\/validator\/\{key\}\/voluntary_exit\?epoch=0 at the validator client .* within 10000 ms/,
    )
    expect(postsOf(staged.relayer, KEY)).toEqual([])
  })

  it('is anything while the client is away or does not let us in: the check says so, and it recovers by itself', async () => {
    await using staged = await stage()
    staged.client.fail({ status: 401 })
    staged.add(KEY)
    await using sidecar = await staged.start()
    await eventually('a failing check', async () =>
      sidecar.find('check fails', { check: 'signer' }).length > 0 ? true : undefined,
    )
    expect(staged.relayer.posts).toEqual([])
    staged.client.fail(undefined)
    await staged.relayer.until(() => postsOf(staged.relayer, KEY).length > 0)
    expectAllRight(NAME, staged.relayer.posts)
  })
})

describe('keys of a validator client', () => {
  it('of another cluster stop the boot', async () => {
    await using staged = await stage({ keys: [...(secrets.get('cluster-7')?.values() ?? [])] })
    await expect(staged.start()).rejects.toMatchObject({
      code: 'SIGNER_KEYS_OF_OTHERS',
      message: expect.stringMatching(/none of the \d+ keys of the validator client stands in the cluster lock/),
    })
  })

  it('are what doctor finds, or why they cannot be seen', async () => {
    await using staged = await stage()
    const report = async (more: Record<string, string> = {}) => {
      const { findings } = await examine(
        { ...staged.environment, ...more },
        { isQuick: false, onProgress: () => {}, signal: new AbortController().signal },
      )
      return (check: string) => findings.find((found) => found.check === check)
    }
    const good = await report()
    expect(good('signer')).toMatchObject({
      status: 'good',
      message: expect.stringMatching(/^the validator client 127.0.0.1:\d+ holds 12 keys; it signs exits/),
    })
    expect(good('keys')?.message).toContain('12 key shares of node 0 in a validator client; cluster lock 0xb84f')
    const bad = await report({ KEYMANAGER_TOKEN_FILE: '', KEYMANAGER_TOKEN: 'hush-hush' })
    expect(bad('signer')).toMatchObject({
      status: 'problem',
      message: expect.stringMatching(/answers with status 401 \(KEYMANAGER_URL, KEYMANAGER_TOKEN\)/),
    })
    expect(JSON.stringify([bad('signer'), bad('keys')])).not.toContain('hush')
  })
})
