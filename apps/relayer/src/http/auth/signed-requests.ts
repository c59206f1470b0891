/** What requests that are signed with a key have in common, whoever signs them: their clock, their refusals, their rates. */

import { createHash } from 'node:crypto'
import type { Account } from '@dvt-relayer/common/account.ts'
import type { createRate } from '@dvt-relayer/common/flow/rate.ts'
import { recoverRequestKey, type SignedRequest } from '@dvt-relayer/crypto/oracle/request-signature.ts'
import { ApiError, type ErrorCode } from '../../errors.ts'
import type { Events } from '../../events.ts'

/** By how many seconds the time of a signed request may be off, to either side, when its headers come. */
const TOLERANCE_SECONDS = 60

/** The hash of a body that is none. */
export const NO_BODY = createHash('sha256').digest()

/** Why a signed request is refused: as the metric names it, and what the caller is told. */
export interface Refusal {
  reason: Parameters<Events['authRefused']>[0]
  code: ErrorCode
  message: string
}

export const NO_SIGNATURE: Refusal = {
  reason: 'signature',
  code: 'REQUEST_SIGNATURE_INVALID',
  message: 'the signature is none: 65 bytes r, s and v, with s in the lower half of the order and v 27 or 28',
}
export const REPLAYED: Refusal = {
  reason: 'replay',
  code: 'REQUEST_REPLAYED',
  message: 'this nonce was used before: sign every request, retries too, with a new one',
}

/**
 * On whose account the nonce of a right signature is used up: not in the line of strangers, who may be many at the same address, and not in
 * the caller's own, since whoever has read a request can send it again.
 */
export const proofAccount = (group: 'oracle' | 'sidecar', name: string): Account => ({ group, name: `proof:${name}` })

/** What is wrong with the time that a request names. */
export function timeFault(time: number, nowSeconds: number): Refusal | undefined {
  const offSeconds = time - nowSeconds
  if (Math.abs(offSeconds) <= TOLERANCE_SECONDS) return undefined
  return {
    reason: 'time',
    code: 'REQUEST_TIME',
    message: `the time of the request is ${Math.round(offSeconds)} seconds off, and ${TOLERANCE_SECONDS} are allowed: set the clock, and sign each request when it is sent`,
  }
}

/** Takes one of a bucket; `what` there are too many of. @throws {ApiError} RATE_LIMIT */
export function takeOne(bucket: ReturnType<typeof createRate>, name: string, nowSeconds: number, what: string): void {
  const waitSeconds = bucket.take(name, 1, nowSeconds * 1000)
  if (waitSeconds > 0)
    throw new ApiError('RATE_LIMIT', `${what}; ask again in ${Math.ceil(waitSeconds)} s`, {
      retryAfterSeconds: waitSeconds,
    })
}

/** The key whose signature of a request this is (65 bytes); undefined where it is nobody's. */
export function recoverKey(request: SignedRequest, signature: Uint8Array): Uint8Array | undefined {
  try {
    return recoverRequestKey(request, signature)
  } catch {
    return undefined
  }
}
