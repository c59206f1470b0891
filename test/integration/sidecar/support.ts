/** What the sidecar's tests share: configs of fixture nodes, checks of what was posted, a logger to read. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { readConfig, type SidecarConfig } from '../../../apps/sidecar/src/config.ts'
import { networks } from '../../../libs/chain/src/networks.ts'
import { fromHex } from '../../../libs/common/src/hex.ts'
import { createLogger } from '../../../libs/common/src/log/logger.ts'
import { createBlstEngine } from '../../../libs/crypto/src/bls/blst.ts'
import { exitSigningRoot } from '../../../libs/crypto/src/messages/messages.ts'
import { bytesRoot, containerRoot, uint64Root } from '../../../libs/crypto/src/messages/ssz.ts'
import { type FixtureClusterName, loadFixtureCluster } from '../../support/keys/fixtures.ts'
import type { Post, SignaturesPost, StandInDeposit } from './stand-in.ts'

export const engine = createBlstEngine()
/** The poll interval of sidecars under test. */
export const POLL_MS = 60

/** What the log says of a signature the relayer rejects. */
export const REJECTED =
  'relayer rejects partial signatures: its cluster lock may differ from ours, or somebody else posts for this node'

/** The config of one node of a fixture cluster, through the environment, with a faster poll. */
export function configOf(
  name: FixtureClusterName,
  node: number,
  url: string,
  more: Record<string, string> = {},
): SidecarConfig {
  const { nodes, expected } = loadFixtureCluster(name)
  return hasten(
    readConfig({
      NETWORK: expected.network,
      RELAYER_ENDPOINT: url,
      // What answers, answers in its own time on a busy machine.
      RELAYER_TIMEOUT: '60',
      OBOL_KEYSTORES_DIR: nodes[node]?.keystoresDir ?? '',
      ...more,
    }).config,
  )
}

/** The same config with a faster poll. */
export function hasten(config: SidecarConfig, healIntervalMs = config.relayer.healIntervalMs): SidecarConfig {
  return { ...config, relayer: { ...config.relayer, pollIntervalMs: POLL_MS, healIntervalMs } }
}

/** The signing root of an exit. */
export function rootOf(network: 'mainnet' | 'hoodi', validatorIndex: number): Uint8Array {
  return exitSigningRoot(networks[network], { epoch: networks[network].capellaEpoch, validatorIndex })
}

/** Whether a signature verifies under the key share of a validator at a share index, for an index. */
export function isRight(name: FixtureClusterName, post: Post, validatorIndex = post.validatorIndex ?? -1): boolean {
  const { expected } = loadFixtureCluster(name)
  const validator = expected.validators.find(({ public_key }) => public_key === post.publicKey)
  const share = validator?.public_key_shares.find(({ share_index }) => share_index === post.shareIndex)
  if (share === undefined) return false
  const root = rootOf(expected.network, validatorIndex)
  return engine.verify(fromHex(share.public_key_share), root, fromHex(post.signature, 96))
}

/** Every post is right for the index it was listed with, and there is one at least. */
export function expectAllRight(name: FixtureClusterName, posts: readonly Post[]): void {
  expect(posts.length).toBeGreaterThan(0)
  expect(posts.filter((post) => !isRight(name, post))).toEqual([])
}

/** The signing root of a deposit, by the general rules of SSZ: nothing of the code under test goes into it. */
export function depositRootOf(
  network: 'mainnet' | 'hoodi',
  publicKey: string,
  { vault, amount, validator_type }: StandInDeposit,
): Uint8Array {
  const credentials = Buffer.concat([fromHex(validator_type, 1), new Uint8Array(11), fromHex(vault, 20)])
  const message = containerRoot([bytesRoot(fromHex(publicKey), 48), credentials, uint64Root(BigInt(amount))])
  const forkData = containerRoot([bytesRoot(networks[network].genesisForkVersion, 4), new Uint8Array(32)])
  return containerRoot([message, Buffer.concat([Uint8Array.of(3, 0, 0, 0), forkData.subarray(0, 28)])])
}

/** Whether both signatures verify under the key share that posted them, and every node's key share came along. */
export function isRightPair(
  name: FixtureClusterName,
  pair: SignaturesPost,
  listed: (StandInDeposit & { validator_index: number }) | undefined = pair.listed,
): boolean {
  const { expected } = loadFixtureCluster(name)
  const validator = expected.validators.find(({ public_key }) => public_key === pair.publicKey)
  const share = validator?.public_key_shares.find(({ share_index }) => share_index === pair.shareIndex)
  if (validator === undefined || share === undefined || listed === undefined) return false
  const key = fromHex(share.public_key_share)
  return (
    engine.verify(key, rootOf(expected.network, listed.validator_index), fromHex(pair.exit, 96)) &&
    engine.verify(key, depositRootOf(expected.network, pair.publicKey, listed), fromHex(pair.deposit, 96)) &&
    JSON.stringify(pair.publicKeyShares) === JSON.stringify(validator.public_key_shares)
  )
}

/** Every pair is right for what was listed when it came, and there is one at least. */
export function expectAllPairsRight(name: FixtureClusterName, pairs: readonly SignaturesPost[]): void {
  expect(pairs.length).toBeGreaterThan(0)
  expect(pairs.filter((pair) => !isRightPair(name, pair))).toEqual([])
}

/** A folder for journals that goes with the test. */
export async function journalFolder(): Promise<AsyncDisposable & { file(name?: string | number): string }> {
  const dir = await mkdtemp(join(tmpdir(), 'dvt-sidecar-'))
  return {
    file: (name = 0) => join(dir, `node-${name}`, 'deposits.journal'),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  }
}

/** A logger whose lines a test reads, each parsed. */
export function recordingLogger() {
  const text: string[] = []
  const logger = createLogger({
    level: 'debug',
    format: 'json',
    destination: { write: (line: string) => void text.push(line) },
  })
  const lines = () => text.map((line) => JSON.parse(line) as Record<string, unknown>)
  const find = (message: string, fields: Record<string, unknown> = {}) =>
    lines().filter(
      (line) => line['msg'] === message && Object.entries(fields).every(([name, value]) => line[name] === value),
    )
  return { logger, text, find }
}

/** Validator keys of a fixture cluster, in lock order. */
export const keysOf = (name: FixtureClusterName): string[] =>
  loadFixtureCluster(name).expected.validators.map(({ public_key }) => public_key)

/** The first of a list that cannot be empty. */
export function first<T>(items: readonly T[]): T {
  const [item] = items
  if (item === undefined) throw new Error('empty list')
  return item
}
