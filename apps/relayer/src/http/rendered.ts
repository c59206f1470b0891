/** Answers that are bytes already. */

/**
 * An answer that is JSON text already, so that megabytes are not parsed and written anew for every poll. What the bytes say is not the
 * compiler's to check: who makes one vouches that it is `Answer`, and tests compare it with the contract. Every other answer is a value
 * whose fields the compiler checks.
 */
export class Rendered<Answer> {
  /** For the compiler only: the answer that the bytes are. */
  declare readonly answer: Answer
  /** Undefined where the caller has the answer already (304). */
  readonly bytes: Buffer | undefined

  constructor(bytes: Buffer | undefined) {
    this.bytes = bytes
  }
}
