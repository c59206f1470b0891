/**
 * Tokens: who may call what. A token comes as Bearer or as the password of Basic, because existing clients can only put
 * credentials into a URL. The file holds hashes only; a line is
 *
 *     name  role  binding  sha256:<64 hex digits>
 *
 * with binding `*` (everything), vault addresses (operator), share indexes (sidecar) or an oracle's addresses, comma separated.
 */

import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Access, Role } from '@dvt-relayer/api/routes.ts'
import { ROLES } from '@dvt-relayer/api/routes.ts'
import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { FastifyRequest } from 'fastify'
import { ApiError } from '../errors.ts'
import type { Events } from '../events.ts'
import { NOBODY } from '../services/registrations/manager.ts'

/** Who calls. Unbound means: everything its role may. */
export interface Caller {
  name: string | null
  role: Role
  /** Of an operator, 20 bytes each. */
  vaults: readonly Uint8Array[] | undefined
  /** Of an oracle, 20 bytes each. */
  oracles: readonly Uint8Array[] | undefined
  /** Of a sidecar. */
  shareIndexes: readonly number[] | undefined
}

/** Everybody, where no tokens are set. */
const UNBOUND = { vaults: undefined, oracles: undefined, shareIndexes: undefined }
const ANYBODY: Caller = { name: null, role: 'admin', ...UNBOUND }

/** An oracle that showed no token and signed its request. */
export const signingOracle = (oracle: Uint8Array): Caller => ({
  name: null,
  role: 'oracle',
  ...UNBOUND,
  oracles: [oracle],
})

/** A name stands in the log, and beside the names that the relayer itself gives to requesters: those hold a colon. */
export const TOKEN_NAME = /^[A-Za-z0-9._-]{1,64}$/

