/** What the tests of SSV sidecars share: configs of fixture operators, an execution node with their logs, checks of what was posted. */

import { readConfig, type SidecarConfig } from '../../../../apps/sidecar/src/config.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { fromHex } from '../../../../libs/common/src/hex.ts'
import { type RpcStandIn, type StandInLog, startRpc } from '../../../support/chain/rpc.ts'
import { loadSsvCluster, operatorFiles, type SsvClusterName, ssvLogs } from '../../../support/keys/ssv.ts'
import type { Post, SignaturesPost } from '../stand-in.ts'
import { depositRootOf, engine, hasten, recordingLogger, rootOf } from '../support.ts'

export const HEAD = 1_300_000
/** The clusters whose validators are live at the end of the fixture's events. */
export const LIVE = ['cluster-4-gaps', 'cluster-7', 'cluster-4-readded', 'cluster-4-dkg'] as const
/** Between two looks for keys. */
const RELOAD_MS = 40

/** An execution node with the fixture's logs, or others. */
export async function startSsvNode({ chainId = networks.hoodi.chainId, logs = FIXTURE_LOGS }: SsvNodeOptions = {}) {
  const node = await startRpc({ chainId, head: HEAD, logs: [...logs] })
  node.finalized = HEAD - 64
  return node
}
interface SsvNodeOptions {
  /** Hoodi's unless given. */
  chainId?: number
  logs?: readonly StandInLog[]
}
const FIXTURE_LOGS = [...ssvLogs('operator-added.json'), ...ssvLogs('validator-added.json')]

/** The config of an SSV sidecar, faster. */
export function ssvConfig(url: string, environment: Record<string, string | undefined>): SidecarConfig {
  const { config } = readConfig({ NETWORK: 'hoodi', RELAYER_ENDPOINT: url, CLUSTER_TYPE: 'SSV', ...environment })
  return hasten(config, 100)
}

/** The same config with many looks for keys. */
export const lively = (config: SidecarConfig): SidecarConfig => ({ ...config, reloadIntervalMs: RELOAD_MS })

/** The same of a fixture operator that finds its shares on the chain. */
export function chainConfig(
  url: string,
  nodes: readonly Pick<RpcStandIn, 'url'>[],
  operator: number,
  stateFile: string,
  more: Record<string, string> = {},
): SidecarConfig {
  return ssvConfig(url, {
    ...operatorFiles(operator),
    EXECUTION_ENDPOINT: nodes.map((node) => node.url).join(),
    EXECUTION_RETRY_TIMEOUT: '1',
    EXECUTION_TIMEOUT: '20',
    SSV_STATE_FILE: stateFile,
    ...more,
  })
}

/** Starts a sidecar whose log is read. */
export async function startLogged(config: SidecarConfig) {
  const { logger, find, text } = recordingLogger()
  const sidecar = await startSidecar(config, { logger })
  return { sidecar, find, text, [Symbol.asyncDispose]: () => sidecar[Symbol.asyncDispose]() }
}

/** What stops the boot, as a user reads it. */
export async function bootError(config: SidecarConfig): Promise<{ code: string; message: string }> {
  const { logger } = recordingLogger()
  try {
    await using _sidecar = await startSidecar(config, { logger })
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return { code, message }
  }
  throw new Error('the boot went through')
}

const shareOf = (name: SsvClusterName, publicKey: string, shareIndex: number) =>
  loadSsvCluster(name)
    .validators.find(({ public_key }) => public_key === publicKey)
    ?.public_key_shares.find(({ share_index }) => share_index === shareIndex)

/** Whether a posted exit is by the key share that this cluster's files say. */
export function isRightExit(name: SsvClusterName, { publicKey, shareIndex, signature, validatorIndex }: Post): boolean {
  const share = shareOf(name, publicKey, shareIndex)
  if (share === undefined || validatorIndex === undefined) return false
  return engine.verify(fromHex(share.public_key_share), rootOf('hoodi', validatorIndex), fromHex(signature, 96))
}

/** Whether both signatures are, and every operator's public key share came along. */
export function isRightSsvPair(name: SsvClusterName, pair: SignaturesPost): boolean {
  const share = shareOf(name, pair.publicKey, pair.shareIndex)
  const validator = loadSsvCluster(name).validators.find(({ public_key }) => public_key === pair.publicKey)
  if (share === undefined || validator === undefined || pair.listed === undefined) return false
  const key = fromHex(share.public_key_share)
  const hints = validator.public_key_shares.map(({ share_index, public_key_share }) => ({
    share_index,
    public_key_share,
  }))
  return (
    engine.verify(key, rootOf('hoodi', pair.listed.validator_index), fromHex(pair.exit, 96)) &&
    engine.verify(key, depositRootOf('hoodi', pair.publicKey, pair.listed), fromHex(pair.deposit, 96)) &&
    JSON.stringify(hints) === JSON.stringify(pair.publicKeyShares)
  )
}

/** The validators that are live on the fixture's chain, by public key, and the cluster each is of. */
export function liveClusters(): Map<string, SsvClusterName> {
  const live = new Map<string, SsvClusterName>()
  for (const name of ['cluster-4', ...LIVE] as const)
    for (const { public_key } of loadSsvCluster(name).validators) live.set(public_key, name)
  return live
}
