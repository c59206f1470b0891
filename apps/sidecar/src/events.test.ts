/** What a sidecar writes, and what a relayer can make it write. */

import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { expect, it } from 'vitest'
import { createEvents } from './events.ts'
import { createHealth } from './health.ts'

it('says of what is away what that means, and since when it was, once it is back', () => {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) }
  let now = 1_800_000_000_000
  const health = createHealth(
    ['relayer'],
    createEvents(createLogger({ level: 'info', format: 'json', destination }), () => now),
  )
  // Poll after poll.
  for (const problem of [undefined, 'no connection to the relayer', '503 of the relayer', undefined, undefined]) {
    health.report('relayer', problem)
    now += 40_000
  }
  const shown = lines.map(({ time: _time, level, msg, check, ...more }) => [level, msg, check, more])
  expect(shown).toEqual([
    ['info', 'check passes', 'relayer', {}],
    [
      ...['warn', 'check fails', 'relayer'],
      { problem: 'no connection to the relayer', meaning: expect.stringContaining('nothing is lost') },
    ],
    ['info', 'check passes', 'relayer', { failed_since: '2027-01-15T08:00:40Z', failed_seconds: 80 }],
  ])
})

it('is a bounded number of lines, however much it lists, rejects or fails', () => {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) }
  const events = createEvents(createLogger({ level: 'info', format: 'json', destination }))
  for (let i = 0; i < 5000; i++) {
    events.refused('index_taken', [i, i + 1])
    events.rejectionSeen('exits', 'SIGNATURE_WRONG', 1, [i])
    events.postFailed(new Error('away'), 'validators', 1, 3)
    events.signaturesPosted('exits', 1, { exit: 1, deposit: 0 }, 1)
    events.longPolling('exits', i % 2 === 0)
    events.listSeen('validators', i % 2 === 0)
    events.checkChanged('relayer', i % 2 === 0 ? 'away' : undefined)
    events.loopFailed(new Error('why'))
    events.notSigned('refused', 'no', [i])
  }
  const kinds = 12
  expect(lines.length).toBeLessThanOrEqual(kinds * 10)
  lines.length = 0
  events.flush()
  expect(lines).toHaveLength(kinds)
  expect(lines.find(({ msg }) => msg === 'exits refused by policy, summed up')).toMatchObject({
    reason: 'index_taken',
    count: 2 * (5000 - 10),
    times: 5000 - 10,
  })
  expect(JSON.stringify(lines)).not.toContain('validator_indexes')
})
