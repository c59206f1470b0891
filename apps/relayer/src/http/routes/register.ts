/** `POST /register`, `/fund`, `/withdraw`, `/consolidate`: what an operator asks the validators manager for (generation 4). */

import { routes } from '@dvt-relayer/api/routes.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { ApiError, refuseLong } from '../../errors.ts'
import type { Registrations } from '../../services/registrations/registrations.ts'
import type { Bind, Call } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { Rendered, renderList } from '../rendered.ts'
import { assertOurVault, parseVault } from '../vault.ts'

/** Adds the routes. */
export function registerRoutes(bind: Bind, { auth, config, manager, services }: ApiContext): void {
  const { registrations, vaultActions } = services

  /** The vault of a request, which its caller may act for. */
  function vaultOf(
    call: Pick<Call<unknown>, 'request' | 'caller' | 'route'> & { body: { vault: string } },
  ): Uint8Array {
    const { request, body, caller, route } = call
    if (manager.address !== null) auth.assertWallet(request, route)
    const vault = parseVault(body.vault)
    assertOurVault(config, vault)
    auth.assertVault(caller, vault, route)
    return vault
  }

  /** Of lists that belong together, before anything of them is read. @throws {ApiError} LISTS_UNEQUAL, TOO_MANY_KEYS */
  function assertLengths(aName: string, a: readonly unknown[], bName: string, b: readonly unknown[]): void {
    if (a.length !== b.length)
      throw new ApiError(
        'LISTS_UNEQUAL',
        `${aName} has ${a.length} items and ${bName} ${b.length}: each belongs to one`,
      )
    refuseLong('TOO_MANY_KEYS', config.limits.keys, 'public keys', a)
  }

  function amountsOf(keys: readonly string[], amounts: readonly number[]) {
    assertLengths('public_keys', keys, 'amounts', amounts)
    return keys.map((key, position) => ({ publicKey: fromHex(key, 48), amountGwei: amounts[position] ?? 0 }))
  }

  bind(routes.postRegister, async (call) => {
    const vault = vaultOf(call)
    const { validators_start_index: startIndex, amounts: amountsGwei, validator_type: validatorType } = call.body
    const caller = call.caller.name
    const found = await registrations.request({ vault, startIndex, amountsGwei, validatorType, caller })
    return new Rendered(await render(found))
  })

  bind(routes.postFund, async (call) => {
    const vault = vaultOf(call)
    const { public_keys: keys, amounts } = call.body
    return answer(await vaultActions.fund(vault, amountsOf(keys, amounts), call.caller.name))
  })

  bind(routes.postWithdraw, async (call) => {
    const vault = vaultOf(call)
    const { public_keys: keys, amounts } = call.body
    return answer(await vaultActions.withdraw(vault, amountsOf(keys, amounts), call.caller.name))
  })

  bind(routes.postConsolidate, async (call) => {
    const vault = vaultOf(call)
    const { source_public_keys: sources, target_public_keys: targets } = call.body
    assertLengths('source_public_keys', sources, 'target_public_keys', targets)
    const items = sources.map((source, position) => ({
      source: fromHex(source, 48),
      target: fromHex(targets[position] ?? '', 48),
    }))
    return answer(await vaultActions.consolidate(vault, items, call.caller.name))
  })
}

const answer = (signature: Uint8Array) => ({ validators_manager_signature: toHex(signature) })

/** The answer; share sets are JSON texts already. */
function render({ validators, managerSignature }: Registrations): Promise<Buffer> {
  const quoted = (bytes: Uint8Array | undefined) => (bytes === undefined ? 'null' : `"${toHex(bytes)}"`)
  return renderList(
    '{"validators":[',
    validators,
    ({ publicKey, amountGwei, depositSignature, oracleShares }) =>
      `{"public_key":${quoted(publicKey)},"amount":${amountGwei},"deposit_signature":${quoted(depositSignature)},"exit_signature":null,"oracles_exit_signature_shares":${oracleShares?.json ?? 'null'},"receipt":${oracleShares === undefined ? 'null' : `"${oracleShares.receipt}"`}}`,
    `],"validators_manager_signature":${quoted(managerSignature)}}`,
  )
}
