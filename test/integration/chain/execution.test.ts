import { createExecutionClient, type ExecutionOptions } from '@dvt-relayer/chain/execution.ts'
import { configUpdatedEvent, findNewestConfig } from '@dvt-relayer/chain/keeper.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { HttpError } from '@dvt-relayer/common/http-client.ts'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { deployKeeper, skipWithoutAnvil, startAnvil } from '../../support/chain/anvil.ts'
import { startHttpStandIn } from '../../support/chain/http-stand-in.ts'
import { type Refusal, type StandInLog, startRpc } from '../../support/chain/rpc.ts'

const network = networks.mainnet
const HEAD = network.keeperBlock + 5_000_000
const topics = encodeEventTopics({ abi: [configUpdatedEvent] }) as string[]

function configLog(blockNumber: number, cid: string, logIndex = 0): StandInLog {
  const data = encodeAbiParameters(configUpdatedEvent.inputs, [cid])
  return { address: toHex(network.keeper), topics, data, blockNumber, logIndex }
}

function clientOf(nodes: readonly { url: string }[], options: Partial<ExecutionOptions> = {}) {
  const endpoints = nodes.map(({ url }) => url)
  return createExecutionClient({
    endpoints,
    timeoutMs: 5_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network,
    ...options,
  })
}

const keeperQuery = { address: network.keeper, event: configUpdatedEvent }

describe('the chain of a node', () => {
  it('is accepted when it is ours and refused when it is another, at the check and at every use', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    await clientOf([node]).checkChain()
    expect(await clientOf([node]).blockNumber()).toBe(HEAD)
    node.chainId = 5
    await expect(clientOf([node]).checkChain()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    await expect(clientOf([node]).blockNumber()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
  })

  it('is asked of every node', async () => {
    await using wrong = await startRpc({ chainId: 5, head: 1 })
    await using right = await startRpc({ chainId: 1, head: HEAD })
    const client = clientOf([wrong, right])
    await expect(client.checkChain()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    expect(await client.blockNumber()).toBe(HEAD)
    wrong.fail('down')
    await clientOf([wrong, right]).checkChain()
  })
})

describe('logs', () => {
  const refusals: Refusal[] = [
    { code: -32602, message: 'block range too large' },
    { code: -32005, message: 'query returned more than 10000 results' },
    { status: 400 },
    { status: 413 },
    { status: 500 },
  ]

  it.each(refusals)('are all found at a node that refuses large ranges by %j', async (refusal) => {
    const places = [0, 999, 1_000, 77_777, 199_999].map((offset) => network.keeperBlock + offset)
    const logs = places.map((block) => configLog(block, `cid ${block}`))
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: logs.toReversed() })
    node.limit = { blocks: 1_000, refusal }
    const query = { ...keeperQuery, fromBlock: network.keeperBlock, toBlock: network.keeperBlock + 199_999 }
    const found = await clientOf([node], { retryTimeoutMs: 60_000 }).findLogs(query)
    expect(found.map(({ blockNumber }) => blockNumber)).toEqual(places)
    expect(found.map(({ args }) => args.configIpfsHash)).toEqual(places.map((block) => `cid ${block}`))
    expect(node.ranges.length).toBeLessThan(270)
  })

  it('are found at a node that says nothing to large ranges', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: [configLog(network.keeperBlock, 'a')] })
    node.limit = { blocks: 20_000, refusal: 'silence' }
    const query = { ...keeperQuery, fromBlock: network.keeperBlock, toBlock: network.keeperBlock + 50_000 }
    expect(await clientOf([node], { timeoutMs: 150 }).findLogs(query)).toHaveLength(1)
  })

  it('are waited for while the node is away', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: [configLog(network.keeperBlock, 'a')] })
    let results = 0
    node.fail('down')
    const onResult = () => {
      if (++results === 5) node.fail(undefined)
    }
    const query = { ...keeperQuery, fromBlock: network.keeperBlock, toBlock: network.keeperBlock + 10 }
    expect(await clientOf([node], { retryTimeoutMs: 60_000, onResult }).findLogs(query)).toHaveLength(1)
  })

  it('are an error, not a loop, when even one block is refused', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.limit = { blocks: 0, refusal: { code: -32005, message: 'see https://node.invalid/v2/s3cret-key for limits' } }
    const query = { ...keeperQuery, fromBlock: 1, toBlock: 100_000 }
    const error = await clientOf([node])
      .findLogs(query)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'EXECUTION_REFUSED', meta: { rpc_code: -32005 } })
    expect(String(error)).not.toContain('s3cret')
  })

  it('that nobody asked for are refused, and those that cannot be decoded left out', async () => {
    let log: object = {}
    await using node = await startHttpStandIn(({ body }) => {
      const { method } = body as { method: string }
      return { status: 200, body: { jsonrpc: '2.0', id: 1, result: method === 'eth_chainId' ? '0x1' : [log] } }
    })
    const find = () => clientOf([node]).findLogs({ ...keeperQuery, fromBlock: 10, toBlock: 20 })
    const good = { ...configLog(0, 'a'), blockNumber: '0xf', logIndex: '0x0' }
    log = good
    expect(await find()).toHaveLength(1)
    for (const change of [
      { address: `0x${'11'.repeat(20)}` },
      { topics: [`0x${'11'.repeat(32)}`] },
      { topics: [] },
      { blockNumber: '0x9' },
      { blockNumber: '0x15' },
      { blockNumber: '0x20000000000000' },
      { removed: true },
    ]) {
      log = { ...good, ...change }
      await expect(find(), JSON.stringify(change)).rejects.toMatchObject({ code: 'EXECUTION_INVALID' })
    }
    for (const data of ['0x', '0x1234', `0x${'ff'.repeat(64)}`]) {
      log = { ...good, data }
      expect(await find()).toEqual([])
    }
    for (const change of [{ data: 5 }, { data: '0xabc' }, { logIndex: 1 }, { blockNumber: '15' }]) {
      log = { ...good, ...change }
      await expect(find(), JSON.stringify(change)).rejects.toMatchObject({ code: 'HTTP_INVALID' })
    }
  })

  it('name a node by host only when they cannot be had', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.fail('down')
    const url = `${node.url.replace('http://', 'http://user:s3cret@')}/v2/k3y`
    const error = await clientOf([{ url }])
      .findLogs({ ...keeperQuery, fromBlock: 1, toBlock: 2 })
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(HttpError)
    const everything = `${error} ${(error as Error).stack} ${JSON.stringify((error as HttpError).meta)}`
    expect(everything).not.toMatch(/s3cret|k3y/)
    expect(everything).toContain(new URL(node.url).host)
  })
})

