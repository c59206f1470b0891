/**
 * Partial deposit signatures as `charon deposit sign` posts them. Nobody signs such a request, so nothing of it is stored before it is
 * verified under the key share that the lock has for the node: who posts what a node has signed does no harm, whoever it is.
 */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { findDepositsOfLock, type OpenDepositRow } from '@dvt-relayer/db/queries/clusters.ts'
import type { Context } from '../../context.ts'
import type { NodeKeys } from '../identity/node-keys.ts'
import type { Submission } from '../signatures/submit.ts'
import { assertNode, assertNotTooMany } from './partial-exits.ts'
import { handIn, type LockNode, type Refusal, refuseRest } from './refusals.ts'

/** Signatures verified at once. Where all of them are wrong, the others of the request are not looked at: strangers may send any. */
const SLICE = 16

/** One partial deposit signature; the amount is Gwei. */
export interface PartialDeposit {
  publicKey: Uint8Array
  withdrawalCredentials: Uint8Array
  amountGwei: bigint
  signature: Uint8Array
}

/** A deposit that is asked for, with what its signature is verified by. */
interface Fitting {
  position: number
  deposit: PartialDeposit
  publicKeyShare: Uint8Array
  signingRoot: Uint8Array
}

/** Creates the service. */
export function createPartialDeposits({
  config,
  db,
  crypto,
  nodeKeys,
  signatures,
}: Pick<Context, 'config' | 'db' | 'crypto'> & { nodeKeys: NodeKeys; signatures: Submission }) {
  const wrongOf = ({ deposit }: Fitting, { shareIndex }: LockNode): Refusal => ({
    code: 'SIGNATURE_WRONG',
    message: `the signature of the deposit of ${toHex(deposit.publicKey)} does not fit the key share that the lock has for node ${shareIndex}: sign with that node's own --validator-keys-dir`,
  })

  /** Verifies those that are what is asked for; returns the right ones, and notes the others. */
  async function verify(
    node: LockNode,
    fitting: readonly Fitting[],
    refused: Map<number, Refusal>,
  ): Promise<Fitting[]> {
    const right: Fitting[] = []
    for (let from = 0; from < fitting.length; from += SLICE) {
      const slice = fitting.slice(from, from + SLICE)
      const isRight = await crypto.verify(
        slice.map(({ publicKeyShare, signingRoot, deposit: { signature } }) => ({
          publicKey: publicKeyShare,
          message: signingRoot,
          signature,
        })),
      )
      const good = slice.filter((_, i) => isRight[i] === true)
      right.push(...good)
      const isHopeless = good.length === 0
      for (const one of isHopeless ? fitting.slice(from) : slice.filter((_, i) => isRight[i] !== true))
        refused.set(one.position, wrongOf(one, node))
      if (isHopeless) break
    }
    return right
  }

  return {
    /**
     * Takes the deposit signatures of a node: those that verify count, whatever else came with them.
     *
     * @throws {ApiError} LOCK_UNKNOWN, TOO_MANY_SHARES; DEPOSITS_REFUSED with what was not taken, and why
     */
    async take(node: LockNode, deposits: readonly PartialDeposit[]): Promise<void> {
      await assertNode(nodeKeys, node)
      assertNotTooMany(config.limits.shares, deposits.length)
      const keys = deposits.map(({ publicKey }) => publicKey)
      const found = await findDepositsOfLock(db, node.lockHash, node.shareIndex, keys)
      const open = new Map(found.map((row) => [row.position, row]))
      const refused = new Map<number, Refusal>()
      const fitting: Fitting[] = []
      for (const [position, deposit] of deposits.entries()) {
        const judged = judge(node, deposit, open.get(position))
        if ('code' in judged) refused.set(position, judged)
        else fitting.push({ position, deposit, ...judged })
      }
      const right = await verify(node, fitting, refused)
      const posted = right.map(({ position, deposit: { publicKey, signature } }) => ({
        position,
        publicKey: toHex(publicKey),
        signature: toHex(signature),
      }))
      // What was asked for has changed since it was verified.
      for (const position of await handIn(signatures, node.shareIndex, 'deposit', posted))
        refused.set(position, notOpen(deposits[position]?.publicKey ?? new Uint8Array(), undefined))
      refuseRest('DEPOSITS_REFUSED', deposits.length, refused)
    },
  }
}
export type PartialDeposits = ReturnType<typeof createPartialDeposits>

/** What a deposit's signature is verified by, or what is wrong with it, whatever its signature. */
function judge(
  { lockHash, shareIndex }: LockNode,
  { publicKey, withdrawalCredentials: credentials, amountGwei }: PartialDeposit,
  open: OpenDepositRow | undefined,
): Refusal | Pick<Fitting, 'publicKeyShare' | 'signingRoot'> {
  if (open === undefined)
    return {
      code: 'KEY_NOT_IN_LOCK',
      message: `the relayer knows no validator ${toHex(publicKey)} of the lock ${toHex(lockHash)}: give the --lock-file that it has imported`,
    }
  const { vault, amountGwei: wanted, validatorType: type, signingRoot, publicKeyShare } = open
  if (vault === null || wanted === null || type === null || signingRoot === null) return notOpen(publicKey, undefined)
  if (publicKeyShare === null)
    return {
      code: 'SHARE_INDEX_UNKNOWN',
      message: `the validator ${toHex(publicKey)} has no node ${shareIndex}: give the --lock-file that the relayer has imported`,
    }
  const expected = withdrawalCredentials(type, vault)
  if (!equalBytes(credentials, expected) || amountGwei !== BigInt(wanted))
    return notOpen(publicKey, { credentials: expected, amountGwei: wanted })
  return { publicKeyShare, signingRoot }
}

/** That no such deposit is asked for, and which is. */
function notOpen(
  publicKey: Uint8Array,
  expected: { credentials: Uint8Array; amountGwei: number } | undefined,
): Refusal {
  const key = toHex(publicKey)
  const message =
    expected === undefined
      ? `no deposit of the validator ${key} is asked for now: sign when a vault registers it`
      : `another deposit of ${key} is asked for: run charon deposit sign --validator-public-keys=${key} --deposit-amounts=${expected.amountGwei / 1e9} --withdrawal-addresses=${toHex(expected.credentials)}, with the other flags as before`
  return { code: 'DEPOSIT_NOT_OPEN', message }
}
