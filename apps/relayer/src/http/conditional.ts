/** Answers with a validator of their content, so that who has one already is not sent it again (RFC 9110, sections 8.8.3 and 13.1.2). */

import { createHash } from 'node:crypto'
import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import type { Call } from './bind.ts'
import { Rendered } from './rendered.ts'

/** Bytes that are hashed in one go: a fraction of a millisecond. */
const AT_ONCE = 128 * 1024

/** A strong entity tag: of the same bytes the same, in every process. */
async function tagOf(body: Buffer): Promise<string> {
  const hash = createHash('sha256')
  const pieces = Array.from({ length: Math.ceil(body.length / AT_ONCE) }, (_, piece) => piece * AT_ONCE)
  await mapInPieces(pieces, 1, (from) => hash.update(body.subarray(from, from + AT_ONCE)))
  return `"${hash.digest('base64url')}"`
}

/**
 * Whether an `If-None-Match` field names the tag, or any: a list of tags, each with or without `W/`, compared weakly. What is no such
 * list names none.
 */
export function matchesTag(field: string | undefined, tag: string): boolean {
  const text = field?.trim() ?? ''
  if (text === '*') return true
  const tags = text.split(/(?<=")[ \t]*,[ \t,]*/).map((item) => item.trim())
  return (
    tags.every((item) => /^(W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/.test(item)) &&
    tags.some((item) => item.replace(/^W\//, '') === tag)
  )
}

/** Answers with these bytes, or with a 304 to who has them. The answer is the caller's own: no shared cache may keep it. */
export async function answerConditionally<Answer>(
  { request, reply }: Pick<Call<unknown>, 'request' | 'reply'>,
  body: Buffer,
): Promise<Rendered<Answer>> {
  const tag = await tagOf(body)
  reply.header('etag', tag).header('cache-control', 'private, no-cache').header('vary', 'authorization')
  if (!matchesTag(request.headers['if-none-match'], tag)) return new Rendered(body)
  reply.code(304)
  return new Rendered(undefined)
}
