import { expect, it } from 'vitest'
import type { Events } from '../events.ts'
import { DEPENDENCIES, type Dependency } from '../metrics.ts'
import { createHealth } from './health.ts'

const NEEDED: readonly Dependency[] = ['database', 'consensus', 'oracle_set', 'worker']

/** A process that has seen everything working, and what was told of it since. */
function createReady() {
  const told: unknown[][] = []
  const health = createHealth({
    dependencySeen: (...seen: unknown[]) => void told.push(seen),
    dependencyDoubted: (...doubted: unknown[]) => void told.push(doubted),
  } as unknown as Events)
  const before = health.state()
  for (const dependency of DEPENDENCIES) health.report(dependency)
  return { health, before, told: () => told.splice(0) }
}

it('nothing is well before it was seen, and everything once all of it was', () => {
  const { health, before, told } = createReady()
  const checks = (check: object) => Object.fromEntries(DEPENDENCIES.map((dependency) => [dependency, check]))
  expect(before).toEqual({ status: 'not_ready', checks: checks({ ok: false, message: 'not checked yet' }) })
  expect(health.state()).toEqual({ status: 'ready', checks: checks({ ok: true }) })
  expect(told()).toEqual(DEPENDENCIES.map((dependency) => [dependency, true, undefined]))
})

it.each(DEPENDENCIES)('without %s alone the main job goes on or not, and it is told', (dependency) => {
  const { health, told } = createReady()
  told()
  health.report(dependency, 'it is away')
  const { status, checks } = health.state()
  expect(status).toBe(NEEDED.includes(dependency) ? 'not_ready' : 'degraded')
  expect(Object.entries(checks).filter(([, { ok }]) => !ok)).toEqual([
    [dependency, { ok: false, message: 'it is away' }],
  ])
  expect(told()).toEqual([[dependency, false, 'it is away']])
  health.report(dependency)
  expect(health.state().status).toBe('ready')
})

it('a doubt is said of what works until it is taken back', () => {
  const { health, told } = createReady()
  told()
  health.doubt('queue', 'a copy may be behind')
  health.doubt('files', 'not all could be read')
  health.doubt('files', undefined)
  expect(health.doubts()).toEqual({ queue: 'a copy may be behind' })
  expect(health.state().status).toBe('ready')
  expect(told()).toEqual([
    ['queue', 'a copy may be behind'],
    ['files', 'not all could be read'],
    ['files', undefined],
  ])
})
