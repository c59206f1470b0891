import { expect, it, vi } from 'vitest'
import { createRequests } from './requests.ts'

it('each attempt says the time at which it is made, and is signed anew', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-01-01T00:00:00Z') })
  try {
    const sent: Headers[] = []
    let signed = 0
    const ask = createRequests({
      endpoints: ['https://relayer.example'],
      program: 'test',
      timeoutMs: 10_000,
      retryTimeoutMs: 10_000,
      backoffMs: { first: 1, most: 1 },
      authenticate: () => ({ authorization: `Node ${++signed}` }),
      fetch: async (_url, { headers }) => {
        sent.push(new Headers(headers))
        vi.setSystemTime(Date.now() + 60_000)
        return new Response('{}', { status: sent.length === 1 ? 503 : 200 })
      },
    })
    await ask({ method: 'GET', path: '/info', query: {}, extraMs: 0, signal: new AbortController().signal })
    expect(
      sent.map((headers) => [headers.get('date'), headers.get('authorization'), headers.get('user-agent')]),
    ).toEqual([
      ['Thu, 01 Jan 2026 00:00:00 GMT', 'Node 1', expect.stringMatching(/^test\//)],
      ['Thu, 01 Jan 2026 00:01:00 GMT', 'Node 2', expect.stringMatching(/^test\//)],
    ])
  } finally {
    vi.useRealTimers()
  }
})
