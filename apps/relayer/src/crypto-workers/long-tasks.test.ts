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

it('one that comes when the thread has nothing to do any more is taken, and those that are given up take no more turns', async () => {
  const { told, tasks, turnsOf } = createThread(0)
  const settle = async () => {
    for (let steps = 0; steps < 20; steps++) await Promise.resolve()
  }
  tasks.begin({ id: 1, turns: turnsOf('a', 1) })
  await settle()
  tasks.begin({ id: 2, turns: turnsOf('c', 2) })
  tasks.begin({ id: 3, turns: turnsOf('c', 2) })
  tasks.giveUp(new Error('over'))
  await settle()
  tasks.begin({ id: 4, turns: turnsOf('b', 1) })
  await settle()
  expect(told).toEqual(
    [
      ['a 1', 'a done', 'rest 0'],
      ['c 1', 'rest 0', '2 over', '3 over'],
      ['b 1', 'b done', 'rest 0'],
    ].flat(),
  )
})

it('nobody takes a turn while the thread rests, whoever comes', async () => {
  const told: string[] = []
  const rests: (() => void)[] = []
  const ignore = () => {}
  const pause = () => new Promise<void>((resolve) => rests.push(resolve))
  const tasks = createLongTasks({ rests: 3, nowMs: () => 0, pause, done: ignore, failed: ignore })
  function* turnsOf(name: string): Generator<void, void> {
    told.push(`${name} 1`)
    yield
    told.push(`${name} 2`)
  }
  for (const [id, name] of ['a', 'b'].entries()) tasks.begin({ id, turns: turnsOf(name) })
  expect(told).toEqual(['a 1'])
  for (let turn = 0; turn < 3; turn++) {
    rests.shift()?.()
    await Promise.resolve()
  }
  expect(told).toEqual(['a 1', 'a 2', 'b 1', 'b 2'])
})
