import { expect, it } from 'vitest'
import { servicesSection } from './sections.ts'

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
  const words = page
    .split('<li')
    .slice(1)
    .map((cell) =>
      cell
        .replace(/^[^>]*>/, '')
        .replaceAll(/<[^>]+>/g, ' ')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    )
  expect(words).toEqual([
    '✓ database works',
    '✓ execution works the newest block is of 2026-01-31T12:00:00Z',
    '✕ queue does not Redis is away',
    '– rotation not configured ROTATION is off',
    '✕ manager does not no',
  ])
})
