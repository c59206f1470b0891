/** On whose account a request is, before its body is read. */

import type { Access } from '@dvt-relayer/api/contract.ts'
import type { Account } from '@dvt-relayer/common/account.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { FastifyRequest } from 'fastify'
import { type Caller, UNPROVEN } from '../auth/caller.ts'

/** Where a request comes from. Behind a proxy that is the proxy: what it says of others anybody could say. */
const addressOf = ({ socket }: Pick<FastifyRequest, 'socket'>): string =>
  (socket.remoteAddress ?? '').replace(/^::ffff:/, '')

/** Of who has shown no token yet. All strangers have one small share together. */
export const strangerOf = (request: Pick<FastifyRequest, 'socket'>): Account => ({
  group: 'stranger',
  name: addressOf(request),
})

/**
 * Of a caller: its token, the oracle or node that signed, or, without tokens, its address. Who may do everything is taken for what the route is
 * for, so that an operator's requests do not wait behind those of sidecars from the same address.
 */
export function accountOf(caller: Caller, access: Access, request: FastifyRequest): Account {
  // Anybody may call: nothing is shown, and nothing is known of who calls. Whose key has signed a body shows when that is read.
  if (access === 'public' || caller === UNPROVEN) return strangerOf(request)
  const { name, role, oracles } = caller
  const [forRole, ...others] = access
  const group = role === 'admin' && forRole !== undefined && others.length === 0 ? forRole : role
  const [oracle] = oracles ?? []
  return { group, name: name ?? (oracle === undefined ? addressOf(request) : toHex(oracle)) }
}
