/**
 * The file that AUTH_TOKENS_FILE names: who may call. It holds hashes only; a line is
 *
 *     name  role  binding  sha256:<64 hex digits>
 *
 * with binding `*` (everything), vault addresses (operator), share indexes (sidecar) or an oracle's addresses, comma separated. Nodes that
 * sign their requests need no token; which of them may call say the lines
 *
 *     nodes      <lock_hash, …, or *>
 *     operators  <ids of SSV operators, or *>
 */

import { createHash, randomBytes } from 'node:crypto'
import { ROLES, type Role } from '@dvt-relayer/api/contract.ts'
import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readAsciiSync } from '@dvt-relayer/common/files/text-file.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import { NOBODY } from '../../services/registrations/manager.ts'
import { type Caller, UNBOUND } from './caller.ts'

/** A name stands in the log, and beside the names that the relayer itself gives to requesters: those hold a colon. */
export const TOKEN_NAME = /^[A-Za-z0-9._-]{1,64}$/

/** Callers by the hash of their token. */
export type Tokens = ReadonlyMap<string, Token>
interface Token extends Caller {
  name: string
}

/** Under what a token stands in the file: its SHA-256. */
export const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex')

/** Whose nodes may call by a key they have: lock hashes in lower-case hex, and ids of SSV operators; `*` is every one. */
export interface KeyedNodes {
  readonly nodes: ReadonlySet<string>
  readonly operators: ReadonlySet<string>
}

/** Reads the file that AUTH_TOKENS_FILE names. @throws {BootError} TOKENS_INVALID */
export const readTokens = (file: string): Tokens => readFrom(file, parseTokens)

/** Reads which nodes may call by their keys from the same file. @throws {BootError} TOKENS_INVALID */
export const readKeyedNodes = (file: string): KeyedNodes => readFrom(file, parseKeyedNodes)

/** All that the file says. */
export interface TokensFile {
  readonly tokens: Tokens
  readonly listed: KeyedNodes
}

/** Reads the whole file. @throws {BootError} TOKENS_INVALID */
export const readTokensFile = (file: string): TokensFile => ({ tokens: readTokens(file), listed: readKeyedNodes(file) })

function readFrom<T>(file: string, parse: (text: string, file: string) => T): T {
  try {
    return parse(readAsciiSync(file), file)
  } catch (error) {
    if (error instanceof BootError) throw error
    throw new BootError('TOKENS_INVALID', `AUTH_TOKENS_FILE ${file} cannot be read (${reasonOf(error)})`, {
      cause: error,
    })
  }
}

/** Reads the text of a tokens file. @throws {BootError} TOKENS_INVALID with every faulty line */
export function parseTokens(text: string, file: string): Tokens {
  const tokens = new Map<string, Token>()
  const names = new Set<string>()
  let keyed = 0
  eachLine(text, file, (words) => {
    if (isKeyedLine(words)) {
      keyed++
      return
    }
    const { hash, token } = parseLine(words)
    if (names.has(token.name)) throw new Error(`the name ${token.name} stands twice`)
    if (tokens.has(hash)) throw new Error('the same token stands twice')
    names.add(token.name)
    tokens.set(hash, token)
  })
  if (tokens.size + keyed === 0)
    throw new BootError('TOKENS_INVALID', `AUTH_TOKENS_FILE ${file} holds no token: nobody could call`)
  return withUnowned(tokens)
}

/** Reads which nodes may call by their keys. @throws {BootError} TOKENS_INVALID with every faulty line */
export function parseKeyedNodes(text: string, file: string): KeyedNodes {
  const found = { nodes: new Set<string>(), operators: new Set<string>() }
  eachLine(text, file, (words) => {
    const [what, values = ''] = words
    if (!isKeyedLine(words)) return
    for (const value of values.split(',')) {
      if (what === 'nodes') found.nodes.add(value === '*' ? value : toHex(lockHashOf(value)))
      else found.operators.add(value === '*' ? value : operatorIdOf(value))
    }
  })
  return found
}

/** Whether a line names nodes, and not a token: one that is called so has more words. */
const isKeyedLine = ({ length, 0: what }: readonly string[]): boolean =>
  length <= 2 && (what === 'nodes' || what === 'operators')

function lockHashOf(text: string): Uint8Array {
  const hash = parseHex(text, 32)
  if (hash === undefined) throw new Error('a line of nodes is: nodes <lock_hash, …>, each hex of 32 bytes, or nodes *')
  return hash
}

function operatorIdOf(text: string): string {
  if (!/^[1-9]\d{0,15}$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw new Error('a line of SSV operators is: operators <id, …>, for example operators 263,280, or operators *')
  return text
}

/** Reads line by line, without comments. @throws {BootError} TOKENS_INVALID with every line that `read` throws for */
function eachLine(text: string, file: string, read: (words: readonly string[]) => void): void {
  const problems: string[] = []
  text.split(/\r?\n/).forEach((line, position) => {
    const words = line.replace(/#.*$/, '').trim().split(/\s+/)
    if (words.length === 1 && words[0] === '') return
    try {
      read(words)
    } catch (error) {
      problems.push(`  - ${file} line ${position + 1}: ${(error as Error).message}`)
    }
  })
  if (problems.length > 0)
    throw new BootError('TOKENS_INVALID', `AUTH_TOKENS_FILE is not valid:\n${problems.join('\n')}`)
}

/** A key without a vault may be any vault's that tokens name: only those that are good for all of them may ask for it. */
function withUnowned(tokens: Tokens): Tokens {
  const all = new Set([...tokens.values()].flatMap(({ vaults }) => vaults?.map(toHex) ?? []))
  const isForAll = ({ vaults }: Token) => vaults === undefined || all.isSubsetOf(new Set(vaults.map(toHex)))
  return new Map([...tokens].map(([hash, token]) => [hash, { ...token, mayHaveUnowned: isForAll(token) }]))
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

function parseBinding(role: Role, binding: string): Omit<Caller, 'name' | 'role'> {
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
