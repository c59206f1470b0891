/** Logs that answers leave out, held against headers and receipts of a real node; and the newest oracle config, which no call of the Keeper tells. */

import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { configUpdatedEvent, createConfigLook, findNewestConfig } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { encodeAbiParameters, encodeEventTopics, encodeFunctionData } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Anvil, deployKeeper, type Keeper, skipWithoutAnvil, startAnvil } from '../../../support/chain/anvil.ts'
import { type RpcStandIn, type StandInLog, startRpc } from '../../../support/chain/rpc.ts'
import { type RpcProxy, RpcRefusal, startRpcProxy } from '../../../support/chain/rpc-proxy.ts'

const network = networks.hoodi
const query = { address: network.keeper, event: configUpdatedEvent }

const clientOf = (nodes: readonly { url: string }[]) =>
  createExecutionClient({
    endpoints: nodes.map(({ url }) => url),
    timeoutMs: 60_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network,
  })

describe.skipIf(skipWithoutAnvil)('the receipts of a block of a real node', () => {
  let anvil: Anvil
  let keeper: Keeper
  beforeAll(async () => {
    if (skipWithoutAnvil) return
    anvil = await startAnvil({ chainId: network.chainId, firstBlock: network.keeperBlock })
    keeper = await deployKeeper(anvil, network)
  })
  afterAll(() => anvil?.[Symbol.asyncDispose]())

  /** A block of so many transactions of both kinds, each an announcement. */
  async function mineBlock(transactions: number): Promise<number> {
    const [from] = (await anvil.rpc('eth_accounts')) as string[]
    await anvil.rpc('evm_setAutomine', false)
    const nonce = Number(await anvil.rpc('eth_getTransactionCount', from, 'latest'))
    for (let i = 0; i < transactions; i++) {
      const data = encodeFunctionData({ abi: keeper.abi, functionName: 'updateConfig', args: [`config ${i}`] })
      const fees =
        i % 2 === 0 ? { gasPrice: '0x77359400' } : { maxFeePerGas: '0x77359400', maxPriorityFeePerGas: '0x0' }
      const place = { from, to: keeper.address, nonce: `0x${(nonce + i).toString(16)}`, gas: '0x13880' }
      await anvil.rpc('eth_sendTransaction', { ...place, data, ...fees })
    }
    await anvil.mine(1)
    await anvil.rpc('evm_setAutomine', true)
    return Number(await anvil.rpc('eth_blockNumber'))
  }

  /** The configs of a block, by its receipts. */
  async function configsOf(node: { url: string }, block: number): Promise<string[]> {
    const found: string[] = []
    const logs = await clientOf([node]).readBlockLogs(block)
    for await (const range of logs.scanLogs({ ...query, fromBlock: block, toBlock: block }))
      found.push(...range.logs.map(({ args, logIndex }) => `${logIndex} ${args.configIpfsHash}`))
    return found
  }

  it.each([0, 1, 2, 17, 140])('have the root of its header: %i transactions', async (transactions) => {
    const block = await mineBlock(transactions)
    const configs = Array.from({ length: transactions }, (_, i) => `${i} config ${i}`)
    expect(await configsOf(anvil, block)).toEqual(configs)
    // A node of before eth_getBlockReceipts gives them one by one.
    await using proxy = await startRpcProxy(anvil)
    proxy.answer(({ method, node }) => {
      if (method === 'eth_getBlockReceipts') throw new RpcRefusal(-32601, 'the method does not exist')
      return node()
    })
    expect(await configsOf(proxy, block)).toEqual(configs)
    expect(proxy.calls.filter(({ method }) => method === 'eth_getTransactionReceipt')).toHaveLength(transactions)
  })

  it('that lack a log, a receipt, or say another thing do not fit it, and the next node is asked', async () => {
    const block = await mineBlock(5)
    const all = ['0 config 0', '1 config 1', '2 config 2', '3 config 3', '4 config 4']
    await using proxy = await startRpcProxy(anvil)
    type Receipts = { status: string; logs: { data: string }[] }[]
    const spoiled: ((receipts: Receipts) => unknown)[] = [
      (receipts) => receipts.slice(1),
      (receipts) => receipts.map((receipt, i) => (i === 2 ? { ...receipt, logs: [] } : receipt)),
      (receipts) => receipts.map((receipt, i) => (i === 4 ? { ...receipt, status: '0x0' } : receipt)),
      (receipts) => receipts.toReversed(),
      () => [],
      () => null,
    ]
    for (const spoil of spoiled) {
      proxy.answer(async ({ method, node }) =>
        method === 'eth_getBlockReceipts' ? spoil((await node()) as Receipts) : node(),
      )
      await expect(configsOf(proxy, block)).rejects.toMatchObject({
        code: 'EXECUTION_INVALID',
        message: expect.stringContaining(`does not have the receipts of block ${block} that its header stands for`),
      })
      const logs = await clientOf([proxy, anvil]).readBlockLogs(block)
      expect(logs.host).toBe(new URL(anvil.url).host)
    }
    proxy.answer(undefined)
    expect(await configsOf(proxy, block)).toEqual(all)
  })

  it('show a config that the logs of the only node always lack, when its block is looked at for the last time', async () => {
    const client = clientOf([anvil])
    const { nextBlock } = await findNewestConfig(client, network)
    const lacking = await keeper.setConfig('left out')
    await using proxy = await startRpcProxy(anvil)
    proxy.answer(leavingOut(lacking))
    await anvil.mine(80)
    const found = await findNewestConfig(clientOf([proxy]), network, Math.max(nextBlock, lacking - 3))
    expect(found).toEqual({
      config: { cid: 'left out', blockNumber: lacking, logIndex: 0 },
      nextBlock: lacking + 80 - 63,
      doubt: undefined,
    })
  })

  it('that lack it too hold the scan at that block, and that is said once it has lasted', async () => {
    const first = Number(await anvil.rpc('eth_blockNumber')) + 1
    const lacking = await keeper.setConfig('left out twice')
    await using proxy = await startRpcProxy(anvil)
    proxy.answer(leavingOut(lacking, 'receipts too'))
    const client = clientOf([proxy])
    await anvil.mine(100)
    expect(await findNewestConfig(client, network, first)).toEqual({ config: undefined, nextBlock: lacking })
    await anvil.mine(100)
    proxy.calls.length = 0
    const said = await findNewestConfig(client, network, lacking)
    expect(said).toMatchObject({ config: undefined, nextBlock: lacking })
    expect(said.doubt).toMatch(
      new RegExp(
        `^block ${lacking} may have an oracle config that the execution node at .* left out, and nothing proves`,
      ),
    )
    // What is held up is no reason to ask for all that came after it.
    expect(proxy.calls.length).toBeLessThan(16)
    proxy.answer(leavingOut(lacking))
    expect(await findNewestConfig(client, network, lacking)).toMatchObject({
      config: { cid: 'left out twice', blockNumber: lacking },
      nextBlock: lacking + 200 - 63,
    })
  })

  it('of an honest node cost one question for each block, once', async () => {
    await using proxy = await startRpcProxy(anvil)
    const client = clientOf([proxy])
    const head = Number(await anvil.rpc('eth_blockNumber'))
    await anvil.mine(164)
    const { nextBlock, config, doubt } = await findNewestConfig(client, network, head + 1)
    expect([config, doubt, nextBlock]).toEqual([undefined, undefined, head + 101])
    const asked = (method: string) => proxy.calls.filter((call) => call.method === method).length
    expect(asked('eth_getBlockByNumber')).toBe(100)
    expect(asked('eth_getBlockReceipts')).toBe(0)
    proxy.calls.length = 0
    await findNewestConfig(client, network, nextBlock)
    await anvil.mine(1)
    await findNewestConfig(client, network, nextBlock)
    expect(asked('eth_getBlockByNumber')).toBe(1)
  })
})

