/** What the sidecar's tests share: configs of fixture nodes, checks of what was posted, a logger to read. */

import { expect } from 'vitest'
import { readConfig, type SidecarConfig } from '../../apps/sidecar/src/config.ts'
import { networks } from '../../libs/chain/src/networks.ts'
import { fromHex } from '../../libs/common/src/hex.ts'
import { createLogger } from '../../libs/common/src/logger.ts'
import { createBlstEngine } from '../../libs/crypto/src/bls-blst.ts'
import { exitSigningRoot } from '../../libs/crypto/src/messages.ts'
import { type FixtureClusterName, loadFixtureCluster } from '../support/fixtures.ts'
import type { Post } from './sidecar-stand-in.ts'

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
