/**
 * What this node is willing to sign (docs/architecture.md#trust).
 *
 * - Only for key shares it holds, only under the domains of its own network setting, exits only with the Capella epoch. Signing
 *   roots are computed here; nothing a relayer sends but validator index, vault, amount and type goes into them.
 * - An index no chain can have is refused, and so is a deposit that `deposit-policy.ts` refuses.
 * - With a consensus node: an index that belongs to another key is refused, so is any index but its own for a key the chain knows,
 *   and a deposit for a key the chain knows. An index nobody has yet is fine: it is a prediction. While no node that is synced and
 *   on our chain answers, nothing is signed (`watch/consensus.ts`).
 *
 * With keys in a validator client (`signs` is `known`): an exit for a key the chain does not know is refused, because that client could not
 * make it.
 *
 * Without a consensus node a hostile relayer can collect exits of any index for a key. They are worth nothing but the one of the
 * key's real index, which is what the protocol has every relayer collect: an exit is valid only under the key that has its
 * index. docs/architecture.md#trust says what a relayer may see; what it can make this process spend is bounded by `lists/work-list.ts`.
 */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { KeyShare, ToSign } from '../keystores/keystore.ts'
import type { Refusal } from '../metrics.ts'
import type { DepositPolicy } from './deposit-policy.ts'
import type { Wanted } from './wanted.ts'

/** What somebody wants signed, by which key share. */
export interface Candidate {
  readonly keyShare: Pick<KeyShare, 'validatorPublicKey' | 'withdrawalAddress'>
  readonly wanted: Wanted
}

/** What is asked of a consensus node. */
export interface ChainView {
  findValidators(publicKeys: readonly Uint8Array[]): Promise<ReadonlyMap<string, { readonly index: number }>>
  findValidatorByIndex(index: number): Promise<object | undefined>
}

/** VALIDATOR_REGISTRY_LIMIT of the consensus specification. */
const REGISTRY_LIMIT = 2 ** 40

/** Creates the policy. `consensus` undefined: the chain is not asked. `signs`: exits of any keys, or of those that the chain knows. */
export function createPolicy(
  network: Network,
  deposits: DepositPolicy,
  consensus: ChainView | undefined,
  signs: 'any' | 'known' = 'any',
) {
  function judgeAlone({ keyShare, wanted }: Candidate): Refusal | undefined {
    if (wanted.validatorIndex >= REGISTRY_LIMIT) return 'index_impossible'
    return wanted.deposit === undefined ? undefined : deposits.judge(keyShare, wanted.deposit)
  }

  return {
    /** What is signed for the exit of this index. */
    exit(validatorIndex: number): ToSign {
      const fields = { epoch: network.capellaEpoch, validatorIndex }
      return { signingRoot: exitSigningRoot(network, fields), message: { kind: 'exit', ...fields } }
    },
    /** What is signed for this deposit of a validator (48 bytes, hex). */
    deposit: deposits.deposit,

    /**
     * Why each of these is refused; undefined where it may be signed.
     *
     * @throws {ChainError | HttpError} when the consensus node cannot be asked
     */
    async judge(candidates: readonly Candidate[]): Promise<(Refusal | undefined)[]> {
      const refusals = candidates.map(judgeAlone)
      const possible = candidates.filter((_, position) => refusals[position] === undefined)
      const verdicts =
        consensus === undefined || possible.length === 0
          ? new Map<Candidate, Refusal>()
          : await askChain(consensus, possible, signs)
      return candidates.map((candidate, position) => refusals[position] ?? verdicts.get(candidate))
    },
  }
}
export type Policy = ReturnType<typeof createPolicy>

/** The chain's verdicts; what is not in the map may be signed. */
async function askChain(
  consensus: ChainView,
  candidates: readonly Candidate[],
  signs: 'any' | 'known',
): Promise<Map<Candidate, Refusal>> {
  const verdicts = new Map<Candidate, Refusal>()
  const keys = [...new Set(candidates.map(({ keyShare }) => keyShare.validatorPublicKey))]
  const known = await consensus.findValidators(keys.map((key) => fromHex(key, 48)))
  const unknown: Candidate[] = []
  for (const candidate of candidates) {
    const validator = known.get(candidate.keyShare.validatorPublicKey)
    if (validator === undefined && signs === 'known') verdicts.set(candidate, 'key_not_on_chain')
    else if (validator === undefined) unknown.push(candidate)
    else if (validator.index !== candidate.wanted.validatorIndex) verdicts.set(candidate, 'key_has_other_index')
    else if (candidate.wanted.deposit !== undefined) verdicts.set(candidate, 'key_on_chain')
  }
  // The chain does not know these keys, so an index it knows belongs to somebody else. Indexes have no gaps: what matters
  // is the first of them that is free.
  const indexes = [...new Set(unknown.map(({ wanted }) => wanted.validatorIndex))].sort((a, b) => a - b)
  const isTaken = async (index: number) => (await consensus.findValidatorByIndex(index)) !== undefined
  const firstFree = await findFirstFree(indexes, isTaken)
  for (const candidate of unknown)
    if (candidate.wanted.validatorIndex < firstFree) verdicts.set(candidate, 'index_taken')
  return verdicts
}

/** The smallest of these ascending indexes that is not taken, Infinity when all are: one question where all are free. */
async function findFirstFree(
  indexes: readonly number[],
  isTaken: (index: number) => Promise<boolean>,
): Promise<number> {
  let low = 0
  let high = indexes.length
  for (let middle = 0; low < high; middle = Math.floor((low + high) / 2)) {
    if (await isTaken(indexes[middle] ?? 0)) low = middle + 1
    else high = middle
  }
  return indexes[low] ?? Number.POSITIVE_INFINITY
}
