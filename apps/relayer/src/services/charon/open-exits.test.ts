import { afterAll, expect, it } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import type { Context } from '../../context.ts'
import { createOpenExits } from './open-exits.ts'

const LIMIT = 1000
/** Without a database: nothing is asked of it here. */
const openExits = createOpenExits({ config: { limits: { shares: LIMIT } } } as Pick<Context, 'config' | 'db'>)

/** Texts that are no public keys; each look at one is counted. */
function watched(length: number, look: () => void): string[] {
  const ids = Array<string>(length).fill('')
  for (const position of ids.keys())
    Object.defineProperty(ids, position, {
      get() {
        look()
        return 'no key'
      },
    })
  return ids
}
const counted = countByRound()
afterAll(() => counted.end())

it('refuses more than may be asked for before it reads one', async () => {
  const ids = watched(LIMIT + 1, () => expect.unreachable('read'))
  await expect(openExits.find(ids)).rejects.toMatchObject({ code: 'TOO_MANY_SHARES' })
})

it('lets others have the event loop while it reads many', async () => {
  expect(await openExits.find(watched(LIMIT, counted.count))).toEqual([])
  const inRounds = counted.inRounds()
  expect(inRounds.reduce((sum, looks) => sum + looks)).toBe(LIMIT)
  expect(Math.max(...inRounds)).toBeLessThan(LIMIT / 3)
})
