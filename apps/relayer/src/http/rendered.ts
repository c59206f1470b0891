/** Answers that are bytes already. */

import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'

/**
 * An answer that is text already, mostly JSON, so that megabytes are not parsed and written anew for every poll, and what all are answered
 * counts once. What the bytes say is not the compiler's to check: who makes one vouches that it is `Answer`, and tests compare it with the
 * contract. Every other answer is a value whose fields the compiler checks.
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

/** Items that are rendered in one go: with the shares of an exit they have 5 KB each. */
const AT_ONCE = 64

/** The bytes of a JSON text with a list in it, which may be long: others have the event loop while it is made. */
export async function renderList<T>(
  head: string,
  items: readonly T[],
  textOf: (item: T, position: number) => string,
  end: string,
): Promise<Buffer> {
  const pieces = Array.from({ length: Math.ceil(items.length / AT_ONCE) }, (_, piece) => piece * AT_ONCE)
  const parts = await mapInPieces(pieces, 1, (from) => {
    const texts = items.slice(from, from + AT_ONCE).map((item, i) => textOf(item, from + i))
    return Buffer.from(`${from === 0 ? '' : ','}${texts.join(',')}`)
  })
  return Buffer.concat([Buffer.from(head), ...parts, Buffer.from(end)])
}
