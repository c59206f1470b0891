/**
 * Answers that nobody should read to their end, from whatever we ask: as long as a client goes on reading, unpacked, dripped, headers
 * without an end, nested for ever, a million tiny things. Each is refused within its bounds, and where another endpoint answers it is asked.
 */

import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import type { IpfsClient } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { configUpdatedEvent } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { fetchOracleConfig } from '@dvt-relayer/chain/stakewise/oracle-config.ts'
import { createHttpClient, type HttpError } from '@dvt-relayer/common/http/client.ts'
import { Type } from 'typebox'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { askPublicKeys } from '../../../apps/sidecar/src/keystores/remote/api.ts'
import { createSignerHttp } from '../../../apps/sidecar/src/keystores/remote/signer-http.ts'
import { startBeacon } from '../../support/chain/beacon.ts'
import { startHttpStandIn } from '../../support/chain/http-stand-in.ts'
import { startRpc } from '../../support/chain/rpc.ts'
import { sendBomb, sendDrip, sendEndless, sendHeaderFlood } from '../../support/services/hostile-bodies.ts'

const network = networks.hoodi
const Anything = Type.Object({})
/** What connections hold on their way, on both sides. */
const ON_THE_WAY = 32 << 20
const MOST = { maxBytes: 1 << 20, maxValues: 1000 }
const NESTED = `{"data":${'['.repeat(500_000)}`

async function start(listener: RequestListener) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const sendText = (response: ServerResponse, text: string) =>
  response.setHeader('content-type', 'application/json').end(text)

/** What the parser was given, by its length. */
function watchParser(): () => number {
  const parser = vi.spyOn(JSON, 'parse')
  return () => Math.max(0, ...parser.mock.calls.map(([text]) => String(text).length))
}
afterEach(() => vi.restoreAllMocks())

describe('the HTTP client', () => {
  const ask = async (url: string, timeoutMs = 600_000): Promise<HttpError> => {
    const client = createHttpClient({ endpoints: [url], timeoutMs, ...MOST })
    return client.json({ path: '/' }, Anything).then(
      () => expect.unreachable(),
      (error: HttpError) => error,
    )
  }

  it.each([200, 500])('hangs up on a body without an end (%i)', async (status) => {
    const sent = Promise.withResolvers<number>()
    await using server = await start((_, response) => {
      response.statusCode = status
      sent.resolve(sendEndless(response, '[', status))
    })
    expect((await ask(server.url)).code).toBe(status === 200 ? 'HTTP_TOO_LARGE' : 'HTTP_STATUS')
    expect(await sent.promise).toBeLessThan(MOST.maxBytes + ON_THE_WAY)
  })

  it.each(['gzip', 'deflate', 'br'] as const)('unpacks %s no further than it reads', async (encoding) => {
    await using server = await start((_, response) => sendBomb(response, 16, encoding))
    expect((await ask(server.url)).code).toBe('HTTP_TOO_LARGE')
  })

  it.each([200, 500])('gives a body that drips no more than the time of its request (%i)', async (status) => {
    const hungUp = Promise.withResolvers<void>()
    await using server = await start((_, response) => hungUp.resolve(sendDrip(response, status)))
    expect((await ask(server.url, 300)).code).toBe(status === 200 ? 'HTTP_TIMEOUT' : 'HTTP_STATUS')
    await hungUp.promise
  })

  it('hangs up on headers without an end', async () => {
    const sent = Promise.withResolvers<number>()
    await using server = await start((_, response) => sent.resolve(sendHeaderFlood(response)))
    expect(await ask(server.url)).toMatchObject({ code: 'HTTP_UNREACHABLE' })
    expect(await sent.promise).toBeLessThan(ON_THE_WAY)
  })

  it.each([
    ['brackets', NESTED, 'HTTP_INVALID', 'is nested deeper than 32 levels'],
    ['tiny things', `{"data":[${'{},'.repeat(300_000)}{}]}`, 'HTTP_TOO_LARGE', 'holds more than 1000 values'],
    ['a long list', `[${'1,'.repeat(300_000)}1]`, 'HTTP_INVALID', 'is no JSON object'],
  ])('never has %s parsed', async (_, text, code, words) => {
    await using server = await start((_request, response) => sendText(response, text))
    const longest = watchParser()
    expect(await ask(server.url)).toMatchObject({ code, message: expect.stringContaining(words) })
    expect(longest()).toBeLessThan(text.length)
  })
})