describe('the newest oracle config', () => {
  const old = configLog(network.keeperBlock + 10, 'old')
  const newest = [configLog(HEAD - 400_000, 'same block', 3), configLog(HEAD - 400_000, 'newest', 12)]

  it('is found in few calls over five million blocks', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: [old] })
    expect(await findNewestConfig(clientOf([node]), network)).toEqual({
      config: { cid: 'old', blockNumber: network.keeperBlock + 10, logIndex: 0 },
      nextBlock: HEAD - 63,
    })
    expect(node.ranges.length).toBeLessThan(10)
  })

  it('is found first, from the head backwards, at a node that answers 1,000 blocks at a time', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: [old, ...newest] })
    node.limit = { blocks: 1_000, refusal: { code: -32000, message: 'too many blocks' } }
    const { config } = await findNewestConfig(clientOf([node]), network)
    expect(config).toEqual({ cid: 'newest', blockNumber: HEAD - 400_000, logIndex: 12 })
    expect(node.ranges.length).toBeLessThan(530)
  })

  it('is looked for only where the scan before has not been, but for a few blocks that may have changed', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: [old, ...newest] })
    const client = clientOf([node])
    const { nextBlock } = await findNewestConfig(client, network)
    node.ranges.length = 0
    node.head += 5
    expect(await findNewestConfig(client, network, nextBlock)).toEqual({ config: undefined, nextBlock: HEAD + 5 - 63 })
    expect(node.ranges).toEqual([[nextBlock, HEAD + 5]])
    node.logs.push(configLog(HEAD + 6, 'next'))
    node.head += 10
    expect((await findNewestConfig(client, network, HEAD + 5 - 63)).config?.cid).toBe('next')
  })

  it('is not there when the Keeper has said nothing, or the node is behind the last scan', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    expect(await findNewestConfig(clientOf([node]), network)).toEqual({ config: undefined, nextBlock: HEAD - 63 })
    node.head = 10
    expect(await findNewestConfig(clientOf([node]), network)).toEqual({
      config: undefined,
      nextBlock: network.keeperBlock,
    })
  })
})

describe.skipIf(skipWithoutAnvil)('a real node', () => {
  it('has the config that our Keeper announces', async () => {
    const { hoodi } = networks
    await using anvil = await startAnvil({ chainId: hoodi.chainId, firstBlock: hoodi.keeperBlock })
    const keeper = await deployKeeper(anvil, hoodi)
    const client = clientOf([anvil], { network: hoodi })
    await client.checkChain()
    await expect(clientOf([anvil]).checkChain()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    expect((await findNewestConfig(client, hoodi)).config).toBeUndefined()
    await keeper.setConfig('first')
    await anvil.mine(200)
    const blockNumber = await keeper.setConfig('second')
    const { config, nextBlock } = await findNewestConfig(client, hoodi)
    expect(config).toEqual({ cid: 'second', blockNumber, logIndex: 0 })
    await anvil.mine(100)
    expect((await findNewestConfig(client, hoodi, nextBlock + 100)).config).toBeUndefined()
    const all = await client.findLogs({ ...keeperQuery, address: hoodi.keeper, fromBlock: 0, toBlock: blockNumber })
    expect(all.map(({ args }) => args.configIpfsHash)).toEqual(['first', 'second'])
  })
})
