/** The one base of every error this project throws on purpose. */

/** What an error says besides its message: short, public facts, never a key, a signature or a body. */
export type ErrorMeta = Readonly<Record<string, string | number | boolean | readonly string[] | readonly number[]>>

/**
 * An error with a code. `code` is what programs act on, `message` what a tired operator reads, `meta` the facts.
 * Each library narrows `Code` to a closed union of its own (`CryptoError`, `ChainError`, …).
 */
export class CodedError<Code extends string = string> extends Error {
  readonly code: Code
  readonly meta: ErrorMeta

  constructor(code: Code, message: string, options: { cause?: unknown; meta?: ErrorMeta } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.meta = options.meta ?? {}
  }
}

/** A wrong setting, key, chain or database: the process says so and exits with code 1; a restart would not help. */
export class BootError extends CodedError<string> {}

export type TextErrorCode =
  /** It is of another encoding than UTF-8. */
  | 'TEXT_ENCODING'
  /** It has more bytes than what it should be can have. */
  | 'TEXT_TOO_LARGE'
  | 'JSON_INVALID'
  /** JSON that is nested deeper than any format has. */
  | 'JSON_TOO_DEEP'
  /** JSON with more values than what it should be can have. */
  | 'JSON_TOO_MANY'
  /** JSON with a value that is longer than any that it should have. */
  | 'JSON_TOO_LONG'

/** A text from outside that is not what it should be; the message completes "the file …". */
export class TextError extends CodedError<TextErrorCode> {}

/** Why a file cannot be read: the system's code (such as ENOENT, EACCES), without the path that its message would hold, or what is wrong with its text. */
export function reasonOf(error: unknown): string {
  if (error instanceof TextError) return `it ${error.message}`
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'unknown reason'
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
