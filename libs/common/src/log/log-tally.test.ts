/** Lines that strangers can cause. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createLogTally } from './log-tally.ts'
import { createLogger } from './logger.ts'

const lines: Record<string, unknown>[] = []
const logger = createLogger({
  level: 'info',
  format: 'json',
  destination: {
    write(line) {
      const { time: _, level: __, ...rest } = JSON.parse(line) as Record<string, unknown>
      lines.push(rest)
    },
  },
})

beforeEach(() => {
  lines.length = 0
  vi.useFakeTimers()
})
afterEach(() => void vi.useRealTimers())

const refusal = (reason: string, sums?: Record<string, number>) => ({
  kind: reason,
  level: 'warn' as const,
  message: 'request refused',
  fields: { reason },
  ...(sums === undefined ? {} : { sums }),
})

it('are written at once when they are the first of their kind, then counted and summed up each minute', () => {
  const tally = createLogTally(logger)
  for (let i = 0; i < 1000; i++) tally.log(refusal('missing', { items: 2 }))
  tally.log(refusal('role'))
  expect(lines).toEqual([
    { reason: 'missing', items: 2, msg: 'request refused' },
    { reason: 'role', msg: 'request refused' },
  ])
  lines.length = 0
  vi.advanceTimersByTime(60_000)
  expect(lines).toEqual([
    { reason: 'missing', items: 1998, times: 999, within_seconds: 60, msg: 'request refused, summed up' },
  ])
  // It goes on: the next line is a summary as well.
  lines.length = 0
  for (let i = 0; i < 10; i++) tally.log(refusal('missing', { items: 1 }))
  expect(lines).toEqual([])
  vi.advanceTimersByTime(60_000)
  expect(lines).toEqual([
    { reason: 'missing', items: 10, times: 10, within_seconds: 60, msg: 'request refused, summed up' },
  ])
  // It has stopped for a minute, so the next one is told at once.
  lines.length = 0
  vi.advanceTimersByTime(120_000)
  expect(lines).toEqual([])
  expect(vi.getTimerCount()).toBe(0)
  tally.log(refusal('missing'))
  expect(lines).toEqual([{ reason: 'missing', msg: 'request refused' }])
  tally.flush()
  expect(vi.getTimerCount()).toBe(0)
})

it('are few, however many kinds of them there are, and what is left is told at the end', () => {
  const tally = createLogTally(logger)
  for (let i = 0; i < 10_000; i++) tally.log(refusal(`kind ${i}`))
  expect(lines).toHaveLength(65)
  expect(lines.at(-1)).toEqual({ msg: 'too many kinds of lines at once' })
  lines.length = 0
  tally.flush()
  expect(lines).toEqual([{ times: 10_000 - 65, within_seconds: 60, msg: 'too many kinds of lines at once, summed up' }])
  expect(vi.getTimerCount()).toBe(0)
})

it('say once what is of one of them alone', () => {
  const tally = createLogTally(logger)
  const line = { kind: 'a', level: 'error' as const, message: 'request failed', fields: { code: 'INTERNAL' } }
  for (const id of ['first', 'second']) tally.log({ ...line, once: { request_id: id, err: new Error(id) } })
  tally.flush()
  expect(lines).toMatchObject([
    { code: 'INTERNAL', request_id: 'first', err: { message: 'first' }, msg: 'request failed' },
    { code: 'INTERNAL', times: 1, within_seconds: 60, msg: 'request failed, summed up' },
  ])
  expect(lines[1]).not.toHaveProperty('err')
})

it('are written some at once where a person must see more than one', () => {
  const tally = createLogTally(logger)
  for (let i = 0; i < 10; i++) tally.log({ ...refusal('role'), once: { i }, atOnce: 3 })
  expect(lines.map(({ i }) => i)).toEqual([0, 1, 2])
  lines.length = 0
  vi.advanceTimersByTime(60_000)
  expect(lines).toEqual([{ reason: 'role', times: 7, within_seconds: 60, msg: 'request refused, summed up' }])
  tally.flush()
})
