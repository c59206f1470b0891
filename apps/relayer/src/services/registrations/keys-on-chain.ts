/** Which keys the chain has already: no key that has a deposit is given out or signed for. */

import type { ReservableRow } from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { ValidatorRegistry } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { DepositView } from '../deposit-registry/deposit-registry.ts'

/** What one request has found out about keys on chain. */
export interface KeysOnChain {
  /**
   * The first `count` of the rows that `find` gives whose keys the chain does not have. Those it has are remembered, and `find` is told
   * to leave them out: until their deposits are final nothing but the view tells of them.
   */
  findAbsent(
    count: number,
    find: (limit: number, excluded: readonly Uint8Array[]) => Promise<ReservableRow[]>,
  ): Promise<ReservableRow[]>
  /** Keys met so far that the chain has. */
  readonly met: readonly Uint8Array[]
}

/** Looks at the deposit contract, at the view's block, and on the consensus node. */
export function createKeysOnChain(view: DepositView, registry: Pick<ValidatorRegistry, 'knownKeys'>): KeysOnChain {
  const met: Uint8Array[] = []

  async function areOnChain(publicKeys: readonly Uint8Array[]): Promise<boolean[]> {
    if (publicKeys.length === 0) return []
    const [seen, known] = await Promise.all([
      view.isRegistered(publicKeys),
      ofConsensusNode(registry.knownKeys(publicKeys)),
    ])
    return publicKeys.map((_, position) => seen[position] === true || known[position] === true)
  }

  return {
    met,
    async findAbsent(count, find) {
      for (;;) {
        // The more there are the further it looks, so that a few looks are enough.
        const limit = count + met.length
        const found = await find(limit, met)
        const isOnChain = await areOnChain(found.map((row) => row.publicKey))
        met.push(...found.filter((_, position) => isOnChain[position]).map((row) => row.publicKey))
        const absent = found.filter((_, position) => !isOnChain[position])
        if (absent.length >= count || found.length < limit) return absent.slice(0, count)
      }
    },
  }
}

/** What the consensus node says. @throws {ApiError} DEPENDENCY_AWAY whatever kept it from saying it */
export async function ofConsensusNode<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    throw new ApiError(
      'DEPENDENCY_AWAY',
      'the consensus node is away or not in step, so no validator index can be assigned',
      {
        cause: error,
      },
    )
  }
}
