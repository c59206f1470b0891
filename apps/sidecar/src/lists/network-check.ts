/** Compares the relayer's network with ours, again and again. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { SidecarConfig } from '../config.ts'
import type { Health } from '../health.ts'
import type { Introduction } from './introduction.ts'

export interface NetworkCheckParts {
  readonly config: Pick<SidecarConfig, 'network' | 'relayer'>
  readonly relayer: Pick<RelayerClient, 'getInfo'>
  readonly health: Pick<Health, 'report'>
}

/** Compares the relayer's network with ours and reports it. @throws what the request throws */
export async function checkRelayerNetwork(
  { config, relayer, health }: NetworkCheckParts,
  signal: AbortSignal,
): Promise<boolean> {
  const { network } = await relayer.getInfo(signal)
  const isOurs = network === config.network.name
  const said = /^[\w-]{1,32}$/.test(network) ? network : 'of an unknown name'
  health.report('network', isOurs ? undefined : `the relayer's network is ${said}, ours is ${config.network.name}`)
  return isOurs
}

/** One check for all who ask, with an introduction at the first one that passes: an answer holds for the heal interval, and questions at the same time share one request. */
export function createNetworkCheck(parts: NetworkCheckParts, introduce: Introduction, signal: AbortSignal) {
  let until = 0
  let isIntroduced = false
  let asking: Promise<boolean> | undefined

  async function ask(): Promise<boolean> {
    const isOurs = await checkRelayerNetwork(parts, signal)
    if (isOurs && !isIntroduced) await introduce(signal)
    isIntroduced = isOurs
    until = isOurs ? performance.now() + parts.config.relayer.healIntervalMs : 0
    return isOurs
  }

  return {
    /** Whether the relayer is of our network. @throws what the request throws */
    async isOurs(): Promise<boolean> {
      if (performance.now() < until) return true
      asking ??= ask().finally(() => {
        asking = undefined
      })
      return asking
    },
    /** It may be another one now. */
    forget(): void {
      until = 0
      isIntroduced = false
    },
  }
}
export type NetworkCheck = ReturnType<typeof createNetworkCheck>
