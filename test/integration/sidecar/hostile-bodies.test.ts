/** A relayer whose answers would fill the memory: they are refused by their size and shape, and the sidecar answers meanwhile. */

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Sidecar, startSidecar } from '../../../apps/sidecar/src/sidecar.ts'
import { sendBomb, sendEndless, sendHeaderFlood } from '../../support/services/hostile-bodies.ts'
import { configOf, isRight, keysOf, recordingLogger } from './support.ts'

const NAME = 'cluster-4'
const [KEY = ''] = keysOf(NAME)
/** What a list may have at most for this sidecar. */
const MOST_BYTES = (20_000 + 100 * keysOf(NAME).length) * 640
/** What connections hold on their way, on both sides. */
const ON_THE_WAY = 32 << 20

const exit = {
  public_key: KEY,
  validator_index: 7,
  is_exit_signature_ready: false,
  created_at_timestamp: 1732147200,
  created_at_string: '2024-11-21 00:00:00+0000',
  share_indexes_ready: [],
}

/** A plain server that is a relayer but for its first lists, which `hostile` answers in turn. */
async function startHostileRelayer(...hostile: readonly ((response: ServerResponse) => unknown)[]) {
  const posted = Promise.withResolvers<{
    shares: { public_key: string; exit_signature: string }[]
    share_index: number
  }>()
  let lists = 0
  const server = createServer(async (request, response) => {
    const json = (body: unknown) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    if (request.method === 'POST') {
      posted.resolve(JSON.parse(Buffer.concat(chunks).toString()))
      json({})
    } else if (request.url === '/info') json({ network: 'hoodi' })
    else if (request.url === '/whoami') response.writeHead(404).end()
    else {
      const answer = hostile[lists++]
      if (answer === undefined) json({ exits: [exit] })
      else answer(response)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    posted: posted.promise,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const config = (url: string) => configOf(NAME, 0, url, { GENERATION: '3', SIDECAR_PORT: '0' })
const health = async ({ url }: Sidecar) => (await fetch(`${url}/health`)).status

/** What the parser was given, by its length. */
function watchParser(): () => number {
  const parser = vi.spyOn(JSON, 'parse')
  return () => Math.max(0, ...parser.mock.calls.map(([text]) => text.length))
}

afterEach(() => vi.restoreAllMocks())

describe('a list that is', () => {
  it('brackets without an end is read as far as the keys held allow, never parsed, and hung up on', async () => {
    const sent = Promise.withResolvers<number>()
    await using relayer = await startHostileRelayer((response) => sent.resolve(sendEndless(response, '[')))
    const longestParsed = watchParser()
    const { logger, text } = recordingLogger()
    await using sidecar = await startSidecar(config(relayer.url), { logger })
    expect(await sent.promise).toBeLessThan(MOST_BYTES + ON_THE_WAY)
    expect(await health(sidecar)).toBe(200)
    const { shares, share_index: shareIndex } = await relayer.posted
    const [{ public_key: publicKey = '', exit_signature: signature = '' } = {}] = shares
    expect(isRight(NAME, { publicKey, signature, shareIndex, validatorIndex: 7 })).toBe(true)
    expect(longestParsed()).toBeLessThan(1 << 20)
    expect(text.join('')).toContain(`more than ${MOST_BYTES} bytes`)
  })

  it.each([
    ['no object', '['.repeat(10 << 20), 'is no JSON object'],
    ['nested too deep', `{"exits":${'['.repeat(10 << 20)}`, 'is nested deeper than 32 levels'],
    ['nested too deep in one item', `{"exits":[${JSON.stringify(exit)},${'{"a":'.repeat(2 << 20)}`, 'deeper than 32'],
    ['of more things than its keys allow', `{"exits":[${'{},'.repeat(3 << 20)}{}]}`, /holds more than \d+ values/],
    ['of one long item', `{"exits":[[${'{},'.repeat(100_000)}{}]]}`, 'holds a value of more than 98304 bytes'],
  ])('%s never reaches the parser', async (_, body, words) => {
    expect(body.length).toBeLessThan(MOST_BYTES)
    await using relayer = await startHostileRelayer((response) =>
      response.setHeader('content-type', 'application/json').end(body),
    )
    const longestParsed = watchParser()
    const { logger, text } = recordingLogger()
    await using sidecar = await startSidecar(config(relayer.url), { logger })
    await relayer.posted
    expect(longestParsed()).toBeLessThan(128 * 1024)
    expect(text.join('')).toMatch(words)
    expect(await health(sidecar)).toBe(200)
  })

  it('packed small is unpacked no further than a plain one is read', async () => {
    await using relayer = await startHostileRelayer((response) => sendBomb(response, 256, 'gzip'))
    const longestParsed = watchParser()
    const { logger, text } = recordingLogger()
    await using sidecar = await startSidecar(config(relayer.url), { logger })
    await relayer.posted
    expect(longestParsed()).toBeLessThan(1 << 20)
    expect(text.join('')).toContain(`more than ${MOST_BYTES} bytes`)
    expect(await health(sidecar)).toBe(200)
  })

  it('headers without an end is hung up on', async () => {
    const sent = Promise.withResolvers<number>()
    await using relayer = await startHostileRelayer((response) => sent.resolve(sendHeaderFlood(response)))
    const { logger } = recordingLogger()
    await using sidecar = await startSidecar(config(relayer.url), { logger })
    expect(await sent.promise).toBeLessThan(ON_THE_WAY)
    await relayer.posted
    expect(await health(sidecar)).toBe(200)
  })

  it('half there does not keep the sidecar from answering, however long the rest takes', async () => {
    const half = Promise.withResolvers<ServerResponse>()
    await using relayer = await startHostileRelayer((response) => {
      response
        .setHeader('content-type', 'application/json')
        .write(`{"exits":${'['.repeat(8 << 20)}`, () => half.resolve(response))
    })
    const longestParsed = watchParser()
    const { logger, text } = recordingLogger()
    await using sidecar = await startSidecar(config(relayer.url), { logger })
    const response = await half.promise
    expect(await health(sidecar)).toBe(200)
    expect(response.writableEnded).toBe(false)
    response.end('['.repeat(2 << 20))
    await relayer.posted
    expect(await health(sidecar)).toBe(200)
    expect(longestParsed()).toBeLessThan(1 << 20)
    expect(text.join('')).toContain('is nested deeper than 32 levels')
  })
})
