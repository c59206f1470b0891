/** What the beacon stand-in shows of validators: those whose exit is asked for, at the index it is for. Registered ones are the chain's to show. */

import { findOpenExits } from '@dvt-relayer/db/queries/clusters.ts'
import type { Context } from '../../context.ts'
import { assertNotTooMany } from './partial-exits.ts'

/** Creates the service. */
export function createOpenExits({ config, db }: Pick<Context, 'config' | 'db'>) {
  return {
    /** Of these validators those with an open exit. @throws {ApiError} TOO_MANY_SHARES for more than one node may hand in at once */
    async find(publicKeys: readonly Uint8Array[]): Promise<{ publicKey: Uint8Array; validatorIndex: number }[]> {
      assertNotTooMany(config.limits.shares, publicKeys.length)
      return publicKeys.length === 0 ? [] : findOpenExits(db, publicKeys)
    },
  }
}
export type OpenExits = ReturnType<typeof createOpenExits>
