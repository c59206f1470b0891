/** `GET /vaults/{vault}/owner-copies`: what a vault's owner keeps for the day when relayer and oracles are gone. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { OwnerCopiesQuery, OwnerCopiesResponse, VaultParams } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { FastifyInstance } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

const LIMIT = 100

/** Adds the route. */
export function ownerCopyRoutes(app: FastifyInstance, { auth, services }: HttpContext): void {
  app.route<{ Params: VaultParams; Querystring: OwnerCopiesQuery }>({
    ...routeOptions(routes.getOwnerCopies, auth),
    handler: async ({ params, query, caller }): Promise<OwnerCopiesResponse> => {
      const vault = parseAddress(params.vault)
      if (vault === undefined)
        throw new ApiError(
          'VAULT_INVALID',
          'the checksum of the vault is wrong: send it all lower case, or checksummed',
        )
      auth.assertVault(caller, vault, routes.getOwnerCopies.path)
      const after = Number(query.after ?? 0)
      const copies = await services.ownerCopies.find(vault, after, Number(query.limit ?? LIMIT))
      return {
        owner_copies: copies.map((copy) => ({
          public_key: toHex(copy.publicKey),
          validator_index: copy.validatorIndex,
          epoch: copy.epoch,
          owner_public_key: toHex(copy.ownerPublicKey),
          ciphertext: toHex(copy.ciphertext),
          created_at_timestamp: copy.createdAtSeconds,
        })),
        cursor: copies.at(-1)?.messageId ?? after,
      }
    },
  })
}
