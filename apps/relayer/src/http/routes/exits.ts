/** `GET /exits` and `POST /exit-signature`: what sidecars poll and hand in (generation 3). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ExitSignatureRequest, ListQuery } from '@dvt-relayer/api/schemas.ts'
import type { FastifyInstance } from 'fastify'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the routes. */
export function exitRoutes(app: FastifyInstance, { auth, services, stopping }: HttpContext): void {
  const { exitList, signatures } = services

  app.route<{ Querystring: ListQuery }>({
    ...routeOptions(routes.getExits, auth),
    handler: async (request, reply) => {
      const after = request.query.after === undefined ? undefined : Number(request.query.after)
      const waitMs = Number(request.query.wait ?? 0) * 1000
      if (after !== undefined && waitMs > 0) {
        request.isLongPoll = true
        const gone = new AbortController()
        request.raw.once('close', () => gone.abort())
        await exitList.waitForChange(after, waitMs, AbortSignal.any([stopping, gone.signal]))
      }
      return reply.type('application/json').send(await exitList.read(after))
    },
  })

  app.route<{ Body: ExitSignatureRequest }>({
    ...routeOptions(routes.postExitSignature, auth),
    handler: async (request, reply) => {
      const { share_index: shareIndex, shares } = request.body
      auth.assertShareIndex(request.caller, shareIndex, routes.postExitSignature.path)
      const failures = await signatures.submit(shareIndex, shares).finally(() => exitList.changedHere())
      return reply.send(failures.length === 0 ? {} : { failures })
    },
  })
}
