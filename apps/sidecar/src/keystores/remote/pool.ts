/**
 * One or several remote signers: tried in turn, and one that fails is left alone for a while.
 *
 * What a signer says of one key (it does not hold it, or refuses) is that key's matter. A signer is left where no connection can be
 * made, where it does not answer `/upcheck` after a request has failed, or where three keys in a row get nothing of use. It is
 * looked at again after 1 s, 2 s … 30 s; one that had answered, but with nothing of use, has to sign before it counts as good. While
 * all are left nobody is asked and every request fails at once.
 */

import { createBackoff } from '@dvt-relayer/common/backoff.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { createSemaphore } from '@dvt-relayer/common/semaphore.ts'
import type { Events } from '../../events.ts'
import type { SignerOutcome } from '../../metrics.ts'
import { askPublicKeys, askSignature, askWhetherUp } from './api.ts'
import { SignerError, type SignerFault } from './error.ts'
import { createSignerHttp, type SignerHttp } from './http.ts'
import type { TlsMaterial } from './tls.ts'

/** Requests on their way to one signer at once. */
const CONNECTIONS = 16
/** Keys that fail one after the other, none succeeding between, before the fault is the signer's. */
const KEYS_IN_A_ROW = 3
const BACKOFF = { firstMs: 1000, mostMs: 30_000 }
/** One that seems fine is looked at this often. */
const CHECK_MS = 15_000
const TICK_MS = 500

/** What another signer is not asked after: a refusal is somebody's will, and a request nobody understands stays one. */
const IS_FINAL = new Set<SignerFault>(['refused', 'bad_request'])
/** There is no signer behind such an answer. */
const IS_GONE = new Set<SignerFault>(['unreachable', 'tls'])
/** The key's matter alone. */
const IS_OF_KEY = new Set<SignerFault>(['unknown_key', 'refused', 'bad_request'])

interface Signer {
  readonly http: SignerHttp
  readonly semaphore: ReturnType<typeof createSemaphore>
  readonly backoff: ReturnType<typeof createBackoff>
  /** As last listed; undefined before. */
  keys: ReadonlySet<string> | undefined
  /** `tried` is one that is asked again after it failed, and has not signed anything since. */
  state: 'new' | 'good' | 'left' | 'tried'
  /** Why it is left alone or under trial. */
  problem: string
  lookAt: number
  looking: Promise<void> | undefined
  /** Keys that failed since the last success. */
  readonly failed: Set<string>
  /** It answers, but with nothing of use: only a signature shows that it is good again. */
  mustSign: boolean
}

