/** `POST /validators`: what an operator asks, and polls (generation 3). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ValidatorsRequest } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { FastifyInstance } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the route. */
export function validatorRoutes(app: FastifyInstance, { auth, config, services }: HttpContext): void {
  app.route<{ Body: ValidatorsRequest }>({
    ...routeOptions(routes.postValidators, auth),
    handler: async (request, reply) => {
      const spellings = request.body.public_keys
      if (spellings.length > config.limits.keys)
        throw new ApiError(
          'TOO_MANY_KEYS',
          `at most ${config.limits.keys} public keys in one request, this one has ${spellings.length}`,
        )
      const { name, vaults } = request.caller
      const exits = await services.exits.request(
        spellings.map((text) => fromHex(text, 48)),
        { name, vaults },
      )
      const shares = await services.oracleShares.render(exits.map(({ messageId }) => messageId))
      // Shares are JSON texts already; the spellings were checked to be hex, so they need no escaping.
      const validators = exits.map(({ messageId }, position) => {
        const own = shares.get(messageId)
        const receipt = own === undefined ? 'null' : `"${own.receipt}"`
        return `{"public_key":"${spellings[position]}","oracles_exit_signature_shares":${own?.json ?? 'null'},"receipt":${receipt}}`
      })
      return reply
        .type('application/json')
        .send(Buffer.from(`{"ready":${shares.size === exits.length},"validators":[${validators.join(',')}]}`))
    },
  })
}
