/** JSON-RPC over the project's HTTP client: errors name the node by host, and an endpoint on another chain answers nothing. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import { type HttpAsk, HttpError } from '@dvt-relayer/common/http/client.ts'
import { type Static, type TSchema, Type } from 'typebox'
import { ChainError } from '../errors.ts'

/** How a call is repeated, and what else its answer has to be. Without it, the client's own rule. */
export interface RpcOptions<T = unknown> {
  retryTimeoutMs?: number
  signal?: AbortSignal
  /** Errors that the question itself has earned, beside an unknown method and invalid parameters: no other node is asked. */
  isEarned?: (error: RpcFault) => boolean
  /** Statuses from 400 to 499 that the question itself has earned. Without it: none. */
  isEarnedStatus?: (status: number) => boolean
  /** Throws a {@link ChainError} for a result that has the right form and yet cannot be: the next node is asked. */
  check?: (result: T, host: string) => void
}

/** A JSON-RPC error as the node said it, in whatever shape. */
export interface RpcFault {
  /** Undefined where the node gives no number. */
  code: number | undefined
  /** Empty where the node says nothing. */
  message: string
}

const METHOD_NOT_FOUND = -32601
const INVALID_PARAMS = -32602

/** Words of a node that is behind, has dropped what is asked for, or is asked too often: another one may know, or this one later. */
const OTHER_NODE =
  /\brate\b|rate-?limit|too many requests|requests? (count|limit)|per second|throttl|quota|credits|capacity|not found|not yet|unavailable|unknown block|invalid block range|beyond .*head|future|pruned|missing trie|syncing/i

/** Whether a fault is the node's own, by its words: it is behind, or wants to be left alone for a while. */
export const isOfNode = ({ message }: RpcFault): boolean => OTHER_NODE.test(message)

/** Whether the node has no such method. */
export const isUnknownMethod = ({ code }: RpcFault): boolean => code === METHOD_NOT_FOUND

/** Whether the node says that the parameters are wrong, which some also say of a block that they lack. */
const isInvalidParams = (fault: RpcFault): boolean => fault.code === INVALID_PARAMS && !isOfNode(fault)

/** Any `error` but null, which is none: JSON-RPC 1.0 has it in every answer. */
const Failed = Type.Object({
  error: Type.Union([Type.Object({}), Type.Array(Type.Unknown()), Type.String(), Type.Number(), Type.Boolean()]),
  result: Type.Optional(Type.Unknown()),
})
const schemas = new WeakMap<TSchema, TSchema>()

function answerSchema(result: TSchema): TSchema {
  const schema = schemas.get(result) ?? Type.Union([Failed, Type.Object({ error: Type.Optional(Type.Null()), result })])
  schemas.set(result, schema)
  return schema
}

/**
 * Calls a method that only reads, or may be sent twice. What the question itself has earned is final; after every other failure, of
 * any shape, the next node is asked, and all of them again within the client's time for retries.
 *
 * @throws {ChainError} EXECUTION_REFUSED with the node's JSON-RPC code in `meta.rpc_code` when the question has earned it, and what
 * `check` throws; {HttpError} when no node can answer
 */
export async function callRpc<S extends TSchema>(
  http: HttpAsk,
  method: string,
  params: readonly unknown[],
  result: S,
  options: RpcOptions<Static<S>> = {},
): Promise<Static<S>> {
  const { isEarned, isEarnedStatus, check, ...common } = options
  const isFinal = (fault: RpcFault) => isEarned?.(fault) === true || isUnknownMethod(fault) || isInvalidParams(fault)
  type Answer = { error?: null; result: Static<S> } | Static<typeof Failed>
  const answer = (await http.json(
    {
      method: 'POST',
      path: '',
      body: { jsonrpc: '2.0', id: 1, method, params },
      idempotent: true,
      isPassing: (status) => isEarnedStatus?.(status) !== true,
      ...common,
    },
    answerSchema(result),
    (value, host) => {
      const { error, result } = value as Answer
      if (error === undefined || error === null) return check?.(result as Static<S>, host)
      const fault = faultOf(error)
      // Who gives a result and an error says neither.
      if ((result === undefined || result === null) && isFinal(fault)) return
      throw new HttpError(
        'HTTP_INVALID',
        host,
        `the execution node at ${host} cannot answer ${method}: ${http.quote(fault.message)}`,
      )
    },
  )) as Answer
  if (answer.error === undefined || answer.error === null) return answer.result as Static<S>
  const { code, message } = faultOf(answer.error)
  throw new ChainError(
    'EXECUTION_REFUSED',
    `the execution node at ${http.host} refuses ${method}: ${http.quote(message)}`,
    {
      meta: { host: http.host, ...(code === undefined ? {} : { rpc_code: code }) },
    },
  )
}

/** What is said in an `error`: some nodes and gateways put a text in its place, or the code in one. */
function faultOf(error: unknown): RpcFault {
  if (typeof error === 'string') return { code: undefined, message: error }
  const { code, message } = error as { code?: unknown; message?: unknown }
  const number = typeof code === 'string' && /^-?\d{1,9}$/.test(code) ? Number(code) : code
  return {
    code: Number.isSafeInteger(number) ? (number as number) : undefined,
    message: typeof message === 'string' ? message : '',
  }
}

/** A JSON-RPC quantity. */
export const Quantity = textLike('^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})$', '0x and a number in hex digits')

/** A quantity as a number. @throws {ChainError} EXECUTION_INVALID above 2^53 − 1 */
export function parseQuantity(quantity: string): number {
  const value = Number(quantity)
  if (!Number.isSafeInteger(value))
    throw new ChainError('EXECUTION_INVALID', 'the execution node answers with a number above 2^53 - 1')
  return value
}

const byLength = new Map<number | undefined, ReturnType<typeof textLike>>()

/** Bytes as JSON-RPC has them, of any length or of `length` bytes. The same each time: what checks an answer is compiled once for each schema. */
export function Bytes(length?: number) {
  const schema =
    byLength.get(length) ??
    textLike(
      `^0x([0-9a-fA-F]{2})${length === undefined ? '*' : `{${length}}`}$`,
      length === undefined ? '0x and an even number of hex digits' : `0x and ${length * 2} hex digits`,
    )
  byLength.set(length, schema)
  return schema
}

/** A number as a quantity. */
export const toQuantity = (value: number): string => `0x${value.toString(16)}`
