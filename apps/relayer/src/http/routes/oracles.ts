/** `GET /oracles/{oracle}/exit-shares` and `GET /validators/{public_key}/oracle-shares`: encrypted shares for who they are for. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ExitSharesParams, ExitSharesQuery, OracleSharesParams } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { ExitSharesPage } from '../../services/oracles/fetch.ts'
import { signedCredentials } from '../auth.ts'
import { answerConditionally } from '../conditional.ts'
import { createOracleAuth, oracleUnknown, parseOracle } from '../oracle-auth.ts'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

const DEFAULT_LIMIT = 100

type Cursor = ExitSharesPage['cursor']

/** Adds the routes. */
export function oracleRoutes(app: FastifyInstance, context: HttpContext): void {
  const { auth, services, stopping } = context
  const { oracleFetch } = services
  const oracleAuth = createOracleAuth(context)

  const { path: exitSharesPath } = routes.getExitShares
  const exitSharesOptions = routeOptions(routes.getExitShares, auth)
  app.route<{ Params: ExitSharesParams; Querystring: ExitSharesQuery }>({
    ...exitSharesOptions,
    onRequest: async (request) => {
      const signed = auth.isOpen ? undefined : signedCredentials(request)
      if (signed === undefined) return exitSharesOptions.onRequest(request)
      const oracle = parseOracle((request.params as ExitSharesParams).oracle)
      request.caller = await oracleAuth.authenticate(request, signed, oracle, exitSharesPath)
    },
    handler: async (request, reply) => {
      const { vault, public_key: publicKey, after, limit, wait } = request.query
      const oracle = parseOracle(request.params.oracle)
      auth.assertOracle(request.caller, oracle, exitSharesPath)
      const wanted = {
        oracle,
        vault: vault === undefined ? undefined : vaultOf(vault),
        publicKey: publicKey === undefined ? undefined : fromHex(publicKey, 48),
        after: after === undefined ? undefined : parseCursor(after),
        limit: limit === undefined ? DEFAULT_LIMIT : Number(limit),
      }
      if (!(await oracleFetch.isKnown(oracle))) throw oracleUnknown()
      const waitMs = Number(wait ?? 0) * 1000
      request.isLongPoll = waitMs > 0
      const page = await oracleFetch.fetch(wanted, waitMs, AbortSignal.any([stopping, goneOf(request)]))
      return answerConditionally(request, reply, { exit_shares: page.items, cursor: cursorText(page.cursor) })
    },
  })

  const { path: oracleSharesPath } = routes.getOracleShares
  app.route<{ Params: OracleSharesParams }>({
    ...routeOptions(routes.getOracleShares, auth),
    handler: async (request, reply) => {
      const found = await oracleFetch.findSet(fromHex(request.params.public_key, 48))
      if (found !== undefined) auth.assertVault(request.caller, found.vault, oracleSharesPath)
      if (found?.set === undefined)
        throw new ApiError(
          'ORACLE_SHARES_MISSING',
          'there are no oracle shares of this validator: its exit was not asked for, or is not complete yet',
        )
      return answerConditionally(request, reply, found.set)
    },
  })
}

/** Aborted when the caller hangs up. */
function goneOf(request: FastifyRequest): AbortSignal {
  const gone = new AbortController()
  request.raw.once('close', () => gone.abort())
  return gone.signal
}

function vaultOf(text: string): Uint8Array {
  const vault = parseAddress(text)
  if (vault !== undefined) return vault
  throw new ApiError('VAULT_INVALID', 'the checksum of the vault is wrong: send it all lower case, or checksummed')
}

const cursorText = ({ revision, messageId, oracleSetId }: Cursor): string => `${revision}.${messageId}.${oracleSetId}`

function parseCursor(text: string): Cursor {
  const [revision = Number.NaN, messageId = Number.NaN, oracleSetId = Number.NaN] = text.split('.').map(Number)
  if ([revision, messageId, oracleSetId].every(Number.isSafeInteger)) return { revision, messageId, oracleSetId }
  throw new ApiError('QUERY_INVALID', 'querystring/after is no cursor of an answer')
}
