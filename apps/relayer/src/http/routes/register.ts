/** `POST /register`, `/fund`, `/withdraw`, `/consolidate`: what an operator asks the validators manager for (generation 4). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ConsolidateRequest, FundRequest, RegisterRequest, WithdrawRequest } from '@dvt-relayer/api/schemas.ts'
import { equalBytes, fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { Registrations } from '../../services/registrations/registrations.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the routes. */
export function registerRoutes(app: FastifyInstance, { auth, config, services }: HttpContext): void {
  const { registrations, vaultActions, manager } = services

  /** The vault of a request, which its caller may act for. */
  function vaultOf(request: FastifyRequest<{ Body: { vault: string } }>, route: string): Uint8Array {
    if (manager.address !== null) auth.assertManager(request, route)
    const vault = parseAddress(request.body.vault)
    if (vault === undefined)
      throw new ApiError('VAULT_INVALID', 'the checksum of the vault is wrong: send it all lower case, or checksummed')
    if (config.vaults !== undefined && !config.vaults.some((known) => equalBytes(known, vault)))
      throw new ApiError('VAULT_UNKNOWN', 'this relayer does not work for this vault: it is not one of VAULTS')
    auth.assertVault(request.caller, vault, route)
    return vault
  }

  app.route<{ Body: RegisterRequest }>({
    ...routeOptions(routes.postRegister, auth),
    handler: async (request, reply) => {
      const vault = vaultOf(request, routes.postRegister.path)
      const { validators_start_index: startIndex, amounts: amountsGwei, validator_type: validatorType } = request.body
      const caller = request.caller.name
      const found = await registrations.request({ vault, startIndex, amountsGwei, validatorType, caller })
      return reply.type('application/json').send(render(found))
    },
  })

  app.route<{ Body: FundRequest }>({
    ...routeOptions(routes.postFund, auth),
    handler: async (request) => {
      const vault = vaultOf(request, routes.postFund.path)
      const { public_keys: keys, amounts } = request.body
      return answer(await vaultActions.fund(vault, amountsOf(keys, amounts), request.caller.name))
    },
  })

  app.route<{ Body: WithdrawRequest }>({
    ...routeOptions(routes.postWithdraw, auth),
    handler: async (request) => {
      const vault = vaultOf(request, routes.postWithdraw.path)
      const { public_keys: keys, amounts } = request.body
      return answer(await vaultActions.withdraw(vault, amountsOf(keys, amounts), request.caller.name))
    },
  })

  app.route<{ Body: ConsolidateRequest }>({
    ...routeOptions(routes.postConsolidate, auth),
    handler: async (request) => {
      const vault = vaultOf(request, routes.postConsolidate.path)
      const { source_public_keys: sources, target_public_keys: targets } = request.body
      assertEqualLengths('source_public_keys', sources, 'target_public_keys', targets)
      const items = sources.map((source, position) => ({
        source: fromHex(source, 48),
        target: fromHex(targets[position] ?? '', 48),
      }))
      return answer(await vaultActions.consolidate(vault, items, request.caller.name))
    },
  })
}

const answer = (signature: Uint8Array) => ({ validators_manager_signature: toHex(signature) })

function amountsOf(keys: readonly string[], amounts: readonly number[]) {
  assertEqualLengths('public_keys', keys, 'amounts', amounts)
  return keys.map((key, position) => ({ publicKey: fromHex(key, 48), amountGwei: amounts[position] ?? 0 }))
}

function assertEqualLengths(aName: string, a: readonly unknown[], bName: string, b: readonly unknown[]): void {
  if (a.length !== b.length)
    throw new ApiError('LISTS_UNEQUAL', `${aName} has ${a.length} items and ${bName} ${b.length}: each belongs to one`)
}

/** The answer; share sets are JSON texts already. */
function render({ validators, managerSignature }: Registrations): Buffer {
  const quoted = (bytes: Uint8Array | undefined) => (bytes === undefined ? 'null' : `"${toHex(bytes)}"`)
  const items = validators.map(
    ({ publicKey, amountGwei, depositSignature, oracleShares }) =>
      `{"public_key":${quoted(publicKey)},"amount":${amountGwei},"deposit_signature":${quoted(depositSignature)},"exit_signature":null,"oracles_exit_signature_shares":${oracleShares?.json ?? 'null'},"receipt":${oracleShares === undefined ? 'null' : `"${oracleShares.receipt}"`}}`,
  )
  return Buffer.from(`{"validators":[${items.join(',')}],"validators_manager_signature":${quoted(managerSignature)}}`)
}
