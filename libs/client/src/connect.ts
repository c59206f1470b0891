/** A relayer, asked over HTTP: time-outs, retries, bounds, and refusals in the relayer's own words. */

import { createRelayerClient, type RelayerClient, type Send } from '@dvt-relayer/api/client.ts'
import { ErrorResponse, type Failure } from '@dvt-relayer/api/schemas.ts'
import { CodedError } from '@dvt-relayer/common/errors.ts'
import { type HttpAnswer, parseAnswer } from '@dvt-relayer/common/http/client.ts'
import { Compile } from 'typebox/compile'
import type { Authenticate } from './authentication.ts'
import { createRequests } from './requests.ts'

export interface RelayerOptions {
  /** Where it is; a token may stand in it, as `https://name:token@relayer.example`. */
  url: string | URL
  /** How requests show who asks; nothing where that is left out and the URL holds no token. */
  authenticate?: Authenticate
  /** Milliseconds for one attempt, what a long poll waits not counted; 30,000 unless given. */
  timeoutMs?: number
  /** For how many milliseconds a request is repeated while the relayer is away or asks to come later; 60,000 unless given. */
  retryMs?: number
}

/** The relayer refuses a request: `code` is what programs act on (docs/reference/errors.md), the message says what to do. */
export class RelayerRefusal extends CodedError {
  readonly status: number
  /** Stands in the relayer's log as well. */
  readonly requestId: string | undefined
  /** Which items of a batch were refused, and why. */
  readonly failures: readonly Failure[]

  constructor(status: number, { code, message, request_id: requestId, failures = [] }: Partial<ErrorResponse>) {
    super(code ?? 'UNKNOWN', message ?? `the relayer answers with status ${status}`, { meta: { status } })
    this.status = status
    this.requestId = requestId
    this.failures = failures
  }
}

/** Lists of 100,000 validators are some 40 MB. */
const BOUNDS = { maxBytes: 64 * 1024 * 1024, maxValues: 6_000_000 }
/** Refusals that pass by themselves are tried again; all others are final. */
const PASSING = new Set([408, 425, 429])

const isAnswer = (status: number): boolean =>
  (status >= 200 && status < 300) || (status >= 400 && status < 500 && !PASSING.has(status))

const refusal = Compile(ErrorResponse)

/**
 * The client of a relayer. Every request of the protocol may be repeated, so each is, while the relayer is away.
 *
 * Its calls throw {@link RelayerRefusal} where the relayer refuses, `HttpError` where it cannot be reached in time, and `ContractError` where
 * its answer is not what the protocol says.
 *
 * @throws {TypeError} the URL is none of http or https
 */
export function connectRelayer({
  url,
  authenticate,
  timeoutMs = 30_000,
  retryMs = 60_000,
}: RelayerOptions): RelayerClient {
  const ask = createRequests({
    endpoints: [url],
    timeoutMs,
    retryTimeoutMs: retryMs,
    program: 'dvt-relayer-client',
    authenticate,
    ...BOUNDS,
  })
  const send: Send = async (request) => {
    const answer = await ask(request, { idempotent: true, accepts: isAnswer })
    if (answer.status >= 400) throw await refusalOf(answer)
    return parseAnswer(answer)
  }
  return createRelayerClient(send)
}

/** The error that a refusal is. */
async function refusalOf(answer: HttpAnswer): Promise<RelayerRefusal> {
  let value: unknown
  try {
    value = await parseAnswer(answer)
  } catch {
    return new RelayerRefusal(answer.status, {})
  }
  return new RelayerRefusal(answer.status, refusal.Check(value) ? value : {})
}
