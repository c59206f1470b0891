/** The story of the demo, step by step. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { MadeCluster } from '../support/make-cluster.ts'
import { DemoError } from './errors.ts'
import { exitRoot } from './exit-root.ts'
import type { Home } from './home.ts'
import { askForShares, type EncryptedShares } from './operator.ts'
import { drawShares, openShares, rebuildExit } from './oracles.ts'
import type { Child, Children } from './processes.ts'
import { gatherSecrets, type RebuiltExit, readLogs } from './run-secrets.ts'
import { findLeaks } from './secrets.ts'
import { createStage, type Stage } from './stage.ts'
import type { Story } from './story.ts'
import { getJson, waitFor } from './wait.ts'
import { type Chain, NODES, ORACLE_THRESHOLD, ORACLES, THRESHOLD, VALIDATORS, type World } from './world.ts'

export interface Cast {
  home: Home
  world: World
  children: Children
  story: Story
  signal: AbortSignal
  /** End with everything running, node 3 honest again, and some validators left to ask for. */
  keep: boolean
}

/** An exit as `GET /exits` lists it: the fields that the story reads. */
interface ExitItem {
  public_key: string
  validator_index: number
  is_exit_signature_ready: boolean
  share_indexes_ready: number[]
  share_indexes_rejected?: number[]
}

/** A validator that the operator has the oracle shares of and has registered: the index is the chain's word. */
interface Registered {
  publicKey: string
  validatorIndex: number
  shares: EncryptedShares
}

interface Scene extends Cast {
  cluster: MadeCluster
  chain: Chain
  stage: Stage
}

const HALF = VALIDATORS / 2
/** Validators left to ask for, with `keep`. */
const SPARE = 2
/** The node that is down at first. */
const LATE = 4
/** The node that stops answering in the second half. */
const STUCK = 2
/** The node in whose name another process speaks in the second half. */
const LIAR = 3

/**
 * Tells the story; throws at the first thing that is not as it should be.
 *
 * @returns what a user may try, if everything is still running
 */
export async function tellStory(cast: Cast): Promise<string[]> {
  const { home, world, children, story, signal, keep } = cast
  story.say(`Everything happens on this machine, in ${home.path}.`)
  const cluster = await story.step(
    'make a cluster',
    () => world.makeCluster(VALIDATORS + (keep ? SPARE : 0)),
    ({ validators }) =>
      `A fresh cluster: ${NODES} nodes, threshold ${THRESHOLD}, ${validators.length} validators, files as charon leaves them.`,
  )
  signal.throwIfAborted()
  const chain = await story.step(
    'start the chain',
    () => world.startChain(),
    ({ evm }) =>
      `The EVM node is ${evm.kind}; its Keeper names ${ORACLES} oracles, ${ORACLE_THRESHOLD} of them rebuild an exit. Consensus and IPFS are stand-ins.`,
  )
  signal.throwIfAborted()
  const stage = await createStage({ home, cluster, chain, network: world.network.name, children, signal })
  const scene = { ...cast, cluster, chain, stage }
  const first = await registerWithNodeDown(scene)
  const { registered: second, liar } = await registerThroughTrouble(scene)
  const exits = await openAndRebuild(scene, [...first, ...second])
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
  await searchLogs(scene, exits, liar.logFile)
  story.table()
  return stage.hints(cluster.validators.slice(VALIDATORS).map(({ publicKey }) => toHex(publicKey)))
}

const keysOf = (cluster: MadeCluster, half: 0 | 1): Uint8Array[] =>
  cluster.validators.slice(half * HALF, (half + 1) * HALF).map(({ publicKey }) => publicKey)

/** The operator registers validators on chain, which gives them the next indexes. */
function registerOnChain(
  chain: Chain,
  publicKeys: readonly Uint8Array[],
  shares: Map<string, EncryptedShares>,
): Registered[] {
  const first = chain.beacon.addValidators(...publicKeys)
  return publicKeys.map((key, place) => {
    const publicKey = toHex(key)
    const found = shares.get(publicKey)
    if (found === undefined) throw new DemoError('the operator has no shares of a validator that it asked for')
    return { publicKey, validatorIndex: first + place, shares: found }
  })
}

