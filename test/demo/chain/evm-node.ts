/** The execution chain with the Keeper: anvil, or a few JSON-RPC answers where there is no anvil for the platform. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { encodeAbiParameters, toEventSelector } from 'viem/utils'
import { deployKeeper, findAnvil, startAnvil } from '../../support/chain/anvil.ts'
import { startHttpStandIn } from '../../support/chain/http-stand-in.ts'

export interface EvmNode extends AsyncDisposable {
  readonly url: string
  /** What it is, for people. */
  readonly kind: string
  /** The Keeper announces an oracle config. */
  announce(cid: string): Promise<void>
}

/** Starts the best there is on this platform. */
export async function startEvmNode(network: Network): Promise<EvmNode> {
  if (findAnvil() === undefined) return startEvmStandIn(network)
  const anvil = await startAnvil({ chainId: network.chainId, firstBlock: network.keeperBlock })
  try {
    const keeper = await deployKeeper(anvil, network)
    return {
      url: anvil.url,
      kind: 'anvil',
      announce: async (cid) => void (await keeper.setConfig(cid)),
      [Symbol.asyncDispose]: () => anvil[Symbol.asyncDispose](),
    }
  } catch (error) {
    await anvil[Symbol.asyncDispose]()
    throw error
  }
}

interface RpcRequest {
  id: unknown
  method: string
  params: [{ fromBlock: string; toBlock: string; address: string; topics: string[] }]
}

/** A chain of which only the Keeper's events can be read: one block an event. */
export async function startEvmStandIn(network: Pick<Network, 'chainId' | 'keeper' | 'keeperBlock'>): Promise<EvmNode> {
  const address = toHex(network.keeper)
  const topics = [toEventSelector('ConfigUpdated(string)')]
  const logs: object[] = []
  const quantity = (value: number) => `0x${value.toString(16)}`
  const blockOf = (position: number) => network.keeperBlock + 1 + position
  const answer = ({ method, params }: RpcRequest): unknown => {
    if (method === 'eth_chainId') return quantity(network.chainId)
    if (method === 'eth_blockNumber') return quantity(blockOf(logs.length))
    if (method !== 'eth_getLogs') return undefined
    const [filter] = params
    const isKeeper = filter.address.toLowerCase() === address && filter.topics[0] === topics[0]
    const isInside = (block: number) => block >= Number(filter.fromBlock) && block <= Number(filter.toBlock)
    return isKeeper ? logs.filter((_, position) => isInside(blockOf(position))) : []
  }
  const server = await startHttpStandIn((request) => {
    const call = request.body as RpcRequest
    const result = answer(call)
    const error = { code: -32601, message: `${call.method} is not here` }
    return { status: 200, body: { jsonrpc: '2.0', id: call.id, ...(result === undefined ? { error } : { result }) } }
  })
  return {
    url: server.url,
    kind: 'a JSON-RPC stand-in (there is no anvil for this platform)',
    async announce(cid) {
      const data = encodeAbiParameters([{ type: 'string' }], [cid])
      logs.push({ address, topics, data, blockNumber: quantity(blockOf(logs.length)), logIndex: '0x0', removed: false })
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
