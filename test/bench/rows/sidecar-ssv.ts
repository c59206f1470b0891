/** Rows: a sidecar of an SSV operator that finds its key shares on the chain, and signs and posts with them. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { openOperatorKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { openKeyShare, parseSharesData, verifyShares } from '@dvt-relayer/crypto/ssv/shares.ts'
import { startStandInRelayer } from '../../integration/sidecar/stand-in.ts'
import { startRpc } from '../../support/chain/rpc.ts'
import { makeOperators, makeSsvValidators, operatorAddedLog, validatorAddedLog } from '../../support/keys/ssv.ts'
import { startProcess } from '../../support/services/process.ts'
import { residentBytes, timed } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { Stage } from '../stage.ts'
import { measureRounds } from './sidecar.ts'

const VALIDATORS = 1000
const HEAD = 1_300_000
const MIB = 1 << 20

/** Starts on 1,000 registrations, again with its state file, and signs all of them. */
export async function benchSsv(stage: Stage): Promise<BenchRow[]> {
  const operators = makeOperators([5, 128, 1402, 70001])
  const [own] = operators
  if (own === undefined) throw new Error('no operator')
  const validators = makeSsvValidators(VALIDATORS, operators, { owner: `0x${'c1'.repeat(20)}` })
  const { network } = await stage.world()
  await using node = await startRpc({
    chainId: network.chainId,
    head: HEAD,
    logs: [
      ...operators.map((operator, position) => operatorAddedLog(operator, 2_000, position)),
      ...validators.map((validator, position) => validatorAddedLog(validator, 3_000 + 100 * position, 0)),
    ],
  })
  node.limit = { blocks: 10_000, refusal: { code: -32005, message: 'query exceeds max block range' } }
  node.finalized = HEAD - 64
  await using relayer = await startStandInRelayer({ generation: 'ours', lists: ['exits'], network: network.name })
  const dir = await mkdtemp(join(stage.dir, 'ssv-'))
  const keyFile = join(dir, 'key')
  await writeFile(keyFile, own.keyFile)
  const start = async () => {
    const app = startProcess('sidecar', {
      NETWORK: network.name,
      RELAYER_ENDPOINT: relayer.url,
      CLUSTER_TYPE: 'SSV',
      SSV_OPERATOR_KEY_FILE: keyFile,
      EXECUTION_ENDPOINT: node.url,
      SSV_STATE_FILE: join(dir, 'state.json'),
      GENERATION: '3',
    })
    const { seconds, keys } = await app.logged('keys loaded')
    if (keys !== VALIDATORS) throw new Error(`the sidecar has ${keys} keys:\n${app.output()}`)
    return { app, ms: Number(seconds) * 1000 }
  }
  try {
    const first = await start()
    const isProgressShown = first.app.output().includes('"msg":"reading the events of the SSV contract"')
    const memory = residentBytes(first.app.child.pid ?? 0)
    await first.app.end('SIGTERM')
    const again = await start()
    await using app = again.app
    await app.logged('relayer knows long polling')
    const keys = validators.map(({ publicKey }) => toHex(publicKey))
    const { best, first: firstMs, rounds } = await measureRounds(relayer, keys)
    const bare = await bareWork(own.keyFile, validators)
    const engine = createBlstEngine()
    const signing = await timed(() =>
      validators.forEach(({ secretKey }, position) => {
        engine.sign(secretKey, exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex: position }))
      }),
    )
    return [
      {
        id: 'ssv-start',
        name: `sidecar: ${VALIDATORS} SSV key shares found on the chain, verified and decrypted`,
        measured: `${formatMs(first.ms)} at first, ${formatMs(again.ms)} with the state file; ${Math.round(memory.now / MIB)} MB, ${Math.round(memory.most / MIB)} MB at most; progress ${isProgressShown ? 'shown' : 'not shown'}`,
        target: 'progress shown',
        isMet: isProgressShown || first.ms < 3000,
        baseline: `verifying and decrypting them in a loop: ${formatMs(bare)}`,
        ratio: first.ms / bare,
        limit: 'pairings and points of the public key shares, on one thread',
        values: { ms: first.ms, again_ms: again.ms, bare_ms: bare, now_bytes: memory.now, most_bytes: memory.most },
      },
      {
        id: 'ssv-sign',
        name: `sidecar: ${VALIDATORS} SSV exits signed and posted, median of ${rounds}`,
        measured: formatMs(best),
        target: '≤ 1 s',
        isMet: best <= 1000,
        baseline: `${VALIDATORS} signatures by blst in a loop: ${formatMs(signing)}`,
        ratio: best / signing,
        limit: 'signing on one thread',
        values: { ms: best, first_ms: firstMs, signing_ms: signing },
      },
    ]
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** The work itself: what each registration and each share costs, without chain and process. */
async function bareWork(keyFile: string, validators: ReturnType<typeof makeSsvValidators>): Promise<number> {
  const engine = createBlstEngine()
  const key = await openOperatorKey(keyFile)
  const parsed = validators.slice(0, 100).map(({ owner, ownerNonce, publicKey, sharesData, operators }) => {
    const data = parseSharesData(
      sharesData,
      operators.map(({ id }) => id),
    )
    if ('fault' in data) throw new Error(data.reason)
    return { ownerAddress: fromHex(owner), nonce: ownerNonce, publicKey, data }
  })
  const ms = await timed(() => {
    for (const one of parsed) {
      const [share] = one.data.shares
      if (verifyShares(engine, one) !== undefined || share === undefined) throw new Error('a share is wrong')
      openKeyShare(engine, key, share)
    }
  })
  return (ms / parsed.length) * validators.length
}
