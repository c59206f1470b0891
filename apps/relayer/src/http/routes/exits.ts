/** `GET /exits` and `POST /exit-signature`: what sidecars poll and hand in (generation 3). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ExitSignatureRequest, ListQuery } from '@dvt-relayer/api/schemas.ts'
import type { FastifyInstance } from 'fastify'
import { answerList } from '../list-answer.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the routes. */
export function exitRoutes(app: FastifyInstance, { auth, services, stopping }: HttpContext): void {
  const { lists, signatures } = services

  app.route<{ Querystring: ListQuery }>({
    ...routeOptions(routes.getExits, auth),
    handler: (request, reply) => answerList(lists.exits, request, reply, stopping),
  })

  app.route<{ Body: ExitSignatureRequest }>({
    ...routeOptions(routes.postExitSignature, auth),
    handler: async (request, reply) => {
      const { share_index: shareIndex, shares } = request.body
      auth.assertShareIndex(request.caller, shareIndex, routes.postExitSignature.path)
      // Fields that generation 3 does not know are left where they are.
      const items = shares.map(({ public_key, exit_signature }) => ({ public_key, exit_signature }))
      const failures = await signatures.submit(shareIndex, items)
      return reply.send(failures.length === 0 ? {} : { failures })
    },
  })
}
