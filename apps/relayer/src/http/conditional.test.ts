import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Call } from './bind.ts'
import { answerConditionally, matchesTag } from './conditional.ts'

const tag = '"xy-_z"'

describe('If-None-Match', () => {
  it.each([
    tag,
    `W/${tag}`,
    '*',
    ' * ',
    ` ${tag} `,
    `"a", ${tag}`,
    `${tag},"b"`,
    `"a" ,W/${tag}\t, "b"`,
    `"a,b",${tag}`,
    `"",${tag}`,
  ])('%s names the tag', (field) => expect(matchesTag(field, tag)).toBe(true))

  it.each([
    undefined,
    '',
    ' ',
    'xy-_z',
    '"xy-_Z"',
    '"xy-_z',
    'w/"xy-_z"',
    '"*"',
    '"a","b"',
    '"a,"xy-_z"',
    `*, ${tag}`,
    `${tag}${tag}`,
    `"a" ${tag}`,
    `W/ ${tag}`,
  ])('%s does not', (field) => expect(matchesTag(field, tag)).toBe(false))
})

it('tags a long answer by all of its bytes, between pieces of which others have the event loop', async () => {
  let round = 0
  let isOver = false
  const go = () => {
    round++
    if (!isOver) setImmediate(go)
  }
  const headers = new Map<string, string>()
  const reply = {
    header(name: string, value: string) {
      headers.set(name, value)
      return reply
    },
  }
  const call = { request: { headers: {} }, reply } as unknown as Call<unknown>
  const body = Buffer.from('0123456789abcdef!'.repeat(64 * 1024))
  setImmediate(go)
  const { bytes } = await answerConditionally(call, body)
  isOver = true
  expect(bytes).toBe(body)
  expect(headers.get('etag')).toBe(`"${createHash('sha256').update(body).digest('base64url')}"`)
  expect(round).toBeGreaterThanOrEqual(5)
})
