/**
 * Requests that a program of this machine seems to make for itself. A proxy or tunnel that adds no header looks the same: this keeps out
 * what shows itself to be foreign, and proves nothing.
 */

import type { FastifyRequest } from 'fastify'

/** What proxies and browsers add: with one of these, a connection from this machine brings the request of somebody else. */
const FOREIGN_HEADERS = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'via',
  'origin',
]

/** Whether a program of this machine asks, and for nobody else as far as it shows. */
export function isFromThisMachine({ headers, socket }: FastifyRequest): boolean {
  const isForeign = FOREIGN_HEADERS.some((name) => headers[name] !== undefined)
  // Both ends: a machine that routes 127.0.0.0/8 (some container networks make it) lets neighbours reach that address.
  return !isForeign && isLoopback(socket.localAddress) && isLoopback(socket.remoteAddress)
}

/** Whether an end of a connection has an address of this machine alone. */
function isLoopback(address: string | undefined): boolean {
  return address !== undefined && (address === '::1' || /^(::ffff:)?127\./.test(address))
}
