/**
 * Answers that readers have not taken yet. The same bytes count once, however many read them. Who lets too many pile up loses the oldest;
 * where all together are too many, it is whoever has the most.
 */

import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import type { Limits } from './limits.ts'

interface Reader {
  owner: string
  bytes: Buffer
  cut(): void
}

/** Creates the record; nothing is held. */
export function createAnswers(limits: Limits['answers']) {
  /** The oldest first. */
  const readers = new Set<Reader>()

  /** What the answers of these readers hold. */
  const heldBy = (some: Iterable<Reader>): number =>
    [...new Set(Array.from(some, ({ bytes }) => bytes))].reduce((sum, { length }) => sum + length, 0)

  const ownedBy = (owner: string): Reader[] => [...readers].filter((reader) => reader.owner === owner)

  /** The answers of whoever holds the most. */
  const most = (): Reader[] =>
    [...Map.groupBy(readers, ({ owner }) => owner).values()].reduce<Reader[]>(
      (largest, some) => (heldBy(some) > heldBy(largest) ? some : largest),
      [],
    )

  /** Cuts off the oldest of `some` until they hold no more than they may; the last one stays. */
  function trim(some: () => Reader[], limit: number): void {
    for (let all = some(); heldBy(all) > limit && all.length > 1; all = some()) cutOff(all[0])
  }

  function cutOff(reader: Reader | undefined): void {
    if (reader === undefined) return
    readers.delete(reader)
    reader.cut()
  }

  return {
    /** An answer is on its way. `cut` ends it at once. Returns what tells that it is over. */
    hold(account: Account, bytes: Buffer, cut: () => void): () => void {
      const reader: Reader = { owner: accountKey(account), bytes, cut }
      readers.add(reader)
      trim(() => ownedBy(reader.owner), limits.ofOne)
      while (heldBy(readers) > limits.total && readers.size > 1) cutOff(most()[0])
      return () => {
        readers.delete(reader)
      }
    },
    /** Bytes held in all. */
    held: (): number => heldBy(readers),
  }
}
