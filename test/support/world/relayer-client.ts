/** The client library as tests use it where they are not about the wire itself: nothing is repeated, so that what is wrong shows at once. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import { connectRelayer } from '@dvt-relayer/client/connect.ts'

/** One for each caller: to compile the shapes of all answers takes longer than most requests. */
const clients = new Map<string, RelayerClient>()

/** The relayer at this URL, asked by whom the headers say. @throws (its calls) RelayerRefusal, HttpError, ContractError */
export function relayerAt(url: string, headers: Readonly<Record<string, string>> = {}): RelayerClient {
  const key = `${url} ${JSON.stringify(headers)}`
  const known = clients.get(key)
  if (known !== undefined) return known
  const client = connectRelayer({ url, authenticate: () => headers, retryMs: 0 })
  clients.set(key, client)
  return client
}

/** For requests that end by their own time-out. */
export const unending = new AbortController().signal
