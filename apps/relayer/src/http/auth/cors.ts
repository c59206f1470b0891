/**
 * What web pages of other origins may do (docs/protocol.md#18-what-ours-adds). With tokens set a page that shows one is a caller like any
 * other, as with the existing relayer; whatever a browser keeps by itself, cookies and passwords, is never taken for it. Without tokens a
 * page is a stranger that a browser would let in from this machine: its question is answered, and nothing is granted.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'

const HEADERS = { asked: 'authorization, content-type, if-none-match', shown: 'etag, retry-after, x-request-id' }
/** Seconds for which a browser need not ask again. */
const MAX_AGE = '600'

/** Whether a browser asks what a page may do, and not the page itself. */
export const isPreflight = ({ method, headers }: FastifyRequest): boolean =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined

/** Lets pages of any origin read an answer. */
export function allowOrigin(request: FastifyRequest, reply: FastifyReply): void {
  if (request.headers.origin === undefined) return
  reply.header('access-control-allow-origin', '*')
  reply.header('access-control-expose-headers', HEADERS.shown)
}

/** Answers a preflight for a path that takes these methods. */
export function answerPreflight(reply: FastifyReply, methods: readonly string[], isOpen: boolean): FastifyReply {
  if (!isOpen) {
    reply.header('access-control-allow-methods', methods.join(', '))
    reply.header('access-control-allow-headers', HEADERS.asked)
    reply.header('access-control-max-age', MAX_AGE)
  }
  return reply.code(200).type('text/plain; charset=utf-8').send('OK')
}
