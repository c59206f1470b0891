/**
 * Reads one of the relayer's lists into its work list: what has changed where the relayer knows long polling, else all of it; page by
 * page where the relayer knows pages, so that an answer is small however many validators it gathers for.
 */

import { ContractError, type RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ListName } from '../config.ts'
import type { Events } from '../events.ts'
import { askForList, type ListQuestion } from './lists.ts'
import type { WorkList } from './work-list.ts'

/** The longest a relayer may hold a question. */
const WAIT_SECONDS = 25
/** Items of a page: some hundred KB. */
const PAGE = 1000
/** A relayer with pages tells of all that changes and of all that goes, so its full list is asked for so many times more seldom. */
const PAGED_HEAL = 20

interface ListReaderParts {
  readonly relayer: RelayerClient
  readonly workList: WorkList
  readonly events: Pick<Events, 'itemsDropped' | 'longPolling' | 'listApplied' | 'rejectionSeen'>
  /** A full list at least this often. */
  readonly healIntervalMs: number
}

/** A list that comes in pages and of which some have come. */
interface Walk {
  readonly isWhole: boolean
  /** The revision that the question names. */
  readonly after: number | undefined
  /** Where the next page begins. */
  readonly from: number
  /** The lowest revision of its pages: who goes on from there is told again of what changed under the walk. */
  readonly revision: number
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
  /** From the last answer; undefined against a relayer without long polling. */
  let revision: number | undefined
  let walk: Walk | undefined
  let isLongPolling: boolean | undefined
  /** When the next full list is due. */
  let fullAt = 0

  function nextQuestion(): ListQuestion {
    if (walk !== undefined)
      return { limit: PAGE, from: walk.from, ...(walk.after === undefined ? {} : { after: walk.after }) }
    const untilFull = fullAt - performance.now()
    if (revision === undefined || untilFull <= 0 || workList.isListDue()) return { limit: PAGE }
    // Key shares that come want a full list, no later than where there are no pages.
    const wait = Math.min(WAIT_SECONDS, Math.ceil(Math.min(untilFull, healIntervalMs) / 1000))
    return { wait, after: revision, limit: PAGE }
  }

  /** Takes over the answer of a relayer without pages. */
  function takeList({ items, revision: said }: Answer, { after }: ListQuestion): number {
    // A revision that went back: the relayer's database is another one, and what it lists now is all there is.
    const isReset = after !== undefined && said !== undefined && said < after
    const isFull = after === undefined
    const repeated = isFull || isReset ? workList.applyList(items) : workList.applyChanges(items)
    if (isFull) fullAt = performance.now() + healIntervalMs
    walk = undefined
    revision = said
    return repeated
  }

  /** Takes over a page. @throws {ContractError} one that cannot follow from the one before */
  function takePage({ items, gone, next, isWhole }: Answer, said: number, question: ListQuestion): number {
    const before = walk
    // Another process answers, which does not know what changed since: from the beginning.
    if (before !== undefined && before.isWhole !== isWhole) return startAnew()
    if (isWhole === false && question.after === undefined) throw strange('is not of the whole list')
    if (next !== undefined && next <= (before?.from ?? -1)) throw strange('goes back')
    if (isWhole === true && before === undefined) workList.startList()
    workList.applyGone(gone)
    const repeated = workList.applyChanges(items)
    const lowest = Math.min(said, before?.revision ?? said)
    if (next !== undefined) {
      walk = {
        isWhole: isWhole === true,
        after: isWhole === true ? undefined : question.after,
        from: next,
        revision: lowest,
      }
      return repeated
    }
    if (isWhole === true) {
      workList.endList()
      fullAt = performance.now() + PAGED_HEAL * healIntervalMs
    }
    walk = undefined
    revision = lowest
    return repeated
  }

  /** The next question is for a full list. */
  function startAnew(): number {
    revision = undefined
    walk = undefined
    return 0
  }

  return {
    /** Asks once and takes the answer over. @throws {HttpError | ContractError} */
    async read(signal: AbortSignal): Promise<Read> {
      const question = nextQuestion()
      const answer = await askForList(relayer, list, question, signal)
      const isPage = answer.isWhole !== undefined && answer.revision !== undefined
      if (!isPage && walk !== undefined) throw strange('is no page, and the one before was')
      const repeated = isPage ? takePage(answer, answer.revision, question) : takeList(answer, question)
      if (repeated > 0) events.itemsDropped(repeated)
      const isKnown = answer.revision !== undefined
      if (isLongPolling !== isKnown) {
        isLongPolling = isKnown
        events.longPolling(list, isKnown)
      }
      events.listApplied(list, workList.openCount())
      for (const [shareIndex, indexes] of workList.takeRejections())
        events.rejectionSeen(list, 'LISTED', shareIndex, indexes)
      const hasMore = isKnown && (walk !== undefined || revision === undefined)
      return { isLongPolling: isKnown, hasMore, hasNews: workList.takeNews() }
    },
    /** The relayer does not have the list: it wants nothing. */
    setAbsent(): void {
      startAnew()
      workList.applyList([])
      events.listApplied(list, 0)
    },
    startAnew: (): void => void startAnew(),
  }
}

type Answer = Awaited<ReturnType<typeof askForList>>

const strange = (what: string) => new ContractError('RELAYER_ANSWER_INVALID', `a page of the relayer's list ${what}`)
