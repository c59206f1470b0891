/** What a relayer asks of one share index now, out of its two lists. */

import type { Bundle } from '@dvt-relayer/api/bundle.ts'
import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { ExitItem, ValidatorItem } from '@dvt-relayer/api/schemas.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'

/** How far the relayer is with the signatures of a share index, as sidecars read it. */
type Standing = 'settled' | 'rejected' | 'unverified' | 'wanted'

/** One thing that is asked for: an item of a bundle, and how far it is. */
export interface Asked<Item> {
  readonly item: Item
  readonly standing: Standing
}

/** By validator public key. */
export interface AskedNow {
  readonly exits: ReadonlyMap<string, Asked<Bundle['exits'][number]>>
  readonly validators: ReadonlyMap<string, Asked<Bundle['validators'][number]>>
}

/** Asks for both lists; one that this relayer does not have is empty. @throws {HttpError | ContractError} */
export async function askLists(relayer: RelayerClient, shareIndex: number, signal: AbortSignal): Promise<AskedNow> {
  const [{ exits }, { validators }] = await Promise.all([
    orMissing(relayer.getExits({}, signal), { exits: [] }),
    orMissing(relayer.getValidators({}, signal), { validators: [] }),
  ])
  return {
    exits: new Map(
      exits.map((item) => [
        item.public_key,
        { item: exitOf(item), standing: standingOf(item, item.is_exit_signature_ready, shareIndex) },
      ]),
    ),
    validators: new Map(
      validators.map((item) => [
        item.public_key,
        { item: validatorOf(item), standing: standingOf(item, item.is_signatures_ready, shareIndex) },
      ]),
    ),
  }
}

/** A relayer of one generation knows one list only. */
async function orMissing<T>(answer: Promise<T>, missing: T): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof HttpError && (error.status === 404 || error.status === 405)) return missing
    throw error
  }
}

const exitOf = ({ public_key, validator_index }: ExitItem) => ({ public_key, validator_index })

const validatorOf = ({ public_key, validator_index, vault, amount, validator_type }: ValidatorItem) => ({
  public_key,
  validator_index,
  vault: vault.toLowerCase(),
  amount,
  validator_type,
})

function standingOf(item: ExitItem | ValidatorItem, isReady: boolean, shareIndex: number): Standing {
  if (isReady || item.share_indexes_ready.includes(shareIndex)) return 'settled'
  if (item.share_indexes_rejected?.includes(shareIndex) === true) return 'rejected'
  return item.share_indexes_unverified?.includes(shareIndex) === true ? 'unverified' : 'wanted'
}
