/**
 * What this node is willing to sign (design: Trust).
 *
 * - Only exits, only for key shares it holds, only with the Capella epoch and under the domain of its own network setting. The
 *   signing root is computed here; nothing a relayer sends but the validator index goes into it.
 * - An index no chain can have is refused.
 * - With a consensus node: an index that belongs to another key is refused, so is any index but its own for a key the chain knows.
 *   An index nobody has yet is fine: it is a prediction. While no node that is synced and on our chain answers, nothing is signed
 *   (`watch-consensus.ts`).
 *
 * Without a consensus node a hostile relayer can collect exits of any index for a key. They are worth nothing but the one of the
 * key's real index, which is what the protocol has every relayer collect: an exit is valid only under the key that has its
 * index. What a relayer may see is in the design; what it can make this process spend is bounded by `exit-book.ts`.
 */

import type { ConsensusClient } from '@dvt-relayer/chain/consensus.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages.ts'
import type { Refusal } from './metrics.ts'

/** An exit somebody wants signed. */
export interface WantedExit {
  /** Lower-case hex with `0x`. */
  readonly validatorPublicKey: string
  readonly validatorIndex: number
}

/** VALIDATOR_REGISTRY_LIMIT of the consensus specification. */
const REGISTRY_LIMIT = 2 ** 40

/** Creates the policy. `consensus` undefined: the chain is not asked. */
export function createPolicy(
  network: Network,
  consensus: Pick<ConsensusClient, 'findValidators' | 'findValidatorByIndex'> | undefined,
) {
  return {
    /** The signing root of the exit of this index: 32 bytes. */
    exitRoot: (validatorIndex: number): Uint8Array =>
      exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex }),

    /**
     * Why each of these exits is refused; undefined where it may be signed.
     *
     * @throws {ChainError | HttpError} when the consensus node cannot be asked
     */
    async judge(wanted: readonly WantedExit[]): Promise<(Refusal | undefined)[]> {
      const possible = wanted.filter(({ validatorIndex }) => validatorIndex < REGISTRY_LIMIT)
      const verdicts =
        consensus === undefined || possible.length === 0
          ? new Map<WantedExit, Refusal>()
          : await askChain(consensus, possible)
      return wanted.map((exit) => (exit.validatorIndex < REGISTRY_LIMIT ? verdicts.get(exit) : 'index_impossible'))
    },
  }
}
export type Policy = ReturnType<typeof createPolicy>

/** The chain's verdicts; exits that are not in the map may be signed. */
async function askChain(
  consensus: NonNullable<Parameters<typeof createPolicy>[1]>,
  wanted: readonly WantedExit[],
): Promise<Map<WantedExit, Refusal>> {
  const verdicts = new Map<WantedExit, Refusal>()
  const keys = [...new Set(wanted.map(({ validatorPublicKey }) => validatorPublicKey))]
  const known = await consensus.findValidators(keys.map((key) => fromHex(key, 48)))
  const unknown: WantedExit[] = []
  for (const exit of wanted) {
    const validator = known.get(exit.validatorPublicKey)
    if (validator === undefined) unknown.push(exit)
    else if (validator.index !== exit.validatorIndex) verdicts.set(exit, 'key_has_other_index')
  }
  // The chain does not know these keys, so an index it knows belongs to somebody else. Indexes have no gaps: what matters
  // is the first of them that is free.
  const indexes = [...new Set(unknown.map(({ validatorIndex }) => validatorIndex))].sort((a, b) => a - b)
  const isTaken = async (index: number) => (await consensus.findValidatorByIndex(index)) !== undefined
  const firstFree = await findFirstFree(indexes, isTaken)
  for (const exit of unknown) if (exit.validatorIndex < firstFree) verdicts.set(exit, 'index_taken')
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
