import { createExecutionClient, type ExecutionOptions } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { configUpdatedEvent, findNewestConfig } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { deployKeeper, skipWithoutAnvil, startAnvil } from '../../../support/chain/anvil.ts'
import { startHttpStandIn } from '../../../support/chain/http-stand-in.ts'
import { hashOfBlock, type Refusal, type StandInCall, type StandInLog, startRpc } from '../../../support/chain/rpc.ts'

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
    timeoutMs: 60_000,
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

  it('is asked of one by itself before each question', async () => {
    await using node = await startRpc({ chainId: 5, head: HEAD })
    const mismatch = { code: 'CHAIN_MISMATCH', meta: { host: new URL(node.url).host, chain_id: 5 } }
    const { each } = clientOf([node])
    const query = { ...keeperQuery, fromBlock: HEAD, toBlock: HEAD }
    for (const ask of [
      () => each[0]?.getBlock('latest'),
      () => each[0]?.readBlockLogs(HEAD),
      () => each[0]?.scanLogs(query).next(),
      () => each[0]?.findMaybe({ ...query, any: [{ event: configUpdatedEvent }] }).next(),
    ])
      await expect(ask()).rejects.toMatchObject(mismatch)
    expect(node.methods).toEqual(Array.from({ length: 4 }, () => 'eth_chainId'))
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
    const positions = [0, 999, 1_000, 77_777, 199_999].map((offset) => network.keeperBlock + offset)
    const logs = positions.map((block) => configLog(block, `cid ${block}`))
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: logs.toReversed() })
    node.limit = { blocks: 1_000, refusal }
    const query = { ...keeperQuery, fromBlock: network.keeperBlock, toBlock: network.keeperBlock + 199_999 }
    const found = await clientOf([node], { retryTimeoutMs: 60_000 }).findLogs(query)
    expect(found.map(({ blockNumber }) => blockNumber)).toEqual(positions)
    expect(found.map(({ args }) => args.configIpfsHash)).toEqual(positions.map((block) => `cid ${block}`))
    expect(node.ranges.length).toBeLessThan(270)
  })

  it('are found at a node that says nothing to large ranges', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD, logs: [configLog(network.keeperBlock, 'a')] })
    node.limit = { blocks: 20_000, refusal: 'silence' }
    const query = { ...keeperQuery, fromBlock: network.keeperBlock, toBlock: network.keeperBlock + 50_000 }
    expect(await clientOf([node], { timeoutMs: 1_000 }).findLogs(query)).toHaveLength(1)
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

  it('let others work while they are decoded', async () => {
    const logs = Array.from({ length: 2_000 }, (_, logIndex) => configLog(network.keeperBlock, 'a', logIndex))
    await using node = await startRpc({ chainId: 1, head: HEAD, logs })
    let turns = 0
    const turn = () => {
      turns++
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    // Told when the answer is there, before it is decoded.
    const onResult = () => {
      turns = 0
    }
    const query = { ...keeperQuery, fromBlock: network.keeperBlock, toBlock: network.keeperBlock }
    expect(await clientOf([node], { onResult }).findLogs(query)).toHaveLength(2_000)
    clearImmediate(timer)
    expect(turns).toBeGreaterThan(5)
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

describe('a block', () => {
  it('is the head, the finalized one or that of a number, its hashes in lower case', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.finalized = HEAD - 64
    const client = clientOf([node])
    const blockOf = (number: number) => ({
      number,
      hash: hashOfBlock(number).toLowerCase(),
      parentHash: hashOfBlock(number - 1).toLowerCase(),
      timestamp: 1_700_000_000 + 12 * number,
    })
    expect(await client.getBlock('latest')).toEqual(blockOf(HEAD))
    expect(await client.getBlock('finalized')).toEqual(blockOf(HEAD - 64))
    expect(await client.getBlock(7)).toEqual(blockOf(7))
    expect(await client.getBlock(HEAD + 1)).toBeUndefined()
  })

  it.each([
    null,
    { code: -39001, message: 'Unknown block' },
    { code: -32000, message: 'finalized block not found' },
    { code: -32000, message: 'block "finalized" not available (head block: 21459236)' },
  ])('is not there while nothing is finalized (%j)', async (finalized) => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.finalized = finalized
    expect(await clientOf([node]).getBlock('finalized')).toBeUndefined()
  })

  it('is an error from a node that does not know the word', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.finalized = { code: -32602, message: 'invalid argument 0: hex string without 0x prefix' }
    await expect(clientOf([node]).getBlock('finalized')).rejects.toMatchObject({
      code: 'EXECUTION_REFUSED',
      meta: { rpc_code: -32602, host: new URL(node.url).host },
    })
  })

  it('that was not asked for, or is none, is refused', async () => {
    const good = { number: '0x7', hash: hashOfBlock(7), parentHash: hashOfBlock(6), timestamp: '0x1' }
    let block: unknown = good
    await using node = await startHttpStandIn(({ body }) => {
      const { method } = body as { method: string }
      return { status: 200, body: { jsonrpc: '2.0', id: 1, result: method === 'eth_chainId' ? '0x1' : block } }
    })
    const client = clientOf([node])
    expect((await client.getBlock(7))?.number).toBe(7)
    await expect(client.getBlock(8)).rejects.toMatchObject({ code: 'EXECUTION_INVALID' })
    for (const [field, value] of [
      ['number', '0x20000000000000'],
      ['timestamp', '0x20000000000000'],
    ] as const) {
      block = { ...good, [field]: value }
      await expect(client.getBlock('latest'), field).rejects.toMatchObject({ code: 'EXECUTION_INVALID' })
    }
    for (const field of Object.keys(good))
      for (const value of [undefined, null, 7, '7', '0x', `0x${'ab'.repeat(33)}`]) {
        block = { ...good, [field]: value }
        const what = `${field} ${JSON.stringify(value)}`
        await expect(client.getBlock('latest'), what).rejects.toMatchObject({ code: 'HTTP_INVALID' })
      }
    for (block of [undefined, [], 'x', {}])
      await expect(client.getBlock('latest')).rejects.toMatchObject({ code: 'HTTP_INVALID' })
  })
})

