/** The vault that a request names. */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import type { RelayerConfig } from '../config.ts'
import { ApiError } from '../errors.ts'

/** The address of a vault: 20 bytes. @throws {ApiError} VAULT_INVALID */
export function parseVault(text: string): Uint8Array {
  const vault = parseAddress(text)
  if (vault !== undefined) return vault
  throw new ApiError('VAULT_INVALID', 'the checksum of the vault is wrong: send it all lower case, or checksummed')
}

/** @throws {ApiError} VAULT_UNKNOWN where VAULTS is set and does not name the vault */
export function assertOurVault({ vaults }: Pick<RelayerConfig, 'vaults'>, vault: Uint8Array): void {
  if (vaults !== undefined && !vaults.some((known) => equalBytes(known, vault)))
    throw new ApiError('VAULT_UNKNOWN', 'this relayer does not work for this vault: it is not one of VAULTS')
}
