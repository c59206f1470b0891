/** Which pending deposits will make a new validator: those with a valid signature, for keys the state does not have. */

import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { SignedMessage } from '@dvt-relayer/crypto/bls/bls.ts'
import { depositSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'

/** One entry of the beacon state's `pending_deposits`. Hex is lower case with `0x`. */
export interface PendingDeposit {
  publicKey: string
  withdrawalCredentials: string
  amountGwei: bigint
  signature: string
}

/** Checks signatures, one answer for each, away from the event loop. Malformed points are `false`, never an exception. */
export type VerifyBatch = (triples: readonly SignedMessage[]) => Promise<readonly boolean[]>

/** Signatures handed over at once: with a worker about 0.1 s of its time, so that other work gets between. */
const CHUNK = 256

/**
 * Creates a filter of pending deposits. It remembers what it has verified for as long as the deposit is pending.
 *
 * A deposit makes a validator only when its own signature is right (process_pending_deposits, EIP-6110 and EIP-7251), so a key
 * counts once one of its deposits is: they are tried in the order of the queue.
 */
export function createDepositFilter(genesisForkVersion: Uint8Array, verifyBatch: VerifyBatch) {
  let verified = new Map<string, boolean>()

  /**
   * Keys of `queue` that are not in `known` and have a validly signed deposit, each with the withdrawal credentials of the first such
   * deposit: they are the validator's, whatever later ones say.
   */
  return async function newKeys(
    queue: readonly PendingDeposit[],
    known: ReadonlySet<string>,
  ): Promise<Map<string, string>> {
    const byKey = new Map<string, PendingDeposit[]>()
    for (const deposit of queue) {
      if (known.has(deposit.publicKey)) continue
      const deposits = byKey.get(deposit.publicKey)
      if (deposits === undefined) byKey.set(deposit.publicKey, [deposit])
      else deposits.push(deposit)
    }
    const still = new Map<string, boolean>()
    const valid = new Map<string, string>()
    for (let position = 0; byKey.size > 0; position++) {
      const open: { id: string; deposit: PendingDeposit }[] = []
      for (const [key, deposits] of byKey) {
        const deposit = deposits[position]
        if (deposit === undefined) byKey.delete(key)
        else open.push({ id: identify(deposit), deposit })
      }
      const unknown = open.filter(({ id }) => !verified.has(id))
      for (let from = 0; from < unknown.length; from += CHUNK) {
        const chunk = unknown.slice(from, from + CHUNK)
        const answers = await verifyBatch(chunk.map(({ deposit }) => tripleOf(genesisForkVersion, deposit)))
        for (const [i, { id }] of chunk.entries()) verified.set(id, answers[i] === true)
        await setImmediate()
      }
      for (const { id, deposit } of open) {
        const good = verified.get(id) === true
        still.set(id, good)
        if (!good) continue
        valid.set(deposit.publicKey, deposit.withdrawalCredentials)
        byKey.delete(deposit.publicKey)
      }
    }
    verified = still
    return valid
  }
}

function identify({ publicKey, withdrawalCredentials, amountGwei, signature }: PendingDeposit): string {
  return createHash('sha256').update(`${publicKey}${withdrawalCredentials}${amountGwei}${signature}`).digest('base64')
}

function tripleOf(genesisForkVersion: Uint8Array, deposit: PendingDeposit): SignedMessage {
  const publicKey = fromHex(deposit.publicKey, 48)
  const withdrawalCredentials = fromHex(deposit.withdrawalCredentials, 32)
  const message = { publicKey, withdrawalCredentials, amountGwei: deposit.amountGwei }
  return {
    message: depositSigningRoot({ genesisForkVersion }, message),
    publicKey,
    signature: fromHex(deposit.signature, 96),
  }
}
