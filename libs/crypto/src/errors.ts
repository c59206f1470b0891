/** Errors of `libs/crypto`. Messages and facts carry no secret, share, signature or key material. */

import { CodedError } from '@dvt-relayer/common/errors.ts'

/** What can go wrong in this library. */
export type CryptoErrorCode =
  | 'BLST_UNAVAILABLE'
  | 'SHARES_TOO_FEW'
  | 'SHARE_INDEX_ZERO'
  | 'SHARE_INDEX_DUPLICATE'
  | 'SHARE_SET_INVALID'
  | 'POINT_INVALID'
  | 'POINT_INFINITE'
  | 'SCALAR_INVALID'
  | 'MESSAGE_INVALID'
  | 'LENGTH_INVALID'
  | 'ECIES_KEY_INVALID'
  | 'ECIES_CIPHERTEXT_INVALID'
  | 'SIGNATURE_INVALID'

export class CryptoError extends CodedError<CryptoErrorCode> {}
