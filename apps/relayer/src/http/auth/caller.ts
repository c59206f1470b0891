/** Who calls. */

import type { Role } from '@dvt-relayer/api/contract.ts'

/** Unbound means: everything its role may. */
export interface Caller {
  name: string | null
  role: Role
  /** Of an operator, 20 bytes each. */
  vaults: readonly Uint8Array[] | undefined
  /** Of an oracle, 20 bytes each. */
  oracles: readonly Uint8Array[] | undefined
  /** Of a sidecar. */
  shareIndexes: readonly number[] | undefined
  /** Whether an operator may ask for keys of which no vault is known: not where they could be another operator's. */
  mayHaveUnowned: boolean
}

/** What a caller is bound to when it is bound to nothing. */
export const UNBOUND = { vaults: undefined, oracles: undefined, shareIndexes: undefined, mayHaveUnowned: true }

/** Everybody, where no tokens are set. */
export const ANYBODY: Caller = { name: null, role: 'admin', ...UNBOUND }

/** An oracle that showed no token and signed its request. */
export const signingOracle = (oracle: Uint8Array): Caller => ({
  name: null,
  role: 'oracle',
  ...UNBOUND,
  oracles: [oracle],
})
