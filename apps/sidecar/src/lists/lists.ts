/** The relayer's two lists, each brought into the one form that a work list takes. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ExitItem, ExitsResponse, ValidatorItem, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import type { ListName } from '../config.ts'
import type { Listed } from './work-list.ts'

/** An answer to a question for a list. */
interface ListAnswer {
  readonly items: readonly Listed[]
  /** Undefined from a relayer without long polling. */
  readonly revision: number | undefined
  /** Whether this is a page of the whole list, and not of what changed; undefined from a relayer without pages. */
  readonly isWhole: boolean | undefined
  /** Where the next page begins; undefined after the last one. */
  readonly next: number | undefined
  /** Validators that are not listed any more. */
  readonly gone: readonly string[]
}

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

/** Asks for a list, or a page of it from relayers that know pages. @throws {HttpError | ContractError} */
export async function askForList(
  relayer: RelayerClient,
  list: ListName,
  question: ListQuestion,
  signal: AbortSignal,
): Promise<ListAnswer> {
  if (list === 'exits') {
    const answer = await relayer.getExits(question, signal)
    return { items: answer.exits.map(ofExit), ...endOf(answer) }
  }
  const answer = await relayer.getValidators(question, signal)
  return { items: answer.validators.map(ofValidator), ...endOf(answer) }
}

const endOf = ({ revision, whole: isWhole, next, gone = [] }: ExitsResponse | ValidatorListResponse) => ({
  revision,
  isWhole,
  next,
  gone,
})

const ofExit = (item: ExitItem): Listed => ({
  publicKey: item.public_key,
  wanted: { validatorIndex: item.validator_index, deposit: undefined },
  isReady: item.is_exit_signature_ready,
  ...shareIndexesOf(item),
})

const ofValidator = (item: ValidatorItem): Listed => ({
  publicKey: item.public_key,
  wanted: {
    validatorIndex: item.validator_index,
    deposit: { vault: item.vault.toLowerCase(), amountGwei: item.amount, validatorType: item.validator_type },
  },
  isReady: item.is_signatures_ready,
  ...shareIndexesOf(item),
})

const shareIndexesOf = (item: ExitItem | ValidatorItem) => ({
  shareIndexesReady: item.share_indexes_ready,
  shareIndexesUnverified: item.share_indexes_unverified ?? [],
  shareIndexesRejected: item.share_indexes_rejected ?? [],
})