describe('a consensus node', () => {
  const clientOf = (...urls: string[]) =>
    createConsensusClient({
      endpoints: urls,
      timeoutMs: 600_000,
      retryTimeoutMs: 0,
      network,
      verifyBatch: async (triples) => triples.map(() => true),
    })

  /** Answers like the node, but for one path. */
  const nodeBut = (beacon: { url: string }, path: RegExp, text: string) =>
    start(async (request, response) => {
      if (path.test(request.url ?? '')) return void sendText(response, text)
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const method = request.method ?? 'GET'
      const answer = await fetch(`${beacon.url}${request.url}`, {
        method,
        ...(method === 'POST' ? { body: Buffer.concat(chunks), headers: { 'content-type': 'application/json' } } : {}),
      })
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
    })

  it.each([
    ['genesis', /genesis$/],
    ['spec', /spec$/],
    ['syncing', /syncing$/],
    ['head', /headers\/head$/],
    ['validators', /validators/],
    ['pending deposits', /pending_deposits$/],
  ])('that nests its %s is passed over, and never believed alone', async (_, path) => {
    await using beacon = await startBeacon({ network })
    await using odd = await nodeBut(beacon, path, NESTED)
    const longest = watchParser()
    expect((await clientOf(odd.url, beacon.url).nextValidatorIndex()).nextIndex).toBe(100)
    await expect(clientOf(odd.url).nextValidatorIndex()).rejects.toThrow('nested deeper')
    expect(longest()).toBeLessThan(NESTED.length)
  })

  it.each([
    ['validators', /validators/, `{"data":[${'{},'.repeat(60_000)}{}]}`],
    ['pending deposits', /pending_deposits$/, `{"data":[${'{},'.repeat(2_000_000)}{}]}`],
    ['genesis', /genesis$/, `{"data":[${'{},'.repeat(6_000)}{}]}`],
  ])('with more %s than can be is passed over', async (_, path, text) => {
    await using beacon = await startBeacon({ network })
    await using odd = await nodeBut(beacon, path, text)
    const longest = watchParser()
    expect((await clientOf(odd.url, beacon.url).nextValidatorIndex()).nextIndex).toBe(100)
    await expect(clientOf(odd.url).nextValidatorIndex()).rejects.toMatchObject({ code: 'HTTP_TOO_LARGE' })
    expect(longest()).toBeLessThan(text.length)
  })
})

describe('an execution node', () => {
  const clientOf = (...endpoints: string[]) =>
    createExecutionClient({ endpoints, timeoutMs: 600_000, retryTimeoutMs: 0, network: networks.mainnet })

  it('that nests its answers is passed over', async () => {
    await using odd = await start((_, response) => sendText(response, `{"result":${NESTED}`))
    await using good = await startRpc({ chainId: 1, head: 7 })
    expect(await clientOf(odd.url, good.url).blockNumber()).toBe(7)
    await expect(clientOf(odd.url).blockNumber()).rejects.toThrow('nested deeper')
  })

  it('with more logs than an answer may hold is asked for a smaller range', async () => {
    const ranges: number[] = []
    await using node = await startHttpStandIn(({ body }) => {
      const { method, params } = body as { method: string; params: [{ fromBlock: string; toBlock: string }] }
      if (method === 'eth_chainId') return { status: 200, body: { result: '0x1' } }
      const blocks = Number(params[0].toBlock) - Number(params[0].fromBlock) + 1
      ranges.push(blocks)
      return { status: 200, body: blocks > 4 ? Buffer.from(`{"result":[${'0,'.repeat(2_000_000)}0]}`) : { result: [] } }
    })
    const query = { address: network.keeper, event: configUpdatedEvent, fromBlock: 1, toBlock: 8 }
    expect(await clientOf(node.url).findLogs(query)).toEqual([])
    expect(ranges).toContain(8)
    expect(ranges.filter((blocks) => blocks <= 4).reduce((sum, blocks) => sum + blocks, 0)).toBe(8)
  })
})

it('an oracle config that is nested, or holds too much, is refused with its reason', async () => {
  const ipfsOf = (text: string) =>
    ({ fetchContent: async () => ({ content: Buffer.from(text), verification: 'verified' }) }) as unknown as IpfsClient
  const refused = { code: 'ORACLE_CONFIG_INVALID' }
  for (const [text, words] of [
    [NESTED, 'it is nested deeper than 32 levels'],
    [`{"oracles":[${'0,'.repeat(10_000)}0]}`, 'it holds more than 10000 values'],
    ['{', 'it is not JSON'],
  ] as const)
    await expect(fetchOracleConfig(ipfsOf(text), 'cid')).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining(words),
    })
})

describe('a remote signer', () => {
  const ask = async (url: string, timeoutMs = 600_000) => {
    const none = { ca: undefined, cert: undefined, key: undefined, certEndsAt: undefined }
    await using http = await createSignerHttp(new URL(url), { timeoutMs, connections: 1, tls: none })
    return await askPublicKeys(http, new AbortController().signal)
  }

  it('that lists keys without an end is hung up on', async () => {
    const sent = Promise.withResolvers<number>()
    await using signer = await start((_, response) => sent.resolve(sendEndless(response, '"",')))
    await expect(ask(signer.url)).rejects.toMatchObject({ fault: 'too_large' })
    expect(await sent.promise).toBeLessThan((16 << 20) + ON_THE_WAY)
  })

  it.each([
    ['nests', NESTED],
    ['holds a million things', `[${'0,'.repeat(1_000_000)}0]`],
  ])('whose list %s gives no keys', async (_, text) => {
    await using signer = await start((_request, response) => sendText(response, text))
    const longest = watchParser()
    await expect(ask(signer.url)).rejects.toMatchObject({ fault: 'invalid' })
    expect(longest()).toBeLessThan(text.length)
  })

  it('that drips, or sends headers without an end, has its time and no more', async () => {
    const hungUp = Promise.withResolvers<void>()
    await using slow = await start((_, response) => hungUp.resolve(sendDrip(response)))
    await expect(ask(slow.url, 300)).rejects.toMatchObject({ fault: 'timeout' })
    await hungUp.promise
    await using flood = await start((_, response) => void sendHeaderFlood(response))
    await expect(ask(flood.url)).rejects.toMatchObject({ fault: 'unreachable' })
  })
})
