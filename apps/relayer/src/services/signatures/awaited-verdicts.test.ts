import { expect, it } from 'vitest'
import { createAwaitedVerdicts } from './awaited-verdicts.ts'

const candidate = (messageId: number, shareIndex = 1, byte = 1) => ({
  messageId,
  shareIndex,
  digest: new Uint8Array(32).fill(byte),
})
const HOUR_MS = 3_600_000

it('tells a post of the verdicts on what it has sent, each once, the wrong ones by name', async () => {
  const awaited = createAwaitedVerdicts()
  const [right, wrong, open] = [candidate(1), candidate(1, 2), candidate(2)]
  using wait = awaited.begin([right, wrong, open])
  awaited.concluded({
    messageIds: [1],
    verdicts: [
      { ...right, isRight: true },
      { ...wrong, isRight: false },
      // Of the same message and node, and of another: not those that are waited for.
      { ...candidate(2, 1, 9), isRight: false },
      { ...candidate(2, 7), isRight: false },
    ],
  })
  expect(await wait.next(HOUR_MS)).toEqual([])
  expect(wait.left()).toEqual([open])
  const taken = wait.takeWrong()
  expect(taken).toEqual([wrong])
  expect(taken[0]).toBe(wrong)
  expect(wait.takeWrong()).toEqual([])
  wait.judge(right, false)
  expect(wait.takeWrong()).toEqual([])
  wait.judge(open, false)
  expect([wait.left(), wait.takeWrong()]).toEqual([[], [open]])
})

it('names each message that was finished without what is left of it, once', async () => {
  const awaited = createAwaitedVerdicts()
  using wait = awaited.begin([candidate(1), candidate(1, 2), candidate(2), candidate(3)])
  awaited.concluded({ messageIds: [1, 3, 4], verdicts: [{ ...candidate(3), isRight: true }] })
  awaited.concluded({ messageIds: [1], verdicts: [] })
  expect(await wait.next(HOUR_MS)).toEqual([1])
  expect(await wait.next(0)).toEqual([])
  wait.drop([candidate(1, 2)])
  expect(wait.left()).toEqual([candidate(1), candidate(2)])
})

it('goes on waiting after each word, and ends at once where there is no time left', async () => {
  const awaited = createAwaitedVerdicts()
  using wait = awaited.begin([candidate(1), candidate(2)])
  let times = 0
  const waiting = (async () => {
    for (; times < 2; times++) await wait.next(HOUR_MS)
  })()
  await new Promise(setImmediate)
  expect(times).toBe(0)
  awaited.concluded({ messageIds: [5], verdicts: [] })
  await new Promise(setImmediate)
  expect(times).toBe(0)
  awaited.concluded({ messageIds: [1], verdicts: [] })
  await new Promise(setImmediate)
  expect(times).toBe(1)
  awaited.concluded({ messageIds: [2], verdicts: [] })
  await waiting
  expect(await wait.next(-HOUR_MS)).toEqual([])
})

it('tells all posts that wait for a message, and none that has ended', async () => {
  const awaited = createAwaitedVerdicts()
  using first = awaited.begin([candidate(1)])
  const second = awaited.begin([candidate(1), candidate(2)])
  using third = awaited.begin([candidate(2)])
  second[Symbol.dispose]()
  const verdicts = [candidate(1), candidate(2)].map((judged) => ({ ...judged, isRight: false }))
  awaited.concluded({ messageIds: [1, 2], verdicts })
  expect([first.takeWrong(), second.takeWrong(), third.takeWrong()]).toEqual([[candidate(1)], [], [candidate(2)]])
  using late = awaited.begin([candidate(1)])
  awaited.concluded({ messageIds: [1], verdicts })
  expect(late.takeWrong()).toEqual([candidate(1)])
})

it('ends every wait for a stop', async () => {
  const awaited = createAwaitedVerdicts()
  using wait = awaited.begin([candidate(1)])
  const waiting = wait.next(HOUR_MS)
  expect(awaited.isClosed()).toBe(false)
  awaited.close()
  expect(await waiting).toEqual([])
  expect(await wait.next(HOUR_MS)).toEqual([])
  expect(awaited.isClosed()).toBe(true)
})
