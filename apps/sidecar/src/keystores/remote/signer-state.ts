/**
 * How one remote signer is doing, and whether it is asked.
 *
 * What a signer says of one key (it does not hold it, or refuses) is that key's matter. A signer is left where no connection can be
 * made, where it does not answer `/upcheck` after a request has failed, or where three keys in a row get nothing of use. It is
 * looked at again after 1 s, 2 s … 30 s; one that had answered, but with nothing of use, has to sign before it counts as good.
 */

import { createBackoff } from '@dvt-relayer/common/flow/backoff.ts'
import type { Events } from '../../events.ts'
import type { SignerError, SignerFault } from './error.ts'

/** Keys that fail one after the other, none succeeding between, before the fault is the signer's. */
const KEYS_IN_A_ROW = 3
const BACKOFF = { firstMs: 1000, mostMs: 30_000 }
/** One that seems fine is looked at this often. */
const CHECK_MS = 15_000

/** There is no signer behind such an answer. */
const IS_GONE = new Set<SignerFault>(['unreachable', 'tls'])
/** The key's matter alone. */
const IS_OF_KEY = new Set<SignerFault>(['unknown_key', 'refused', 'bad_request', 'wrong_message'])

interface SignerStateOptions {
  readonly host: string
  /** What it is, and its host. */
  readonly title: string
  readonly events: Pick<Events, 'signerLeft' | 'signerBack'>
  /** Told after each change. */
  onChange(): void
  /** Told when it was left, or new, and may be asked. */
  onBack(): void
}

/** Creates the state of a signer that has not been asked yet. */
export function createSignerState({ host, title, events, onChange, onBack }: SignerStateOptions) {
  const backoff = createBackoff(BACKOFF)
  /** Keys that failed since the last success. */
  const failed = new Set<string>()
  /** `tried` is one that is asked again after it failed, and has not signed anything since. */
  let state: 'new' | 'good' | 'left' | 'tried' = 'new'
  let problem = `the ${title} has not been asked yet`
  let lookAt = Number.POSITIVE_INFINITY
  /** It answers, but with nothing of use: only a signature shows that it is good again. */
  let mustSign = false
  const isAsked = () => state === 'good' || state === 'tried'

  function leave(why: string, now: number, options: { mustSign: boolean }): void {
    mustSign = options.mustSign
    failed.clear()
    if (state === 'new' || state === 'good') events.signerLeft(host, why)
    state = 'left'
    problem = why
    lookAt = now + backoff.fail()
    onChange()
  }

  return {
    isAsked,
    isGood: (): boolean => state === 'good',
    /** Why it is left alone or under trial; what it last was, for one that is good. */
    problem: (): string => problem,
    /** When it is to be looked at. */
    lookAt: (): number => lookAt,
    /** It is away. */
    gone: (why: string, now: number): void => leave(why, now, { mustSign: false }),
    /** It answers: one that could not be asked at all is good again, one that signed nothing of use has to show it. */
    answered(now: number): void {
      lookAt = now + CHECK_MS
      if (isAsked()) return
      if (!mustSign && state === 'left') events.signerBack(host)
      state = mustSign ? 'tried' : 'good'
      onChange()
      onBack()
    },
    /** It has signed. */
    signed(): void {
      failed.clear()
      backoff.reset()
      if (state !== 'tried') return
      state = 'good'
      events.signerBack(host)
      onChange()
    },
    /** A request for a signature by this key has failed. Returns whether it is to be asked if it is up. */
    failedToSign({ fault, message }: SignerError, publicKey: string, now: number): boolean {
      if (fault === undefined || !isAsked() || IS_OF_KEY.has(fault)) return false
      const isGone = IS_GONE.has(fault)
      if (!isGone) failed.add(publicKey)
      if (!isGone && state !== 'tried' && failed.size < KEYS_IN_A_ROW) return fault !== 'wrong_signature'
      leave(message, now, { mustSign: !isGone })
      return false
    },
  }
}
