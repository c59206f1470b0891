/** A liar between a client and a real execution node: passes everything on, remembers it, and answers otherwise where a test wants that. */

import { PATIENCE_MS } from '../../demo/wait.ts'
import type { Anvil } from './anvil.ts'
import { type HttpStandIn, startHttpStandIn } from './http-stand-in.ts'

/** A JSON-RPC call, and what the node says to it. */
export interface ProxiedCall {
  method: string
  params: unknown[]
  /** The node's result; throws a {@link RpcRefusal} when it refuses. */
  node(): Promise<unknown>
}

/** Thrown: the call is answered with this JSON-RPC error. */
export class RpcRefusal extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export interface RpcProxy extends HttpStandIn {
  /** Every call so far, oldest first; empty it as you like. */
  readonly calls: { method: string; params: unknown[] }[]
  /** From now on this makes the results; undefined: the node. */
  answer(instead: ((call: ProxiedCall) => unknown) | undefined): void
}

/** Starts a proxy in front of a node. */
export async function startRpcProxy(anvil: Pick<Anvil, 'url'>): Promise<RpcProxy> {
  const calls: RpcProxy['calls'] = []
  let answer: (call: ProxiedCall) => unknown = ({ node }) => node()
  const server = await startHttpStandIn(async ({ body }) => {
    const { id, method, params } = body as { id: number; method: string; params: unknown[] }
    calls.push({ method, params })
    try {
      const result = await answer({ method, params, node: () => ask(anvil.url, body) })
      return { status: 200, body: { jsonrpc: '2.0', id, result } }
    } catch (error) {
      if (!(error instanceof RpcRefusal)) throw error
      return { status: 200, body: { jsonrpc: '2.0', id, error: { code: error.code, message: error.message } } }
    }
  })
  return {
    ...server,
    calls,
    answer(instead) {
      answer = instead ?? (({ node }) => node())
    },
  }
}

async function ask(url: string, body: unknown): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  const answer = (await response.json()) as { result?: unknown; error?: { code: number; message: string } }
  if (answer.error !== undefined) throw new RpcRefusal(answer.error.code, answer.error.message)
  return answer.result
}

/** Has a node leave out all logs of a block, and its receipts too until they are shown. */
export function leaveOutLogs(proxy: Pick<RpcProxy, 'answer'>, block: number): { showReceipts(): void } {
  let receiptsLackThem = true
  proxy.answer(async ({ method, params, node }) => {
    const result = await node()
    if (method === 'eth_getLogs')
      return (result as { blockNumber: string }[]).filter(({ blockNumber }) => Number(blockNumber) !== block)
    const isIts = method === 'eth_getBlockReceipts' && Number(params[0]) === block
    return isIts && receiptsLackThem ? (result as object[]).map((receipt) => ({ ...receipt, logs: [] })) : result
  })
  return {
    showReceipts() {
      receiptsLackThem = false
    },
  }
}
