/** Who calls. */

import type { Role } from '@dvt-relayer/api/contract.ts'
import type { KeyedNode } from '../../services/identity/node-keys.ts'

/** Unbound means: everything its role may. */
export interface Caller {
  /** Of its token, or what is made of the key that signed; null where nothing is shown. */
  name: string | null
  role: Role
  /** Of an operator, 20 bytes each. */
  vaults: readonly Uint8Array[] | undefined
  /** Of an oracle, 20 bytes each. */
  oracles: readonly Uint8Array[] | undefined
  /** Of a sidecar. */
  shareIndexes: readonly number[] | undefined
  /** Of a sidecar that signed its request. */
  node: KeyedNode | undefined
  /** Whether an operator may ask for keys of which no vault is known: not where they could be another operator's. */
  mayHaveUnowned: boolean
}

/** What a caller is bound to when it is bound to nothing. */
export const UNBOUND = {
  vaults: undefined,
  oracles: undefined,
  shareIndexes: undefined,
  node: undefined,
  mayHaveUnowned: true,
}

/** Everybody, where no tokens are set. */
export const ANYBODY: Caller = { name: null, role: 'admin', ...UNBOUND }

/** An oracle that showed no token and signed its request. */
export const signingOracle = (oracle: Uint8Array): Caller => ({
  name: null,
  role: 'oracle',
  ...UNBOUND,
  oracles: [oracle],
})

/** A node that signed its request. Its name holds a colon, as that of no token does. */
export function signingNode(name: string, node: KeyedNode): Caller {
  const shareIndexes =
    'locks' in node ? [...new Set(node.locks.map(({ shareIndex }) => shareIndex))] : [node.operatorId]
  return { name, role: 'sidecar', ...UNBOUND, shareIndexes, node }
}

/** Who has sent a body that is not read yet, and what it signed is not known before: it may do nothing. */
export const UNPROVEN: Caller = { name: null, role: 'sidecar', ...UNBOUND, shareIndexes: [], node: { locks: [] } }

/** By what a caller was known. */
export function identityOf({
  name,
  oracles,
  node,
}: Caller): 'token' | 'node_key' | 'operator_key' | 'oracle_key' | null {
  if (node !== undefined) return 'locks' in node ? 'node_key' : 'operator_key'
  if (name !== null) return 'token'
  return oracles === undefined ? null : 'oracle_key'
}
