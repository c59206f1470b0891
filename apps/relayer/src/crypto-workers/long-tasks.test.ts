import { expect, it } from 'vitest'
import { createLongTasks } from './long-tasks.ts'

/** A task of so many turns, each of which takes five milliseconds of a clock that only they move. */
function createThread(rests: number) {
  const told: string[] = []
  let now = 0
  const over = Promise.withResolvers<void>()
  function* turnsOf(name: string, count: number): Generator<void, string> {
    for (let turn = 1; turn <= count; turn++) {
      now += 5
      told.push(`${name} ${turn}`)
      if (turn < count) yield
    }
    return name
  }
  const tasks = createLongTasks({
    rests,
    nowMs: () => now,
    pause: async (ms) => {
      told.push(`rest ${ms}`)
    },
    done: (_, name) => {
      told.push(`${name} done`)
      if (name === 'b') over.resolve()
    },
    failed: (id, error) => told.push(`${id} ${(error as Error).message}`),
  })
  return { told, tasks, turnsOf, over: over.promise }
}

it('long tasks take turns, and after each the thread rests as much as it is to', async () => {
  const { told, tasks, turnsOf, over } = createThread(3)
  tasks.begin({ id: 1, turns: turnsOf('a', 3) })
  tasks.begin({ id: 2, turns: turnsOf('b', 2) })
  await over
  const turns = ['a 1', 'a 2', 'b 1', 'a 3', 'b 2']
  const done = (turn: string) => (turn === 'a 3' ? ['a done'] : turn === 'b 2' ? ['b done'] : [])
  expect(told).toEqual(turns.flatMap((turn) => [turn, ...done(turn), 'rest 15']))
})

it('those that somebody waits for are not rested between, and one that fails ends alone', async () => {
  const { told, tasks, turnsOf, over } = createThread(0)
  tasks.begin({
    id: 1,
    // biome-ignore lint/correctness/useYield: it fails before it would
    turns: (function* (): Generator<void, unknown> {
      throw new Error('no point')
    })(),
  })
  tasks.begin({ id: 2, turns: turnsOf('b', 1) })
  await over
  expect(told).toEqual(['1 no point', 'rest 0', 'b 1', 'b done', 'rest 0'])
})
