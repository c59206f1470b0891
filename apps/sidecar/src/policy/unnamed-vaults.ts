/** Validators whose vault nothing names: neither `ALLOWED_VAULTS` nor, for that validator, a cluster lock. */

import { count } from '@dvt-relayer/common/findings.ts'
import type { SidecarConfig } from '../config.ts'
import type { KeyShare } from '../keystores/keystore.ts'

/** Whether deposits are signed at all, where the relayer asks for them. */
export const signsDeposits = ({ lists }: Pick<SidecarConfig, 'lists'>): boolean => lists.includes('validators')

/** How many validators have no vault that is named; none where no deposit is ever signed. */
export function countUnnamed(
  config: Pick<SidecarConfig, 'deposits' | 'lists'>,
  keyShares: readonly Pick<KeyShare, 'validatorPublicKey' | 'withdrawalAddress'>[],
): number {
  if (!signsDeposits(config) || config.deposits.allowedVaults.length > 0) return 0
  const open = keyShares.filter(({ withdrawalAddress }) => withdrawalAddress === undefined)
  return new Set(open.map(({ validatorPublicKey }) => validatorPublicKey)).size
}

/** What is wrong, and what to set. */
export const unnamedVaults = (validators: number): string =>
  `nothing says which vault ${count(validators, 'validator')} may deposit to (no ALLOWED_VAULTS, no withdrawal address in a cluster lock): set ALLOWED_VAULTS to your vaults, or GENERATION=3 where this node signs exits only`
