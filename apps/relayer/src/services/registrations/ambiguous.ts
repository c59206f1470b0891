/**
 * A vault tells the type of validators by how many bytes come with the manager's signature, and some lengths fit both types. What the
 * vault would take for something else is not signed.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { isAmbiguousLength } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { ApiError } from '../../errors.ts'

/** Whether the vault could not tell the type of so many new validators. */
export const isAmbiguous = (type: '0x01' | '0x02', count: number): boolean =>
  isAmbiguousLength({ length: count * (type === '0x01' ? 176 : 184) })

/** As many of these rows as the vault can take at once: where it could not tell the type, one less. */
export const trimAmbiguous = <T>(type: '0x01' | '0x02', rows: readonly T[]): readonly T[] =>
  rows.length > 0 && isAmbiguous(type, rows.length) ? rows.slice(0, -1) : rows

/** Encodes, with words for the client where the vault could not tell what so many are. @throws {ApiError} BATCH_AMBIGUOUS */
export function unambiguous(encode: () => Uint8Array, advice = 'ask for one more or one less'): Uint8Array {
  try {
    return encode()
  } catch (error) {
    if (error instanceof ChainError && error.code === 'VALIDATORS_INVALID')
      throw new ApiError('BATCH_AMBIGUOUS', `${error.message}; ${advice}`, { cause: error })
    throw error
  }
}
