/** How a list for sidecars is answered: at once, or, asked to wait, once something changed. */

import type { ListQuery } from '@dvt-relayer/api/schemas.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SidecarList } from '../services/signatures/sidecar-lists.ts'

/** Answers `?wait=<seconds>&after=<revision>`. `stopping` ends the wait. */
export async function answerList(
  list: SidecarList,
  request: FastifyRequest<{ Querystring: ListQuery }>,
  reply: FastifyReply,
  stopping: AbortSignal,
): Promise<FastifyReply> {
  const after = request.query.after === undefined ? undefined : Number(request.query.after)
  const waitMs = Number(request.query.wait ?? 0) * 1000
  if (after !== undefined && waitMs > 0) {
    request.isLongPoll = true
    const gone = new AbortController()
    request.raw.once('close', () => gone.abort())
    await list.waitForChange(after, waitMs, AbortSignal.any([stopping, gone.signal]))
  }
  return reply.type('application/json').send(await list.read(after))
}
