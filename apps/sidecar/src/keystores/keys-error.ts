/** Why key shares are missing that may be found later, without a restart. */

import { CodedError } from '@dvt-relayer/common/errors.ts'

export type KeysErrorCode =
  /** The chain, as far as the execution node knows it, has no such operator. */
  | 'OPERATOR_UNKNOWN'
  /** Several things are wrong: the message has them all. */
  | 'KEYS_INCOMPLETE'

export class KeysError extends CodedError<KeysErrorCode> {}
