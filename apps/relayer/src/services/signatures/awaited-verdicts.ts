/**
 * Posts that wait for verdicts which somebody else writes: a worker that finishes their messages. One in this process tells what it came to
 * at once; of others the waiting post looks into the database. Nothing hangs on being told: it saves a look.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { Concluded } from './finish.ts'

/** What names a candidate. */
interface Named {
  messageId: number
  shareIndex: number
  digest: Uint8Array
}

/** One post's wait. */
interface Wait {
  note(concluded: Concluded): void
}

const nameOf = ({ messageId, shareIndex, digest }: Named): string => `${messageId} ${shareIndex} ${toHex(digest)}`

/** Creates the register of one process. */
export function createAwaitedVerdicts() {
  const waits = new Map<number, Set<Wait>>()
  const closing = new AbortController()

  return {
    /** Begins to wait for the verdicts on these candidates, to be ended by `using`. */
    begin<T extends Named>(candidates: readonly T[]) {
      const left = new Map(candidates.map((candidate) => [nameOf(candidate), candidate]))
      let wrong: T[] = []
      /** Messages that were finished without a verdict on a candidate that is left: it came while they were. */
      let passed: number[] = []
      let news = new AbortController()

      function judge(candidate: Named, isRight: boolean): void {
        const own = left.get(nameOf(candidate))
        if (own === undefined) return
        left.delete(nameOf(candidate))
        if (!isRight) wrong.push(own)
      }
      const wait: Wait = {
        note({ messageIds, verdicts }) {
          for (const verdict of verdicts) judge(verdict, verdict.isRight)
          const finished = new Set(messageIds)
          for (const { messageId } of left.values()) if (finished.has(messageId)) passed.push(messageId)
          news.abort()
        },
      }
      for (const { messageId } of candidates) {
        const others = waits.get(messageId) ?? new Set()
        waits.set(messageId, others.add(wait))
      }

      return {
        judge,
        /** The candidates without a verdict. */
        left: (): T[] => [...left.values()],
        /** Takes these out: somebody else sees to them. */
        drop(some: readonly T[]): void {
          for (const candidate of some) left.delete(nameOf(candidate))
        },
        /** Takes out what was found wrong. */
        takeWrong(): T[] {
          const taken = wrong
          wrong = []
          return taken
        },
        /** Waits until something is told of these, at most so long. Returns the messages that were finished and passed over what is left. */
        async next(ms: number): Promise<number[]> {
          await pause(Math.max(0, ms), AbortSignal.any([news.signal, closing.signal]))
          news = new AbortController()
          const ids = [...new Set(passed)]
          passed = []
          return ids
        },
        [Symbol.dispose](): void {
          for (const { messageId } of candidates) {
            const others = waits.get(messageId)
            others?.delete(wait)
            if (others?.size === 0) waits.delete(messageId)
          }
        },
      }
    },

    /** Tells what finishing came to. */
    concluded(concluded: Concluded): void {
      const told = new Set(concluded.messageIds.flatMap((id) => [...(waits.get(id) ?? [])]))
      for (const wait of told) wait.note(concluded)
    },

    /** Whether waiting has been ended for a stop. */
    isClosed: (): boolean => closing.signal.aborted,
    /** Ends every wait, for a stop. */
    close: (): void => closing.abort(),
  }
}
export type AwaitedVerdicts = ReturnType<typeof createAwaitedVerdicts>
