/**
 * One vault per validator for good: the journal remembers on disk which vault each validator was first signed for, before a
 * signature for it leaves.
 *
 * Its file is opened where it is there, and made only when the first deposit is to be signed: who never signs one needs no folder to
 * write to. Until then its lock alone is held, where it can be. It grows by one line a validator that is held, whatever a relayer asks for.
 */

import { stat } from 'node:fs/promises'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Events } from '../events.ts'
import { claimJournalFile, type JournalFile, openJournalFile } from './journal-file.ts'
import { type Binding, JournalError } from './journal-lines.ts'

/** A disk that takes longer counts as one that cannot be written to. */
const DISK_MS = 5000

export interface Journal extends AsyncDisposable {
  /** Where it is. */
  readonly path: string
  /** Opens the file where it is there; else keeps others from it, or tells of one that does. @throws {JournalError} */
  openExisting(): Promise<void>
  /** Opens or makes the file and sees whether it can be written to. @throws {JournalError} */
  check(): Promise<void>
  /**
   * Binds validators to vaults: what is bound is on disk when it returns.
   *
   * @returns for each, undefined, or the line of the journal that binds the validator to another vault
   * @throws {JournalError} nobody may count on anything being bound
   */
  bind(wanted: readonly Binding[]): Promise<(number | undefined)[]>
}

/** Creates a journal at a path; touches nothing yet. */
export function createJournal(
  path: string,
  events: Pick<Events, 'journalOpened' | 'journalRepaired' | 'journalTaken' | 'keysBound'>,
): Journal {
  let file: JournalFile | undefined
  /** The lock of a file that is not there yet. */
  let claim: Disposable | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function opened(): Promise<JournalFile> {
    if (file !== undefined) return file
    release()
    file = await openJournalFile(path)
    if (file.tornLine !== undefined) events.journalRepaired(path, file.tornLine)
    events.journalOpened(path, file.bindings.size)
    return file
  }

  /** Opening takes the lock itself, by the file's real path: what was put there meanwhile may be a link. */
  function release(): void {
    claim?.[Symbol.dispose]()
    claim = undefined
  }

  /** Exits need no journal, so one that another sidecar has is no error before it is needed. */
  async function claimed(): Promise<void> {
    if (claim !== undefined) return
    const lock = await claimJournalFile(path)
    if (lock === 'taken') events.journalTaken(path)
    else claim = lock
  }

  /** One thing after the other, each bounded in time; every error is a JournalError. */
  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work)
    last = turn.catch(() => undefined)
    try {
      return await withTimeout(turn, DISK_MS)
    } catch (error) {
      throw error instanceof JournalError ? error : unusable(path, error)
    }
  }

  return {
    path,
    openExisting: () =>
      inTurn(async () => {
        await ((await exists(path)) ? opened() : claimed())
      }),
    check: () => inTurn(async () => (await opened()).tryToWrite()),
    bind: (wanted) =>
      inTurn(async () => {
        const journal = await opened()
        const fresh = new Map<string, Binding>()
        for (const binding of wanted)
          if (!journal.bindings.has(binding.publicKey) && !fresh.has(binding.publicKey))
            fresh.set(binding.publicKey, binding)
        if (fresh.size > 0) {
          await journal.append([...fresh.values()])
          events.keysBound(journal.bindings.size, fresh.size)
        }
        return wanted.map(({ publicKey, vault }) => {
          const bound = journal.bindings.get(publicKey)
          return bound?.vault === vault ? undefined : bound?.line
        })
      }),
    async [Symbol.asyncDispose]() {
      await last
      await file?.[Symbol.asyncDispose]()
      file = undefined
      release()
    },
  }
}

/** What cannot even be looked at is not there: whether that matters is seen when it is needed. */
async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function unusable(path: string, error: unknown): JournalError {
  const { code } = error as { code?: unknown }
  // SQLite's code says nothing, its message does; the system's messages repeat the path.
  const reason = typeof code === 'string' && /^E[A-Z]+$/.test(code) ? code : messageOf(error)
  return new JournalError(
    'JOURNAL_UNUSABLE',
    `the deposit journal ${path} cannot be used (${reason}): no deposit is signed until it can be written to; JOURNAL_FILE puts it elsewhere`,
    { cause: error },
  )
}
