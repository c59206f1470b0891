/**
 * Authentication: who may call what. A token comes as Bearer or as the password of Basic, because existing clients can only put
 * credentials into a URL.
 */

import type { Access } from '@dvt-relayer/api/contract.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { FastifyRequest } from 'fastify'
import { ApiError, type ErrorCode } from '../../errors.ts'
import type { Events } from '../../events.ts'
import { ANYBODY, type Caller } from './caller.ts'
import { type KeyAuth, keyCredentials } from './key-auth.ts'
import { isFromThisMachine } from './this-machine.ts'
import { hashOf, type Tokens } from './tokens.ts'

/** Why a request is refused, as the metric names it, and what the caller is told. */
const REFUSALS = {
  missing: ['TOKEN_MISSING', 'this relayer wants a token: send it as Bearer, or as the password in the URL'],
  unknown: ['TOKEN_UNKNOWN', 'the token is not known to this relayer'],
  role: ['TOKEN_ROLE', 'the role of this token may not call this route'],
  binding: ['TOKEN_BINDING', 'this token is not bound to what the request is about'],
  node: ['NODE_BINDING', 'the key that signed the request is of no node with this share index'],
  signature: [
    'REQUEST_SIGNATURE_ROUTE',
    'a signed request works for GET /oracles/{oracle}/exit-shares only; this route wants a token',
  ],
} as const satisfies Record<string, readonly [ErrorCode, string]>

/** Decides who calls and whether the role may call this route. `tokens` undefined means: open to everybody. */
export function createAuth(tokens: Pick<Tokens, 'get'> | undefined, events: Events, keyAuth?: KeyAuth) {
  const refuse = (reason: keyof typeof REFUSALS, route: string, name?: string | null): never => {
    events.authRefused(reason === 'node' ? 'binding' : reason, route, name ?? undefined)
    const [code, message] = REFUSALS[reason]
    throw new ApiError(code, message)
  }
  const auth = {
    /** Whether everybody may call. */
    isOpen: tokens === undefined,
    /** The caller. @throws {ApiError} TOKEN_MISSING, TOKEN_UNKNOWN, TOKEN_ROLE, REQUEST_SIGNATURE_ROUTE */
    authenticate(request: FastifyRequest, access: Access, route: string): Caller {
      if (access === 'public' || tokens === undefined) return ANYBODY
      if (signedCredentials(request) !== undefined) return refuse('signature', route)
      const shown = isKeptByBrowser(request) ? undefined : shownToken(request.headers.authorization)
      if (shown === undefined) return refuse('missing', route)
      const caller = tokens.get(hashOf(shown))
      if (caller === undefined) return refuse('unknown', route)
      // Who calls is known, also where it may not.
      request.caller = caller
      if (caller.role !== 'admin' && !access.includes(caller.role)) return refuse('role', route, caller.name)
      return caller
    },
    /**
     * The caller, by a token or by the key of a node.
     *
     * @throws {ApiError} what `authenticate` throws, of here and of `key-auth.ts`
     */
    identify(request: FastifyRequest, access: Access, route: string): Caller | Promise<Caller> {
      const isKeyed = access !== 'public' && tokens !== undefined && keyCredentials(request) !== undefined
      return isKeyed && keyAuth !== undefined
        ? keyAuth.authenticate(request, access, route)
        : auth.authenticate(request, access, route)
    },
    /** @throws {ApiError} TOKEN_BINDING, NODE_BINDING when a sidecar speaks for a share index that is not its own */
    assertShareIndex({ name, shareIndexes, node }: Caller, shareIndex: number, route: string): void {
      if (shareIndexes === undefined || shareIndexes.includes(shareIndex)) return
      refuse(node === undefined ? 'binding' : 'node', route, name)
    },
    /** @throws {ApiError} TOKEN_BINDING when an operator speaks for a vault its token is not bound to; null is one that nobody knows */
    assertVault({ name, vaults }: Caller, vault: Uint8Array | null, route: string): void {
      if (vaults !== undefined && !vaults.some((bound) => vault !== null && equalBytes(bound, vault)))
        refuse('binding', route, name)
    },
    /** @throws {ApiError} TOKEN_BINDING when somebody asks for the shares of an oracle that it is not */
    assertOracle({ name, oracles }: Caller, oracle: Uint8Array, route: string): void {
      if (oracles !== undefined && !oracles.some((bound) => equalBytes(bound, oracle))) refuse('binding', route, name)
    },
    /**
     * Without tokens, what a wallet is behind answers programs of this machine only, and the settings have said that this is wanted: where a
     * request comes from proves nothing of who sends it.
     *
     * @throws {ApiError} MANAGER_LOCAL_ONLY
     */
    assertWallet(request: FastifyRequest, route: string): void {
      if (tokens !== undefined || isFromThisMachine(request)) return
      events.authRefused('missing', route, undefined)
      throw new ApiError(
        'MANAGER_LOCAL_ONLY',
        "the relayer's wallets answer other machines, proxies and browsers only when AUTH_TOKENS_FILE is set; make a token with: npm run relayer -- token --name operator --role operator",
      )
    },
  }
  return auth
}
export type Auth = ReturnType<typeof createAuth>

/** The token a request shows, if any. */
function shownToken(header: string | undefined): string | undefined {
  const [, scheme, value] = /^(\S+)\s+(\S+)$/.exec(header ?? '') ?? []
  if (scheme?.toLowerCase() === 'bearer') return value
  if (scheme?.toLowerCase() !== 'basic' || value === undefined) return undefined
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : text.slice(colon + 1)
}

/**
 * Whether a browser may have added by itself what somebody typed for `/status` or `/docs`, for a page of another site that has it change
 * something. A page that means to show a token sends it as Bearer.
 */
const isKeptByBrowser = ({ method, headers }: FastifyRequest): boolean =>
  method === 'POST' &&
  /^basic\s/i.test(headers.authorization ?? '') &&
  ['cross-site', 'same-site'].includes(String(headers['sec-fetch-site']))

/** What stands after the scheme of a signed request, if the request is one. Linear: a header of blanks comes from anybody. */
export const signedCredentials = (request: FastifyRequest): string | undefined =>
  /^oracle\s+(\S*)$/i.exec(request.headers.authorization?.trimEnd() ?? '')?.[1]
