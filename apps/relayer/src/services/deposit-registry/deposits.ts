/**
 * Which deposits make a validator: the first validly signed one of each key (docs/protocol.md#3-messages,
 * docs/protocol.md#14-chain-calls).
 */

import { createHash } from 'node:crypto'
import type { ChainDeposit } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Context } from '../../context.ts'

export interface JudgedDeposits {
  /** The first validly signed deposit of each new key, by lower-case hex of the key. */
  made: Map<string, ChainDeposit>
  /** Deposits of new keys that the chain ignores, because their signature is wrong and no right one came before. */
  wrong: ChainDeposit[]
}

/** Signatures handed over at once: about 0.1 s of a signature worker, so that other work gets between. */
const CHUNK = 256

/**
 * Creates a judge. It remembers its verdicts for the deposits of the call before, by content, so that a chain read again at
 * every block costs a verification of what is new only.
 *
 * A deposit of a key that has a validly signed one before it is a top-up, whatever its signature (apply_pending_deposit).
 */
export function createDepositJudge({
  config,
  crypto,
}: Pick<Context, 'config'> & { crypto: Pick<Context['crypto'], 'verify'> }) {
  const verdicts = new Map<string, boolean>()

  /** @param known keys that need no deposit to count any more, by lower-case hex */
  return async function judge(
    deposits: readonly ChainDeposit[],
    known: ReadonlySet<string>,
    signal?: AbortSignal,
  ): Promise<JudgedDeposits> {
    const open = deposits
      .map((deposit) => ({ deposit, key: toHex(deposit.publicKey), id: '' }))
      .filter(({ key }) => !known.has(key))
    for (let from = 0; from < open.length; from += CHUNK) {
      signal?.throwIfAborted()
      const chunk = open.slice(from, from + CHUNK)
      for (const item of chunk) item.id = identify(item.deposit)
      const fresh = chunk.filter(({ id }) => !verdicts.has(id))
      const answers = await crypto.verify(
        fresh.map(({ deposit: { publicKey, signature, ...message } }) => ({
          publicKey,
          message: depositSigningRoot(config.network, { publicKey, ...message }),
          signature,
        })),
      )
      for (const [position, { id }] of fresh.entries()) verdicts.set(id, answers[position] === true)
    }
    const ids = new Set(open.map(({ id }) => id))
    for (const id of verdicts.keys()) if (!ids.has(id)) verdicts.delete(id)
    const made = new Map<string, ChainDeposit>()
    const wrong: ChainDeposit[] = []
    for (const { deposit, key, id } of open) {
      if (made.has(key)) continue
      if (verdicts.get(id) === true) made.set(key, deposit)
      else wrong.push(deposit)
    }
    return { made, wrong }
  }
}

function identify({ publicKey, withdrawalCredentials, amountGwei, signature }: ChainDeposit): string {
  const hash = createHash('sha256').update(publicKey).update(withdrawalCredentials)
  return hash.update(`${amountGwei}`).update(signature).digest('base64')
}
