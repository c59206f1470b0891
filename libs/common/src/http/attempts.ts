/** Attempts at several endpoints: each is admitted before its answer counts, timed and counted. */

import type { Endpoint } from './endpoint.ts'
import { HttpError, type HttpOutcome, mayBeReplaced, outcomeOf } from './error.ts'
import { sendOnce } from './send.ts'
import type { HttpAnswer, HttpAsk, HttpClientOptions, HttpRequest } from './types.ts'

/**
 * Creates what sends one request to one endpoint. `each` is what the check of an endpoint asks with, in the endpoints' order;
 * undefined when there is no check.
 */
export function createAttempts(options: HttpClientOptions, each: readonly HttpAsk[] | undefined) {
  /** Of all endpoints: what one of them lost, the one that takes over has to prove. */
  let failures = 0

  async function assertAdmitted(endpoint: Endpoint, { isVouched = false }: HttpRequest): Promise<void> {
    const checker = each?.[endpoint.position]
    if (checker === undefined) return
    if (options.admit !== undefined && endpoint.admittedAt !== failures) {
      const before = failures
      await options.admit(checker)
      endpoint.admittedAt = before
    }
    if (isVouched) await vouchFor(checker)
  }

  async function vouchFor(checker: HttpAsk): Promise<void> {
    try {
      await options.vouch?.(checker)
    } catch (error) {
      // One that does not answer may be another node when it comes back.
      if (error instanceof HttpError && mayBeReplaced(error)) failures++
      throw error
    }
  }

  return async function attempt<T>(
    endpoint: Endpoint,
    request: HttpRequest,
    read: (answer: HttpAnswer) => T | Promise<T>,
  ): Promise<T> {
    await assertAdmitted(endpoint, request)
    const start = performance.now()
    let outcome: HttpOutcome = 'ok'
    let value: T
    try {
      value = await read(await sendOnce(endpoint, request, options))
    } catch (error) {
      outcome = outcomeOf(error)
      if (mayBeReplaced(error)) failures++
      throw error
    } finally {
      options.onResult?.({ host: endpoint.host, outcome, seconds: (performance.now() - start) / 1000 })
    }
    // Where another request has failed meanwhile, this answer may be from what came back.
    await assertAdmitted(endpoint, request)
    return value
  }
}