export interface SignerPool extends AsyncDisposable {
  /**
   * Asks the signers that are there and returns the keys of all, those of a signer that is away as it last listed them. A signer that
   * was left and answers is back.
   *
   * @throws {SignerError} none has ever answered
   */
  publicKeys(signal: AbortSignal): Promise<Set<string>>
  /**
   * A signature that `isRight`.
   *
   * @param publicKey of the key share
   * @throws {SignerError}
   */
  sign(
    publicKey: string,
    body: string,
    isRight: (signature: Uint8Array) => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<Uint8Array>
  /** Whether nobody would be asked now. */
  isAway(): boolean
  /** How each is doing. */
  states(): { host: string; problem: string | undefined; keys: number | undefined }[]
  /** Uses other certificates from now on. */
  renew(tls: TlsMaterial): void
}

export interface PoolOptions {
  urls: readonly URL[]
  timeoutMs: number
  tls: TlsMaterial
  events: Pick<Events, 'signerAsked' | 'signerLeft' | 'signerBack' | 'signerFound'>
  /** Told after each change: why none of the signers can be relied on, undefined when one can. */
  onChange(problem: string | undefined): void
  /** Told when a signer that was left, or new, may be asked. */
  onBack(): void
}

/** Creates the pool and begins to look after its signers. Nobody is asked for signatures before it has listed its keys. */
export function createSignerPool({ urls, timeoutMs, tls, events, onChange, onBack }: PoolOptions): SignerPool {
  const stop = new AbortController()
  const signers = urls.map(
    (url): Signer => ({
      http: createSignerHttp(url, { timeoutMs, connections: CONNECTIONS, tls }),
      semaphore: createSemaphore(CONNECTIONS),
      backoff: createBackoff(BACKOFF),
      keys: undefined,
      state: 'new',
      problem: `the remote signer ${url.host} has not been asked yet`,
      lookAt: Number.POSITIVE_INFINITY,
      looking: undefined,
      failed: new Set(),
      mustSign: false,
    }),
  )
  const isAsked = ({ state }: Signer) => state === 'good' || state === 'tried'
  const problems = () => signers.map(({ problem }) => problem).join('; ')

  function tell(): void {
    onChange(signers.some(({ state }) => state === 'good') ? undefined : problems())
  }

  function leave(signer: Signer, problem: string, mustSign: boolean): void {
    signer.mustSign = mustSign
    signer.failed.clear()
    if (signer.state === 'new' || signer.state === 'good') events.signerLeft(signer.http.host, problem)
    signer.state = 'left'
    signer.problem = problem
    signer.lookAt = performance.now() + signer.backoff.fail()
    tell()
  }

  /** It answers: one that could not be asked at all is good again, one that signed nothing of use has to show it. */
  function welcome(signer: Signer): void {
    signer.lookAt = performance.now() + CHECK_MS
    if (isAsked(signer)) return
    if (!signer.mustSign) {
      if (signer.state === 'left') events.signerBack(signer.http.host)
      signer.state = 'good'
    } else signer.state = 'tried'
    tell()
    onBack()
  }

  /** It has signed. */
  function praise(signer: Signer): void {
    signer.failed.clear()
    signer.backoff.reset()
    if (signer.state !== 'tried') return
    signer.state = 'good'
    events.signerBack(signer.http.host)
    tell()
  }

  /** One that has never listed its keys is asked for them, the others whether they are up. */
  async function lookOnce(signer: Signer): Promise<void> {
    try {
      if (signer.keys === undefined) await list(signer, stop.signal)
      else await askWhetherUp(signer.http, stop.signal)
      welcome(signer)
    } catch (error) {
      if (!stop.signal.aborted) leave(signer, messageOf(error), false)
    }
  }

  function look(signer: Signer): Promise<void> {
    signer.looking ??= lookOnce(signer).finally(() => {
      signer.looking = undefined
    })
    return signer.looking
  }

  async function list(signer: Signer, signal: AbortSignal): Promise<void> {
    const keys = await askPublicKeys(signer.http, signal)
    if (signer.keys?.size !== keys.size) events.signerFound(signer.http.host, keys.size)
    signer.keys = keys
  }

  /** What a failed request says of the signer itself. */
  function judge(signer: Signer, { fault, message }: SignerError, publicKey: string): void {
    if (fault === undefined || !isAsked(signer) || IS_OF_KEY.has(fault)) return
    const isGone = IS_GONE.has(fault)
    if (!isGone) signer.failed.add(publicKey)
    if (isGone || signer.state === 'tried' || signer.failed.size >= KEYS_IN_A_ROW) leave(signer, message, !isGone)
    else if (fault !== 'wrong_signature') void look(signer)
  }

  /** Asks one signer when there is room. Whether the signature is right is found out when the room is free for others again. */
  async function signBy(
    signer: Signer,
    publicKey: string,
    body: string,
    isRight: (signature: Uint8Array) => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const { host } = signer.http
    let start = 0
    const count = (outcome: SignerOutcome) => events.signerAsked(outcome, (performance.now() - start) / 1000)
    try {
      const signature = await signer.semaphore.run(() => {
        if (signal.aborted) throw new SignerError('stopped', 'the remote signer is not asked any more')
        // While this one waited, others may have found out.
        if (!isAsked(signer)) throw new SignerError('away', signer.problem)
        start = performance.now()
        return askSignature(signer.http, publicKey, body, signal)
      })
      if (!(await isRight(signature)))
        throw new SignerError('wrong_signature', `the remote signer ${host} answers with a wrong signature`)
      count('ok')
      praise(signer)
      return signature
    } catch (error) {
      if (error instanceof SignerError && error.fault !== undefined) {
        count(error.fault)
        judge(signer, error, publicKey)
      }
      throw error
    }
  }

  async function watch(): Promise<void> {
    while (!stop.signal.aborted) {
      await pause(TICK_MS, stop.signal)
      const now = performance.now()
      for (const signer of signers) if (signer.lookAt <= now && !stop.signal.aborted) void look(signer)
    }
  }
  const watching = watch()

  return {
    async publicKeys(signal) {
      const results = await Promise.allSettled(signers.map((signer) => list(signer, signal)))
      for (const [position, result] of results.entries()) {
        const signer = signers[position]
        if (signer === undefined || signal.aborted) continue
        if (result.status === 'rejected') leave(signer, messageOf(result.reason), false)
        else welcome(signer)
      }
      const failure = results.find((result) => result.status === 'rejected')
      if (failure !== undefined && signers.every(({ keys }) => keys === undefined)) throw failure.reason
      return new Set(signers.flatMap(({ keys = new Set<string>() }) => [...keys]))
    },
    async sign(publicKey, body, isRight, signal) {
      // First those that say they hold the key.
      const holds = ({ keys }: Signer) => keys?.has(publicKey) === true
      const order = [...signers.filter(holds), ...signers.filter((signer) => !holds(signer))]
      let failure: SignerError | undefined
      for (const signer of order) {
        if (!isAsked(signer)) continue
        try {
          return await signBy(signer, publicKey, body, isRight, signal)
        } catch (error) {
          if (!(error instanceof SignerError) || error.code === 'SIGNER_STOPPED') throw error
          if (error.fault !== undefined && IS_FINAL.has(error.fault)) throw error
          if (error.fault !== undefined) failure ??= error
        }
      }
      throw failure ?? new SignerError('away', problems())
    },
    isAway: () => !signers.some(isAsked),
    states: () =>
      signers.map(({ http, state, problem, keys }) => ({
        host: http.host,
        problem: state === 'good' ? undefined : problem,
        keys: keys?.size,
      })),
    renew(fresh) {
      for (const { http } of signers) http.renew(fresh)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watching
      await Promise.all(signers.map(({ looking }) => looking))
      for (const { http } of signers) http[Symbol.dispose]()
    },
  }
}
