/** Reads one of the relayer's lists into its work list, answer by answer. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import { createListWalk } from '@dvt-relayer/client/list-walk.ts'
import type { ListName } from '../config.ts'
import type { Events } from '../events.ts'
import { askForList } from './lists.ts'
import type { Listed, WorkList } from './work-list.ts'

interface ListReaderParts {
  readonly relayer: RelayerClient
  readonly workList: WorkList
  readonly events: Pick<Events, 'itemsDropped' | 'longPolling' | 'listApplied' | 'rejectionSeen'>
  /** A full list at least this often. */
  readonly healIntervalMs: number
}

/** What an answer says of the next question. */
interface Read {
  /** Whether the relayer knows long polling. */
  isLongPolling: boolean
  /** Whether there are more pages. */
  hasMore: boolean
  /** Whether it brought what was not known. */
  hasNews: boolean
}

/** Creates the reader of a list. It asks for a full list first. */
export function createListReader({ relayer, workList, events, healIntervalMs }: ListReaderParts, list: ListName) {
  const walk = createListWalk(healIntervalMs)
  let isLongPolling: boolean | undefined

  return {
    /** Asks once and takes the answer over. @throws {HttpError | ContractError} */
    async read(signal: AbortSignal): Promise<Read> {
      const question = walk.nextQuestion(workList.isListDue())
      const { items, gone, ...end } = await askForList(relayer, list, question, signal)
      const taken = walk.take(end, question)
      if (taken.begins) workList.startList()
      const repeated = taken.counts ? takeOver(items, gone) : 0
      if (taken.ends) workList.endList()
      if (repeated > 0) events.itemsDropped(repeated)
      if (isLongPolling !== taken.isLongPolling) {
        isLongPolling = taken.isLongPolling
        events.longPolling(list, isLongPolling)
      }
      events.listApplied(list, workList.openCount())
      for (const [shareIndex, indexes] of workList.takeRejections())
        events.rejectionSeen(list, 'LISTED', shareIndex, indexes)
      return { isLongPolling: taken.isLongPolling, hasMore: taken.hasMore, hasNews: workList.takeNews() }
    },
    /** The relayer does not have the list: it wants nothing. */
    setAbsent(): void {
      walk.startAnew()
      workList.applyList([])
      events.listApplied(list, 0)
    },
    startAnew: walk.startAnew,
  }

  /** Returns how many items were left out as repeats. */
  function takeOver(items: readonly Listed[], gone: readonly string[]): number {
    workList.applyGone(gone)
    return workList.applyChanges(items)
  }
}
