/**
 * The story of one cluster with four kinds of nodes: node 1 has our sidecar and shows charon's key, node 2 an existing one and a token, node 3
 * charon and nothing else, and node 4 does nothing. The relayer wants to know who calls; charon shows no token.
 */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { type MadeCluster, type MadeNode, makeCluster } from '../../support/keys/make-cluster.ts'
import { createExistingSidecar } from '../../support/operator/existing-clients.ts'
import { charonNode, depositBlob, exitSignAll, postDeposits } from '../../support/world/charon.ts'
import { DemoError } from '../errors.ts'
import { waitFor } from '../wait.ts'
import { type Cast, type Generation, HALF, keysOf, NODES, type Scene, THRESHOLD } from './scene.ts'
import { createStage } from './stage.ts'
import { type Ending, openAndRebuild } from './tell-story.ts'

/** Which node is of which kind. */
const [OURS, EXISTING, CHARON] = [1, 2, 3]

/** Who may call, by a token or by a key it has; the URL as clients with a token are given it. */
async function makeAccess(home: Cast['home'], { lock }: MadeCluster, operatorVault: Uint8Array) {
  const tokens = {
    admin: createToken('admin', 'admin', '*'),
    operator: createToken('operator', 'operator', `0x${Buffer.from(operatorVault).toString('hex')}`),
    existing: createToken(`node-${EXISTING}`, 'sidecar', String(EXISTING)),
  }
  const file = join(home.path, 'tokens')
  const lockHash = toHex(lock.lockHash)
  await writeFile(file, [...Object.values(tokens).map(({ line }) => line), `nodes ${lockHash}`].join('\n'))
  return {
    settings: (relayerUrl: string) => ({
      AUTH_TOKENS_FILE: file,
      CLUSTER_LOCK_HASHES: lockHash,
      PUBLIC_URL: relayerUrl,
      OBOL_API: 'on',
    }),
    admin: tokens.admin.token,
    sidecar: ({ enrKeyFile }: MadeNode) => ({ OBOL_ENR_KEY_FILE: enrKeyFile }),
    urlOf: (url: string, name: 'operator' | 'existing') => url.replace('://', `://${name}:${tokens[name].token}@`),
  }
}

/** Tells it; throws at the first thing that is not as it should be. */
export async function tellMixedStory(cast: Cast): Promise<Ending> {
  const { home, story, signal, children } = cast
  story.say(`Everything happens on this machine, in ${home.path}.`)
  const generation = await story.step('start the chain', cast.startGeneration, ({ chain }) => chain.description)
  const { network, withdrawalAddress } = generation.chain
  const cluster = await story.step(
    'make a cluster',
    () =>
      makeCluster({
        ...{ dir: home.cluster, nodes: NODES, threshold: THRESHOLD, validators: HALF, network, withdrawalAddress },
        feeRecipient: randomBytes(20),
        name: 'mixed',
      }),
    ({ validators }) => `A fresh cluster: ${NODES} nodes, threshold ${THRESHOLD}, ${validators.length} validators.`,
  )
  signal.throwIfAborted()
  const access = await makeAccess(home, cluster, withdrawalAddress)
  const stage = await createStage({ home, cluster, generation, children, signal, access })
  const { relayerUrl } = stage
  await story.step(
    'start the relayer',
    () => stage.startRelayer(),
    () => `The relayer is ready at ${relayerUrl}. It wants tokens, and takes what charon posts (OBOL_API=on).`,
  )
  await story.step(
    'start one sidecar',
    () => stage.startSidecar(OURS),
    () =>
      `Node ${OURS} has our sidecar, which shows charon's key instead of a token. Node ${EXISTING} has an existing one, with a token. Node ${CHARON} has charon and nothing else. Node 4 is down.`,
  )
  const scene: Scene = { ...cast, generation, cluster, stage }
  // The operator has its token in its URL, as it is told.
  const asked = generation.ask({ ...scene, stage: { ...stage, relayerUrl: access.urlOf(relayerUrl, 'operator') } }, 0)
  asked.catch(() => {})
  await signAsExisting(scene, access.urlOf(relayerUrl, 'existing'))
  await signAsCharon(scene)
  const register = await story.step(
    `${HALF} validators of a mixed cluster`,
    () => asked,
    () => `The operator asked for ${HALF} validators and has ${generation.goods}.`,
  )
  await openAndRebuild(scene, await register())
  await story.step(
    'stop',
    () => stage.stopAll(),
    () => 'Relayer and sidecar were asked to stop and ended with exit code 0.',
  )
  story.table()
  return { hints: [], stop: () => stage.stopAll() }
}

/** What sidecar 2.1 does at each poll: one GET, one POST. */
async function signAsExisting({ cluster, generation, story, signal }: Scene, url: string): Promise<void> {
  const { network } = generation.chain
  const node = createExistingSidecar('2.1', { url, network, validators: cluster.validators, shareIndex: EXISTING })
  await story.step(
    'an existing sidecar signs',
    () =>
      waitFor('the existing sidecar has something to sign', () => node.round(), { signal }).then((status) => {
        if (status !== 200) throw new DemoError(`the relayer answers an existing sidecar with ${status}`)
      }),
    () => `Node ${EXISTING} asked for its list once and posted its signatures.`,
  )
}

/** `charon deposit sign` of what the operator has asked for, and `charon exit sign --all` with the stand-in as beacon node. */
async function signAsCharon(scene: Scene): Promise<void> {
  const { cluster, generation, stage, story } = scene
  const { network } = generation.chain
  const node = charonNode(filesOf(cluster), CHARON, cluster.validators)
  await story.step(
    'charon signs',
    async () => {
      const deposits = keysOf(cluster, 0).map((key) =>
        depositBlob(node, `0x${Buffer.from(key).toString('hex')}`, network, depositOf(generation)),
      )
      for (const { status, text } of [
        await postDeposits(stage.relayerUrl, node, deposits),
        await exitSignAll(stage.relayerUrl, node, network.capellaEpoch),
      ])
        if (status !== 201) throw new DemoError(`the relayer answers charon with ${status} ${text}`)
    },
    () =>
      `Node ${CHARON} did what charon deposit sign and charon exit sign --all do, with no token: the relayer's stand-in named the exits, and the key of its ENR says who it is.`,
  )
}

function filesOf({ nodes }: MadeCluster) {
  const files = nodes[CHARON - 1]
  if (files === undefined) throw new DemoError(`node ${CHARON} has no files`)
  return files
}

/** What the operator of this generation asks for. */
const depositOf = ({ chain }: Generation) => ({
  credentials: withdrawalCredentials('0x02', chain.withdrawalAddress),
  amountGwei: 32_000_000_000n,
})
