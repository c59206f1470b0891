/** Reads one of the relayer's lists into its work list: what has changed where the relayer knows long polling, else all of it. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ListName } from '../config.ts'
import type { Events } from '../events.ts'
import { askForList } from './lists.ts'
import type { WorkList } from './work-list.ts'

/** The longest a relayer may hold a question. */
const WAIT_SECONDS = 25

interface ListReaderParts {
  readonly relayer: RelayerClient
  readonly workList: WorkList
  readonly events: Pick<Events, 'itemsDropped' | 'longPolling' | 'listApplied' | 'rejectionSeen'>
  /** A full list at least this often. */
  readonly healIntervalMs: number
}

/** Creates the reader of a list. It asks for a full list first. */
export function createListReader({ relayer, workList, events, healIntervalMs }: ListReaderParts, list: ListName) {
  /** From the last answer; undefined against a relayer without long polling. */
  let revision: number | undefined
  let isLongPolling: boolean | undefined
  /** When the next full list is due. */
  let fullAt = 0

  return {
    /**
     * Asks once and takes the answer over. Returns whether the relayer knows long polling, and whether it brought what was not known.
     *
     * @throws {HttpError | ContractError}
     */
    async read(signal: AbortSignal): Promise<{ isLongPolling: boolean; hasNews: boolean }> {
      const untilFull = fullAt - performance.now()
      const isFull = revision === undefined || untilFull <= 0
      const wait = Math.min(WAIT_SECONDS, Math.ceil(untilFull / 1000))
      const query = isFull || revision === undefined ? {} : { wait, after: revision }
      const answer = await askForList(relayer, list, query, signal)
      // A revision that went back: the relayer's database is another one, and what it lists now is all there is.
      const isReset = !isFull && answer.revision !== undefined && revision !== undefined && answer.revision < revision
      const repeated = isFull || isReset ? workList.applyList(answer.items) : workList.applyChanges(answer.items)
      if (isFull) fullAt = performance.now() + healIntervalMs
      if (repeated > 0) events.itemsDropped(repeated)
      revision = answer.revision
      if (isLongPolling !== (revision !== undefined)) {
        isLongPolling = revision !== undefined
        events.longPolling(list, isLongPolling)
      }
      events.listApplied(list, workList.openCount())
      for (const [shareIndex, indexes] of workList.takeRejections())
        events.rejectionSeen(list, 'LISTED', shareIndex, indexes)
      return { isLongPolling, hasNews: workList.takeNews() }
    },
    /** The relayer does not have the list: it wants nothing. */
    setAbsent(): void {
      revision = undefined
      workList.applyList([])
      events.listApplied(list, 0)
    },
    /** The next question is for a full list. */
    startAnew(): void {
      revision = undefined
    },
  }
}