describe('a call', () => {
  const block = `0x${'ab'.repeat(32)}`
  const to = new Uint8Array(20).fill(0x11)
  const ask = { to, data: '0x12345678', block }
  const WORD = `0x${'00'.repeat(31)}07`

  it('is made at exactly one block', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    const calls: StandInCall[] = []
    node.call = (call) => {
      calls.push(call)
      return WORD
    }
    expect(toHex(await clientOf([node]).call(ask))).toBe(WORD)
    expect(calls).toEqual([{ to: toHex(to), data: '0x12345678', blockHash: block, requireCanonical: true }])
  })

  const behind = [
    { code: -32000, message: 'header not found' },
    { code: -32000, message: 'header for hash not found' },
    { code: -32000, message: 'hash is not currently canonical' },
    { code: -32000, message: `missing trie node ${'ab'.repeat(32)}` },
    { code: -32001, message: 'Resource not found' },
    { code: -32603, message: 'block not found' },
  ]
  it.each(behind)('is waited for while no node can answer it: %j', async (fault) => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    let calls = 0
    node.call = () => (++calls < 4 ? fault : WORD)
    expect(toHex(await clientOf([node], { retryTimeoutMs: 60_000 }).call(ask))).toBe(WORD)
    node.call = () => fault
    await expect(clientOf([node]).call(ask)).rejects.toMatchObject({
      code: 'HTTP_INVALID',
      message: expect.stringContaining(fault.message.slice(0, 20)),
    })
  })

  it('goes to the next node where the first is behind', async () => {
    await using behindNode = await startRpc({ chainId: 1, head: HEAD - 1 })
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.call = () => WORD
    expect(toHex(await clientOf([behindNode, node]).call(ask))).toBe(WORD)
  })

  it('is given up when the signal says so', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    const abort = new AbortController()
    node.call = () => {
      abort.abort()
      return { code: -32000, message: 'header not found' }
    }
    const pending = clientOf([node], { retryTimeoutMs: 60_000 }).call({ ...ask, signal: abort.signal })
    await expect(pending).rejects.toMatchObject({ code: expect.stringMatching(/^HTTP_/) })
  })

  it.each([
    { code: 3, message: 'execution reverted: s3cret' },
    { code: -32000, message: 'execution reverted' },
    { code: -32015, message: 'VM execution error.' },
  ])('that the contract reverts is not made again: %j', async (fault) => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    await using other = await startRpc({ chainId: 1, head: HEAD })
    node.call = () => fault
    const error = await clientOf([node, other], { retryTimeoutMs: 60_000 })
      .call(ask)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'EXECUTION_REVERTED' })
    expect(String(error)).not.toContain('s3cret')
    expect([node.requests.length, other.requests.length]).toEqual([2, 0])
  })

  it('that gives nothing is told apart, and one that gives no bytes refused', async () => {
    await using node = await startRpc({ chainId: 1, head: HEAD })
    node.call = () => '0x'
    await expect(clientOf([node]).call(ask)).rejects.toMatchObject({ code: 'EXECUTION_EMPTY' })
    for (const wrong of ['', '0x1', '12', '0xzz']) {
      node.call = () => wrong
      await expect(clientOf([node]).call(ask), wrong).rejects.toMatchObject({ code: 'HTTP_INVALID' })
    }
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
