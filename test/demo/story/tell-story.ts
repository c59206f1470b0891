/** The story of the demo, step by step. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { drawShares, fetchShares, openShares, rebuildExit } from '../actors/oracles.ts'
import { exitRoot } from '../chain/signing-roots.ts'
import { DemoError } from '../errors.ts'
import type { Child } from '../processes.ts'
import { gatherSecrets, readLogs } from '../secrets/run-secrets.ts'
import { findLeaks } from '../secrets/secrets.ts'
import { getJson, waitFor } from '../wait.ts'
import {
  type Cast,
  HALF,
  keysOf,
  LATE,
  LIAR,
  NODES,
  ORACLE_THRESHOLD,
  ORACLES,
  type Registered,
  type Scene,
  SPARE,
  STUCK,
  THRESHOLD,
  VALIDATORS,
} from './scene.ts'
import { createStage } from './stage.ts'

/** What is left of the story for later, if everything is still running. */
export interface Ending {
  /** What a user may try. */
  hints: string[]
  /** Ends relayer and sidecars as a user would. @throws {DemoError} when one does not end with exit code 0 */
  stop(): Promise<void>
}

/** An item of a relayer's list: the fields that the story reads. */
interface Item {
  public_key: string
  is_exit_signature_ready?: boolean
  is_signatures_ready?: boolean
  share_indexes_ready: number[]
  share_indexes_rejected?: number[]
}

/** Tells the story; throws at the first thing that is not as it should be. */
export async function tellStory(cast: Cast): Promise<Ending> {
  const { home, story, signal, keep, children } = cast
  story.say(`Everything happens on this machine, in ${home.path}.`)
  const generation = await story.step('start the chain', cast.startGeneration, ({ chain }) => chain.description)
  signal.throwIfAborted()
  const { network, withdrawalAddress } = generation.chain
  const cluster = await story.step(
    'make a cluster',
    () =>
      makeCluster({
        dir: home.cluster,
        nodes: NODES,
        threshold: THRESHOLD,
        validators: VALIDATORS + (keep ? SPARE : 0),
        network,
        withdrawalAddress,
        feeRecipient: randomBytes(20),
        name: 'demo',
      }),
    ({ validators }) =>
      `A fresh cluster: ${NODES} nodes, threshold ${THRESHOLD}, ${validators.length} validators, files as charon leaves them.`,
  )
  signal.throwIfAborted()
  const stage = await createStage({ home, cluster, generation, children, signal })
  const scene: Scene = { ...cast, generation, cluster, stage }
  const first = await registerWithNodeDown(scene)
  const { registered: second, liar } = await registerThroughTrouble(scene)
  const registered = [...first, ...second]
  await story.step(
    'oracles fetch their shares',
    () => fetchShares(stage.relayerUrl, generation.chain, registered, signal),
    () =>
      `${ORACLES} oracles fetched their shares from the relayer: those that the operator has, under the same receipts.`,
  )
  const oracleShares = await openAndRebuild(scene, registered)
  if (keep) {
    await liar.stop()
    await stage.startSidecar(LIAR)
  } else {
    await story.step(
      'stop',
      () => stage.stopAll(),
      () => 'Relayer and sidecars were asked to stop and ended with exit code 0.',
    )
  }
  await searchLogs(scene, oracleShares, liar.logFile)
  story.table()
  const spare = cluster.validators.slice(VALIDATORS).map(({ publicKey }) => toHex(publicKey))
  return { hints: stage.hints(spare, registered), stop: () => stage.stopAll() }
}

async function registerWithNodeDown(scene: Scene): Promise<Registered[]> {
  const { stage, story, generation } = scene
  await story.step(
    'start the relayer',
    () => stage.startRelayer(),
    () => `The relayer is ready at ${stage.relayerUrl}, with a PostgreSQL of its own.`,
  )
  const nodes = [1, 2, 3]
  await story.step(
    'start three sidecars',
    () => Promise.all(nodes.map((node) => stage.startSidecar(node))),
    () => `The sidecars of nodes ${nodes.join(', ')} are ready. Node ${LATE} is down.`,
  )
  const register = await story.step(
    `${HALF} validators, node ${LATE} down`,
    () => generation.ask(scene, 0),
    () => `The operator asked for ${HALF} validators and has ${generation.goods}.`,
  )
  return register()
}

/** Node 4 is back, node 2 hangs, node 3 lies, and the relayer is killed while partial signatures of two nodes are in. */
async function registerThroughTrouble(scene: Scene): Promise<{ registered: Registered[]; liar: Child }> {
  const { stage, story, generation } = scene
  const liar = await story.step(
    `node ${LATE} back, node ${LIAR} hostile`,
    async () => {
      await stage.startSidecar(LATE)
      await stage.sidecarOf(LIAR).stop()
      stage.sidecarOf(STUCK).suspend()
      return stage.startLiar(LIAR)
    },
    () => `Node ${LATE} is back. Node ${STUCK} hangs. From now on node ${LIAR} sends wrong signatures.`,
  )
  const startedAt = performance.now()
  const asked = generation.ask(scene, 1)
  // Awaited further down; what fails before must not leave a rejection that nobody looks at.
  asked.catch(() => {})
  await story.step(
    'two nodes signed, one lied',
    () => waitForHalf(scene),
    () =>
      `The operator asked for ${HALF} more. Nodes 1 and ${LATE} have signed; node ${LIAR}'s signatures are refused, by its number.`,
  )
  await stage.killRelayer()
  story.say('The relayer is killed (SIGKILL); its PostgreSQL is left behind.')
  await story.step(
    'relayer back after SIGKILL',
    () => stage.startRelayer(),
    () => 'The relayer is ready again, on the same data folder.',
  )
  await waitForHalf(scene)
  stage.sidecarOf(STUCK).resume()
  const register = await asked
  await assertNobodySignedTwice(scene)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  story.note(`${HALF} validators, node ${LIAR} hostile, relayer killed`, `${seconds} s`)
  story.say(
    `Node ${STUCK} goes on, its signature makes ${THRESHOLD} and nobody signed twice: the operator has everything again.`,
  )
  return { registered: await register(), liar }
}

