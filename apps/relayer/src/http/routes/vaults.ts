/** `GET /vaults` and `GET /vaults/{vault}`: how the registered validators of vaults stand towards the oracles. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { VaultParams, VaultQuery } from '@dvt-relayer/api/schemas.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { FastifyInstance } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the routes. An operator sees the vaults its token is bound to. */
export function vaultRoutes(app: FastifyInstance, { auth, services }: HttpContext): void {
  const { vaults } = services

  app.route({
    ...routeOptions(routes.getVaults, auth),
    handler: (request) => vaults.list(request.caller.vaults),
  })

  app.route<{ Params: VaultParams; Querystring: VaultQuery }>({
    ...routeOptions(routes.getVault, auth),
    handler: async (request) => {
      const vault = parseAddress(request.params.vault)
      if (vault === undefined)
        throw new ApiError(
          'VAULT_INVALID',
          'the checksum of the vault is wrong: send it all lower case, or checksummed',
        )
      auth.assertVault(request.caller, vault, routes.getVault.path)
      return vaults.get(vault, Number(request.query.after ?? -1))
    },
  })
}
