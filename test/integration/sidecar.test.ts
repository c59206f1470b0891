import { describe, expect, it } from 'vitest'
import { readConfig, type SidecarConfig } from '../../apps/sidecar/src/config.ts'
import { startSidecar } from '../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../libs/chain/src/networks.ts'
import { fromHex } from '../../libs/common/src/hex.ts'
import { createLogger, silentLogger } from '../../libs/common/src/logger.ts'
import { createBlstEngine } from '../../libs/crypto/src/bls-blst.ts'
import { exitSigningRoot } from '../../libs/crypto/src/messages.ts'
import { type FixtureClusterName, loadFixtureCluster } from '../support/fixtures.ts'
import { type StandInRelayer, startStandInRelayer } from './sidecar-stand-in.ts'

const engine = createBlstEngine()
const POLL_MS = 60

/** The config of one node of a fixture cluster, through the environment, with a faster poll. */
function configOf(
  name: FixtureClusterName,
  node: number,
  url: string,
  more: Record<string, string> = {},
): SidecarConfig {
  const { nodes, expected } = loadFixtureCluster(name)
  const { config } = readConfig({
    NETWORK: expected.network,
    RELAYER_ENDPOINT: url,
    OBOL_KEYSTORES_DIR: nodes[node]?.keystoresDir ?? '',
    ...more,
  })
  return { ...config, relayer: { ...config.relayer, pollIntervalMs: POLL_MS } }
}

function rootOf(network: 'mainnet' | 'hoodi', validatorIndex: number): Uint8Array {
  return exitSigningRoot(networks[network], { epoch: networks[network].capellaEpoch, validatorIndex })
}

/** Whether every post verifies under the key share of its validator and share index, for the index it was listed with. */
function expectPostsVerify(relayer: StandInRelayer, name: FixtureClusterName): void {
  const { expected } = loadFixtureCluster(name)
  for (const { publicKey, shareIndex, signature, validatorIndex } of relayer.posts) {
    const validator = expected.validators.find(({ public_key }) => public_key === publicKey)
    const share = validator?.public_key_shares.find(({ share_index }) => share_index === shareIndex)
    const root = rootOf(expected.network, validatorIndex ?? -1)
    expect(engine.verify(fromHex(share?.public_key_share ?? ''), root, fromHex(signature, 96))).toBe(true)
  }
}

/** A logger whose lines a test reads. */
function recordingLogger(level: 'debug' | 'info' = 'debug') {
  const lines: string[] = []
  const logger = createLogger({ level, format: 'json', destination: { write: (line: string) => lines.push(line) } })
  const find = (message: string) => lines.filter((line) => line.includes(`"msg":"${message}`))
  return { logger, lines, find }
}

const keysOf = (name: FixtureClusterName) =>
  loadFixtureCluster(name).expected.validators.map(({ public_key }) => public_key)

describe.each(['existing', 'ours'] as const)('against a relayer that is %s', (generation) => {
  it.each([
    ['cluster-4', 4, 3],
    ['cluster-3', 3, 2],
    ['cluster-7', 7, 5],
    ['cluster-dkg', 4, 3],
  ] as const)('%s: all %i nodes sign, any %i interpolate to the exit signature', async (name, nodes, threshold) => {
    const { expected } = loadFixtureCluster(name)
    await using relayer = await startStandInRelayer({ generation, network: expected.network })
    const keys = keysOf(name)
    for (const [place, key] of keys.entries()) relayer.addExit(key, 1000 + place)
    await using stack = new AsyncDisposableStack()
    for (let node = 0; node < nodes; node++)
      stack.use(await startSidecar(configOf(name, node, relayer.url), { logger: silentLogger }))
    await relayer.until(() => keys.every((key) => relayer.exits.get(key)?.share_indexes_ready.length === nodes))
    expectPostsVerify(relayer, name)
    for (const [place, key] of keys.entries()) {
      const partials = new Map(
        relayer.posts.filter(({ publicKey }) => publicKey === key).map((post) => [post.shareIndex, post.signature]),
      )
      const some = [...partials].slice(-threshold)
      const full = engine.interpolateSignatures(
        some.map(([index, signature]) => ({ index: BigInt(index), point: fromHex(signature) })),
      )
      expect(engine.verify(fromHex(key), rootOf(expected.network, 1000 + place), full)).toBe(true)
    }
  })
})

void recordingLogger
