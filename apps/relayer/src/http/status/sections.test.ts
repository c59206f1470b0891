import type { Status } from '@dvt-relayer/api/schemas.ts'
import { expect, it } from 'vitest'
import { machineSections, servicesSection } from './sections.ts'

/** The words of each cell. */
const cellsOf = (page: string) =>
  page
    .split('<li')
    .slice(1)
    .map((cell) =>
      (cell.split('</li>')[0] ?? '')
        .replace(/^[^>]*>/, '')
        .replaceAll(/<[^>]+>/g, ' ')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    )

it('says of a process that counts as there since when it has not been heard, once that is late', () => {
  const now = 1_800_000_000
  const process = (heard: number, there: boolean) => ({
    ...{ role: 'worker' as const, version: '1', started_at_timestamp: now - 600 },
    ...{ heard_at_timestamp: now - heard, there },
  })
  const page = machineSections({
    ...{ processes: [process(30, true), process(31, true), process(61, false), process(4_000, false)], time: now },
    ...{ ready: null, queue: null, totals: null, version: '1', network: 'hoodi', unused: {}, doubts: {} },
  } as unknown as Status)
  expect(cellsOf(String(page))).toEqual([
    '✓ worker 1 at work since 2027-01-15 07:50:00 UTC',
    '… worker 1 silent last heard 2027-01-15 07:59:29 UTC',
    '– worker 1 ended last heard 2027-01-15 07:58:59 UTC',
  ])
})

it('says of each service that it works, does not, or is not in use, and what may be wrong', () => {
  const page = String(
    servicesSection({
      ready: {
        status: 'degraded',
        checks: {
          database: { ok: true },
          execution: { ok: true },
          queue: { ok: false, message: 'Redis is away' },
          rotation: { ok: true },
          // What fails is said, whatever the settings ask for.
          manager: { ok: false, message: 'no' },
        },
      },
      unused: {
        rotation: { state: 'not configured', why: 'ROTATION is off' },
        manager: { state: 'not configured', why: 'unset' },
      },
      doubts: { execution: 'the newest block is of 2026-01-31T12:00:00Z' },
    }),
  )
  expect(cellsOf(page)).toEqual([
    '✓ database works',
    '✓ execution works the newest block is of 2026-01-31T12:00:00Z',
    '✕ queue does not Redis is away',
    '– rotation not configured ROTATION is off',
    '✕ manager does not no',
  ])
})
