/** One or several remote signers: tried in turn. While all are left alone nobody is asked and every request fails at once. */

import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { SignerError, type SignerFault } from './error.ts'
import { createSigner, type SignatureRequest, type Signer, type SignerOptions } from './signer.ts'
import type { TlsMaterial } from './tls.ts'

const TICK_MS = 500

/** What another signer is not asked after: a refusal is somebody's will, and a request nobody understands stays one. */
const IS_FINAL = new Set<SignerFault>(['refused', 'bad_request'])

export interface PoolOptions extends Omit<SignerOptions, 'onChange'> {
  readonly urls: readonly URL[]
  /** Told after each change: why none of the signers can be relied on, undefined when one can. */
  onChange(problem: string | undefined): void
}

/** Creates the pool and begins to look after its signers. Nobody is asked for signatures before it has listed its keys. */
export async function createSignerPool({ urls, onChange, ...options }: PoolOptions) {
  const stop = new AbortController()
  const tell = () => onChange(signers.some((signer) => signer.isGood()) ? undefined : problems())
  const signers = await Promise.all(urls.map((url) => createSigner(url, { ...options, onChange: tell })))
  const problems = () => signers.map((signer) => signer.problem()).join('; ')

  async function watch(): Promise<void> {
    while (!stop.signal.aborted) {
      await pause(TICK_MS, stop.signal)
      if (!stop.signal.aborted) for (const signer of signers) signer.lookIfDue(performance.now())
    }
  }
  const watching = watch()

  return {
    /**
     * Asks the signers that are there and returns the keys of all, those of a signer that is away as it last listed them. A signer
     * that was left and answers is back.
     *
     * @throws {SignerError} none has ever answered
     */
    async publicKeys(signal: AbortSignal): Promise<Set<string>> {
      const results = await Promise.allSettled(signers.map((signer) => signer.list(signal)))
      const failure = results.find((result) => result.status === 'rejected')
      if (failure !== undefined && signers.every((signer) => signer.keys() === undefined)) throw failure.reason
      return new Set(signers.flatMap((signer) => [...(signer.keys() ?? [])]))
    },
    /** A signature that is right: those that say they hold the key are asked first. @throws {SignerError} */
    async sign(request: SignatureRequest, signal: AbortSignal): Promise<Uint8Array> {
      const holds = (signer: Signer) => signer.keys()?.has(request.publicKey) === true
      let failure: SignerError | undefined
      for (const signer of signers.toSorted((a, b) => Number(holds(b)) - Number(holds(a)))) {
        if (!signer.isAsked()) continue
        try {
          return await signer.sign(request, signal)
        } catch (error) {
          if (!(error instanceof SignerError) || error.code === 'SIGNER_STOPPED') throw error
          if (error.fault !== undefined && IS_FINAL.has(error.fault)) throw error
          if (error.fault !== undefined) failure ??= error
        }
      }
      throw failure ?? new SignerError('away', problems())
    },
    /** Whether nobody would be asked now. */
    isAway: (): boolean => !signers.some((signer) => signer.isAsked()),
    /** Uses other certificates from now on. */
    renew(tls: TlsMaterial): void {
      for (const signer of signers) signer.renew(tls)
    },
    async [Symbol.asyncDispose](): Promise<void> {
      stop.abort()
      await watching
      await Promise.all(signers.map((signer) => signer[Symbol.asyncDispose]()))
    },
  }
}
export type SignerPool = Awaited<ReturnType<typeof createSignerPool>>
