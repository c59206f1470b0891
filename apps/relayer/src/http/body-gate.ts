/** How bodies are read: JSON only, of no more values than a request needs. How many bytes are held at once is `admission`'s. */

import type { FastifyInstance } from 'fastify'
import { ApiError } from '../errors.ts'

/** Reads JSON bodies. */
export function createBodyGate(app: FastifyInstance, limits: { maxValues: number }): void {
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    // Five million empty objects take seconds to parse and a gigabyte, so what is parsed is bounded by values, not by bytes alone.
    const values = countValues(body as string, limits.maxValues)
    if (values > limits.maxValues)
      return done(new ApiError('BODY_INVALID', `a body may hold at most ${limits.maxValues} values`), undefined)
    if (!request.hasRoomFor(values))
      return done(
        new ApiError('TOO_BUSY', 'too much of yours is being worked on; send this again in a moment'),
        undefined,
      )
    try {
      // Validation reads named fields only and nothing is merged, so a "__proto__" key in a body reaches nothing.
      done(null, JSON.parse(body as string))
    } catch {
      done(new ApiError('BODY_INVALID', 'the body is not JSON'), undefined)
    }
  })
}

/** How many values a JSON text may hold, counted no further than `most` and one: each but the first follows a comma or an opening bracket. */
function countValues(text: string, most: number): number {
  let count = 0
  for (const mark of [',', '{', '['])
    for (let position = text.indexOf(mark); position >= 0; position = text.indexOf(mark, position + 1))
      if (++count > most) return count
  return count
}
