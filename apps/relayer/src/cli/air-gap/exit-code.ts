/** How the commands for bundles end. */

import { BUNDLE_EXIT_CODES, BundleError } from '@dvt-relayer/api/bundle.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'

/** The relayer is away, or too busy: a later try may do better. */
const TRY_AGAIN = 75
const WAITS = new Set([408, 425, 429])

type Work = (args: readonly string[], signal: AbortSignal) => Promise<number>

/** A command whose failures that are about the bundle or the relayer are said in a sentence, each with a code of its own. */
export function commandOfBundle(work: Work) {
  return async (args: readonly string[], _: unknown, onSignal: (stop: () => void) => void): Promise<number> => {
    const stop = new AbortController()
    onSignal(() => stop.abort())
    try {
      return await work(args, stop.signal)
    } catch (error) {
      if (error instanceof BundleError) {
        console.error(error.message)
        return BUNDLE_EXIT_CODES[error.code]
      }
      if (!(error instanceof HttpError)) throw error
      const isPassing = mayPass(error)
      const hint = isPassing ? ': try again; what was taken before is not sent twice' : HINTS[error.status ?? 0]
      console.error(`${error.message}${hint ?? ''}`)
      return isPassing ? TRY_AGAIN : 1
    }
  }
}

const HINTS: Readonly<Record<number, string>> = {
  401: ': name the file of its token with --token-file',
  403: ': this takes the token of a sidecar, of this share index',
}

function mayPass({ code, status = 0 }: HttpError): boolean {
  if (code === 'HTTP_STATUS') return status >= 500 || WAITS.has(status)
  return code === 'HTTP_TIMEOUT' || code === 'HTTP_UNREACHABLE'
}
