/** What the beacon stand-in shows of validators: those whose exit is asked for, at the index it is for. Registered ones are the chain's to show. */

import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { findOpenExits } from '@dvt-relayer/db/queries/clusters.ts'
import type { Context } from '../../context.ts'
import { assertNotTooMany } from './partial-exits.ts'

/** Texts that are read in one go: a fraction of a millisecond. */
const READ_AT_ONCE = 256

/** Creates the service. */
export function createOpenExits({ config, db }: Pick<Context, 'config' | 'db'>) {
  return {
    /**
     * Of these validators those with an open exit; what is no public key is none.
     *
     * @throws {ApiError} TOO_MANY_SHARES for more than one node may hand in at once
     */
    async find(ids: readonly string[]): Promise<{ publicKey: Uint8Array; validatorIndex: number }[]> {
      assertNotTooMany(config.limits.shares, ids.length)
      const read = await mapInPieces(ids, READ_AT_ONCE, (id) => parseHex(id, 48))
      const publicKeys = read.filter((key) => key !== undefined)
      return publicKeys.length === 0 ? [] : findOpenExits(db, publicKeys)
    },
  }
}
export type OpenExits = ReturnType<typeof createOpenExits>
