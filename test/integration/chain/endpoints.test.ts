/** What holds for execution and consensus endpoints alike: credentials, redirects, sizes, and who they are after a failure. */

import { inspect } from 'node:util'
import { createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { configUpdatedEvent } from '@dvt-relayer/chain/stakewise/keeper.ts'
import type { HttpClientOptions, HttpResult } from '@dvt-relayer/common/http/client.ts'
import { describe, expect, it } from 'vitest'
import { startBeacon } from '../../support/chain/beacon.ts'
import { type HttpStandIn, type StandInRequest, startHttpStandIn } from '../../support/chain/http-stand-in.ts'
import { startRpc } from '../../support/chain/rpc.ts'

const network = networks.hoodi
type Options = Pick<HttpClientOptions, 'timeoutMs' | 'onResult'>
const quick = { timeoutMs: 60_000, retryTimeoutMs: 0, backoffMs: { first: 1, most: 5 }, network }

const execution = (endpoints: string[], options: Partial<Options> = {}) =>
  createExecutionClient({ ...quick, endpoints, ...options })
const consensus = (endpoints: string[], options: Partial<Options> = {}) =>
  createConsensusClient({ ...quick, endpoints, verifyBatch: async (triples) => triples.map(() => true), ...options })

/** Everything each client asks of its endpoint. */
const kinds = [
  {
    kind: 'execution',
    start: () => startRpc({ chainId: network.chainId, head: 100 }),
    uses(endpoints: string[], options: Partial<Options> = {}): (() => Promise<unknown>)[] {
      const client = execution(endpoints, options)
      const logs = { address: network.keeper, event: configUpdatedEvent, fromBlock: 0, toBlock: 50 }
      return [
        () => client.checkChain(),
        () => client.blockNumber(),
        () => client.getBlock('latest'),
        () => client.findLogs(logs),
        () => client.call({ to: network.keeper, data: '0x12345678', block: `0x${'ab'.repeat(32)}` }),
      ]
    },
  },
  {
    kind: 'consensus',
    start: () => startBeacon({ network }),
    uses(endpoints: string[], options: Partial<Options> = {}): (() => Promise<unknown>)[] {
      const client = consensus(endpoints, options)
      return [
        () => client.checkChain(),
        () => client.head(),
        () => client.syncing(),
        () => client.findValidatorByIndex(1),
        () => client.findValidators([new Uint8Array(48)]),
        () => client.nextValidatorIndex(),
      ]
    },
  },
] as const

/** A proxy before `target` that wants a name and a password. */
async function startGate(target: HttpStandIn, seen: StandInRequest[] = []): Promise<HttpStandIn> {
  return startHttpStandIn(async (request) => {
    seen.push(request)
    const pair = Buffer.from(String(request.headers['authorization']).replace('Basic ', ''), 'base64').toString()
    if (pair !== 'name:s3cret/') return { status: 401, body: { message: `who is ${pair}?` } }
    const response = await fetch(`${target.url}${request.path}`, {
      method: request.method,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    })
    return { status: response.status, body: await response.json() }
  })
}

describe.each(kinds)('an $kind endpoint', ({ start, uses }) => {
  it('is asked with the credentials of its URL', async () => {
    await using node = await start()
    if ('call' in node) node.call = () => '0x01'
    const seen: StandInRequest[] = []
    await using gate = await startGate(node, seen)
    for (const use of uses([gate.url.replace('http://', 'http://name:s3cret%2F@')])) await use()
    expect(seen.length).toBeGreaterThan(5)
    expect(seen.every(({ path }) => !path.includes('s3cret'))).toBe(true)
  })

  it('is named by its host and nothing else, whatever goes wrong and whatever it says', async () => {
    await using node = await start()
    await using gate = await startGate(node)
    const told: HttpResult[] = []
    const errors: unknown[] = []
    const collect = async (endpoint: HttpStandIn) => {
      const url = `${endpoint.url.replace('http://', 'http://name:s3cret@')}/k3y-of-16-letters?token=t0ken-of-16`
      for (const use of uses([url], { timeoutMs: 100, onResult: (result) => told.push(result) }))
        await use().catch((error: unknown) => errors.push(error))
    }
    await collect(gate)
    for (const failure of ['down', 'slow', 'garbage', { status: 500 }, { status: 404 }] as const) {
      node.fail(failure)
      await collect(node)
    }
    // Nodes that repeat what they were sent in their errors.
    for (const said of [
      'http://name:s3cret@host/k3y-of',
      'Basic bmFtZTpzM2NyZXQ=',
      'key k3y-of-16-letters',
      't0ken-of-16',
    ]) {
      const error = { code: -32000, message: `refused: ${said}` }
      await using echo = await startHttpStandIn(() => ({ status: 200, body: { jsonrpc: '2.0', id: 1, error } }))
      await collect(echo)
    }
    expect(errors.length).toBeGreaterThan(40)
    for (const each of [...errors, ...told])
      expect(inspect(each, { depth: 10, showHidden: true })).not.toMatch(/s3cret|k3y-of|t0ken|bmFtZ/)
  })

  it('is not followed where it redirects to', async () => {
    await using node = await start()
    for (const status of [301, 302, 303, 307, 308]) {
      await using mirror = await startHttpStandIn(() => ({ status, body: {}, headers: { location: node.url } }))
      for (const use of uses([mirror.url]))
        await expect(use(), String(status)).rejects.toMatchObject({ code: 'HTTP_REDIRECT' })
    }
    expect(node.requests).toEqual([])
  })

  it('is not read beyond what its answers may have', async () => {
    const length = { 'content-length': String(2 ** 30) }
    await using node = await startHttpStandIn(() => ({ status: 200, body: {}, headers: length }))
    for (const use of uses([node.url])) await expect(use()).rejects.toMatchObject({ code: 'HTTP_TOO_LARGE' })
  })

  it.each(['down', 'slow', 'garbage', { status: 502 }] as const)(
    'that was %j is not believed when it comes back on another chain',
    async (failure) => {
      await using node = await start()
      if ('call' in node) node.call = () => '0x01'
      const [, ...after] = uses([node.url], failure === 'slow' ? { timeoutMs: 1_500 } : {})
      for (const use of after) await use()
      node.fail(failure)
      await expect(after[0]?.()).rejects.toBeInstanceOf(Error)
      node.fail(undefined)
      if ('chainId' in node) node.chainId = 1
      else node.setGenesis(new Uint8Array(32))
      node.requests.length = 0
      if ('ranges' in node) node.ranges.length = 0
      for (const use of after) await expect(use()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
      // Nothing but the question which chain it is on.
      if ('ranges' in node) expect(node.ranges).toEqual([])
      else expect(new Set(node.requests)).toEqual(new Set(['GET /eth/v1/beacon/genesis']))
    },
  )
})
