/**
 * Answers that are large go out in pieces: a few of them in each round of the event loop, accounts in rotation. Hundreds of large answers
 * that are asked for at a moment would otherwise be copied into their sockets in one go, and everybody else would wait for that.
 */

import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'

/** So large that one sees how far a reader is. */
export const PIECE_BYTES = 64 * 1024
/** Pieces of a round: a fraction of a millisecond, and half a megabyte, so that who reads fast gets hundreds of megabytes in a second. */
const IN_A_ROUND = 8

/** Creates the turns; nothing is on its way. */
export function createPieces(nextRound?: (then: () => void) => void) {
  const rounds = createRounds(IN_A_ROUND, nextRound)
  return {
    /** Views of the bytes, each when the turn of the account comes; nothing is copied. */
    async *of(account: Account, bytes: Buffer): AsyncGenerator<Buffer> {
      const key = accountKey(account)
      for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
        await rounds.turn(key)
        yield bytes.subarray(from, from + PIECE_BYTES)
      }
    },
  }
}
