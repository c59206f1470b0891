/** The relayer's two lists, each brought into the one form that a work list takes. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ExitItem, ExitsResponse, ValidatorItem, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import type { ListEnd, ListQuestion } from '@dvt-relayer/client/list-walk.ts'
import type { ListName } from '../config.ts'
import type { Listed } from './work-list.ts'

/** An answer to a question for a list. */
interface ListAnswer extends ListEnd {
  readonly items: readonly Listed[]
  /** Validators that are not listed any more. */
  readonly gone: readonly string[]
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
