/** JSON-RPC over the project's HTTP client: errors name the node by host, and an endpoint on another chain answers nothing. */

import { type HttpAsk, HttpError } from '@dvt-relayer/common/http-client.ts'
import { type Static, type TSchema, Type } from 'typebox'
import { ChainError } from '../errors.ts'

/** How a call is repeated. Without it, the client's own rule. */
export interface RpcOptions {
  retryTimeoutMs?: number
  signal?: AbortSignal
  /** Errors after which another node, or this one later, may answer: the node counts as absent. Without it: none. */
  isPassing?: (error: RpcFault) => boolean
}

/** A JSON-RPC error as the node said it. */
export interface RpcFault {
  code: number
  message: string
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
 * @throws {ChainError} EXECUTION_REFUSED with the node's JSON-RPC code in `meta.rpc_code`; {HttpError}, also for an error
 * that `isPassing`
 */
export async function callRpc<S extends TSchema>(
  http: HttpAsk,
  method: string,
  params: readonly unknown[],
  result: S,
  options: RpcOptions = {},
): Promise<Static<S>> {
  const { isPassing, ...common } = options
  type Answer = { result: Static<S> } | Static<typeof RpcError>
  const answer = (await http.json(
    { method: 'POST', path: '', body: { jsonrpc: '2.0', id: 1, method, params }, idempotent: true, ...common },
    answerSchema(result),
    (value, host) => {
      const { error } = value as { error?: RpcFault }
      if (error === undefined || isPassing?.(error) !== true) return
      throw new HttpError(
        'HTTP_INVALID',
        host,
        `the execution node at ${host} cannot answer ${method}: ${http.quote(error.message)}`,
      )
    },
  )) as Answer
  if (!('error' in answer)) return answer.result
  const message = `the execution node at ${http.host} refuses ${method}: ${http.quote(answer.error.message)}`
  throw new ChainError('EXECUTION_REFUSED', message, { meta: { host: http.host, rpc_code: answer.error.code } })
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

/** Bytes as JSON-RPC has them, of any length or of `length` bytes. */
export const Bytes = (length?: number) =>
  Type.String({ pattern: `^0x([0-9a-fA-F]{2})${length === undefined ? '*' : `{${length}}`}$` })

/** A number as a quantity. */
export const toQuantity = (value: number): string => `0x${value.toString(16)}`
