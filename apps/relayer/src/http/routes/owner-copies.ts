/** `GET /vaults/{vault}/owner-copies`: what a vault's owner keeps for the day when relayer and oracles are gone. */

import { routes } from '@dvt-relayer/api/routes.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { parseVault } from '../vault.ts'

const LIMIT = 100

/** Adds the route. */
export function ownerCopyRoutes(bind: Bind, { auth, services }: ApiContext): void {
  bind(routes.getOwnerCopies, async ({ params, query, caller, route }) => {
    const vault = parseVault(params.vault)
    auth.assertVault(caller, vault, route)
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
  })
}
