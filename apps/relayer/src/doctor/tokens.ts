/** What `doctor` finds of the tokens: who may call, and who may do more than need be. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { RelayerConfig } from '../config.ts'
import { type KeyedNodes, readKeyedNodes, readTokens } from '../http/auth/tokens.ts'
import { type Finding, firstOf } from './findings.ts'

/** What a token of a role should be bound to, and what it may do without. */
const BINDINGS = {
  sidecar: { what: 'share indexes', may: 'hand in signatures for every node' },
  operator: { what: 'vaults', may: 'act for every vault' },
  oracle: { what: "the oracle's address", may: 'fetch the shares of every oracle' },
} as const

/** AUTH_TOKENS_FILE: is it right, and is each token bound to what it is for? */
export function examineTokens({ http, clusters }: RelayerConfig): Finding {
  const { authTokensFile: file, publicUrl, hasObolApi } = http
  if (file === undefined)
    return finding(
      'tokens',
      'warning',
      'AUTH_TOKENS_FILE is not set: everybody who reaches the port may call. Make tokens: npm run relayer -- token --help',
    )
  let tokens: ReturnType<typeof readTokens>
  let keyed: KeyedNodes
  try {
    tokens = readTokens(file)
    keyed = readKeyedNodes(file)
  } catch (error) {
    return finding('tokens', 'problem', messageOf(error))
  }
  const all = [...tokens.values()]
  const unbound = all.flatMap(({ name, role, vaults, oracles, shareIndexes }) => {
    if (role === 'admin' || (vaults ?? oracles ?? shareIndexes) !== undefined) return []
    const { what, may } = BINDINGS[role]
    return [
      `the token ${name} is bound to nothing and may ${may}: make it anew: npm run relayer -- token --name ${name} --role ${role} --for (${what})`,
    ]
  })
  const roles = [...Map.groupBy(all, ({ role }) => role)].map(([role, { length }]) => `${length} ${role}`)
  const doubts = [
    ...unbound,
    ...keyedDoubts(keyed, publicUrl, clusters),
    ...(hasObolApi ? charonDoubts(publicUrl, clusters) : []),
  ]
  const facts = {
    tokens: all.length,
    unbound: unbound.length,
    ...(isAnyKeyed(keyed) && {
      nodes_by_key: [...keyed.nodes].join(', '),
      operators_by_key: [...keyed.operators].join(', '),
    }),
    ...(hasObolApi && { nodes_by_charon: true }),
  }
  return finding(
    'tokens',
    doubts.length > 0 ? 'warning' : 'good',
    `${count(all.length, 'token')} in ${file}: ${[...roles, ...keyedWords(keyed), ...(hasObolApi ? ['nodes of locks with charon alone (OBOL_API)'] : [])].join(', ')}`,
    { details: firstOf(doubts), facts },
  )
}

const isAnyKeyed = ({ nodes, operators }: KeyedNodes): boolean => nodes.size + operators.size > 0

/** Who needs no token. */
function keyedWords({ nodes, operators }: KeyedNodes): string[] {
  const locks = nodes.has('*') ? 'every pinned lock' : count(nodes.size, 'lock')
  const ids = operators.has('*') ? 'every SSV operator' : `SSV operator ${[...operators].join(', ')}`
  return [
    ...(nodes.size > 0 ? [`nodes of ${locks} by their keys`] : []),
    ...(operators.size > 0 ? [`${ids} by ${operators.size > 1 ? 'their keys' : 'its key'}`] : []),
  ]
}

/** What keeps nodes out that the file lets in. */
function keyedDoubts(
  { nodes, operators }: KeyedNodes,
  publicUrl: URL | undefined,
  { lockHashes }: RelayerConfig['clusters'],
): string[] {
  const pinned = new Set<string>(lockHashes.map(toHex))
  const unpinned = [...nodes].filter((hash) => hash !== '*' && !pinned.has(hash))
  return [
    ...(publicUrl === undefined && nodes.size + operators.size > 0
      ? ['PUBLIC_URL is not set: nodes that sign their requests are refused']
      : []),
    ...(nodes.has('*') && pinned.size === 0
      ? ['CLUSTER_LOCK_HASHES pins no lock: nodes that sign their requests are refused']
      : []),
    ...unpinned.map((hash) => `the lock ${hash} is not one of CLUSTER_LOCK_HASHES: its nodes are refused`),
  ]
}

/** What keeps out nodes that hand in with charon. */
function charonDoubts(publicUrl: URL | undefined, { lockFiles }: RelayerConfig['clusters']): string[] {
  return [
    ...(lockFiles.length === 0
      ? ['OBOL_API=on takes what charon posts for imported cluster locks, and CLUSTER_LOCK_FILES names none']
      : []),
    ...(publicUrl !== undefined && publicUrl.pathname !== '/'
      ? [
          `charon posts to the root of a host, and PUBLIC_URL has the path ${publicUrl.pathname}: OBOL_API=on wants a host of its own`,
        ]
      : []),
  ]
}
