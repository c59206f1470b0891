/** Oracle sets and share sets as the database keeps them: the parts of all oracles concatenated, in the order of the oracles. */

import { slices } from '@dvt-relayer/common/hex.ts'

const ORACLE_KEY_BYTES = 65
const PUBLIC_KEY_BYTES = 48
const CIPHERTEXT_BYTES = 193

/** The oracles' secp256k1 public keys. */
export const oracleKeysOf = ({ publicKeys }: { publicKeys: Uint8Array }): Uint8Array[] =>
  slices(publicKeys, ORACLE_KEY_BYTES)

/** The public keys of the oracles' shares. */
export const publicKeySharesOf = ({ publicKeyShares }: { publicKeyShares: Uint8Array }): Uint8Array[] =>
  slices(publicKeyShares, PUBLIC_KEY_BYTES)

/** The shares, each encrypted to its oracle. */
export const ciphertextsOf = ({ ciphertexts }: { ciphertexts: Uint8Array }): Uint8Array[] =>
  slices(ciphertexts, CIPHERTEXT_BYTES)
