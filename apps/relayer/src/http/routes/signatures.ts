/** `GET /validators` and `POST /signatures`: what sidecars poll and hand in (generation 4). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ListQuery, SignaturesRequest } from '@dvt-relayer/api/schemas.ts'
import type { FastifyInstance } from 'fastify'
import { answerList } from '../list-answer.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the routes. */
export function signatureRoutes(app: FastifyInstance, { auth, services, stopping }: HttpContext): void {
  const { lists, signatures } = services

  app.route<{ Querystring: ListQuery }>({
    ...routeOptions(routes.getValidators, auth),
    handler: (request, reply) => answerList(lists.validators, request, reply, stopping),
  })

  app.route<{ Body: SignaturesRequest }>({
    ...routeOptions(routes.postSignatures, auth),
    handler: async (request, reply) => {
      const { share_index: shareIndex, shares } = request.body
      auth.assertShareIndex(request.caller, shareIndex, routes.postSignatures.path)
      const failures = await signatures.submit(shareIndex, shares)
      return reply.send(failures.length === 0 ? {} : { failures })
    },
  })
}
