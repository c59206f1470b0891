/** The second front door: job names to the same services. A job carries ids only and does nothing the second time. */

import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import type { Finishing } from '../services/signatures/finish.ts'
import type { Verification } from '../services/signatures/verify.ts'

/** Jobs at once: enough to keep the signature workers busy while others wait for the database. */
const CONCURRENCY = 3

/** Starts working on jobs. */
export function startWorker(
  queue: JobQueue,
  services: { finishing: Finishing; verification: Verification },
): AsyncDisposable {
  return queue.startWorker(
    {
      finish_messages: ({ message_ids: messageIds }) => services.finishing.finish(messageIds),
      verify_partials: ({ message_ids: messageIds }) => services.verification.verifyStored(messageIds),
    },
    { concurrency: CONCURRENCY },
  )
}
