/** Row: a sidecar whose keys are in a remote signer. */

import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { startStandInRelayer } from '../../integration/sidecar/stand-in.ts'
import { cpuMs, timed } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { Stage } from '../stage.ts'
import { measureRounds } from './sidecar.ts'

const EXITS = 1000

/** Has a signer on another thread sign, verifies, and posts against a relayer stand-in. */
export async function benchRemoteSigning(stage: Stage): Promise<BenchRow[]> {
  const { lockFile, validators } = await stage.cluster()
  const { network } = await stage.world()
  const exits = validators.slice(0, EXITS)
  const secrets = exits.flatMap(({ shares: [share] }) => share?.secretKey ?? [])
  const signer = new Worker(new URL('../signer-worker.ts', import.meta.url), { workerData: secrets })
  try {
    const [url] = (await once(signer, 'message')) as [string]
    await using relayer = await startStandInRelayer({ generation: 'ours', network: network.name })
    await using sidecar = await stage.startSidecar(0, relayer.url, {
      OBOL_KEYSTORES_DIR: '',
      OBOL_CLUSTER_LOCK_FILE: lockFile,
      REMOTE_SIGNER_URL: url,
      JOURNAL_FILE: join(stage.dir, 'signer.journal'),
    })
    const pid = sidecar.child.pid ?? 0
    const cpuBefore = cpuMs(pid)
    const { best, first, rounds } = await measureRounds(
      relayer,
      exits.map(({ publicKey }) => toHex(publicKey)),
    )
    const cpu = (cpuMs(pid) - cpuBefore) / rounds
    const engine = createBlstEngine()
    const items = exits.flatMap(({ shares: [share] }, position) => {
      if (share === undefined) return []
      const message = exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex: position })
      return [{ publicKey: share.publicKey, message, signature: engine.sign(share.secretKey, message) }]
    })
    const verifier = createBlstEngine()
    const bare = await timed(() => {
      for (const { publicKey, message, signature } of items) verifier.verify(publicKey, message, signature)
    })
    return [
      {
        id: 'signer-sign',
        name: `sidecar: ${EXITS} exits signed by a remote signer, verified and posted, median of ${rounds}`,
        measured: `${formatMs(best)}, ${formatMs(cpu)} of CPU in the sidecar`,
        target: '≤ 0.8 × verifying one by one',
        isMet: best <= 0.8 * bare,
        baseline: `${EXITS} signatures verified one by one: ${formatMs(bare)}`,
        ratio: best / bare,
        limit: 'the signer, 1,000 requests, and pairings',
        values: { ms: best, first_ms: first, cpu_ms: cpu, verify_ms: bare },
      },
    ]
  } finally {
    await signer.terminate()
  }
}
