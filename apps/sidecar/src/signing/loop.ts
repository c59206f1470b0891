/**
 * The main job: one lane for each list that is followed. A lane's trouble never stops the other.
 *
 * A validator of `GET /validators` is one unit of work: exit and deposit, posted together. As a rule its exit is in `GET /exits`
 * too; while the lane of the validators has it in hand, that of the exits leaves it alone, and once it is posted it counts as
 * posted there. Where the deposit is refused or its posts fail, the exit goes out alone.
 */

import type { Context } from '../context.ts'
import type { ListName } from '../lists/lists.ts'
import type { Entry } from '../lists/work-list.ts'
import type { SignedJob } from './job.ts'
import { type LaneContext, startLane } from './lane.ts'

/** Both lists tell of a new validator at about the same time: the lane of the exits waits this long for the other list. */
const GATHER_MS = 25

/** Starts the lanes. `wake` is to be called when a list's book has changed, `isBack` where the relayer was away before. */
export function startSigning(
  context: LaneContext & Pick<Context, 'lists'>,
): AsyncDisposable & { wake(list: ListName, isBack: boolean): void } {
  const { books, lists } = context
  const isFollowed = (list: ListName) => lists.names.includes(list)

  const validators = isFollowed('validators')
    ? startLane(context, 'validators', { onReleased: () => exits?.wake(false), onTaken: (jobs) => markPosted(jobs) })
    : undefined
  const exits = isFollowed('exits')
    ? startLane(context, 'exits', {
        isHeldBack: isInOtherHand,
        gatherMs: () => (lists.isHopeful('validators') ? GATHER_MS : 0),
      })
    : undefined

  /** Whether the lane of the validators is at the very same exit. */
  function isInOtherHand({ keyShare, wanted }: Entry): boolean {
    const twin = books.validators.find(keyShare)
    return twin?.isInHand === true && twin.wanted?.validatorIndex === wanted?.validatorIndex
  }

  /** The exits of these have been posted, with their deposits. */
  function markPosted(jobs: readonly SignedJob[]): void {
    const now = performance.now()
    for (const { keyShare, wanted, signatures } of jobs) {
      const twin = books.exits.find(keyShare)
      if (twin?.wanted?.validatorIndex !== wanted.validatorIndex) continue
      twin.postedAt = now
      twin.signatures ??= { exit: signatures.exit }
    }
  }

  return {
    wake: (list, isBack) => (list === 'exits' ? exits : validators)?.wake(isBack),
    async [Symbol.asyncDispose]() {
      await Promise.all([validators?.[Symbol.asyncDispose](), exits?.[Symbol.asyncDispose]()])
    },
  }
}
