/**
 * How a route of the contract becomes one of fastify's. The path, the checks, the document, and the types of what a handler is given and
 * has to answer, all come from the contract: an answer with a field that is wrong, missing or too many does not compile.
 */

import type { AnswerOf, BodyOf, Exact, ParamsOf, QueryOf, RouteContract } from '@dvt-relayer/api/contract.ts'
import { ErrorResponse } from '@dvt-relayer/api/schemas.ts'
import { onAccountOf } from '@dvt-relayer/common/account.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ApiError, type ErrorCode } from '../errors.ts'
import { accountOf, strangerOf } from './admission/account-of.ts'
import type { Admission } from './admission/admission.ts'
import type { Auth } from './auth/auth.ts'
import type { Caller } from './auth/caller.ts'
import { Rendered } from './rendered.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set before any handler runs. */
    caller: Caller
    /** Whether the answer may wait for a change, so that its time says nothing. */
    isLongPoll: boolean
    /** Why it was refused, once it was. */
    refusedWith: ErrorCode | undefined
  }
}

/** One request to a route of the contract, checked. */
export interface Call<R> {
  params: ParamsOf<R>
  query: QueryOf<R>
  body: BodyOf<R>
  caller: Caller
  /** The path as the contract has it; logs and metrics name the route by it. */
  route: string
  request: FastifyRequest
  reply: FastifyReply
}

/** Answers a call: with a value of the contract's type, or with bytes that are one: JSON, where the handler names no other type. */
export type Handler<R, Given> = (call: Call<R>) => Promise<Given | Rendered<AnswerOf<R>>>

/** Tells who calls, before the body is read. */
type Authenticate = (request: FastifyRequest) => Caller | Promise<Caller>
/** Refuses what need not be read, once it is counted who asks. */
type Admit = (request: FastifyRequest) => Promise<void>

/**
 * Adds routes to an application. A route that knows another way to tell its caller than a token says so with `authenticate`; one that looks
 * at more than that before a body is read, with `admit`.
 *
 * @param keys how many an operator may ask for in one request: its bodies need be no longer than that
 */
export function createBind(app: FastifyInstance, auth: Auth, admission: Admission, keys = Number.POSITIVE_INFINITY) {
  return <const R extends RouteContract, Given extends AnswerOf<R>>(
    contract: R,
    handler: Handler<R, Given>,
    ...[authenticate, admit]: [Given] extends [Exact<AnswerOf<R>, Given>]
      ? [authenticate?: Authenticate, admit?: Admit]
      : [theAnswerHasAFieldTooMany: never]
  ): void => {
    const tellCaller =
      typeof authenticate === 'function'
        ? authenticate
        : (request: FastifyRequest) => auth.identify(request, contract.access, contract.path)
    app.route({
      method: contract.method,
      url: contract.path,
      schema: schemaOf(contract),
      bodyLimit: bodyLimitOf(contract, keys, app.initialConfig.bodyLimit),
      // Before the body is read: who may not call costs no memory.
      onRequest: async (request, reply) => {
        request.caller = await onAccountOf(strangerOf(request), () => tellCaller(request))
        await admission.begin(request, reply, accountOf(request.caller, contract.access, request))
        if (typeof admit !== 'function') return
        const { account, visit } = request
        await visit.work(() => onAccountOf(account, () => admit(request)))
      },
      handler: async (request, reply) => {
        const { account, visit, bodyProof } = request
        // A body that the route does not read was not compared either.
        if (bodyProof?.isDone === false)
          throw new ApiError('REQUEST_BODY', 'the route takes no body, and a signed request with one came')
        const answer = await visit.work(() => onAccountOf(account, () => handler(callOf(contract, request, reply))))
        const { bytes, type } = answer instanceof Rendered ? { bytes: answer.bytes, type: JSON_TYPE } : render(answer)
        if (bytes === undefined) return reply.send()
        if (!reply.hasHeader('content-type')) reply.type(type)
        return reply.send(admission.answer(request, reply, bytes))
      },
    })
  }
}
export type Bind = ReturnType<typeof createBind>

const JSON_TYPE = 'application/json'

/** The bytes of an answer that is none yet: what waits for a slow reader is counted, whatever it is. */
const render = (answer: unknown): { bytes: Buffer; type: string } =>
  typeof answer === 'string'
    ? { bytes: Buffer.from(answer), type: 'text/plain; charset=utf-8' }
    : { bytes: Buffer.from(JSON.stringify(answer)), type: `${JSON_TYPE}; charset=utf-8` }

/** What a key takes in an operator's request at most, with its amount or a second one and a generous layout; and what stands around them. */
const [BYTES_A_KEY, BYTES_AROUND] = [512, 64 * 1024]

/** What operators ask for is lists of keys. A longer body would be parsed whole to be refused. */
function bodyLimitOf({ access }: RouteContract, keys: number, most = Number.POSITIVE_INFINITY): number {
  return access !== 'public' && access.includes('operator') ? Math.min(most, BYTES_AROUND + keys * BYTES_A_KEY) : most
}

/** What fastify checks a request against, and what stands of the route in the OpenAPI document. */
function schemaOf({ summary, params, query, body, response }: RouteContract) {
  return {
    summary,
    ...(params === undefined ? {} : { params }),
    ...(query === undefined ? {} : { querystring: query }),
    ...(body === undefined ? {} : { body }),
    response: { '2xx': response, '4xx': ErrorResponse, '5xx': ErrorResponse } as Record<string, unknown>,
  }
}

/** The parts of a request that the contract names: fastify has checked these, and no others. */
function callOf<R extends RouteContract>(contract: R, request: FastifyRequest, reply: FastifyReply): Call<R> {
  return {
    params: (contract.params === undefined ? undefined : request.params) as ParamsOf<R>,
    query: (contract.query === undefined ? undefined : request.query) as QueryOf<R>,
    body: (contract.body === undefined ? undefined : request.body) as BodyOf<R>,
    caller: request.caller,
    route: contract.path,
    request,
    reply,
  }
}

/** Aborted when the caller hangs up. */
export function goneOf(request: FastifyRequest): AbortSignal {
  const gone = new AbortController()
  // Of who has hung up before this nothing is heard any more.
  if (request.raw.socket.destroyed) gone.abort()
  else request.raw.once('close', () => gone.abort())
  return gone.signal
}
