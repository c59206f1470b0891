/** Answers with a validator of their content, so that who has one already is not sent it again (RFC 9110, sections 8.8.3 and 13.1.2). */

import { createHash } from 'node:crypto'
import type { AnswerOf } from '@dvt-relayer/api/contract.ts'
import type { Call } from './bind.ts'
import { Rendered } from './rendered.ts'

/** A strong entity tag: of the same bytes the same, in every process. */
const tagOf = (body: Buffer): string => `"${createHash('sha256').update(body).digest('base64url')}"`

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

/** Answers with `content` as JSON, or with a 304 to who has it. The answer is the caller's own: no shared cache may keep it. */
export function answerConditionally<R>({ request, reply }: Call<R>, content: AnswerOf<R>): Rendered<AnswerOf<R>> {
  const body = Buffer.from(JSON.stringify(content))
  const tag = tagOf(body)
  reply.header('etag', tag).header('cache-control', 'private, no-cache').header('vary', 'authorization')
  if (!matchesTag(request.headers['if-none-match'], tag)) return new Rendered(body)
  reply.code(304)
  return new Rendered(undefined)
}
