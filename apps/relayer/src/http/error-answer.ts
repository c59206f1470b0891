/** The one place where an error becomes an answer. A 5xx body carries no detail; the log has it under the request id. */

import type { Socket } from 'node:net'
import type { ErrorResponse } from '@dvt-relayer/api/schemas.ts'
import { CodedError } from '@dvt-relayer/common/errors.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode } from '../errors.ts'
import { ApiError, ERRORS } from '../errors.ts'
import type { Events } from '../events.ts'
import type { Admission } from './admission/admission.ts'

/** Errors fastify itself makes before a handler runs. */
const BY_FASTIFY_CODE: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MEDIA_TYPE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'BODY_INVALID',
  FST_ERR_CTP_INVALID_JSON_BODY: 'BODY_INVALID',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'REQUEST_INVALID',
  FST_ERR_BAD_URL: 'REQUEST_INVALID',
  FST_ERR_MAX_PARAM_LENGTH: 'PATH_INVALID',
  FST_ERR_ASYNC_CONSTRAINT: 'REQUEST_INVALID',
  // The client went away while it sent its body; connections of our own have errors of their own.
  ECONNRESET: 'REQUEST_INVALID',
}

/** When a caller that is at its limit may come again. */
const RETRY_SECONDS = 2

/** Where a request does not fit its schema. */
const BY_PLACE: Readonly<Record<string, ErrorCode>> = { querystring: 'QUERY_INVALID', params: 'PATH_INVALID' }

interface FastifyProblem {
  code?: string
  validation?: readonly { instancePath?: string; message?: string }[]
  validationContext?: string
}

/** Codes of a database or node that is away, or answers and cannot work. */
const AWAY = /^(DATABASE_(UNREACHABLE|TIMEOUT|OVERLOADED|CONFLICT|READ_ONLY|ACCESS_DENIED|POOLED|TLS)|HTTP_)/

/** What a client is told of an error. */
function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const { code, validation, validationContext } = error as FastifyProblem
  if (validation !== undefined) {
    const [first] = validation
    const where = `${validationContext ?? 'body'}${first?.instancePath ?? ''}`
    return new ApiError(
      BY_PLACE[validationContext ?? 'body'] ?? 'BODY_INVALID',
      `${where} ${first?.message ?? 'is not valid'}`,
    )
  }
  const known = code === undefined ? undefined : BY_FASTIFY_CODE[code]
  if (known !== undefined) return new ApiError(known, ERRORS[known].meaning)
  if (error instanceof CodedError && error.code === 'DATABASE_BUSY')
    return new ApiError('TOO_BUSY', 'too much of yours is being worked on; send this again in a moment')
  if (error instanceof CodedError && AWAY.test(error.code))
    return new ApiError('DEPENDENCY_AWAY', ERRORS.DEPENDENCY_AWAY.meaning, { cause: error })
  return new ApiError('INTERNAL', ERRORS.INTERNAL.meaning, { cause: error })
}

/** Answers an error and logs it: what the relayer is to blame for with its cause, what the client is as a line for debugging. */
export function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { logger, events }: { logger: Logger; events: Pick<Events, 'requestFailed'> },
  piecesOf: Admission['answer'],
): FastifyReply {
  const told = toApiError(error)
  request.refusedWith = told.code
  const { status } = ERRORS[told.code]
  const line = { request_id: request.id, route: request.routeOptions.url ?? 'other', code: told.code }
  if (status >= 500) events.requestFailed(line, told.cause ?? told)
  else logger.debug({ ...line, reason: told.message }, 'request refused')
  const retrySeconds = told.code === 'TOO_BUSY' ? RETRY_SECONDS : told.retryAfterSeconds
  if (retrySeconds !== undefined) reply.header('retry-after', String(Math.ceil(retrySeconds)))
  if (status === 401) reply.header('www-authenticate', 'Basic realm="dvt-relayer"')
  const body: ErrorResponse = {
    code: told.code,
    message: status === 500 ? ERRORS[told.code].meaning : told.message,
    request_id: request.id,
    ...(told.failures.length > 0 ? { failures: [...told.failures] } : {}),
  }
  return reply
    .code(status)
    .type('application/json')
    .send(piecesOf(request, reply, Buffer.from(JSON.stringify(body))))
}

/** What Node says of requests that it does not hand on. */
const GARBAGE: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** Answers what is no HTTP request at all, so that there is nothing to route: same body, written to the connection itself. */
export function answerGarbage(error: { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status = GARBAGE[error.code ?? ''] ?? '400 Bad Request'
  const body: ErrorResponse = {
    code: 'REQUEST_INVALID',
    message: ERRORS.REQUEST_INVALID.meaning,
    request_id: crypto.randomUUID(),
  }
  const text = JSON.stringify(body)
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n`
  socket.end(`${head}${text}`)
}
