/**
 * What charon is told when not all was taken. It prints the answer and ends with a failure, so a person reads it: one sentence with what
 * is wrong and what to run, for the first of them; `failures` has a few of them by their codes.
 */

import { count } from '@dvt-relayer/common/findings.ts'
import { ApiError, type FailureCode, failure } from '../../errors.ts'
import type { Submission } from '../signatures/submit.ts'

/** Failures that an answer lists: of a thousand that are wrong in the same way, a person wants to see few. */
const SHOWN = 10

/** A node of a cluster lock, as its requests name it. */
export interface LockNode {
  lockHash: Uint8Array
  shareIndex: number
}

/** Why an item was not taken, in its own words. */
export interface Refusal {
  code: FailureCode
  message: string
}

/** Throws unless every item was taken. `refused` is by position in the request. */
export function refuseRest(
  code: 'EXITS_REFUSED' | 'DEPOSITS_REFUSED',
  items: number,
  refused: ReadonlyMap<number, Refusal>,
): void {
  const inOrder = [...refused].sort(([a], [b]) => a - b)
  const failures = inOrder.map(([position, { code: why }]) => failure(position, why))
  const [first] = inOrder
  if (first === undefined) return
  const noun = code === 'EXITS_REFUSED' ? 'exit' : 'deposit'
  const others = failures.length - 1
  throw new ApiError(
    code,
    `${items - failures.length} of ${count(items, noun)} taken; ${first[1].message}${others === 0 ? '' : ` (and ${others} more that were not taken)`}`,
    { failures: failures.slice(0, SHOWN) },
  )
}

/** One signature to hand in, with its position in the request. */
export interface Posted {
  position: number
  publicKey: string
  signature: string
}

/** Hands signatures in as a sidecar's are. Returns the positions of those that are wrong, as far as that is known by now. */
export async function handIn(
  signatures: Submission,
  shareIndex: number,
  kind: 'exit' | 'deposit',
  posted: readonly Posted[],
): Promise<number[]> {
  if (posted.length === 0) return []
  const shares = posted.map(({ publicKey, signature }) => ({ public_key: publicKey, [`${kind}_signature`]: signature }))
  const failures = await signatures.submit(shareIndex, shares).catch((error: unknown) => {
    if (error instanceof ApiError && error.code === 'SHARES_WRONG') return error.failures
    throw error
  })
  return failures.flatMap(({ index }) => posted[index]?.position ?? [])
}
