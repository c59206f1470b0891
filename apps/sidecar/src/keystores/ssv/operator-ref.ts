/** Which operators' shares are looked for, and where they stand in a keyshares file. */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { KeysharesItem } from '@dvt-relayer/crypto/ssv/keyshares-file.ts'

/** An operator as it is known before anything was found: by its id, by its public key, or by both. */
export interface OperatorRef {
  /** Undefined: every id that is found for the public key. */
  readonly id: number | undefined
  /** As `parseOperatorPublicKey` gives it. */
  readonly publicKey: Uint8Array | undefined
  /** How messages name it: the file of its key. */
  readonly name: string
}

/** The position of an operator in the shares of a file's validator; undefined where it has none. */
export function ownPosition(
  { operators }: Pick<KeysharesItem, 'operators'>,
  { id, publicKey }: OperatorRef,
): number | undefined {
  const position = operators.findIndex(
    (operator) =>
      (id === undefined || operator.id === id) &&
      (publicKey === undefined || equalBytes(operator.publicKey, publicKey)),
  )
  return position === -1 ? undefined : position
}
