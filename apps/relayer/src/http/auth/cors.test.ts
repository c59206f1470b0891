import type { FastifyReply, FastifyRequest } from 'fastify'
import { expect, it } from 'vitest'
import { allowOrigin, answerPreflight, isPreflight } from './cors.ts'

const request = (method: string, headers: Record<string, string> = {}) =>
  ({ method, headers }) as unknown as FastifyRequest
const [origin, asks] = [{ origin: 'https://page.example' }, { 'access-control-request-method': 'POST' }]

/** A reply that notes what is answered. */
function replyNoting() {
  const noted: Record<string, unknown> = {}
  const note = (name: string) => (value: unknown) => {
    noted[name] = value
    return reply
  }
  const reply = {
    header: (name: string, value: string) => note(name)(value),
    code: note('code'),
    type: note('type'),
    send: note('body'),
  } as unknown as FastifyReply
  return { reply, noted }
}

it('a browser’s question is OPTIONS from a page for a method, and nothing that lacks one of these', () => {
  expect(isPreflight(request('OPTIONS', { ...origin, ...asks }))).toBe(true)
  for (const other of [
    request('GET', { ...origin, ...asks }),
    request('OPTIONS', origin),
    request('OPTIONS', asks),
    request('OPTIONS'),
  ])
    expect(isPreflight(other)).toBe(false)
})

it('a page may read an answer, and who is none is told nothing of pages', () => {
  const [page, program] = [replyNoting(), replyNoting()]
  allowOrigin(request('GET', origin), page.reply)
  allowOrigin(request('GET'), program.reply)
  expect(page.noted).toEqual({
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'etag, retry-after, x-request-id',
  })
  expect(program.noted).toEqual({})
})

it('a question is answered in any case, and something granted where tokens are set', () => {
  const [fenced, open] = [replyNoting(), replyNoting()]
  answerPreflight(fenced.reply, ['POST', 'GET'], false)
  answerPreflight(open.reply, ['POST', 'GET'], true)
  const answered = { code: 200, type: 'text/plain; charset=utf-8', body: 'OK' }
  expect(open.noted).toEqual(answered)
  expect(fenced.noted).toEqual({
    ...answered,
    'access-control-allow-methods': 'POST, GET',
    'access-control-allow-headers': 'authorization, content-type, if-none-match',
    'access-control-max-age': '600',
  })
})
