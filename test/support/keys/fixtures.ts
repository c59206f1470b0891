/** The fixtures of `test/fixtures`, by name. */

import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../fixtures/', import.meta.url))

/** The text of a file of `test/fixtures`, by its path in there or its absolute path. */
export function readFixture(path: string): string {
  return readFileSync(resolve(ROOT, path), 'utf8')
}

/** Where a file of `test/fixtures` is, by its path in there. */
export const fixturePath = (path: string): string => resolve(ROOT, path)

/** The bytes of a file, likewise. */
export function readFixtureBytes(path: string): Uint8Array {
  return readFileSync(resolve(ROOT, path))
}

/** The JSON value of a file of `test/fixtures`, likewise. */
export function readFixtureJson(path: string): unknown {
  return JSON.parse(readFixture(path))
}

/** The folder of one node of a cluster, as charon leaves it. */
export interface FixtureNode {
  dir: string
  /** `validator_keys` */
  keystoresDir: string
  lockFile: string
  enrKeyFile: string
}

/** What `expected.json` says of a cluster: derived from its decrypted keystores, not read from its lock. */
export interface ExpectedCluster {
  network: 'mainnet' | 'hoodi'
  nodes: number
  threshold: number
  /** Lower case. */
  withdrawal_address: string
  /** In lock order. */
  validators: { public_key: string; public_key_shares: { share_index: number; public_key_share: string }[] }[]
}

export interface FixtureCluster {
  name: string
  dir: string
  /** In share index order: place + 1. */
  nodes: FixtureNode[]
  lockFile: string
  expected: ExpectedCluster
}

export const FIXTURE_CLUSTERS = ['cluster-3', 'cluster-4', 'cluster-4-secure', 'cluster-7', 'cluster-dkg'] as const
export type FixtureClusterName = (typeof FIXTURE_CLUSTERS)[number]

/** Every other version of `cluster-4`'s lock, v1.0.0 to v1.10.0: paths for `readFixture`. */
export const FIXTURE_LOCKS: readonly string[] = Array.from(
  { length: 11 },
  (_, minor) => `obol/locks/lock-v1.${minor}.0.json`,
)

/** A real cluster: its folders and what it must contain. The files are fixtures: read them, change none. */
export function loadFixtureCluster(name: FixtureClusterName): FixtureCluster {
  const dir = `${ROOT}obol/${name}`
  const nodes = readdirSync(dir)
    .filter((entry) => /^(node|operator)\d+$/.test(entry))
    .sort((a, b) => Number(a.replace(/\D/g, '')) - Number(b.replace(/\D/g, '')))
    .map((entry) => {
      const node = entry.startsWith('operator') ? `${dir}/${entry}/.charon` : `${dir}/${entry}`
      return {
        dir: node,
        keystoresDir: `${node}/validator_keys`,
        lockFile: `${node}/cluster-lock.json`,
        enrKeyFile: `${node}/charon-enr-private-key`,
      }
    })
  const [first] = nodes
  if (first === undefined) throw new Error(`no nodes in ${dir}`)
  const expected = JSON.parse(readFileSync(`${dir}/expected.json`, 'utf8')) as ExpectedCluster
  return { name, dir, nodes, lockFile: first.lockFile, expected }
}

/** Genesis fork versions of the networks the fixtures are for. */
export const GENESIS_FORK_VERSIONS = {
  mainnet: Uint8Array.of(0x00, 0x00, 0x00, 0x00),
  hoodi: Uint8Array.of(0x10, 0x00, 0x09, 0x10),
} as const
