/** `GET` and `POST /vaults/{vault}/rotation`: how far new exit signatures of a vault are, and the transaction that puts them on chain. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { VaultParams } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { Caller } from '../auth/caller.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { assertOurVault, parseVault } from '../vault.ts'

/** Oracles are asked meanwhile, each of them twice, 10 s a replica. */
const PATIENCE_MS = 50_000

/** Adds the routes. */
export function rotationRoutes(bind: Bind, { auth, config, services, stopping }: ApiContext): void {
  const { rotation } = services

  /** The vault of a request, which its caller may act for. */
  function vaultOf({ params, caller, route }: { params: VaultParams; caller: Caller; route: string }): Uint8Array {
    const vault = parseVault(params.vault)
    auth.assertVault(caller, vault, route)
    assertOurVault(config, vault)
    return vault
  }

  bind(routes.getRotation, async (call) => rotation.state(vaultOf(call)))

  bind(routes.postRotation, async (call) => {
    if (config.rotation.wallet !== undefined) auth.assertWallet(call.request, call.route)
    const vault = vaultOf(call)
    call.request.isLongPoll = true
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
  })
}
