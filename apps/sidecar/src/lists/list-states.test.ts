import { expect, it, vi } from 'vitest'
import type { ListName } from '../config.ts'
import { createListStates } from './list-states.ts'

function setUp(...names: ListName[]) {
  const events = { listSeen: vi.fn() }
  const health = { report: vi.fn() }
  return { ...createListStates(names, { events: events as never, health: health as never }), events, health }
}

it('the relayer works once all lists have answered and one is there', () => {
  const { set, health, events } = setUp('exits', 'validators')
  set('exits', 'listed')
  expect(health.report).not.toHaveBeenCalled()
  set('validators', 'absent')
  expect(health.report.mock.calls).toEqual([['relayer']])
  set('validators', 'absent')
  set('validators', 'listed')
  expect(events.listSeen.mock.calls).toEqual([
    ['exits', true],
    ['validators', false],
    ['validators', true],
  ])
})

it('a list that fails is told at once, and until it has answered', () => {
  const { set, health, events } = setUp('exits', 'validators')
  set('exits', { problem: 'sorry' })
  expect(health.report.mock.calls).toEqual([['relayer', 'sorry']])
  set('validators', 'listed')
  expect(health.report.mock.lastCall).toEqual(['relayer', 'sorry'])
  set('exits', 'listed')
  expect(health.report.mock.lastCall).toEqual(['relayer'])
  expect(events.listSeen.mock.calls).toEqual([
    ['validators', true],
    ['exits', true],
  ])
})

it('a relayer that knows none of the lists does not work', () => {
  const { set, health } = setUp('exits', 'validators')
  set('exits', 'absent')
  set('validators', 'absent')
  expect(health.report.mock.calls).toEqual([['relayer', 'the relayer knows none of GET /exits, GET /validators']])
})

it('there is hope of a list that is followed, until it is absent or fails', () => {
  const { set, isHopeful } = setUp('exits')
  expect([isHopeful('exits'), isHopeful('validators')]).toEqual([true, false])
  set('exits', 'absent')
  expect(isHopeful('exits')).toBe(false)
  set('exits', { problem: 'sorry' })
  expect(isHopeful('exits')).toBe(false)
  set('exits', 'listed')
  expect(isHopeful('exits')).toBe(true)
})
