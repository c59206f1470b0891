/** Every real cluster goes the whole way: keystores and lock as charon made them, sidecars, relayer, oracles that decrypt. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../apps/sidecar/src/config.ts'
import { startSidecar } from '../../apps/sidecar/src/sidecar.ts'
import { FIXTURE_CLUSTERS, loadFixtureCluster } from '../support/keys/fixtures.ts'
import { assertOraclesCanExit, getExits, postValidators, untilShares } from '../support/world/nodes.ts'
import { startWorld } from '../support/world/world.ts'

describe.each(FIXTURE_CLUSTERS)('%s', (name) => {
  it('from public keys to oracle shares, with as few nodes as its threshold', {
    timeout: 300_000,
  }, async () => {
    const { nodes, lockFile, expected } = loadFixtureCluster(name)
    const network = expected.network === 'mainnet' ? networks.mainnet : networks.hoodi
    await using world = await startWorld({ network })
    await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: lockFile })
    const keys = expected.validators.map(({ public_key }) => public_key)
    await using sidecars = new AsyncDisposableStack()
    const start = async (node: (typeof nodes)[number]) => {
      const { config } = readConfig({
        NETWORK: network.name,
        RELAYER_ENDPOINT: relayer.url,
        OBOL_KEYSTORES_DIR: node.keystoresDir,
        OBOL_CLUSTER_LOCK_FILE: node.lockFile,
        CONSENSUS_ENDPOINT: world.beacon.url,
        POLL_INTERVAL: '1',
      })
      sidecars.use(await startSidecar(config, { logger: silentLogger }))
    }
    // The last nodes, so that share indexes are not simply 1 … threshold.
    const few = nodes.slice(nodes.length - expected.threshold)
    await Promise.all(few.map(start))
    expect((await postValidators(relayer.url, keys)).status).toBe(200)
    const done = await untilShares(relayer.url, keys)
    const indexes = new Map((await getExits(relayer.url)).map((exit) => [exit.public_key, exit.validator_index]))
    for (const [position, key] of keys.entries())
      await assertOraclesCanExit(
        network,
        world.oracles,
        7,
        fromHex(key),
        indexes.get(key) ?? -1,
        done.validators[position]?.oracles_exit_signature_shares ?? null,
      )
  })
})
