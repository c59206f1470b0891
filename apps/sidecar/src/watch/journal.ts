/** Looks at the deposit journal at boot, and again and again while it cannot be written to. */

import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { Health } from '../health.ts'
import type { Journal } from '../policy/journal.ts'
import { JournalError } from '../policy/journal-lines.ts'

const AWAY_MS = 3000

/**
 * Looks once, before anything is signed. A journal that is missing is fine unless `isNeeded`; one that cannot be written to is
 * reported, not fatal: exits need none.
 *
 * @throws {BootError} JOURNAL_DAMAGED, JOURNAL_IN_USE
 */
export async function checkJournal(journal: Journal, health: Health, isNeeded: boolean): Promise<void> {
  try {
    await (isNeeded ? journal.check() : journal.openExisting())
    health.report('journal')
  } catch (error) {
    if (error instanceof JournalError && error.code !== 'JOURNAL_UNUSABLE')
      throw new BootError(error.code, error.message, { cause: error })
    health.report('journal', messageOf(error))
  }
}

/** Goes on looking while it is out of order, so that `/ready` knows when the disk has room again. */
export function startWatchingJournal(journal: Journal, health: Health): AsyncDisposable {
  const stop = new AbortController()
  const run = async () => {
    while (!stop.signal.aborted) {
      await pause(AWAY_MS, stop.signal)
      if (stop.signal.aborted || health.isGood('journal')) continue
      await journal.check().then(
        () => health.report('journal'),
        (error: unknown) => health.report('journal', messageOf(error)),
      )
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
