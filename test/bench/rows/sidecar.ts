/** Rows: what a sidecar needs to sign and post, and to decrypt its keystores. */

import { createCipheriv, createHash, pbkdf2, pbkdf2Sync, randomBytes, randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { type StandInRelayer, startStandInRelayer } from '../../integration/sidecar/stand-in.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import { median, timed } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { Stage } from '../stage.ts'

const EXITS = 1000
const ROUNDS = 3
/** More than the poll interval: a sidecar signs one key for one index after the other no faster. */
const PAUSE_MS = 2200
const KEYSTORES = 1000
const ROUNDS_OF_KDF = 262_144

/** Lists exits of these keys, waits for all posts, and again with other indexes. Milliseconds, best is the median. */
export async function measureRounds(
  relayer: StandInRelayer,
  keys: readonly string[],
): Promise<{ best: number; first: number; rounds: number }> {
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await sleep(round === 0 ? 200 : PAUSE_MS)
    const before = relayer.posts.length
    times.push(
      await timed(() => {
        keys.forEach((key, position) => {
          relayer.addExit(key, keys.length * (round + 1) + position)
        })
        return relayer.until(() => relayer.posts.length >= before + keys.length)
      }),
    )
  }
  return { best: median(times), first: times[0] ?? Number.NaN, rounds: ROUNDS }
}

/** Signs and posts against a relayer stand-in. */
export async function benchSigning(stage: Stage): Promise<BenchRow[]> {
  const validators = (await stage.cluster()).validators.slice(0, EXITS)
  const { network } = await stage.world()
  await using relayer = await startStandInRelayer({ generation: 'ours', network: network.name })
  await using _sidecar = await stage.startSidecar(0, relayer.url)
  const keys = validators.map(({ publicKey }) => toHex(publicKey))
  const { best, first } = await measureRounds(relayer, keys)
  const engine = createBlstEngine()
  const signing = await timed(() =>
    validators.forEach(({ secretKey }, position) => {
      engine.sign(secretKey, exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex: position }))
    }),
  )
  return [
    {
      id: 'sidecar-sign',
      name: `sidecar: ${EXITS} exits signed and posted, from the change of the list to the last post, median of ${ROUNDS}`,
      measured: formatMs(best),
      target: '≤ 1 s',
      isMet: best <= 1000,
      baseline: `${EXITS} signatures by blst in a loop: ${formatMs(signing)}`,
      ratio: best / signing,
      limit: 'signing on one thread',
      values: { ms: best, first_ms: first, signing_ms: signing },
    },
  ]
}

/** Decrypts keystores of full strength; a part of them, multiplied, unless all are asked for. */
export async function benchKeystores(stage: Stage, isFull: boolean): Promise<BenchRow[]> {
  const count = isFull ? KEYSTORES : KEYSTORES / 5
  const { validators } = await stage.cluster()
  const dir = join(stage.dir, 'strong')
  await writeStrongKeystores(dir, validators.slice(0, count))
  await using relayer = await startStandInRelayer({ generation: 'ours', network: (await stage.world()).network.name })
  await using sidecar = await stage.startSidecar(0, relayer.url, { OBOL_KEYSTORES_DIR: dir })
  const { seconds } = await sidecar.logged('keys loaded')
  const isProgressShown = sidecar.output().includes('"msg":"decrypting keystores"')
  const ms = Number(seconds) * 1000 * (KEYSTORES / count)
  const cores = availableParallelism()
  const sample = 8 * cores
  const derive = promisify(pbkdf2)
  const derivation = await timed(() =>
    Promise.all(
      Array.from({ length: cores }, async () => {
        for (let i = 0; i < sample / cores; i++) await derive('password', randomBytes(32), ROUNDS_OF_KDF, 32, 'sha256')
      }),
    ),
  )
  const bare = (derivation / sample) * KEYSTORES
  return [
    {
      id: 'sidecar-keys',
      name: `sidecar: ${KEYSTORES} keystores of ${ROUNDS_OF_KDF} rounds decrypted on ${cores} cores`,
      measured: `${formatMs(ms)}${isFull ? '' : ` (${count} measured, times ${KEYSTORES / count})`}, progress ${isProgressShown ? 'shown' : 'not shown'}`,
      target: '≤ 60 s',
      isMet: ms <= 60_000 && isProgressShown,
      baseline: `node:crypto pbkdf2 alone on all cores: ${formatMs(bare)}`,
      ratio: ms / bare,
      limit: 'PBKDF2 itself: the rounds, on every core',
      values: { ms, measured_keystores: count, pbkdf2_ms: bare },
    },
  ]
}

/** Keystores of node 0 as charon writes them. One derivation serves all of them here; who opens them has to derive each. */
async function writeStrongKeystores(dir: string, validators: readonly KeyedValidator[]): Promise<void> {
  const [password, salt] = [randomBytes(16).toString('hex'), randomBytes(32)]
  const key = pbkdf2Sync(password, salt, ROUNDS_OF_KDF, 32, 'sha256')
  await mkdir(dir, { recursive: true })
  for (const [position, { shares }] of validators.entries()) {
    const [share] = shares
    if (share === undefined) throw new Error('a validator without shares')
    const iv = randomBytes(16)
    const ciphertext = createCipheriv('aes-128-ctr', key.subarray(0, 16), iv).update(share.secretKey)
    const checksum = createHash('sha256').update(key.subarray(16)).update(ciphertext).digest('hex')
    const keystore = {
      crypto: {
        kdf: {
          function: 'pbkdf2',
          params: { dklen: 32, c: ROUNDS_OF_KDF, prf: 'hmac-sha256', salt: salt.toString('hex') },
          message: '',
        },
        checksum: { function: 'sha256', params: {}, message: checksum },
        cipher: { function: 'aes-128-ctr', params: { iv: iv.toString('hex') }, message: ciphertext.toString('hex') },
      },
      pubkey: toHex(share.publicKey).slice(2),
      path: 'm/12381/3600/0/0/0',
      uuid: randomUUID(),
      version: 4,
    }
    await writeFile(join(dir, `keystore-${position}.json`), JSON.stringify(keystore))
    await writeFile(join(dir, `keystore-${position}.txt`), password, { mode: 0o400 })
  }
}
