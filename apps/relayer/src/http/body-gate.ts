/** How bodies are read: JSON only, within the size limit, and only a few large ones at the same time. */

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
    if (hasMoreValues(body as string, limits.maxValues))
      return done(new ApiError('BODY_INVALID', `a body may hold at most ${limits.maxValues} values`), undefined)
    try {
      // Validation reads named fields only and nothing is merged, so a "__proto__" key in a body reaches nothing.
      done(null, JSON.parse(body as string))
    } catch {
      done(new ApiError('BODY_INVALID', 'the body is not JSON'), undefined)
    }
  })
}

/** Whether a JSON text may hold more values than `most`: each but the first follows a comma or an opening bracket. */
function hasMoreValues(text: string, most: number): boolean {
  if (text.length <= most) return false
  let count = 0
  for (const mark of [',', '{', '['])
    for (let position = text.indexOf(mark); position >= 0; position = text.indexOf(mark, position + 1))
      if (++count > most) return true
  return false
}
