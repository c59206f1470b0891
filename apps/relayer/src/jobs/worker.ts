/** The second front door: job names to the same services. A job carries ids only and does nothing the second time. */

import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import type { OracleShares } from '../services/oracles/shares.ts'
import type { Signatures } from '../services/signatures/signatures.ts'

/** Jobs at once: enough to keep the signature workers busy while others wait for the database. */
const CONCURRENCY = 3

/** Starts working on jobs. */
export function startWorker(
  queue: JobQueue,
  services: { oracleShares: OracleShares; signatures: Signatures },
): AsyncDisposable {
  return queue.startWorker(
    {
      finish_messages: ({ message_ids: messageIds }) => services.oracleShares.finish(messageIds),
      verify_partials: ({ message_ids: messageIds }) => services.signatures.verifyStored(messageIds),
    },
    { concurrency: CONCURRENCY },
  )
}
