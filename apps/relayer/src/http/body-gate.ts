/** How bodies are read: JSON only, of no more values than a request needs. How many bytes are held at once is `admission`'s. */

import { messageOf, TextError } from '@dvt-relayer/common/errors.ts'
import { parseJsonText } from '@dvt-relayer/common/json-text.ts'
import type { FastifyInstance } from 'fastify'
import { ApiError } from '../errors.ts'

/** Reads JSON bodies. */
export function createBodyGate(app: FastifyInstance, limits: { maxValues: number }): void {
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    // Five million empty objects take seconds to parse and a gigabyte, so what is parsed is bounded by values, not by bytes alone.
    const admit = (values: number) => {
      if (!request.hasRoomFor(values))
        throw new ApiError('TOO_BUSY', 'too much of yours is being worked on; send this again in a moment')
    }
    try {
      // Validation reads named fields only and nothing is merged, so a "__proto__" key in a body reaches nothing.
      done(null, parseJsonText(body as string, limits.maxValues, admit))
    } catch (error) {
      done(
        error instanceof ApiError ? error : new ApiError('BODY_INVALID', bodyProblem(error, limits.maxValues)),
        undefined,
      )
    }
  })
}

function bodyProblem(error: unknown, maxValues: number): string {
  const isTooMuch = error instanceof TextError && error.code !== 'JSON_INVALID'
  return `the body ${messageOf(error)}${isTooMuch ? `; one may hold at most ${maxValues} values` : ''}`
}
