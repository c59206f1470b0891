/** Compares the relayer's network with ours, again and again. */

import type { Context } from '../context.ts'

type CheckContext = Pick<Context, 'config' | 'relayer' | 'health'>

/** Compares the relayer's network with ours and reports it. @throws what the request throws */
export async function checkRelayerNetwork(
  { config, relayer, health }: CheckContext,
  signal: AbortSignal,
): Promise<boolean> {
  const { network } = await relayer.getInfo(signal)
  const isOurs = network === config.network.name
  const said = /^[\w-]{1,32}$/.test(network) ? network : 'of an unknown name'
  health.report('network', isOurs ? undefined : `the relayer's network is ${said}, ours is ${config.network.name}`)
  return isOurs
}

/** One check for all who ask: an answer holds for the heal interval, and questions at the same time share one request. */
export function createNetworkCheck(context: CheckContext, signal: AbortSignal) {
  let until = 0
  let asking: Promise<boolean> | undefined

  async function ask(): Promise<boolean> {
    const isOurs = await checkRelayerNetwork(context, signal)
    until = isOurs ? performance.now() + context.config.relayer.healIntervalMs : 0
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
    },
  }
}
export type NetworkCheck = ReturnType<typeof createNetworkCheck>