async function registerWithNodeDown({ stage, story, cluster, chain, signal }: Scene): Promise<Registered[]> {
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
  const keys = keysOf(cluster, 0)
  const shares = await story.step(
    `${HALF} validators, node ${LATE} down`,
    () => askForShares(stage.relayerUrl, keys.map(toHex), signal),
    () => `The operator asked for ${HALF} validators and has all shares for the oracles. It registers them on chain.`,
  )
  return registerOnChain(chain, keys, shares)
}

/** Node 4 is back, node 2 hangs, node 3 lies, and the relayer is killed while partial signatures of two nodes are in. */
async function registerThroughTrouble(scene: Scene): Promise<{ registered: Registered[]; liar: Child }> {
  const { stage, story, cluster, chain, signal } = scene
  const keys = keysOf(cluster, 1)
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
  const asked = askForShares(stage.relayerUrl, keys.map(toHex), signal)
  // Awaited further down; what fails before must not leave a rejection that nobody looks at.
  asked.catch(() => {})
  await story.step(
    'two nodes signed, one lied',
    () => waitForHalf(scene, keys),
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
  await waitForHalf(scene, keys)
  stage.sidecarOf(STUCK).resume()
  const shares = await asked
  await assertNobodySignedTwice(scene)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  story.note(`${HALF} validators, node ${LIAR} hostile, relayer killed`, `${seconds} s`)
  story.say(
    `Node ${STUCK} goes on, its signature makes ${THRESHOLD} and nobody signed twice: the operator has all shares, and registers.`,
  )
  return { registered: registerOnChain(chain, keys, shares), liar }
}

/** After the kill the relayer verified the signatures of the one node that was missing, and of no other. */
async function assertNobodySignedTwice({ stage, signal }: Scene): Promise<void> {
  const metrics = await (await fetch(`${stage.relayerUrl}/metrics`, { signal })).text()
  const verified = /^dvt_relayer_partial_signatures_total\{outcome="verified"\} (\d+)$/m.exec(metrics)?.[1]
  if (verified !== String(HALF))
    throw new DemoError(`the relayer verified ${verified} signatures after its restart, ${HALF} were missing`)
}

/** Waits until two nodes' signatures of each of these exits count and the liar's are refused. */
async function waitForHalf({ stage, signal }: Scene, keys: readonly Uint8Array[]): Promise<void> {
  const wanted = new Set(keys.map(toHex) as string[])
  await waitFor(
    `two good signatures and a refused one for each of ${HALF} exits`,
    async () => {
      const { exits } = await getJson<{ exits: ExitItem[] }>(`${stage.relayerUrl}/exits`, signal)
      const ours = exits.filter(({ public_key }) => wanted.has(public_key))
      const isHalf = (exit: ExitItem) =>
        exit.share_indexes_ready.join() === `1,${LATE}` && exit.share_indexes_rejected?.includes(LIAR) === true
      if (ours.some(({ is_exit_signature_ready: isReady }) => isReady))
        throw new DemoError('an exit is ready without enough signatures')
      return ours.length === keys.length && ours.every(isHalf) ? true : undefined
    },
    { signal },
  )
}

async function openAndRebuild(
  { world, story, signal }: Scene,
  validators: readonly Registered[],
): Promise<RebuiltExit[]> {
  const { network, oracles } = world
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
  return story.step(
    'oracles rebuild the exits',
    async () =>
      opened.map((validator): RebuiltExit => {
        const root = rootOf(validator)
        const publicKey = Buffer.from(validator.publicKey.slice(2), 'hex')
        const signature = rebuildExit(drawShares(validator.opened, ORACLE_THRESHOLD), root, publicKey)
        return {
          publicKey: validator.publicKey,
          root,
          signature,
          oracleShares: validator.opened.map((share) => share.signature),
        }
      }),
    (exits) => {
      const indexes = validators.map(({ validatorIndex }) => validatorIndex)
      return `Any ${ORACLE_THRESHOLD} of them rebuilt ${exits.length} exits, valid for validators ${Math.min(...indexes)} to ${Math.max(...indexes)} at epoch ${epoch}.`
    },
  )
}

/** Everything relayer and sidecars printed at debug level, PostgreSQL's log included, holds no secret of this run. */
async function searchLogs(
  { home, cluster, world, story }: Scene,
  exits: readonly RebuiltExit[],
  hostileLog: string,
): Promise<void> {
  await story.step(
    'search the logs for secrets',
    async () => {
      const secrets = await gatherSecrets({ home, cluster, oracles: world.oracles, exits, hostileLog })
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
