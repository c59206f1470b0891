/** One consensus node by itself: where something cannot be undone, each is asked, and none speaks for another. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { ChainError } from '../errors.ts'
import { assertChain, type ComparedNetwork } from './assert-chain.ts'
import { assertSaysFinal, type ChainValidator } from './beacon-answers.ts'
import { createBeaconApi } from './beacon-api.ts'
import { outOfStep } from './in-step.ts'
import { byKey } from './known-keys.ts'

export interface ConsensusNode {
  readonly host: string
  /**
   * The validators that the node's finalized state has of these keys, by lower-case hex. Asked once.
   *
   * @throws {ChainError} CHAIN_MISMATCH; CONSENSUS_INVALID when it is syncing, optimistic, without its execution node, or does not say
   * of its state that it is finalized
   * @throws {HttpError}
   */
  findFinal(publicKeys: readonly Uint8Array[]): Promise<Map<string, ChainValidator>>
}

/** Creates it. `ask` leads to one endpoint. */
export function createConsensusNode(ask: HttpAsk, network: ComparedNetwork): ConsensusNode {
  const api = createBeaconApi(ask)
  const { host } = ask
  return {
    host,
    async findFinal(publicKeys) {
      await assertChain(ask, network)
      const problem = outOfStep(await api.syncing(), host)
      if (problem !== undefined) throw new ChainError('CONSENSUS_INVALID', problem, { meta: { host } })
      const keys = new Set(publicKeys.map((key) => toHex(key)))
      return byKey(await api.finalValidators('finalized', [...keys], assertSaysFinal), keys)
    },
  }
}
