/** `GET /oracles/{oracle}/exit-shares` and `GET /validators/{public_key}/oracle-shares`: encrypted shares for who they are for. */

import type { ParamsOf } from '@dvt-relayer/api/contract.ts'
import { type Routes, routes } from '@dvt-relayer/api/routes.ts'
import type { ExitShareItem } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { FastifyRequest } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { ExitSharesPage } from '../../services/oracles/fetch.ts'
import { signedCredentials } from '../auth/auth.ts'
import type { Caller } from '../auth/caller.ts'
import { createOracleAuth, oracleUnknown, parseOracle } from '../auth/oracle-auth.ts'
import { type Bind, goneOf } from '../bind.ts'
import { answerConditionally } from '../conditional.ts'
import type { ApiContext } from '../context.ts'
import { renderList } from '../rendered.ts'
import { parseVault } from '../vault.ts'

const DEFAULT_LIMIT = 100

type Cursor = ExitSharesPage['cursor']

/** Adds the routes. */
export function oracleRoutes(bind: Bind, { auth, config, events, services, stopping }: ApiContext): void {
  const { oracleFetch } = services
  const oracleAuth = createOracleAuth({
    network: config.network,
    publicUrl: config.http.publicUrl,
    events,
    oracleFetch,
  })

  bind(
    routes.getExitShares,
    async (call) => {
      const { params, query, caller, route, request } = call
      const { vault, public_key: publicKey, after, limit, wait } = query
      const oracle = parseOracle(params.oracle)
      auth.assertOracle(caller, oracle, route)
      const wanted = {
        oracle,
        vault: vault === undefined ? undefined : parseVault(vault),
        publicKey: publicKey === undefined ? undefined : fromHex(publicKey, 48),
        after: after === undefined ? undefined : parseCursor(after),
        limit: limit === undefined ? DEFAULT_LIMIT : Number(limit),
      }
      if (!(await oracleFetch.isKnown(oracle))) throw oracleUnknown()
      const waitMs = Number(wait ?? 0) * 1000
      request.isLongPoll = waitMs > 0
      const page = await oracleFetch.fetch(wanted, waitMs, AbortSignal.any([stopping, goneOf(request)]))
      const end = `],"cursor":"${cursorText(page.cursor)}"}`
      return answerConditionally(call, await renderList('{"exit_shares":[', page.items, textOf, end))
    },
    authenticateOracle,
  )

  /** The oracle that has signed the request, or who shows a token. */
  async function authenticateOracle(request: FastifyRequest): Promise<Caller> {
    const { access, path } = routes.getExitShares
    const signed = auth.isOpen ? undefined : signedCredentials(request)
    if (signed === undefined) return auth.identify(request, access, path)
    const { oracle } = request.params as ParamsOf<Routes['getExitShares']>
    return oracleAuth.authenticate(request, signed, parseOracle(oracle), path)
  }

  bind(routes.getOracleShares, async (call) => {
    const found = await oracleFetch.findSet(fromHex(call.params.public_key, 48))
    if (found !== undefined) auth.assertVault(call.caller, found.vault, call.route)
    if (found?.set === undefined)
      throw new ApiError(
        'ORACLE_SHARES_MISSING',
        'there are no oracle shares of this validator: its exit was not asked for, or is not complete yet',
      )
    return answerConditionally(call, Buffer.from(JSON.stringify(found.set)))
  })
}

const textOf = (item: ExitShareItem): string => JSON.stringify(item)

const cursorText = ({ revision, messageId, oracleSetId }: Cursor): string => `${revision}.${messageId}.${oracleSetId}`

function parseCursor(text: string): Cursor {
  const [revision = Number.NaN, messageId = Number.NaN, oracleSetId = Number.NaN] = text.split('.').map(Number)
  if ([revision, messageId, oracleSetId].every(Number.isSafeInteger)) return { revision, messageId, oracleSetId }
  throw new ApiError('QUERY_INVALID', 'querystring/after is no cursor of an answer')
}
