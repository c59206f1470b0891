/** Row of generation 4: deposits and exits together, beside exits alone, with the same sidecars. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { makeCluster } from '../../../support/keys/make-cluster.ts'
import { startVaultWorld } from '../../../support/world/vault-world.ts'
import { median, sendJson } from '../../measure.ts'
import type { BenchRow } from '../../report.ts'
import { formatMs, formatRatio } from '../../report.ts'
import type { Stage } from '../../stage.ts'
import { keysOf, NODES, THRESHOLD, untilReady } from '../../stage.ts'
import { createVaultRounds, IDLE_MS } from './vault-rounds.ts'

const WARM = 10
const MEASURED = 100
const REPEATS = 7
/** Above the indexes of the exits that are asked for alone. */
const INDEXES_AHEAD = 10_000

/** Asks for both in turns on one relayer with a chain of its own. */
export async function benchPairs(stage: Stage): Promise<BenchRow[]> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await startVaultWorld())
  const vault = await world.deployVault({ balanceEth: 100_000n })
  const each = WARM + REPEATS * MEASURED
  const cluster = await makeCluster({
    dir: join(stage.dir, 'pairs'),
    nodes: NODES,
    threshold: THRESHOLD,
    validators: 2 * each,
    network: networks.hoodi,
    withdrawalAddress: Buffer.from(vault.address.slice(2), 'hex'),
    feeRecipient: randomBytes(20),
    name: 'pairs',
  })
  const relayer = stack.use(
    await stage.startRelayer(world.environment({ CLUSTER_LOCK_FILES: cluster.lockFile, VAULTS: vault.address })),
  )
  const { url } = relayer
  const sidecars = cluster.nodes.map(({ keystoresDir, lockFile }, node) =>
    stage.startSidecar(node, url, {
      NETWORK: world.networkFile,
      CONSENSUS_ENDPOINT: world.beacon.url,
      OBOL_KEYSTORES_DIR: keystoresDir,
      OBOL_CLUSTER_LOCK_FILE: lockFile,
      JOURNAL_FILE: join(stage.dir, 'pairs', `node${node}.journal`),
    }),
  )
  for (const sidecar of await Promise.all(sidecars)) stack.use(sidecar)

  const pairs = createVaultRounds(url, vault.address, world.beacon, INDEXES_AHEAD)
  // From the end of the cluster: registrations take its keys in their order.
  let taken = 0
  const exits = async (count: number) => {
    await sleep(IDLE_MS)
    taken += count
    const some = cluster.validators.slice(cluster.validators.length - taken).slice(0, count)
    const start = performance.now()
    await sendJson(url, '/validators', { public_keys: keysOf(some) })
    const { steps } = await untilReady(url, some)
    return (steps.at(-1)?.at ?? Number.NaN) - start
  }
  await pairs(WARM)
  await exits(WARM)
  const times = { pairs: [] as number[], exits: [] as number[] }
  for (let round = 0; round < REPEATS; round++) {
    times.exits.push(await exits(MEASURED))
    times.pairs.push(await pairs(MEASURED))
  }
  const [both, alone] = [median(times.pairs), median(times.exits)]
  return [
    {
      id: 'pairs',
      name: `deposits and exits of ${MEASURED} validators together (generation 4), ${NODES} sidecars, request to all ready, median of ${REPEATS}`,
      measured: `${formatMs(both)} (${formatRatio(both / alone)} ×)`,
      target: '≤ 1.3 × exits alone',
      isMet: both <= 1.3 * alone,
      baseline: `exits of ${MEASURED} alone, beside them: ${formatMs(alone)}`,
      ratio: both / alone,
      limit:
        'CPU: twice the signatures, of nodes and of candidates; half again of the rows that PostgreSQL writes; lists of both kinds',
      values: { pairs_ms: both, exits_ms: alone },
    },
  ]
}