/** After the kill the relayer verified the signatures of the one node that was missing, and of no other. */
async function assertNobodySignedTwice({ stage, generation, signal }: Scene): Promise<void> {
  const missing = HALF * generation.kinds.length
  // What was verified is counted after it can be read.
  const verified = await waitFor(
    `${missing} signatures verified`,
    async () => {
      const metrics = await (await fetch(`${stage.relayerUrl}/metrics`, { signal })).text()
      const count = Number(/^dvt_relayer_partial_signatures_total\{outcome="verified"\} (\d+)$/m.exec(metrics)?.[1])
      return count >= missing ? count : undefined
    },
    { signal },
  )
  if (verified !== missing)
    throw new DemoError(`the relayer verified ${verified} signatures after its restart, ${missing} were missing`)
}

/** Waits until two nodes' signatures for each validator of the second half count and the liar's are refused. */
async function waitForHalf({ stage, generation, cluster, signal }: Scene): Promise<void> {
  const { list } = generation
  const wanted = new Set<string>(keysOf(cluster, 1).map(toHex))
  await waitFor(
    `two nodes' good signatures and a refused one for each of ${HALF} validators`,
    async () => {
      const answer = await getJson<Record<string, Item[]>>(`${stage.relayerUrl}/${list}`, signal)
      const ours = (answer[list] ?? []).filter(({ public_key }) => wanted.has(public_key))
      const isHalf = (item: Item) =>
        item.share_indexes_ready.join() === `1,${LATE}` && item.share_indexes_rejected?.includes(LIAR) === true
      if (ours.some((item) => item.is_exit_signature_ready || item.is_signatures_ready))
        throw new DemoError('a validator is ready without enough signatures')
      return ours.length === wanted.size && ours.every(isHalf) ? true : undefined
    },
    { signal },
  )
}

/** Returns what the oracles decrypted of the shares that the operator has. */
export async function openAndRebuild(
  { generation, story, signal }: Scene,
  validators: readonly Registered[],
): Promise<Uint8Array[]> {
  const { network, oracles } = generation.chain
  const epoch = network.capellaEpoch
  const rootOf = ({ validatorIndex }: Registered) => exitRoot(network, { epoch, validatorIndex })
  const opened = await story.step(
    'oracles open their shares',
    async () => {
      const all = []
      for (const validator of validators) {
        all.push({ ...validator, opened: await openShares(oracles, validator.shares, rootOf(validator)) })
        signal.throwIfAborted()
      }
      return all
    },
    (all) => `${ORACLES} oracles decrypted and checked ${all.length * ORACLES} shares.`,
  )
  await story.step(
    'oracles rebuild the exits',
    async () => {
      for (const validator of opened) {
        const publicKey = Buffer.from(validator.publicKey.slice(2), 'hex')
        rebuildExit(drawShares(validator.opened, ORACLE_THRESHOLD), rootOf(validator), publicKey)
      }
    },
    () => {
      const indexes = validators.map(({ validatorIndex }) => validatorIndex)
      return `Any ${ORACLE_THRESHOLD} of them rebuilt ${opened.length} exits, valid for validators ${rangesOf(indexes)} at epoch ${epoch}.`
    },
  )
  return opened.flatMap((validator) => validator.opened.map(({ signature }) => signature))
}

/** Ascending numbers in words: `100 to 104 and 106 to 110`. */
function rangesOf(numbers: readonly number[]): string {
  const firsts = numbers.filter((number) => !numbers.includes(number - 1))
  const lasts = numbers.filter((number) => !numbers.includes(number + 1))
  return firsts.map((first, position) => `${first} to ${lasts[position]}`).join(' and ')
}

/** Everything relayer and sidecars printed at debug level, PostgreSQL's log included, holds no secret of this run. */
async function searchLogs(
  { home, cluster, generation, story }: Scene,
  oracleShares: readonly Uint8Array[],
  hostileLog: string,
): Promise<void> {
  await story.step(
    'search the logs for secrets',
    async () => {
      const secrets = await gatherSecrets({ home, cluster, generation, oracleShares, hostileLog })
      const logs = await readLogs(home)
      const leaks = findLeaks(logs, secrets)
      for (const { kind, file, line, spelling } of leaks)
        story.say(`LEAK: ${kind} as ${spelling} in ${file}, line ${line}`)
      if (leaks.length > 0) throw new DemoError(`${leaks.length} times a secret stands in a log`)
      const lines = [...logs.values()].reduce((sum, text) => sum + text.split('\n').length - 1, 0)
      return { secrets: secrets.length, lines, files: logs.size }
    },
    ({ secrets, lines, files }) =>
      `None of ${secrets} secrets of this run stands in the ${lines} lines that relayer, sidecars and PostgreSQL logged in ${files} files.`,
  )
}
