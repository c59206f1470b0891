/**
 * The main job: one worker for each list that is followed. The trouble of one never stops the other.
 *
 * A validator of `GET /validators` is one unit of work: exit and deposit, posted together. As a rule its exit is in `GET /exits`
 * too; while it is in flight for `GET /validators` the worker of the exits leaves it alone, and once it is posted it counts as
 * posted there. Where the deposit is refused or its posts fail, the exit goes out alone.
 */

import type { ListName } from '../config.ts'
import type { ListStates } from '../lists/list-states.ts'
import { type Entry, isInFlight, type SignedJob } from '../lists/work-entry.ts'
import type { SigningParts } from './parts.ts'
import { countRefused } from './refuse.ts'
import { startWorker } from './worker.ts'

/** Both lists tell of a new validator at about the same time: the worker of the exits waits this long for the other list. */
const GATHER_MS = 25

/** Starts the workers. `wake` is to be called when a work list has changed, `isBack` where the relayer was away before. */
export function startSigning(
  parts: SigningParts,
  lists: Pick<ListStates, 'names' | 'isHopeful'>,
): AsyncDisposable & { wake(list: ListName, isBack: boolean): void } {
  const { workLists } = parts
  const isFollowed = (list: ListName) => lists.names.includes(list)

  const validators = isFollowed('validators')
    ? startWorker(parts, 'validators', { onEnded: () => exits?.wake(false), onTaken: countAsPosted })
    : undefined
  const exits = isFollowed('exits')
    ? startWorker(parts, 'exits', {
        isHeldBack: isServedWithDeposit,
        gatherMs: () => (lists.isHopeful('validators') ? GATHER_MS : 0),
      })
    : undefined

  /** Whether the very same exit is in flight for `GET /validators`. */
  function isServedWithDeposit({ keyShare, wanted }: Entry): boolean {
    const twin = workLists.validators.find(keyShare)
    return twin !== undefined && isInFlight(twin) && twin.wanted?.validatorIndex === wanted?.validatorIndex
  }

  /** The exits of these have been posted, with their deposits. */
  function countAsPosted(jobs: readonly SignedJob[]): void {
    const now = performance.now()
    for (const { keyShare, wanted, signatures } of jobs)
      workLists.exits.postedByOther(keyShare, wanted.validatorIndex, signatures.exit, now)
  }

  return {
    wake(list, isBack) {
      countRefused(parts)
      const worker = list === 'exits' ? exits : validators
      worker?.wake(isBack)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([validators?.[Symbol.asyncDispose](), exits?.[Symbol.asyncDispose]()])
    },
  }
}
