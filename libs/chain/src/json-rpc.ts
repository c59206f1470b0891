/** JSON-RPC over the project's HTTP client: errors name the node by host, and an endpoint on another chain answers nothing. */

import type { HttpAsk } from '@dvt-relayer/common/http-client.ts'
import { type Static, type TSchema, Type } from 'typebox'
import { ChainError } from './errors.ts'

/** How a call is repeated. Without it, the client's own rule. */
export interface RpcOptions {
  retryTimeoutMs?: number
  signal?: AbortSignal
}

const RpcError = Type.Object({ error: Type.Object({ code: Type.Integer(), message: Type.String() }) })
const schemas = new WeakMap<TSchema, TSchema>()

function answerSchema(result: TSchema): TSchema {
  const schema = schemas.get(result) ?? Type.Union([RpcError, Type.Object({ result })])
  schemas.set(result, schema)
  return schema
}

/**
 * Calls a method that only reads.
 *
 * @throws {ChainError} EXECUTION_REFUSED with the node's JSON-RPC code in `meta.rpc_code`; {HttpError}
 */
export async function callRpc<S extends TSchema>(
  http: HttpAsk,
  method: string,
  params: readonly unknown[],
  result: S,
  options: RpcOptions = {},
): Promise<Static<S>> {
  const body = { jsonrpc: '2.0', id: 1, method, params }
  const answer = (await http.json(
    { method: 'POST', path: '', body, idempotent: true, ...options },
    answerSchema(result),
  )) as { result: Static<S> } | Static<typeof RpcError>
  if (!('error' in answer)) return answer.result
  // A provider's message may repeat the URL with the caller's key in it.
  const said = answer.error.message.replace(/\bhttps?:\S+/g, '<url>').slice(0, 200)
  throw new ChainError('EXECUTION_REFUSED', `the execution node at ${http.host} refuses ${method}: ${said}`, {
    meta: { host: http.host, rpc_code: answer.error.code },
  })
}

/** A JSON-RPC quantity. */
export const Quantity = Type.String({ pattern: '^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})$' })

/** A quantity as a number. @throws {ChainError} EXECUTION_INVALID above 2^53 − 1 */
export function parseQuantity(quantity: string): number {
  const value = Number(quantity)
  if (!Number.isSafeInteger(value))
    throw new ChainError('EXECUTION_INVALID', 'the execution node answers with a number above 2^53 - 1')
  return value
}

/** A number as a quantity. */
export const toQuantity = (value: number): string => `0x${value.toString(16)}`
