/**
 * The text of the deposit journal: one line for each validator, `0x<48 bytes> 0x<20 bytes> <checksum>`, and comments after `#`.
 *
 * The checksum, the first 4 bytes of SHA-256 over the rest of the line, is against accidents, not against people. Lines do not
 * depend on each other: whoever removes one on purpose leaves the others good.
 */

import { hash } from 'node:crypto'
import { CodedError } from '@dvt-relayer/common/errors.ts'
import { findForeignEncoding } from '@dvt-relayer/common/files/text-file.ts'

export type JournalErrorCode =
  /** A line cannot be read, or two lines contradict each other. */
  | 'JOURNAL_DAMAGED'
  /** Another sidecar has it. */
  | 'JOURNAL_IN_USE'
  /** It cannot be opened, read or written now. */
  | 'JOURNAL_UNUSABLE'

/** What is wrong with the journal; the message says what to do. */
export class JournalError extends CodedError<JournalErrorCode> {}

/** A validator (48 bytes) and the one vault (20 bytes) it may ever deposit to; lower-case hex with `0x`. */
export interface Binding {
  readonly publicKey: string
  readonly vault: string
}

/** What a new journal starts with. */
export const HEADER =
  '# Deposit journal of a dvt-relayer sidecar: validator, the only vault it may deposit to, checksum.\n' +
  '# A deposit signature never expires. Keep this file as long as the keys, and stop the sidecar before you touch it.\n'

const LINE = /^(0x[0-9a-f]{96}) (0x[0-9a-f]{40}) ([0-9a-f]{8})$/

const checksumOf = ({ publicKey, vault }: Binding): string => hash('sha256', `${publicKey} ${vault}`, 'hex').slice(0, 8)

/** The line of a binding, with its line break. */
export function formatLine(binding: Binding): string {
  return `${binding.publicKey} ${binding.vault} ${checksumOf(binding)}\n`
}

export interface ParsedJournal {
  /** By validator: the vault, and the line it stands at, from 1. */
  readonly bindings: Map<string, { vault: string; line: number }>
  /** The text as it should be: without a last line that a crash cut off, with a line break at its end. */
  readonly text: string
  readonly lineCount: number
  /** The line that was cut off, from 1. */
  readonly tornLine: number | undefined
}

/**
 * Reads a journal.
 *
 * A last line without a line break was being written when the process or the machine died: no signature had left for it, so it may
 * go unless it is whole. Everything else that cannot be read is damage.
 *
 * @param file how errors name it
 * @throws {JournalError} JOURNAL_DAMAGED
 */
export function parseJournal(text: string, file: string): ParsedJournal {
  const encoding = findForeignEncoding(Buffer.from(text.slice(0, 4), 'latin1'))
  if (encoding !== undefined)
    throw new JournalError('JOURNAL_DAMAGED', `the deposit journal ${file} is ${encoding} text: save it as UTF-8`)
  const bindings: ParsedJournal['bindings'] = new Map()
  const lines = text.split('\n')
  const last = lines.pop() ?? ''
  for (const [position, line] of lines.entries()) take(bindings, line, position + 1, file)
  const whole = text.slice(0, text.length - last.length)
  const lineCount = lines.length
  if (last === '') return { bindings, text: whole, lineCount, tornLine: undefined }
  if (last === '\r' || parseLine(last) === undefined)
    return { bindings, text: whole, lineCount, tornLine: lineCount + 1 }
  take(bindings, last, lineCount + 1, file)
  return { bindings, text: `${text}\n`, lineCount: lineCount + 1, tornLine: undefined }
}

function take(bindings: ParsedJournal['bindings'], text: string, line: number, file: string): void {
  const parsed = parseLine(text)
  if (parsed === undefined)
    throw new JournalError(
      'JOURNAL_DAMAGED',
      `line ${line} of the deposit journal ${file} is damaged: put a good copy of the file in its place; remove the line only if its validator has deposited or no deposit signature of it can be in use`,
    )
  if (parsed === 'comment') return
  const earlier = bindings.get(parsed.publicKey)
  if (earlier !== undefined && earlier.vault !== parsed.vault)
    throw new JournalError(
      'JOURNAL_DAMAGED',
      `lines ${earlier.line} and ${line} of the deposit journal ${file} bind one validator to two vaults: remove the one that is wrong`,
    )
  if (earlier === undefined) bindings.set(parsed.publicKey, { vault: parsed.vault, line })
}

/**
 * A line without its line break; undefined when it is neither a binding nor a comment. An editor may have put a byte order mark (in
 * Latin-1, as the file is read) before the first one, and a carriage return after each.
 */
function parseLine(text: string): Binding | 'comment' | undefined {
  const line = text.replace(/^\u00ef\u00bb\u00bf/, '').replace(/\r$/, '')
  if (line === '' || line.startsWith('#')) return 'comment'
  const [, publicKey = '', vault = '', checksum] = LINE.exec(line) ?? []
  return checksum === checksumOf({ publicKey, vault }) ? { publicKey, vault } : undefined
}
