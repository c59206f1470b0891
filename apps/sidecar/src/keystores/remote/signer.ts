/** One remote signer: its keys, its signatures, and whether it is to be asked at all. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { createSemaphore } from '@dvt-relayer/common/flow/semaphore.ts'
import type { Events } from '../../events.ts'
import type { SignerOutcome } from '../../metrics.ts'
import { SignerError } from './error.ts'
import type { Holder } from './holder.ts'
import { createSignerHttp, type SignerHttp } from './signer-http.ts'
import { createSignerState } from './signer-state.ts'
import type { TlsMaterial } from './tls.ts'

/** Requests on their way to one signer at once. */
const CONNECTIONS = 16

/** A request for a signature. */
export interface SignatureRequest {
  /** Of the key share: 48 bytes, lower-case hex with `0x`. */
  readonly publicKey: string
  /** Asks for it: 96 bytes that may or may not be a signature. @throws {SignerError} */
  ask(http: SignerHttp, signal: AbortSignal): Promise<Uint8Array>
  /** Whether these 96 bytes are the signature that was asked for. */
  isRight(signature: Uint8Array): Promise<boolean>
}

/** How a signer is asked for all but signatures. Each throws a SignerError. */
export interface SignerApi {
  /** Public keys of what it can sign with: lower-case hex with `0x`. */
  askPublicKeys(http: SignerHttp, signal: AbortSignal): Promise<Set<string>>
  askWhetherUp(http: SignerHttp, signal: AbortSignal): Promise<void>
}

export interface SignerOptions {
  readonly holder: Holder
  readonly api: SignerApi
  /** Of every request, beside those of the URL. */
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly tls: TlsMaterial
  readonly events: Pick<Events, 'signerAsked' | 'signerLeft' | 'signerBack' | 'signerFound'>
  /** Told after each change of its state. */
  onChange(): void
  /** Told when it was left, or new, and may be asked. */
  onBack(): void
}

/** Creates a signer that has not been asked yet. It is asked for signatures only once it has listed its keys. */
export async function createSigner(url: URL, { api, events, onChange, onBack, ...options }: SignerOptions) {
  const http = await createSignerHttp(url, { ...options, connections: CONNECTIONS })
  const { host, title } = http
  const semaphore = createSemaphore(CONNECTIONS)
  const state = createSignerState({ host, title, events, onChange, onBack })
  const stop = new AbortController()
  /** As last listed; undefined before. */
  let keys: ReadonlySet<string> | undefined
  let looking: Promise<void> | undefined

  async function askForKeys(signal: AbortSignal): Promise<void> {
    const listed = await api.askPublicKeys(http, signal)
    if (keys?.size !== listed.size) events.signerFound(host, listed.size)
    keys = listed
  }

  /** One that has never listed its keys is asked for them, the others whether they are up. */
  async function lookOnce(): Promise<void> {
    try {
      await (keys === undefined ? askForKeys(stop.signal) : api.askWhetherUp(http, stop.signal))
      state.answered(performance.now())
    } catch (error) {
      if (!stop.signal.aborted) state.gone(messageOf(error), performance.now())
    }
  }

  function look(): void {
    looking ??= lookOnce().finally(() => {
      looking = undefined
    })
  }

  return {
    host,
    isAsked: state.isAsked,
    isGood: state.isGood,
    problem: state.problem,
    keys: () => keys,
    renew: http.renew,
    /** Looks whether it is there when its time has come. */
    lookIfDue(now: number): void {
      if (state.lookAt() <= now) look()
    },
    /** Asks for its keys, and takes from the answer how it is doing. @throws {SignerError} */
    async list(signal: AbortSignal): Promise<void> {
      try {
        await askForKeys(signal)
      } catch (error) {
        if (!signal.aborted) state.gone(messageOf(error), performance.now())
        throw error
      }
      if (!signal.aborted) state.answered(performance.now())
    },
    /**
     * Asks for a signature when there is room. Whether it is right is found out when the room is free for others again.
     *
     * @throws {SignerError}
     */
    async sign({ publicKey, ask, isRight }: SignatureRequest, signal: AbortSignal): Promise<Uint8Array> {
      let start = 0
      const count = (outcome: SignerOutcome) => events.signerAsked(outcome, (performance.now() - start) / 1000)
      try {
        const signature = await semaphore.run(() => {
          if (signal.aborted) throw new SignerError('stopped', `the ${title} is not asked any more`)
          // While this one waited, others may have found out.
          if (!state.isAsked()) throw new SignerError('away', state.problem())
          start = performance.now()
          return ask(http, signal)
        })
        if (!(await isRight(signature)))
          throw new SignerError('wrong_signature', `the ${title} answers with a wrong signature${options.holder.wrong}`)
        count('ok')
        state.signed()
        return signature
      } catch (error) {
        if (error instanceof SignerError && error.fault !== undefined) {
          count(error.fault)
          if (state.failedToSign(error, publicKey, performance.now())) look()
        }
        throw error
      }
    },
    async [Symbol.asyncDispose](): Promise<void> {
      stop.abort()
      await looking
      await http[Symbol.asyncDispose]()
    },
  }
}
export type Signer = Awaited<ReturnType<typeof createSigner>>
