/** The relayer's two lists, each brought into the one form that a work list takes. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ExitItem, ValidatorItem } from '@dvt-relayer/api/schemas.ts'
import type { ListName } from '../config.ts'
import type { Listed } from './work-list.ts'

/** An answer to a question for a list. */
interface ListAnswer {
  readonly items: readonly Listed[]
  /** Undefined from a relayer without long polling. */
  readonly revision: number | undefined
}

/** Asks for a list; `wait` (seconds) and `after` (a revision) make it a long poll. @throws {HttpError | ContractError} */
export async function askForList(
  relayer: RelayerClient,
  list: ListName,
  query: { wait?: number; after?: number },
  signal: AbortSignal,
): Promise<ListAnswer> {
  if (list === 'exits') {
    const { exits, revision } = await relayer.getExits(query, signal)
    return { items: exits.map(ofExit), revision }
  }
  const { validators, revision } = await relayer.getValidators(query, signal)
  return { items: validators.map(ofValidator), revision }
}

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