/** Answers as the node does, but for the logs of one block. */
function leavingOut(block: number, receiptsToo?: 'receipts too'): Parameters<RpcProxy['answer']>[0] {
  return async ({ method, params, node }) => {
    const result = await node()
    if (method === 'eth_getLogs')
      return (result as { blockNumber: string }[]).filter(({ blockNumber }) => Number(blockNumber) !== block)
    const isIts = method === 'eth_getBlockReceipts' && Number(params[0]) === block && receiptsToo !== undefined
    return isIts ? (result as object[]).map((receipt) => ({ ...receipt, logs: [] })) : result
  }
}

describe('the newest config in a history of years', () => {
  const HEAD = network.keeperBlock + 2_000_000
  const topics = encodeEventTopics({ abi: [configUpdatedEvent] }) as string[]
  const configLog = (blockNumber: number, cid: string): StandInLog => ({
    address: toHex(network.keeper),
    topics,
    data: encodeAbiParameters(configUpdatedEvent.inputs, [cid]),
    blockNumber,
    logIndex: 0,
  })
  const [old, newest] = [configLog(HEAD - 900_000, 'old'), configLog(HEAD - 300_000, 'newest')]
  const start = () => startRpc({ chainId: network.chainId, head: HEAD, logs: [old, newest] })
  const isNewest = ({ blockNumber }: StandInLog) => blockNumber === newest.blockNumber
  const known = { blockNumber: old.blockNumber }
  const found = { cid: 'newest', blockNumber: newest.blockNumber, logIndex: 0 }

  /** A look whose clock stands where `now.ms` says; its first round is over. */
  async function lookAt(nodes: readonly RpcStandIn[]) {
    const now = { ms: 0 }
    const elsewhere = createConfigLook(clientOf(nodes), network, () => now.ms)
    expect(await elsewhere.look(known)).toEqual({})
    return { now, look: () => elsewhere.look(known) }
  }

  it('is what every node says by itself, also where an earlier answer lacked it', async () => {
    await using node = await start()
    await using other = await start()
    const { look } = await lookAt([node, other])
    expect(await look()).toEqual({ config: found })
  })

  it('is believed of one node only where the header and the receipts of its block have it', async () => {
    await using lacking = await start()
    await using node = await start()
    lacking.leavesOut = isNewest
    lacking.receipts = { leaveOut: () => false }
    const { look } = await lookAt([lacking, node])
    expect(await look()).toEqual({ config: found })

    // One that invents it.
    lacking.logs = [old]
    expect(await (await lookAt([lacking, node])).look()).toEqual({ config: undefined })
  })

  it('that one node has and nothing proves is doubtful, and said until that is over', async () => {
    await using lacking = await start()
    await using node = await start()
    lacking.leavesOut = isNewest
    const { now, look } = await lookAt([lacking, node])
    const doubt = expect.stringContaining(`block ${newest.blockNumber} may have an oracle config that`)
    expect(await look()).toEqual({ config: undefined, doubt })
    lacking.methods.length = 0
    expect(await look()).toEqual({ config: undefined, doubt })
    expect(lacking.methods).toEqual([])
    lacking.leavesOut = () => false
    now.ms += 11 * 60_000
    expect(await look()).toEqual({ config: found })
  })

  it('is asked for a few times a day, and one that is away keeps nobody', async () => {
    await using node = await start()
    await using other = await start()
    const { now, look } = await lookAt([node, other])
    for (const one of [node, other]) one.logs = [old]
    expect(await look()).toEqual({ config: undefined })
    node.methods.length = 0
    for (let round = 0; round < 100; round++) {
      now.ms += 12_000
      await look()
    }
    expect(node.methods).toEqual([])
    now.ms += 6 * 3_600_000
    other.fail('down')
    node.logs = [old, newest]
    expect(await look()).toEqual({ config: found })
    expect(node.methods.length).toBeLessThan(16)
  })
})
