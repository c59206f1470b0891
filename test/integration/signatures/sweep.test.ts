/** What a round of the sweep counts for the metrics, and how often. */

import { sql } from 'drizzle-orm'
import { afterEach, expect, it, vi } from 'vitest'
import { createSweep } from '../../../apps/relayer/src/services/signatures/sweep.ts'
import { openMessages } from '../../support/stages/messages.ts'

afterEach(() => vi.restoreAllMocks())

it('counts messages after a change, in one part in a hundred of the time', async () => {
  const store = await openMessages()
  const counted: unknown[][] = []
  const sweep = createSweep({
    config: { validatorLifetimeSeconds: 3600 },
    db: store.db,
    queue: {},
    events: { messagesCounted: (...numbers: unknown[]) => void (numbers[0] === 'exit' && counted.push(numbers)) },
    announced: () => {},
  } as unknown as Parameters<typeof createSweep>[0])
  let now = 1000
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const add = async () => {
    await store.addExit((await store.addValidator()).id)
    await store.query(sql`update messages set revision = nextval('message_revision') where revision = 0`)
  }
  await add()
  await sweep.run()
  await sweep.run()
  expect(counted).toEqual([['exit', 1, 0]])
  // A count that took three seconds by the clock: the next one is due after a minute at the latest.
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 3000
    return now
  })
  await add()
  await sweep.run()
  expect(counted.at(-1)).toEqual(['exit', 2, 0])
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  await add()
  now += 59_999
  await sweep.run()
  expect(counted).toHaveLength(2)
  now += 1
  await sweep.run()
  expect(counted.at(-1)).toEqual(['exit', 3, 0])
})
