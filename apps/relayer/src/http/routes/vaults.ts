/** `GET /vaults` and `GET /vaults/{vault}`: how the registered validators of vaults stand towards the oracles. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { parseVault } from '../vault.ts'

/** Adds the routes. An operator sees the vaults its token is bound to. */
export function vaultRoutes(bind: Bind, { auth, services }: ApiContext): void {
  const { vaults } = services

  bind(routes.getVaults, ({ caller }) => vaults.list(caller.vaults))

  bind(routes.getVault, async ({ params, query, caller, route }) => {
    const vault = parseVault(params.vault)
    auth.assertVault(caller, vault, route)
    return vaults.get(vault, Number(query.after ?? -1))
  })
}
