/** Clusters and their absence: locks, thresholds, unknown public key shares, hostile nodes, tokens. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import type { MadeCluster } from '../../support/keys/make-cluster.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import {
  assertOraclesCanExit,
  engine,
  getExits,
  partialExit,
  postShares,
  postValidators,
  publicKeysOf,
  sidecarRound,
  untilShares,
} from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

let world: World
let dir: string
const make = (name: string, validators: number, nodes: number, threshold: number, vault = 0x8a): Promise<MadeCluster> =>
  makeCluster({
    dir: join(dir, name),
    nodes,
    threshold,
    validators,
    network: world.network,
    withdrawalAddress: new Uint8Array(20).fill(vault),
    feeRecipient: new Uint8Array(20).fill(1),
    name,
  })
const indexOf = async (url: string, key: string, headers?: Record<string, string>) =>
  (await getExits(url, headers)).find((exit) => exit.public_key === key)?.validator_index ?? 0

beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  dir = await mkdtemp(join(tmpdir(), 'dvt-clusters-'))
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

describe('cluster locks', () => {
  it('two clusters with different thresholds work at once', async () => {
    const [small, large] = await Promise.all([make('small', 2, 3, 2), make('large', 2, 7, 5)])
    await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: `${small.lockFile},${large.lockFile}` })
    const keys = [...publicKeysOf(small.validators), ...publicKeysOf(large.validators)]
    await postValidators(relayer.url, keys)
    for (const share of [3, 1]) await sidecarRound(relayer.url, world.network, small.validators, share)
    await untilSharesOf(relayer.url, keys, 2)
    for (const share of [7, 2, 3, 6]) await sidecarRound(relayer.url, world.network, large.validators, share)
    expect((await getExits(relayer.url)).filter((exit) => exit.is_exit_signature_ready)).toHaveLength(2)
    await sidecarRound(relayer.url, world.network, large.validators, 5)
    const done = await untilShares(relayer.url, keys)
    for (const [position, key] of keys.entries())
      await assertOraclesCanExit(
        world.network,
        world.oracles,
        2,
        [...small.validators, ...large.validators][position]?.publicKey ?? new Uint8Array(),
        await indexOf(relayer.url, key),
        done.validators[position]?.oracles_exit_signature_shares ?? null,
      )
  })

  it('a lock is imported over another only on purpose, and old signatures do not count then', async () => {
    const first = await make('first', 1, 4, 3)
    const [validator] = first.validators
    if (validator === undefined) throw new Error('no validator')
    // The same validator key, shared anew, as charon does when operators change.
    const { makeLock } = await import('../../support/keys/make-cluster.ts')
    const { lockToJson } = await import('../../support/keys/lock-to-json.ts')
    const anew = reshare(validator)
    const enrKeys = await Promise.all(
      first.nodes.map(
        async ({ enrKeyFile }) => new Uint8Array(Buffer.from((await readFile(enrKeyFile, 'utf8')).trim(), 'hex')),
      ),
    )
    const second = makeLock(engine, [anew], enrKeys, {
      dir,
      nodes: 4,
      threshold: 3,
      validators: 1,
      network: world.network,
      withdrawalAddress: new Uint8Array(20).fill(0x8a),
      feeRecipient: new Uint8Array(20).fill(1),
    })
    const secondFile = join(dir, 'second.json')
    await writeFile(secondFile, JSON.stringify(lockToJson(second)))
    const [key = ''] = publicKeysOf([validator])
    {
      await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: first.lockFile })
      await postValidators(relayer.url, [key])
      for (const share of [1, 2]) await sidecarRound(relayer.url, world.network, [validator], share)
    }
    await expect(world.startRelayer({ CLUSTER_LOCK_FILES: secondFile })).rejects.toMatchObject({
      code: 'CLUSTER_LOCK_REPLACES',
      message: expect.stringContaining(toHex(first.lock.lockHash)),
    })
    await using relayer = await world.startRelayer({
      CLUSTER_LOCK_FILES: secondFile,
      CLUSTER_LOCK_REPLACES: toHex(first.lock.lockHash),
    })
    await eventually('old signatures are rejected', async () => {
      const exit = (await getExits(relayer.url)).find(({ public_key }) => public_key === key)
      return exit?.share_indexes_rejected?.length === 2 && exit.share_indexes_ready.length === 0 ? true : undefined
    })
    for (const share of [1, 2, 3])
      expect((await sidecarRound(relayer.url, world.network, [anew], share)).status).toBe(200)
    await untilShares(relayer.url, [key])
  })

  it('pins: a lock that is not named is refused', async () => {
    const cluster = await make('pinned', 1, 4, 3)
    await expect(
      world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, CLUSTER_LOCK_HASHES: `0x${'00'.repeat(32)}` }),
    ).rejects.toMatchObject({ code: 'CLUSTER_LOCK_NOT_PINNED' })
    await using relayer = await world.startRelayer({
      CLUSTER_LOCK_FILES: cluster.lockFile,
      CLUSTER_LOCK_HASHES: toHex(cluster.lock.lockHash),
    })
    expect((await ask(relayer.url, '/health')).status).toBe(200)
    // The same lock under the pinned hash, but for its contents: it claims a version whose hash is not recomputed.
    const json = JSON.parse(await readFile(cluster.lockFile, 'utf8')) as { cluster_definition: object }
    const attacker = { withdrawal_address: `0x${'66'.repeat(20)}`, fee_recipient_address: `0x${'66'.repeat(20)}` }
    const downgraded = {
      ...json,
      cluster_definition: { ...json.cluster_definition, ...attacker, version: 'v1.4.0' },
    }
    const downgradedFile = join(dir, 'downgraded.json')
    await writeFile(downgradedFile, JSON.stringify(downgraded))
    await expect(
      world.startRelayer({ CLUSTER_LOCK_FILES: downgradedFile, CLUSTER_LOCK_HASHES: toHex(cluster.lock.lockHash) }),
    ).rejects.toMatchObject({ code: 'CLUSTER_LOCK_NOT_PINNED', message: expect.stringContaining('v1.4.0') })
  })

  it('a lock of another network, and a damaged one, are refused with file and field', async () => {
    const { nodes } = loadFixtureCluster('cluster-7')
    await expect(world.startRelayer({ CLUSTER_LOCK_FILES: nodes[0]?.lockFile ?? '' })).rejects.toThrow(
      /cluster-lock\.json.*fork_version/,
    )
    const cluster = await make('damaged', 1, 4, 3)
    const file = join(dir, 'damaged.json')
    await writeFile(file, (await readFile(cluster.lockFile, 'utf8')).replace(/"threshold":\s*3/, '"threshold": 2'))
    await expect(world.startRelayer({ CLUSTER_LOCK_FILES: file })).rejects.toThrow(/damaged\.json/)
    await expect(world.startRelayer({ CLUSTER_LOCK_FILES: join(dir, 'gone.json') })).rejects.toMatchObject({
      code: 'CLUSTER_LOCK_UNREADABLE',
    })
  })
})

it('names a SIGNATURE_THRESHOLD that no lock has, at boot', async () => {
  const cluster = await make('threshold', 1, 4, 3)
  const told = async (SIGNATURE_THRESHOLD: string) => {
    const lines: string[] = []
    const logger = createLogger({
      level: 'info',
      format: 'json',
      destination: { write: (line) => void lines.push(line) },
    })
    await using own = await startWorld()
    await using _relayer = await own.startRelayer(
      { SIGNATURE_THRESHOLD, CLUSTER_LOCK_FILES: cluster.lockFile },
      { logger },
    )
    return lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) => String(msg).startsWith('SIGNATURE_THRESHOLD is not the threshold of any imported cluster'))
  }
  expect(await told('4')).toMatchObject([{ level: 'warn', threshold: 4, thresholds_of_clusters: [3] }])
  expect(await told('3')).toEqual([])
})

describe('without a lock', () => {
  it('a bad signature under every index first, then the right ones: the exit becomes ready and the bad are named', async () => {
    await using relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3' })
    const validators = createTestKeys(3, { nodes: 4, threshold: 3 })
    const keys = publicKeysOf(validators)
    await postValidators(relayer.url, keys)
    const index = await indexOf(relayer.url, keys[0] ?? '')
    const items = (share: number, offset: number, from = validators) =>
      validators.map((validator, position) => ({
        public_key: hex(validator.publicKey),
        exit_signature: partialExit(world.network, from[position] ?? validator, share, index + position + offset),
      }))
    // Garbage for every index: wrong message, another node's signature, another validator's.
    for (const share of [1, 2, 3, 4])
      expect((await postShares(relayer.url, share, items(share, 1000 + share))).status).toBe(200)
    expect((await postShares(relayer.url, 2, items(1, 0))).status).toBe(200)
    expect(
      (await postShares(relayer.url, 3, items(3, 0, [...validators.slice(1), ...validators.slice(0, 1)]))).status,
    ).toBe(200)
    for (const share of [1, 2, 4]) expect((await postShares(relayer.url, share, items(share, 0))).status).toBe(200)
    await untilShares(relayer.url, keys)
    for (const exit of await getExits(relayer.url))
      if (keys.includes(exit.public_key))
        expect(exit).toMatchObject({ share_indexes_ready: [1, 2, 4], share_indexes_rejected: [3] })
    // A late right one still counts.
    await postShares(relayer.url, 3, items(3, 0))
    await eventually('index 3', async () =>
      (await getExits(relayer.url))
        .filter((exit) => keys.includes(exit.public_key))
        .every((exit) => exit.share_indexes_ready.length === 4)
        ? true
        : undefined,
    )
  })

  it.each([1_000_000, 10])(
    'invented share indexes by the hundred, from %i on, do not hide the true ones',
    { timeout: 600_000 },
    async (from) => {
      await using relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3' })
      const [validator] = createTestKeys(1, { nodes: 4, threshold: 3, indexes: [5n, 128n, 1402n, 70_001n] })
      if (validator === undefined) throw new Error('no validator')
      const [key = ''] = publicKeysOf([validator])
      await postValidators(relayer.url, [key])
      const index = await indexOf(relayer.url, key)
      const garbage = (seed: number) =>
        toHex(engine.sign(new Uint8Array(32).fill(1).with(31, seed % 250), new Uint8Array(32).fill(seed % 251)))
      // Some at once, as nodes post: one after the other each could wait for the search that the one before it has set off.
      for (let posted = 0; posted < 80; posted += 16)
        await Promise.all(
          Array.from({ length: 16 }, (_, i) => posted + i + 1).map((invented) =>
            postShares(relayer.url, from + invented, [{ public_key: key, exit_signature: garbage(invented) }]),
          ),
        )
      const stored = (await getExits(relayer.url)).find((exit) => exit.public_key === key)
      expect(stored?.share_indexes_unverified?.length).toBeLessThanOrEqual(64)
      await eventually(
        'ready in spite of it',
        async () => {
          for (const share of [5, 1402, 70_001])
            await postShares(relayer.url, share, [
              { public_key: key, exit_signature: partialExit(world.network, validator, share, index) },
            ])
          return (await getExits(relayer.url)).find((exit) => exit.public_key === key)?.is_exit_signature_ready === true
            ? true
            : undefined
        },
        // A search may find nothing a few times, and takes a slow machine half a minute.
        500_000,
      )
    },
  )

  it('a malformed point is refused at once, an unknown threshold too', async () => {
    const cluster = await make('only', 1, 4, 3)
    await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const [validator] = createTestKeys(1, { nodes: 4, threshold: 3 })
    if (validator === undefined) throw new Error('no validator')
    expect(await postValidators(relayer.url, publicKeysOf([validator]))).toMatchObject({
      status: 422,
      json: { code: 'THRESHOLD_UNKNOWN', failures: [{ index: 0, code: 'THRESHOLD_UNKNOWN' }] },
    })
  })
})

describe('tokens', () => {
  it('a token of the wrong role, vault or share index gets nothing, on every route', async () => {
    const mine = await make('mine', 1, 4, 3, 0x11)
    const theirs = await make('theirs', 1, 4, 3, 0x22)
    const operator = createToken('operator', 'operator', `0x${'11'.repeat(20)}`)
    const second = createToken('second', 'operator', `0x${'11'.repeat(20)}`)
    const node1 = createToken('node-1', 'sidecar', '1')
    const oracle = createToken('oracle', 'oracle', `0x${'33'.repeat(20)}`)
    const admin = createToken('admin', 'admin', '*')
    const file = join(dir, 'tokens')
    await writeFile(file, [operator, second, node1, oracle, admin].map(({ line }) => line).join('\n'))
    await using relayer = await world.startRelayer({
      CLUSTER_LOCK_FILES: `${mine.lockFile},${theirs.lockFile}`,
      AUTH_TOKENS_FILE: file,
    })
    const { url } = relayer
    const as = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` })
    const basic = ({ token }: { token: string }) => ({
      authorization: `Basic ${Buffer.from(`me:${token}`).toString('base64')}`,
    })
    const [key = ''] = publicKeysOf(mine.validators)
    const [foreign = ''] = publicKeysOf(theirs.validators)
    const status = async (path: string, headers: Record<string, string>, body?: unknown) =>
      (await ask(url, path, { headers, ...(body === undefined ? {} : { body }) })).status
    const shares = { share_index: 1, shares: [] }

    for (const [path, body] of [
      ['/info'],
      ['/ready'],
      ['/metrics'],
      ['/openapi.json'],
      ['/exits'],
      ['/validators', { public_keys: [key] }],
      ['/exit-signature', shares],
    ] as const) {
      expect(await status(path, {}, body), path).toBe(401)
      expect(await status(path, { authorization: 'Bearer wrong' }, body), path).toBe(401)
    }
    expect(await status('/health', {})).toBe(200)
    for (const token of [operator, node1, oracle, admin]) expect(await status('/info', as(token))).toBe(200)
    for (const token of [operator, oracle]) expect(await status('/exits', as(token))).toBe(403)
    for (const token of [node1, oracle])
      expect(await status('/validators', as(token), { public_keys: [key] })).toBe(403)
    for (const token of [operator, oracle]) expect(await status('/exit-signature', as(token), shares)).toBe(403)
    for (const token of [operator, node1, oracle]) expect(await status('/metrics', as(token))).toBe(403)
    expect(await status('/metrics', as(admin))).toBe(200)
    expect(await status('/exit-signature', as(node1), { ...shares, share_index: 2 })).toBe(403)
    expect(await status('/exit-signature', basic(node1), shares)).toBe(200)
    expect(await ask(url, '/validators', { headers: as(operator), body: { public_keys: [foreign] } })).toMatchObject({
      status: 403,
      json: { code: 'TOKEN_BINDING', failures: [{ index: 0, code: 'TOKEN_BINDING' }] },
    })
    expect(await status('/validators', basic(operator), { public_keys: [key] })).toBe(200)
    // Another token of the same vault is the same operator.
    expect(await status('/validators', as(second), { public_keys: [key] })).toBe(200)
  })
})

/** The same validator key on a new polynomial. */
function reshare(validator: KeyedValidator): MadeCluster['validators'][number] {
  const order = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n
  const secret = BigInt(hex(validator.secretKey))
  const coefficients = [secret, 123_456_789n, 987_654_321n]
  const shares = [1n, 2n, 3n, 4n].map((index) => {
    const value = coefficients.reduceRight((sum, coefficient) => (sum * index + coefficient) % order, 0n)
    const secretKey = new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'))
    return { index, secretKey, publicKey: engine.publicKeyOf(secretKey) }
  })
  return { publicKey: validator.publicKey, secretKey: validator.secretKey, shares }
}

/** Asks until at least `count` of the keys have their shares. */
function untilSharesOf(url: string, keys: readonly string[], count: number) {
  return eventually('some shares', async () => {
    const { json } = await postValidators(url, keys)
    const ready = (json as { validators: { oracles_exit_signature_shares: unknown }[] }).validators.filter(
      (item) => item.oracles_exit_signature_shares !== null,
    )
    return ready.length >= count ? true : undefined
  })
}
