/**
 * The way through one of the relayer's lists: what to ask next, and what an answer means for what is known. All of the list first, then what
 * has changed where the relayer knows long polling, else all of it again; page by page where the relayer knows pages, so that an answer is
 * small however many validators it gathers for.
 */

import { ContractError } from '@dvt-relayer/api/client.ts'

/** The longest a relayer may hold a question. */
const WAIT_SECONDS = 25
/** Items of a page: some hundred KB. */
const PAGE = 1000
/** A relayer with pages tells of all that changes and of all that goes, so its full list is asked for so many times more seldom. */
const PAGED_HEAL = 20

/** What is asked of a list. */
export interface ListQuestion {
  /** Seconds to wait for a change. */
  wait?: number
  /** A revision: what changed after it. */
  after?: number
  /** Items of a page. */
  limit: number
  /** `next` of the page before. */
  from?: number
}

/** What an answer says beside its items. */
export interface ListEnd {
  /** Undefined from a relayer without long polling. */
  readonly revision: number | undefined
  /** Whether this is a page of the whole list, and not of what changed; undefined from a relayer without pages. */
  readonly isWhole: boolean | undefined
  /** Where the next page begins; undefined after the last one. */
  readonly next: number | undefined
}

/** What an answer means. */
export interface Taken {
  /** Whether its items count: not where another process answers a question that it cannot know the beginning of. */
  readonly counts: boolean
  /** Whether the whole list begins with it. */
  readonly begins: boolean
  /** Whether the whole list ends with it: what was listed before and has not come since it began is listed no more. */
  readonly ends: boolean
  /** Whether the relayer knows long polling. */
  readonly isLongPolling: boolean
  /** Whether the next question has an answer by now. */
  readonly hasMore: boolean
}

/** A list that comes in pages and of which some have come. */
interface Pages {
  readonly isWhole: boolean
  /** The revision that the question names. */
  readonly after: number | undefined
  /** Where the next page begins. */
  readonly from: number
  /** The lowest revision of the pages: who goes on from there is told again of what changed under the walk. */
  readonly revision: number
}

/**
 * Begins a walk. It asks for the whole list first.
 *
 * @param healIntervalMs the whole list is asked for again at least this often, which heals whatever was missed; never, unless given
 */
export function createListWalk(healIntervalMs: number = Number.POSITIVE_INFINITY) {
  /** From the last answer; undefined against a relayer without long polling. */
  let revision: number | undefined
  let pages: Pages | undefined
  /** When the next full list is due. */
  let fullAt = 0

  /** A relayer without pages. */
  function takeList(said: number | undefined, { after }: ListQuestion): { begins: boolean; ends: boolean } {
    // A revision that went back: the relayer's database is another one, and what it lists now is all there is.
    const isReset = after !== undefined && said !== undefined && said < after
    const isFull = after === undefined
    if (isFull) fullAt = performance.now() + healIntervalMs
    pages = undefined
    revision = said
    return { begins: isFull || isReset, ends: isFull || isReset }
  }

  /** A page; undefined where it does not count. @throws {ContractError} one that cannot follow from the one before */
  function takePage(
    { isWhole, next }: ListEnd,
    said: number,
    question: ListQuestion,
  ): { begins: boolean; ends: boolean } | undefined {
    const before = pages
    // Another process answers, which does not know what changed since: from the beginning.
    if (before !== undefined && before.isWhole !== isWhole) return startAnew()
    if (isWhole === false && question.after === undefined) throw strange('is not of the whole list')
    if (next !== undefined && next <= (before?.from ?? -1)) throw strange('goes back')
    const begins = isWhole === true && before === undefined
    const lowest = Math.min(said, before?.revision ?? said)
    if (next !== undefined) {
      pages = {
        isWhole: isWhole === true,
        after: isWhole === true ? undefined : question.after,
        from: next,
        revision: lowest,
      }
      return { begins, ends: false }
    }
    if (isWhole === true) fullAt = performance.now() + PAGED_HEAL * healIntervalMs
    pages = undefined
    revision = lowest
    return { begins, ends: isWhole === true }
  }

  /** The next question is for a full list. */
  function startAnew(): undefined {
    revision = undefined
    pages = undefined
  }

  return {
    /** @param isDue whether the whole list is wanted now, whatever is known */
    nextQuestion(isDue = false): ListQuestion {
      if (pages !== undefined)
        return { limit: PAGE, from: pages.from, ...(pages.after === undefined ? {} : { after: pages.after }) }
      const untilFull = fullAt - performance.now()
      if (revision === undefined || untilFull <= 0 || isDue) return { limit: PAGE }
      // What comes meanwhile and wants a full list gets one no later than where there are no pages.
      const wait = Math.min(WAIT_SECONDS, Math.ceil(Math.min(untilFull, healIntervalMs) / 1000))
      return { wait, after: revision, limit: PAGE }
    },
    /** @throws {ContractError} a page that cannot follow from what came before */
    take(end: ListEnd, question: ListQuestion): Taken {
      const { revision: said, isWhole } = end
      const isPage = isWhole !== undefined && said !== undefined
      if (!isPage && pages !== undefined) throw strange('is no page, and the one before was')
      const taken = isPage ? takePage(end, said, question) : takeList(said, question)
      const isLongPolling = said !== undefined
      return {
        ...(taken ?? { begins: false, ends: false }),
        counts: taken !== undefined,
        isLongPolling,
        hasMore: isLongPolling && (pages !== undefined || revision === undefined),
      }
    },
    startAnew: (): void => startAnew(),
  }
}

const strange = (what: string) => new ContractError('RELAYER_ANSWER_INVALID', `a page of the relayer's list ${what}`)
