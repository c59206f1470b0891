/** Rows: from the start of the process to ready. */

import { spawnSync } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { median } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { Stage } from '../stage.ts'

const STARTS = 3

/** Starts relayers on a given PostgreSQL and on embedded ones, and a sidecar with one key. */
export async function benchStart(stage: Stage): Promise<BenchRow[]> {
  const own: number[] = []
  const health: number[] = []
  for (let round = 0; round < STARTS; round++) {
    await using relayer = await stage.startRelayer()
    own.push(relayer.startMs.ready)
    health.push(relayer.startMs.health)
  }
  const embedded: { first: number; again: number }[] = []
  for (let round = 0; round < 2; round++) {
    const dataDir = await mkdtemp(join(stage.dir, 'data-'))
    const start = async () => {
      await using relayer = await stage.startRelayer({ DATABASE_URL: '', DATA_DIR: dataDir })
      return relayer.startMs.ready
    }
    embedded.push({ first: await start(), again: await start() })
  }
  const bare = median(
    Array.from({ length: 3 }, () => {
      const start = performance.now()
      spawnSync(process.execPath, ['-e', '0'])
      return performance.now() - start
    }),
  )
  const first = median(embedded.map((run) => run.first))
  const again = median(embedded.map((run) => run.again))
  const ready = median(own)
  return [
    {
      id: 'start',
      name: `process start to the first 200 of /ready, own PostgreSQL / embedded, each with an empty database${stage.bundled}`,
      measured: `${formatMs(ready)} (/health ${formatMs(median(health))}) / ${formatMs(first)} (started again ${formatMs(again)})`,
      target: '≤ 1.0 s / ≤ 2.0 s',
      isMet: ready <= 1000 && first <= 2000,
      baseline: `node -e 0: ${formatMs(bare)}`,
      ratio: ready / bare,
      limit: 'loading modules, migrations of ours and of the queue, the oracle config; embedded: initdb',
      values: {
        own_ready_ms: ready,
        own_health_ms: median(health),
        embedded_first_ms: first,
        embedded_again_ms: again,
      },
    },
    await sidecarRow(stage, bare),
  ]
}

async function sidecarRow(stage: Stage, bare: number): Promise<BenchRow> {
  const [node] = (await stage.makeCluster('one', 1)).nodes
  if (node === undefined) throw new Error('the cluster has no node')
  await using relayer = await stage.startRelayer()
  const times: number[] = []
  for (let round = 0; round < STARTS; round++) {
    const start = performance.now()
    await using _sidecar = await stage.startSidecar(0, relayer.url, {
      OBOL_KEYSTORES_DIR: node.keystoresDir,
      OBOL_CLUSTER_LOCK_FILE: node.lockFile,
    })
    times.push(performance.now() - start)
  }
  const first = median(times)
  return {
    id: 'sidecar-start',
    name: `a sidecar's process start to the relayer's first list, one keystore${stage.bundled}`,
    measured: formatMs(first),
    target: '≤ 0.6 s',
    isMet: first <= 600,
    baseline: `node -e 0: ${formatMs(bare)}`,
    ratio: first / bare,
    limit: 'loading modules, one keystore, the lock',
    values: { ms: first },
  }
}
