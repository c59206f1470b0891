/** Errors inside HTTP 200, in every shape that nodes and gateways give them: only what a question itself has earned is final. */

import { createExecutionClient, type ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { sendRaw } from '@dvt-relayer/chain/execution/transaction.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { configUpdatedEvent } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { type HttpStandIn, type StandInAnswer, startHttpStandIn } from '../../support/chain/http-stand-in.ts'

const network = networks.mainnet
const word = `0x${'00'.repeat(31)}07`
const hash = `0x${'ab'.repeat(32)}`
const to = new Uint8Array(20).fill(0x11)
const block = { number: '0x7', hash, parentHash: hash, timestamp: '0x1' }
const log = {
  address: toHex(network.keeper),
  topics: encodeEventTopics({ abi: [configUpdatedEvent] }),
  data: encodeAbiParameters(configUpdatedEvent.inputs, ['cid']),
  blockNumber: '0xf',
  logIndex: '0x0',
}
const keeperLogs = { address: network.keeper, event: configUpdatedEvent, fromBlock: 10, toBlock: 24 }

/** What a good node says. */
const RIGHT: Readonly<Record<string, unknown>> = {
  eth_chainId: '0x1',
  eth_blockNumber: '0x7',
  eth_getBlockByNumber: block,
  eth_call: word,
  eth_getLogs: [log],
  eth_sendRawTransaction: hash,
}

/** The questions, and what is right. */
const QUESTIONS: Readonly<
  Record<string, { method: string; ask: (client: ExecutionClient) => Promise<unknown>; right: unknown }>
> = {
  head: { method: 'eth_blockNumber', ask: (client) => client.blockNumber(), right: 7 },
  block: { method: 'eth_getBlockByNumber', ask: async (client) => (await client.getBlock(7))?.hash, right: hash },
  final: {
    method: 'eth_getBlockByNumber',
    ask: async (client) => (await client.getBlock('finalized'))?.hash,
    right: hash,
  },
  call: {
    method: 'eth_call',
    ask: async (client) => toHex(await client.call({ to, data: '0x12345678', block: hash })),
    right: word,
  },
  logs: {
    method: 'eth_getLogs',
    ask: async (client) => (await client.findLogs(keeperLogs)).map(({ args }) => args.configIpfsHash),
    right: ['cid'],
  },
  'logs of one block': {
    method: 'eth_getLogs',
    ask: async (client) =>
      (await client.findLogs({ ...keeperLogs, fromBlock: 15, toBlock: 15 })).map(({ args }) => args.configIpfsHash),
    right: ['cid'],
  },
  sending: {
    method: 'eth_sendRawTransaction',
    ask: (client) => sendRaw(client, new Uint8Array(8)),
    right: undefined,
  },
}

const error = (fault: unknown, more: object = {}) => ({ jsonrpc: '2.0', id: 1, error: fault, ...more })

/** Answers of a node that cannot answer now, or says nothing that can be understood. */
const ODD: readonly unknown[] = [
  error({ code: -32005, message: 'daily request count exceeded, request rate limited' }),
  error({ code: '-32005', message: 'rate-limited' }),
  error({ code: 429, message: 'Too Many Requests' }),
  error({ code: -32000, message: 'header not found' }),
  error({ code: -32000, message: 'invalid block range params' }),
  error({ code: -32602, message: 'block range extends beyond current head block' }),
  error({ code: 4444, message: 'pruned history unavailable' }),
  error({ code: -32603, message: 'Internal error' }),
  error({ code: -32600, message: 'this project has no access' }),
  error({ code: -32000, message: 'context deadline: execution aborted (timeout = 5s)' }),
  error({ code: -32000 }),
  error({ code: -32000, message: null }),
  error({ code: -32000, message: { text: 'sorry' } }),
  error({ code: null, message: 'sorry' }),
  error({ code: 1.5, message: 'sorry' }),
  error({ message: 'sorry' }),
  error({}),
  error([]),
  error([{ code: -32601, message: 'sorry' }]),
  error('request rate limited'),
  error(''),
  error(false),
  error(true),
  error(0),
  error(-32601),
  error({ code: -32601, message: 'both' }, { result: '0x7' }),
  error({ code: 3, message: 'execution reverted' }, { result: word }),
  error({ code: -32000, message: 'sorry' }, { result: null }),
  { jsonrpc: '2.0', id: 1 },
  { jsonrpc: '2.0', id: 1, error: null },
  { jsonrpc: '2.0', id: 1, result: { error: 'sorry' } },
  { jsonrpc: '2.0', id: 1, result: 7 },
  { jsonrpc: '2.0', id: 1, result: false },
  { message: 'sorry' },
  [{ jsonrpc: '2.0', id: 1, result: '0x7' }],
  [],
  {},
  null,
  true,
  'sorry',
  new TextEncoder().encode('<html>sorry</html>'),
  new TextEncoder().encode('{"jsonrpc":"2.0","id":1,"resu'),
  new Uint8Array(),
]
/** Odd answers after which 15 blocks have shrunk to one, and that one has been asked for again. */
const ENOUGH = 6
/** The same as statuses of a gateway. */
const STATUSES = [400, 401, 402, 403, 404, 405, 408, 410, 413, 415, 422, 429, 500, 502, 503, 504, 530]

interface OddNode extends HttpStandIn {
  /** What it gives instead of the right answer, while it is set. */
  odd: { method: string; answer: StandInAnswer } | undefined
  /** How often it has. */
  count: number
  /** Told at each odd answer. */
  onOdd: () => void
}

async function startNode(): Promise<OddNode> {
  const server = await startHttpStandIn(({ body }) => {
    const { method, params } = body as { method: string; params: [{ fromBlock: string; toBlock: string }] }
    if (node.odd?.method !== method) {
      const [range] = params
      const isBeside = method === 'eth_getLogs' && (Number(range.fromBlock) > 15 || Number(range.toBlock) < 15)
      return { status: 200, body: { jsonrpc: '2.0', id: 1, error: null, result: isBeside ? [] : RIGHT[method] } }
    }
    const { answer } = node.odd
    node.count++
    node.onOdd()
    return answer
  })
  const node: OddNode = { ...server, odd: undefined, count: 0, onOdd: () => undefined }
  return node
}

const clientOf = (nodes: readonly OddNode[], retryTimeoutMs: number) =>
  createExecutionClient({
    endpoints: nodes.map(({ url }) => url),
    timeoutMs: 60_000,
    retryTimeoutMs,
    backoffMs: { first: 1, most: 5 },
    network,
  })

const answers: StandInAnswer[] = [
  ...ODD.map((body) => ({ status: 200, body })),
  ...STATUSES.map((status) => ({ status, body: error({ code: -32601, message: 'sorry' }) })),
]
const nameOf = ({ status, body }: StandInAnswer) =>
  `${status} ${body instanceof Uint8Array ? new TextDecoder().decode(body) : JSON.stringify(body)}`

describe.each(Object.entries(QUESTIONS))('the question for %s', (_name, { method, ask, right }) => {
  it('is answered by the other node, whatever the first one says', async () => {
    await using odd = await startNode()
    await using good = await startNode()
    for (const answer of answers) {
      odd.odd = { method, answer }
      expect(await ask(clientOf([odd, good], 0)), nameOf(answer)).toEqual(right)
    }
    expect(odd.count).toBeGreaterThanOrEqual(answers.length)
  })

  it('waits while all are odd, and is answered when one is well again', async () => {
    await using first = await startNode()
    await using second = await startNode()
    for (const answer of answers) {
      for (const node of [first, second]) {
        node.odd = { method, answer }
        node.count = 0
      }
      // Not before a range would have shrunk to one block, and each node was asked again after that.
      second.onOdd = () => {
        if (second.count >= ENOUGH) second.odd = undefined
      }
      expect(await ask(clientOf([first, second], 60_000)), nameOf(answer)).toEqual(right)
      expect(second.count, nameOf(answer)).toBe(ENOUGH)
    }
  })

  it('fails as a node that is away, never with a wrong answer, when there is no more time', async () => {
    await using node = await startNode()
    for (const answer of answers) {
      node.odd = { method, answer }
      const failure = await ask(clientOf([node], 0)).catch((reason: unknown) => reason)
      expect(failure, nameOf(answer)).toBeInstanceOf(HttpError)
    }
  })
})

describe('what the question has earned', () => {
  const unknown = { code: -32601, message: 'the method is not available' }
  const invalid = { code: -32602, message: 'invalid argument 0: hex string without 0x prefix' }
  const earned: [string, object][] = [
    ...Object.keys(QUESTIONS).flatMap((name): [string, object][] => [
      [name, unknown],
      [name, { ...unknown, code: '-32601' }],
      [name, invalid],
    ]),
    ['logs of one block', { code: -32005, message: 'query returned more than 10000 results' }],
    ['logs of one block', { code: -32000, message: 'exceed maximum block range: 0' }],
    ['sending', { code: -32000, message: 'already known' }],
    ['sending', { code: -32000, message: 'nonce too low: next nonce 7, tx nonce 6' }],
    ['sending', { code: -32000, message: 'replacement transaction underpriced' }],
    ['sending', { code: -32000, message: 'insufficient funds for gas * price + value' }],
    ['sending', { code: -32003, message: 'transaction rejected' }],
    ['sending', { code: -32010, message: 'transaction rejected' }],
    ['sending', { code: 3, message: 'rejected' }],
  ]

  it.each(earned)('is final, and no other node is asked: %s %j', async (name, fault) => {
    const { method, ask } = QUESTIONS[name] as (typeof QUESTIONS)[string]
    await using node = await startNode()
    await using other = await startNode()
    node.odd = { method, answer: { status: 200, body: error(fault) } }
    await expect(ask(clientOf([node, other], 60_000))).rejects.toMatchObject({
      code: 'EXECUTION_REFUSED',
      meta: { rpc_code: Number((fault as { code: unknown }).code) },
    })
    expect(other.requests).toEqual([])
  })

  it('is a range only once it has shrunk: what a node says of it by an odd code, or an odd status, is asked in parts', async () => {
    await using node = await startNode()
    for (const answer of [
      { status: 200, body: error({ code: '-32602', message: 'block range is too wide' }) },
      { status: 200, body: error({ code: -32600, message: 'You can make requests with up to a 10 block range' }) },
      { status: 200, body: error('query returned more than 10000 results') },
      { status: 400, body: {} },
      { status: 413, body: {} },
    ]) {
      node.count = 0
      node.odd = { method: 'eth_getLogs', answer }
      node.onOdd = () => {
        if (node.count >= 3) node.odd = undefined
      }
      const ranges = await Array.fromAsync(clientOf([node], 60_000).scanLogs({ ...keeperLogs, fromBlock: 10 }))
      expect(ranges[0]?.toBlock, nameOf(answer)).toBeLessThan(keeperLogs.toBlock)
      expect(node.count).toBe(3)
    }
  })
})

it('a status that says nothing of a range has the next node asked for all of it', async () => {
  await using node = await startNode()
  await using other = await startNode()
  for (const status of STATUSES.filter((one) => one !== 400 && one !== 413)) {
    node.odd = { method: 'eth_getLogs', answer: { status, body: {} } }
    const query = { ...keeperLogs, fromBlock: 10 }
    const ranges = await Array.fromAsync(clientOf([node, other], 60_000).scanLogs(query))
    expect(
      ranges.map(({ fromBlock, toBlock }) => [fromBlock, toBlock]),
      String(status),
    ).toEqual([[10, query.toBlock]])
  }
})

describe('a right form that cannot be', () => {
  const wrong: [string, unknown][] = [
    ['head', '0x20000000000000'],
    ['block', { ...block, number: '0x8' }],
    ['block', { ...block, timestamp: '0x20000000000000' }],
    ['logs', [{ ...log, address: `0x${'11'.repeat(20)}` }]],
    ['logs', [{ ...log, blockNumber: '0x9' }]],
    ['logs', [{ ...log, logIndex: '0x20000000000000' }]],
  ]
  it.each(wrong)('goes to the other node, and is never taken: %s %j', async (name, result) => {
    const { method, ask, right } = QUESTIONS[name] as (typeof QUESTIONS)[string]
    await using odd = await startNode()
    await using good = await startNode()
    odd.odd = { method, answer: { status: 200, body: { jsonrpc: '2.0', id: 1, result } } }
    expect(await ask(clientOf([odd, good], 0))).toEqual(right)
    await expect(ask(clientOf([odd], 0))).rejects.toMatchObject({ code: 'EXECUTION_INVALID' })
  })
})
