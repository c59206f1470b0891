/** `GET` and `POST /vaults/{vault}/rotation`: how far new exit signatures of a vault are, and the transaction that puts them on chain. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { RotationUpdate, VaultParams } from '@dvt-relayer/api/schemas.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress, parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Oracles are asked meanwhile, each of them twice, 10 s a replica. */
const PATIENCE_MS = 50_000

/** Adds the routes. */
export function rotationRoutes(app: FastifyInstance, { auth, config, services, stopping }: HttpContext): void {
  const { rotation } = services

  /** The vault of a request, which its caller may act for. */
  function vaultOf(request: FastifyRequest<{ Params: VaultParams }>, route: string): Uint8Array {
    const vault = parseAddress(request.params.vault)
    if (vault === undefined)
      throw new ApiError('VAULT_INVALID', 'the checksum of the vault is wrong: send it all lower case, or checksummed')
    auth.assertVault(request.caller, vault, route)
    if (config.vaults !== undefined && !config.vaults.some((known) => equalBytes(known, vault)))
      throw new ApiError('VAULT_UNKNOWN', 'this relayer does not work for this vault: it is not one of VAULTS')
    return vault
  }

  app.route<{ Params: VaultParams }>({
    ...routeOptions(routes.getRotation, auth),
    handler: (request) => rotation.state(vaultOf(request, routes.getRotation.path)),
  })

  app.route<{ Params: VaultParams }>({
    ...routeOptions(routes.postRotation, auth),
    handler: async (request): Promise<RotationUpdate> => {
      const vault = vaultOf(request, routes.postRotation.path)
      request.isLongPoll = true
      const update = await rotation.request(vault, AbortSignal.any([stopping, AbortSignal.timeout(PATIENCE_MS)]))
      return {
        to: checksumAddress(config.network.keeper),
        data: update.data,
        deadline: update.deadline,
        nonce: update.nonce,
        validators: update.validators.map(({ publicKey, validatorIndex }) => ({
          public_key: toHex(publicKey),
          validator_index: validatorIndex,
        })),
        ipfs_hash: update.ipfsHash,
      }
    },
  })
}
