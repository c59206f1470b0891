/**
 * The deposit journal's file: locked, read, repaired and appended to.
 *
 * New lines are written at a known place, all lines of a batch at once, and count only once they are on disk; what a failed write
 * left behind is cut off before the next one.
 */

import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { lockFile } from '@dvt-relayer/common/files/file-lock.ts'
import { type Binding, formatLine, HEADER, JournalError, parseJournal } from './journal-lines.ts'

/** What a trial writes. */
const TRIAL = Buffer.alloc(512, ' ')
/** For its owner alone. */
const MODE = 0o600

export interface JournalFile extends AsyncDisposable {
  /** By validator: the vault, and the line it stands at, from 1. */
  readonly bindings: ReadonlyMap<string, { readonly vault: string; readonly line: number }>
  /** The last line was cut off by a crash and has been removed. */
  readonly tornLine: number | undefined
  /** Adds lines for validators that have none. They are on disk when it returns, or none of them counts. */
  append(added: readonly Binding[]): Promise<void>
  /** Writes something, and takes it back. */
  tryToWrite(): Promise<void>
}

/**
 * Opens the journal, makes it where it is missing, and keeps other processes out until it is disposed.
 *
 * @throws {JournalError} JOURNAL_IN_USE, JOURNAL_DAMAGED; and what the system throws
 */
export async function openJournalFile(stated: string): Promise<JournalFile> {
  await makeFolder(dirname(stated))
  // Whoever comes by another way, through a link, must meet the same lock.
  const path = await realpath(stated).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'ENOENT') return stated
    throw error
  })
  await using stack = new AsyncDisposableStack()
  const lock = lockFile(`${path}.lock`)
  if (lock === 'taken')
    throw new JournalError(
      'JOURNAL_IN_USE',
      `another sidecar uses the deposit journal ${stated}: stop it, or give each its own with JOURNAL_FILE`,
    )
  stack.use(lock)
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT, MODE)
  stack.defer(() => handle.close())
  await syncFolder(dirname(path))

  const found = await handle.readFile('latin1')
  const { bindings, text, lineCount, tornLine } = parseJournal(found, stated)
  if (text !== found) await repair(handle, text, found)
  const identity = await handle.stat({ bigint: true })
  /** Bytes that are on disk and count. */
  let size = Buffer.byteLength(text, 'latin1')
  let lines = lineCount
  /** Something may stand behind them. */
  let isDirty = false

  /** A file that was moved, removed or edited meanwhile would let what is written now be lost. */
  async function assertUnchanged(): Promise<void> {
    const now = await stat(path, { bigint: true }).catch(() => undefined)
    const isSame = now?.ino === identity.ino && now.dev === identity.dev
    if (isSame && (isDirty || now.size === BigInt(size))) return
    throw new JournalError(
      'JOURNAL_UNUSABLE',
      `the deposit journal ${stated} was changed while the sidecar runs: no deposit is signed until the sidecar is started again`,
    )
  }

  async function writeBehind(bytes: Uint8Array): Promise<void> {
    await assertUnchanged()
    if (isDirty) await handle.truncate(size)
    isDirty = true
    await writeAll(handle, bytes, size)
    await handle.sync()
  }

  const resources = stack.move()
  return {
    bindings,
    tornLine,
    async append(added) {
      const header = size === 0 ? HEADER : ''
      const bytes = Buffer.from(header + added.map(formatLine).join(''), 'latin1')
      await writeBehind(bytes)
      isDirty = false
      size += bytes.length
      lines += header.split('\n').length - 1
      for (const { publicKey, vault } of added) bindings.set(publicKey, { vault, line: ++lines })
    },
    async tryToWrite() {
      await writeBehind(TRIAL)
      await handle.truncate(size)
      await handle.sync()
      isDirty = false
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/**
 * Keeps other processes from a journal that is not there yet, without making it: two sidecars of one file shall meet when they
 * start, not at their first deposit. Undefined where no lock can be made: who signs no deposit needs no folder to write to.
 */
export async function claimJournalFile(path: string): Promise<Disposable | 'taken' | undefined> {
  try {
    await makeFolder(dirname(path))
    return lockFile(`${path}.lock`)
  } catch {
    return undefined
  }
}

/** Makes a folder and those above it, and sees that they are on disk. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let made = resolve(folder); made !== dirname(resolve(first)); made = dirname(made))
    await syncFolder(dirname(made))
}

/** A file's name is on disk once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, constants.O_RDONLY)
  await handle.sync()
}

/** Cuts a torn line off, or ends the last line. */
async function repair(handle: FileHandle, text: string, found: string): Promise<void> {
  if (text.length < found.length) await handle.truncate(text.length)
  else await writeAll(handle, Buffer.from(text.slice(found.length), 'latin1'), found.length)
  await handle.sync()
}

/** A nearly full disk takes a part. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}
