/** What `doctor` finds of the tokens: who may call, and who may do more than need be. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import type { RelayerConfig } from '../config.ts'
import { readTokens } from '../http/auth/tokens.ts'
import { type Finding, firstOf } from './findings.ts'

/** What a token of a role should be bound to, and what it may do without. */
const BINDINGS = {
  sidecar: { what: 'share indexes', may: 'hand in signatures for every node' },
  operator: { what: 'vaults', may: 'act for every vault' },
  oracle: { what: "the oracle's address", may: 'fetch the shares of every oracle' },
} as const

/** AUTH_TOKENS_FILE: is it right, and is each token bound to what it is for? */
export function examineTokens({ http: { authTokensFile: file } }: RelayerConfig): Finding {
  if (file === undefined)
    return finding(
      'tokens',
      'warning',
      'AUTH_TOKENS_FILE is not set: everybody who reaches the port may call. Make tokens: npm run relayer -- token --help',
    )
  let tokens: ReturnType<typeof readTokens>
  try {
    tokens = readTokens(file)
  } catch (error) {
    return finding('tokens', 'problem', messageOf(error))
  }
  const all = [...tokens.values()]
  const unbound = all.flatMap(({ name, role, vaults, oracles, shareIndexes }) => {
    if (role === 'admin' || (vaults ?? oracles ?? shareIndexes) !== undefined) return []
    const { what, may } = BINDINGS[role]
    return [`the token ${name} is bound to nothing and may ${may}: make it anew with --role ${role} --for (${what})`]
  })
  const roles = [...Map.groupBy(all, ({ role }) => role)].map(([role, { length }]) => `${length} ${role}`)
  const facts = { tokens: all.length, unbound: unbound.length }
  return finding(
    'tokens',
    unbound.length > 0 ? 'warning' : 'good',
    `${count(all.length, 'token')} in ${file}: ${roles.join(', ')}`,
    { details: firstOf(unbound), facts },
  )
}
