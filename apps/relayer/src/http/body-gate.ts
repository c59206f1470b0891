/** How bodies are read: JSON only, within the size limit, and only a few large ones at the same time. */

import { messageOf, TextError } from '@dvt-relayer/common/errors.ts'
import { parseJsonText } from '@dvt-relayer/common/json-text.ts'
import type { FastifyInstance } from 'fastify'
import { ApiError } from '../errors.ts'

/** From this size a body is large. */
const LARGE_BYTES = 1 << 20

/** Reads JSON bodies and limits how many large ones are held at once. A body without a length counts as large. */
export function createBodyGate(
  app: FastifyInstance,
  limits: { maxBodyBytes: number; maxLargeBodies: number; maxValues: number },
): void {
  let large = 0
  app.addHook('preParsing', async (request, reply, payload) => {
    const length = Number(request.headers['content-length'] ?? Number.NaN)
    const hasBody = request.headers['transfer-encoding'] !== undefined || length > 0
    if (!hasBody || length < LARGE_BYTES) return payload
    if (length > limits.maxBodyBytes)
      throw new ApiError('BODY_TOO_LARGE', `a body may have at most ${limits.maxBodyBytes} bytes`)
    if (large >= limits.maxLargeBodies)
      throw new ApiError(
        'TOO_BUSY',
        `${limits.maxLargeBodies} large bodies are being worked on; send this one again in a moment`,
      )
    large++
    let isHeld = true
    const release = () => {
      if (isHeld) large--
      isHeld = false
    }
    reply.raw.once('close', release)
    reply.raw.once('finish', release)
    return payload
  })
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    // Five million empty objects take seconds to parse and a gigabyte, so what is parsed is bounded by values, not by bytes alone.
    try {
      // Validation reads named fields only and nothing is merged, so a "__proto__" key in a body reaches nothing.
      done(null, parseJsonText(body as string, limits.maxValues))
    } catch (error) {
      done(new ApiError('BODY_INVALID', bodyProblem(error, limits.maxValues)), undefined)
    }
  })
}

function bodyProblem(error: unknown, maxValues: number): string {
  const isTooMuch = error instanceof TextError && error.code !== 'JSON_INVALID'
  return `the body ${messageOf(error)}${isTooMuch ? `; one may hold at most ${maxValues} values` : ''}`
}
