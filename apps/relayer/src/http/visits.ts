/** What requests of sidecars say of their nodes: who was there, with which program, by which clock, and what it was refused. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ERRORS } from '../errors.ts'
import type { NodeCaller, Nodes } from '../services/attendance/nodes.ts'
import type { NodeKeys } from '../services/identity/node-keys.ts'
import { NOBODY } from '../services/registrations/manager.ts'
import type { Caller } from './auth/caller.ts'

/** The first word of a User-Agent: a program and its version. */
const PROGRAM = /^([A-Za-z][\w.-]{0,31})\/([\w.+-]{1,32})(?=\s|$)/
/** A clock that is a day off is off: by how much more makes no difference. */
const MOST_CLOCK_SECONDS = 86_400

/** What sidecars alone call. */
const OF_SIDECARS = new Set(
  [routes.getExits, routes.getValidators, routes.postExitSignature, routes.postSignatures].map(
    ({ method, path }) => `${method} ${path}`,
  ),
)

/** Notes refusals of what sidecars ask for, wherever they are made. */
export function noteRefusals(app: FastifyInstance, nodes: Nodes): void {
  app.addHook('onResponse', async (request) => {
    const { refusedWith: code, caller, routeOptions } = request
    if (code === undefined || ERRORS[code].status >= 500 || (caller as Caller | undefined) === undefined) return
    if (!OF_SIDECARS.has(`${request.method} ${routeOptions.url}`)) return
    const { share_index: claimed } = (request.body ?? {}) as { share_index?: unknown }
    const isShareIndex = Number.isSafeInteger(claimed) && Number(claimed) >= 1
    nodes.refused(nodeOf(caller, request), isShareIndex ? Number(claimed) : undefined, code)
  })
}

/** Who asks, as far as a request says. */
export function nodeOf({ name, shareIndexes }: Caller, { headers }: Pick<FastifyRequest, 'headers'>): NodeCaller {
  const [, software = null, version = null] = PROGRAM.exec(headers['user-agent'] ?? '') ?? []
  return { token: name ?? NOBODY, shareIndexes, software, version }
}

/** Tells the validators that a node which signed its request may not speak for; a token is bound to share indexes alone. */
export function foreignTo({ node }: Caller, shareIndex: number, nodeKeys: NodeKeys) {
  if (node === undefined) return undefined
  return (publicKeys: readonly Uint8Array[]) => nodeKeys.findForeign(node, shareIndex, publicKeys)
}

/** By how many seconds the sender's clock is ahead of ours; null where the request says no time. */
export function clockDifference({ headers }: Pick<FastifyRequest, 'headers'>, nowMs = Date.now()): number | null {
  const said = Date.parse(headers.date ?? '')
  if (Number.isNaN(said)) return null
  // The header has whole seconds, cut off.
  const seconds = Math.round((said + 500 - nowMs) / 1000)
  return Math.max(-MOST_CLOCK_SECONDS, Math.min(MOST_CLOCK_SECONDS, seconds))
}
