/**
 * What charon may post of a cluster lock, as far as that is known before anything of it is read or computed: anybody may post, and shows who
 * it is with the whole body alone.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { ApiError } from '../../errors.ts'
import type { NodeKeys } from '../identity/node-keys.ts'

const KIB = 1024
/** A partial exit is 0.4 KiB of JSON, and so is a deposit, of which one validator may have a few. */
const BYTES = { least: 256 * KIB, perValidator: 4 * KIB }

/** Creates the service. */
export function createKnownLocks({ nodeKeys }: { nodeKeys: Pick<NodeKeys, 'sizeOf'> }) {
  /** How many validators it has. charon still names those that a lock of the same nodes has taken over: what is of others counts all the same. */
  async function sizeOf(lockHash: Uint8Array): Promise<number> {
    const size = await nodeKeys.sizeOf(lockHash)
    if (size !== undefined && size.validators > 0) return size.most
    if (size !== undefined)
      throw new ApiError(
        'LOCK_UNKNOWN',
        `the cluster lock ${toHex(lockHash)} was replaced here by another one of its validators: give the --lock-file that the relayer has imported since`,
      )
    throw new ApiError(
      'LOCK_UNKNOWN',
      `this relayer has imported no cluster lock ${toHex(lockHash)}: its operator adds the lock to CLUSTER_LOCK_FILES`,
    )
  }

  return {
    /** That a body of so many bytes may be of this lock. @throws {ApiError} LOCK_UNKNOWN, BODY_TOO_LARGE */
    async assertBody(lockHash: Uint8Array, bytes: number): Promise<void> {
      const size = await sizeOf(lockHash)
      const most = BYTES.least + size * BYTES.perValidator
      if (bytes > most)
        throw new ApiError(
          'BODY_TOO_LARGE',
          `the lock ${toHex(lockHash)} has ${size} validators at most, and a body for it at most ${most} bytes`,
        )
    },
    /** That the lock may have as many validators as exits came, of which each has one. @throws {ApiError} LOCK_UNKNOWN, TOO_MANY_SHARES */
    async assertExits(lockHash: Uint8Array, exits: number): Promise<void> {
      const size = await sizeOf(lockHash)
      if (exits > size)
        throw new ApiError(
          'TOO_MANY_SHARES',
          `the lock ${toHex(lockHash)} has ${size} validators at most, and this request ${exits} partial exits: one of each is enough`,
        )
    },
  }
}
export type KnownLocks = ReturnType<typeof createKnownLocks>
