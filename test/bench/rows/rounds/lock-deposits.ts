/** Row of generation 4: a cluster whose lock carries the deposits, whose nodes sign exits alone, beside one whose nodes sign both. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { makeCluster, makeLockDeposit } from '../../../support/keys/make-cluster.ts'
import { createTestDatabase } from '../../../support/services/postgres.ts'
import type { VaultWorld } from '../../../support/world/vault-world.ts'
import { startVaultWorld } from '../../../support/world/vault-world.ts'
import { median } from '../../measure.ts'
import type { BenchRow } from '../../report.ts'
import { formatMs, formatRatio } from '../../report.ts'
import type { Stage } from '../../stage.ts'
import { NODES, THRESHOLD } from '../../stage.ts'
import { createVaultRounds } from './vault-rounds.ts'

const WARM = 10
const MEASURED = 100
const REPEATS = 3
const ETH = 32n

/** Measures both in turns, each with a relayer and sidecars of its own. */
export async function benchLockDeposits(stage: Stage): Promise<BenchRow[]> {
  await using world = await startVaultWorld()
  await using both = await openScene(stage, world, false)
  await using alone = await openScene(stage, world, true)
  for (const { round } of [both, alone]) await round(WARM)
  const times = { both: [] as number[], alone: [] as number[] }
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    times.both.push(await both.round(MEASURED))
    times.alone.push(await alone.round(MEASURED))
  }
  const [without, fitting] = [median(times.both), median(times.alone)]
  return [
    {
      id: 'lock-deposits',
      name: `${MEASURED} validators (generation 4) whose deposits are in their lock, ${NODES} sidecars that sign exits alone, request to all ready, median of ${REPEATS}`,
      measured: `${formatMs(fitting)} (${formatRatio(fitting / without)} ×)`,
      target: 'less than with deposits to sign',
      isMet: fitting < without,
      baseline: `nodes sign the deposits too, beside them: ${formatMs(without)}`,
      ratio: fitting / without,
      limit: 'CPU: half of the partial signatures, and no journal',
      values: { fitting_ms: fitting, without_ms: without },
    },
  ]
}

async function openScene(stage: Stage, world: VaultWorld, hasDeposits: boolean) {
  await using stack = new AsyncDisposableStack()
  const vault = await world.deployVault()
  const name = hasDeposits ? 'with-deposits' : 'without-deposits'
  const withdrawalAddress = Buffer.from(vault.address.slice(2), 'hex')
  const { genesisForkVersion } = world.network
  const deposit = { vault: withdrawalAddress, type: '0x01' as const, ether: ETH, genesisForkVersion }
  const cluster = await makeCluster({
    dir: join(stage.dir, name),
    nodes: NODES,
    threshold: THRESHOLD,
    validators: WARM + REPEATS * MEASURED,
    network: world.network,
    withdrawalAddress,
    feeRecipient: randomBytes(20),
    name,
    ...(hasDeposits && { deposits: (validator) => [makeLockDeposit(validator, deposit)] }),
  })
  const database = stack.use(await createTestDatabase())
  const settings = { DATABASE_URL: database.url, CLUSTER_LOCK_FILES: cluster.lockFile }
  const { url } = stack.use(await stage.startRelayer(world.environment(settings)))
  const sidecars = cluster.nodes.map(({ keystoresDir, lockFile }, node) =>
    stage.startSidecar(node, url, {
      NETWORK: world.networkFile,
      CONSENSUS_ENDPOINT: world.beacon.url,
      OBOL_KEYSTORES_DIR: keystoresDir,
      OBOL_CLUSTER_LOCK_FILE: lockFile,
      // As nodes with charon alone do, and whoever may not sign deposits: by the list of exits.
      ...(hasDeposits ? { GENERATION: '3' } : { JOURNAL_FILE: join(stage.dir, name, `node${node}.journal`) }),
    }),
  )
  for (const sidecar of await Promise.all(sidecars)) stack.use(sidecar)

  const round = createVaultRounds(url, vault.address, world.beacon)
  const owned = stack.move()
  return { round, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
