/**
 * The checkpoint of the deposit registry in the database. Any number of processes may move it on at once: who finds that it no longer
 * stands where they began writes nothing.
 */

import { isDeepStrictEqual } from 'node:util'
import type { RegisteredKey } from '@dvt-relayer/db/queries/registry.ts'
import { insertRegistered, lockCheckpoint, MOST_REGISTERED } from '@dvt-relayer/db/queries/registry.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import type { Context } from '../../context.ts'
import { checkpointOf, type Position, positionOf, REGISTRY_CHECKPOINT } from './position.ts'

/** Creates the part of the service that reads the checkpoint and moves it on. */
export function createDepositCheckpoint({ config: { network }, db }: Pick<Context, 'config' | 'db'>) {
  return {
    /** Where the registry stands; undefined before it has begun. @throws {ApiError} DEPENDENCY_AWAY for another network's */
    find: async (): Promise<Position | undefined> => positionOf(network, await findCheckpoint(db, REGISTRY_CHECKPOINT)),

    /** Moves the checkpoint on with these keys, in one transaction; `moved` and nothing written where it stands elsewhere by now. */
    advance: (
      from: Position,
      to: Omit<Position, 'count'>,
      keys: readonly RegisteredKey[],
    ): Promise<Position | 'moved'> =>
      db.transaction(async (tx): Promise<Position | 'moved'> => {
        const stands = positionOf(network, await lockCheckpoint(tx, REGISTRY_CHECKPOINT))
        if (!isDeepStrictEqual(stands, from)) return 'moved'
        let { count } = from
        for (let first = 0; first < keys.length; first += MOST_REGISTERED)
          count += await insertRegistered(tx, keys.slice(first, first + MOST_REGISTERED))
        const position = { ...to, count }
        await storeCheckpoint(tx, REGISTRY_CHECKPOINT, checkpointOf(network, position))
        return position
      }),
  }
}