interface Token extends Caller {
  name: string
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex')

/** Reads a tokens file. @throws {BootError} TOKENS_INVALID with every faulty line */
export function parseTokens(text: string, file: string): ReadonlyMap<string, Token> {
  const tokens = new Map<string, Token>()
  const names = new Set<string>()
  const problems: string[] = []
  text.split('\n').forEach((line, position) => {
    const words = line.replace(/#.*$/, '').trim().split(/\s+/)
    if (words.length === 1 && words[0] === '') return
    try {
      const { hash, token } = parseLine(words)
      if (names.has(token.name)) throw new Error(`the name ${token.name} stands twice`)
      if (tokens.has(hash)) throw new Error('the same token stands twice')
      names.add(token.name)
      tokens.set(hash, token)
    } catch (error) {
      problems.push(`  - ${file} line ${position + 1}: ${(error as Error).message}`)
    }
  })
  if (problems.length > 0)
    throw new BootError('TOKENS_INVALID', `AUTH_TOKENS_FILE is not valid:\n${problems.join('\n')}`)
  if (tokens.size === 0)
    throw new BootError('TOKENS_INVALID', `AUTH_TOKENS_FILE ${file} holds no token: nobody could call`)
  return tokens
}

function parseLine(words: readonly string[]): { hash: string; token: Token } {
  const [name, role, binding, digest, ...rest] = words
  if (name === undefined || role === undefined || binding === undefined || digest === undefined || rest.length > 0)
    throw new Error('a line is: name role binding sha256:<64 hex digits>')
  const known = ROLES.find((candidate) => candidate === role)
  if (known === undefined) throw new Error(`the role must be one of ${ROLES.join(', ')}`)
  if (!TOKEN_NAME.test(name)) throw new Error('the name must be 1 to 64 letters, digits, dots, dashes or underscores')
  if (name === NOBODY) throw new Error(`the name ${NOBODY} stands for requests without a token`)
  const hash = /^sha256:([0-9a-fA-F]{64})$/.exec(digest)?.[1]?.toLowerCase()
  if (hash === undefined) throw new Error('the last word must be sha256: and 64 hex digits')
  return { hash, token: { name, role: known, ...parseBinding(known, binding) } }
}

function parseBinding(role: Role, binding: string): Pick<Caller, 'vaults' | 'oracles' | 'shareIndexes'> {
  if (binding === '*') return UNBOUND
  const parts = binding.split(',')
  if (role === 'sidecar') {
    const shareIndexes = parts.map(Number)
    if (!shareIndexes.every((index) => Number.isSafeInteger(index) && index >= 1))
      throw new Error('a sidecar is bound to share indexes, for example 1 or 1,2, or to *')
    return { ...UNBOUND, shareIndexes }
  }
  const addresses = parts.map(parseAddress)
  if (role === 'admin' || addresses.some((address) => address === undefined))
    throw new Error(
      role === 'admin'
        ? 'an admin is bound to *'
        : `the binding of ${role} is addresses of 20 bytes, their checksums right where letter case is mixed, or *`,
    )
  const bound = addresses.filter((address) => address !== undefined)
  return role === 'oracle' ? { ...UNBOUND, oracles: bound } : { ...UNBOUND, vaults: bound }
}

/** Reads the file that AUTH_TOKENS_FILE names. */
export function readTokens(file: string): ReadonlyMap<string, Token> {
  try {
    return parseTokens(readFileSync(file, 'utf8'), file)
  } catch (error) {
    if (error instanceof BootError) throw error
    throw new BootError('TOKENS_INVALID', `AUTH_TOKENS_FILE ${file} cannot be read (${reasonOf(error)})`, {
      cause: error,
    })
  }
}

/** A new token, and its line for the file. The token itself is shown once and stored nowhere. */
export function createToken(name: string, role: Role, binding: string): { token: string; line: string } {
  const token = randomBytes(32).toString('base64url')
  const line = `${name} ${role} ${binding} sha256:${hashOf(token)}`
  try {
    parseLine(line.split(/\s+/))
  } catch (error) {
    throw new BootError('USAGE', `--for ${binding}: ${messageOf(error)}`, { cause: error })
  }
  return { token, line }
}

/** The token a request shows, if any. */
function shownToken(header: string | undefined): string | undefined {
  const [, scheme, value] = /^(\S+)\s+(\S+)$/.exec(header ?? '') ?? []
  if (scheme?.toLowerCase() === 'bearer') return value
  if (scheme?.toLowerCase() !== 'basic' || value === undefined) return undefined
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : text.slice(colon + 1)
}

/** What stands after the scheme of a signed request, if the request is one. Linear: a header of blanks comes from anybody. */
export const signedCredentials = (request: FastifyRequest): string | undefined =>
  /^oracle\s+(\S*)$/i.exec(request.headers.authorization?.trimEnd() ?? '')?.[1]

/** Decides who calls and whether the role may call this route. `tokens` undefined means: open to everybody. */
export function createAuth(tokens: ReadonlyMap<string, Token> | undefined, events: Events) {
  const refuse = (
    reason: 'missing' | 'unknown' | 'role' | 'binding' | 'signature',
    route: string,
    name?: string,
  ): never => {
    events.authRefused(reason, route, name)
    if (reason === 'missing')
      throw new ApiError(
        'TOKEN_MISSING',
        'this relayer wants a token: send it as Bearer, or as the password in the URL',
      )
    if (reason === 'unknown') throw new ApiError('TOKEN_UNKNOWN', 'the token is not known to this relayer')
    if (reason === 'signature')
      throw new ApiError(
        'REQUEST_SIGNATURE_ROUTE',
        'a signed request works for GET /oracles/{oracle}/exit-shares only; this route wants a token',
      )
    if (reason === 'role') throw new ApiError('TOKEN_ROLE', 'the role of this token may not call this route')
    throw new ApiError('TOKEN_BINDING', 'this token is not bound to what the request is about')
  }
  return {
    /** Whether everybody may call. */
    isOpen: tokens === undefined,
    /** The caller. @throws {ApiError} TOKEN_MISSING, TOKEN_UNKNOWN, TOKEN_ROLE */
    authenticate(request: FastifyRequest, access: Access, route: string): Caller {
      if (access === 'public' || tokens === undefined) return ANYBODY
      if (signedCredentials(request) !== undefined) return refuse('signature', route)
      const shown = shownToken(request.headers.authorization)
      if (shown === undefined) return refuse('missing', route)
      const caller = tokens.get(hashOf(shown))
      if (caller === undefined) return refuse('unknown', route)
      if (caller.role !== 'admin' && !access.includes(caller.role)) return refuse('role', route, caller.name)
      return caller
    },
    /** @throws {ApiError} TOKEN_BINDING when a sidecar speaks for a share index that is not its own */
    assertShareIndex(caller: Caller, shareIndex: number, route: string): void {
      if (caller.shareIndexes !== undefined && !caller.shareIndexes.includes(shareIndex))
        refuse('binding', route, caller.name ?? undefined)
    },
    /** @throws {ApiError} TOKEN_BINDING when an operator speaks for a vault its token is not bound to; null is one that nobody knows */
    assertVault(caller: Caller, vault: Uint8Array | null, route: string): void {
      if (caller.vaults !== undefined && !caller.vaults.some((bound) => vault !== null && equalBytes(bound, vault)))
        refuse('binding', route, caller.name ?? undefined)
    },
    /** @throws {ApiError} TOKEN_BINDING when somebody asks for the shares of an oracle that it is not */
    assertOracle(caller: Caller, oracle: Uint8Array, route: string): void {
      if (caller.oracles !== undefined && !caller.oracles.some((bound) => equalBytes(bound, oracle)))
        refuse('binding', route, caller.name ?? undefined)
    },
    /** Without tokens the validators-manager key works for programs of this machine only. @throws {ApiError} MANAGER_LOCAL_ONLY */
    assertManager(request: FastifyRequest, route: string): void {
      if (tokens !== undefined) return
      const isForeign = FOREIGN_HEADERS.some((name) => request.headers[name] !== undefined)
      const { localAddress, remoteAddress } = request.socket
      // Both ends: a machine that routes 127.0.0.0/8 (some container networks make it) lets neighbours reach that address.
      if (!isForeign && isLoopback(localAddress) && isLoopback(remoteAddress)) return
      events.authRefused('missing', route, undefined)
      throw new ApiError(
        'MANAGER_LOCAL_ONLY',
        'the validators-manager key answers other machines, proxies and browsers only when AUTH_TOKENS_FILE is set; make a token with: npm run relayer -- token --name operator --role operator',
      )
    },
  }
}

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

/** Whether an end of a connection has an address of this machine alone. */
function isLoopback(address: string | undefined): boolean {
  return address !== undefined && (address === '::1' || /^(::ffff:)?127\./.test(address))
}
export type Auth = ReturnType<typeof createAuth>
