import { afterEach, expect, it, vi } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createFollowedList } from './followed-list.ts'

interface Row {
  id: number
  messageId: number
  revision: number
  isListed: boolean
  publicKey: Uint8Array
}

const publicKey = new Uint8Array(48)

afterEach(() => {
  vi.useRealTimers()
})

/** A list of rows that has been read, and somebody who waits for what comes after. */
async function startWaiting() {
  const rows: Row[] = [{ id: 1, messageId: 1, revision: 1, isListed: true, publicKey }]
  const source = { looks: 0, isAway: false }
  const list = createFollowedList<Row>('exits', {
    async find(after) {
      source.looks++
      if (source.isAway) throw new Error('away')
      return rows.filter(({ revision }) => revision > after.revision)
    },
    newest: async () => rows.at(-1)?.revision ?? 0,
    itemOf: ({ id }) => ({ id }),
  })
  await list.read(undefined)
  let revision = 1
  const change = () => rows.push({ id: ++revision, messageId: revision, revision, isListed: true, publicKey })
  /** Whether the wait for what comes after a revision has ended. */
  const wait = async (after: number, waitMs = 60_000, signal = new AbortController().signal) => {
    const waiting = { isOver: false }
    void list.waitForChange(after, waitMs, signal).then(() => {
      waiting.isOver = true
    })
    await vi.advanceTimersByTimeAsync(0)
    return waiting
  }
  const read = async (after: number) => (await list.read(after)).toString()
  return { list, source, change, wait, read }
}

it('looks for itself while somebody waits, where a notification is lost', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  await vi.advanceTimersByTimeAsync(10_000)
  const { change, wait } = await startWaiting()
  const waiting = await wait(1)
  change()
  await vi.advanceTimersByTimeAsync(900)
  expect(waiting.isOver).toBe(false)
  await vi.advanceTimersByTimeAsync(1200)
  expect(waiting.isOver).toBe(true)
})

it('does so a second after the last look, where the timer of who waits ends a little before', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { change, wait } = await startWaiting()
  const first = await wait(1)
  await vi.advanceTimersByTimeAsync(600)
  const second = await wait(1)
  change()
  await vi.advanceTimersByTimeAsync(399)
  expect([first.isOver, second.isOver]).toEqual([false, false])
  await vi.advanceTimersByTimeAsync(2)
  expect([first.isOver, second.isOver]).toEqual([true, true])
})

it('wakes who waits for what this process has changed, without a notification', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, change, wait } = await startWaiting()
  const waiting = await wait(1)
  change()
  list.changedHere()
  await vi.advanceTimersByTimeAsync(0)
  expect(waiting.isOver).toBe(true)
})

it('finds what came before there was a connection for notifications, once it is there', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, change, wait } = await startWaiting()
  const waiting = await wait(1)
  change()
  list.reconnected()
  await vi.advanceTimersByTimeAsync(0)
  expect(waiting.isOver).toBe(true)
})

it('finds what is announced while it looks, after it has read', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const rows: Row[] = [{ id: 1, messageId: 1, revision: 1, isListed: true, publicKey }]
  let isAnnounced = true
  const list = createFollowedList<Row>('exits', {
    find: async (after) => {
      const found = rows.filter(({ revision }) => revision > after.revision)
      if (isAnnounced) return found
      isAnnounced = true
      rows.push({ id: 2, messageId: 2, revision: 2, isListed: true, publicKey })
      list.notified(2)
      return found
    },
    newest: async () => rows.at(-1)?.revision ?? 0,
    itemOf: ({ id }) => ({ id }),
  })
  await list.read(undefined)
  await vi.advanceTimersByTimeAsync(1500)
  isAnnounced = false
  let isOver = false
  void list.waitForChange(1, 60_000, new AbortController().signal).then(() => {
    isOver = true
  })
  await vi.advanceTimersByTimeAsync(0)
  expect([isAnnounced, isOver]).toEqual([true, true])
})

it('tells of a change that comes alone at once, and gathers those that follow', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, change, wait } = await startWaiting()
  const first = await wait(1)
  change()
  list.notified(2)
  await vi.advanceTimersByTimeAsync(0)
  expect(first.isOver).toBe(true)
  const second = await wait(2)
  change()
  list.notified(3)
  await vi.advanceTimersByTimeAsync(14)
  expect(second.isOver).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  expect(second.isOver).toBe(true)
  for (const [before, afterMs, isAtOnce] of [
    [3, 100, false],
    [4, 101, true],
  ] as const) {
    await vi.advanceTimersByTimeAsync(afterMs - 15)
    const next = await wait(before)
    change()
    list.notified(before + 1)
    await vi.advanceTimersByTimeAsync(0)
    expect(next.isOver, String(afterMs)).toBe(isAtOnce)
    await vi.advanceTimersByTimeAsync(15)
    expect(next.isOver).toBe(true)
  }
})

it('leaves who waits alone until it is time to look', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  await vi.advanceTimersByTimeAsync(10_000)
  const { wait } = await startWaiting()
  await vi.advanceTimersByTimeAsync(400)
  const waiting = await wait(1)
  for (const dueMs of [600, 1000]) {
    const before = performance.now()
    await vi.advanceTimersToNextTimerAsync()
    expect(performance.now() - before).toBe(dueMs)
  }
  expect(waiting.isOver).toBe(false)
})

it('tells at once, too, of a change soon after one that nobody waited for', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, change, wait, read } = await startWaiting()
  change()
  list.notified(2)
  await read(1)
  const waiting = await wait(2)
  change()
  list.notified(3)
  await vi.advanceTimersByTimeAsync(0)
  expect(waiting.isOver).toBe(true)
})

it('is waited for as long as was said, until somebody hangs up, or until a stop', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, wait } = await startWaiting()
  const gone = new AbortController()
  const [short, aborted, long] = [await wait(1, 1300), await wait(1, 60_000, gone.signal), await wait(1)]
  const over = () => [short, aborted, long].map(({ isOver }) => isOver)
  await vi.advanceTimersByTimeAsync(1299)
  expect(over()).toEqual([false, false, false])
  await vi.advanceTimersByTimeAsync(2)
  expect(over()).toEqual([true, false, false])
  gone.abort()
  await vi.advanceTimersByTimeAsync(0)
  expect(over()).toEqual([true, true, false])
  list.close()
  await vi.advanceTimersByTimeAsync(20)
  expect(over()).toEqual([true, true, true])
  expect(await wait(1)).toEqual({ isOver: true })
})

it('is not waited for from a revision of the future, and told whole then', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { wait, read } = await startWaiting()
  expect((await wait(2)).isOver).toBe(true)
  expect(await read(2)).toBe('{"exits":[{"id":1}],"revision":1}')
  expect(await read(1)).toBe('{"exits":[],"revision":1}')
  expect(await read(0)).toBe('{"exits":[{"id":1}],"revision":1}')
})

it('is looked for once a second, for all who ask, and at once where something was announced', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, source, change, read } = await startWaiting()
  const looks = async () => {
    await Promise.all([read(1), read(1), list.readPage({ limit: 1, from: undefined, after: 1 })])
    return source.looks
  }
  expect(await looks()).toBe(1)
  await vi.advanceTimersByTimeAsync(998)
  list.notified(1)
  expect(await looks()).toBe(1)
  await vi.advanceTimersByTimeAsync(2)
  expect(await looks()).toBe(2)
  change()
  list.notified(2)
  expect(await looks()).toBe(3)
  expect(await looks()).toBe(3)
})

it('is looked for a few times for a question, though every look is overtaken by another change', async () => {
  const changed = { revision: 1, looks: 0 }
  const list = createFollowedList<Row>('exits', {
    async find() {
      changed.looks++
      const { revision } = changed
      list.notified(++changed.revision)
      return [{ id: revision, messageId: revision, revision, isListed: true, publicKey }]
    },
    newest: async () => 1,
    itemOf: ({ id }) => ({ id }),
  })
  expect((await list.read(3)).toString()).toBe('{"exits":[{"id":4}],"revision":4}')
  // Two before its turn has come, and two in it.
  expect(changed.looks).toBe(4)
})

it('is looked for again at once where the database was away', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { list, source, change, read } = await startWaiting()
  change()
  list.changedHere()
  source.isAway = true
  await expect(read(1)).rejects.toThrow('away')
  source.isAway = false
  expect(await read(1)).toBe('{"exits":[{"id":2}],"revision":2}')
})

it('begins anew when nobody has asked for an hour, and goes on otherwise', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  await vi.advanceTimersByTimeAsync(10_000_000)
  const { list, change } = await startWaiting()
  const page = async () => {
    const text = (await list.readPage({ limit: 10, from: undefined, after: 1 })).toString()
    return (JSON.parse(text) as { whole: boolean }).whole
  }
  change()
  await vi.advanceTimersByTimeAsync(3_600_000)
  expect(await page()).toBe(false)
  await vi.advanceTimersByTimeAsync(3_600_001)
  expect(await page()).toBe(true)
})

it('is as far as the newest change, also where what changed last is not shown', async () => {
  const rows: Row[] = [{ id: 1, messageId: 1, revision: 1, isListed: true, publicKey }]
  const asked: unknown[] = []
  const list = createFollowedList<Row>('exits', {
    async find(after) {
      asked.push(after)
      return rows.filter(({ revision }) => revision > after.revision)
    },
    newest: async () => 7,
    itemOf: ({ id }) => ({ id }),
  })
  expect((await list.read(undefined)).toString()).toBe('{"exits":[{"id":1}],"revision":7}')
  rows.push({ id: 2, messageId: 2, revision: 8, isListed: true, publicKey })
  list.changedHere()
  expect((await list.read(7)).toString()).toBe('{"exits":[{"id":2}],"revision":8}')
  // All rows of a revision come at once.
  expect(asked).toEqual([
    { revision: 0, messageId: 0 },
    { revision: 7, messageId: Number.MAX_SAFE_INTEGER },
  ])
})

it('wakes who waits for a change that another reader has found before its notification comes', async () => {
  const rows: Row[] = [{ id: 1, messageId: 1, revision: 1, isListed: true, publicKey }]
  const list = createFollowedList<Row>('exits', {
    find: async (after) => rows.filter(({ revision }) => revision > after.revision),
    newest: async () => rows.at(-1)?.revision ?? 0,
    itemOf: ({ id }) => ({ id }),
  })
  expect((await list.read(undefined)).toString()).toBe('{"exits":[{"id":1}],"revision":1}')
  const waiting = list.waitForChange(1, 60_000, AbortSignal.timeout(60_000))
  // So that it waits, and does not find the change itself.
  await new Promise(setImmediate)
  rows.push({ id: 2, messageId: 2, revision: 2, isListed: true, publicKey })
  list.changedHere()
  expect((await list.read(1)).toString()).toBe('{"exits":[{"id":2}],"revision":2}')
  list.notified(2)
  await waiting
  expect((await list.read(1)).toString()).toBe('{"exits":[{"id":2}],"revision":2}')
})

it('begins anew when the connection was lost: a standby may have other changes under the same revisions', async () => {
  const row = (id: number, revision: number): Row => ({ id, messageId: id, revision, isListed: true, publicKey })
  let rows = [row(1, 1), row(2, 9)]
  const list = createFollowedList<Row>('exits', {
    find: async (after) => rows.filter(({ revision }) => revision > after.revision),
    newest: async () => rows.at(-1)?.revision ?? 0,
    itemOf: ({ id }) => ({ id }),
  })
  const page = async (after?: number) =>
    JSON.parse((await list.readPage({ limit: 10, from: undefined, after })).toString()) as unknown
  expect(await page()).toEqual({ exits: [{ id: 1 }, { id: 2 }], revision: 9, whole: true })
  // The last change is lost, and others have come.
  rows = [row(1, 1), row(3, 8), row(4, 10)]
  list.reconnected()
  await list.waitForChange(9, 60_000, AbortSignal.timeout(60_000))
  expect(await page(9)).toEqual({ exits: [{ id: 1 }, { id: 3 }, { id: 4 }], revision: 10, whole: true })
  // Another one, of which nothing has come since.
  rows = [row(1, 1)]
  list.reconnected()
  expect(await page(10)).toEqual({ exits: [{ id: 1 }], revision: 1, whole: true })
  const waiting = list.waitForChange(1, 60_000, AbortSignal.timeout(60_000))
  await new Promise(setImmediate)
  rows.push(row(5, 2))
  list.notified(2)
  await waiting
  expect(await page(1)).toEqual({ exits: [{ id: 5 }], revision: 2, whole: false })
})

it('reads and renders many changes in pieces: others have the event loop in between, and nobody sees half of them', async () => {
  const rows = Array.from({ length: 2600 }, (_, n): Row => {
    return { id: n + 1, messageId: n + 1, revision: 1 + Math.floor(n / 1700), isListed: true, publicKey }
  })
  const read: number[] = []
  const rendered = countByRound()
  const list = createFollowedList<Row>('exits', {
    find: async (after, limit) => {
      const isAfter = ({ revision, messageId }: Row) =>
        revision > after.revision || (revision === after.revision && messageId > after.messageId)
      const found = rows.filter(isAfter).slice(0, limit)
      await new Promise(setImmediate)
      read.push(found.length)
      return found
    },
    newest: async () => 2,
    itemOf: ({ id }) => {
      rendered.count()
      return { id }
    },
  })
  const ask = async () => JSON.parse((await list.read(undefined)).toString()) as { exits: unknown[]; revision: number }
  const first = ask()
  while (rendered.inRounds().length < 3) await new Promise(setImmediate)
  for (const { exits, revision } of await Promise.all([first, ask()]))
    expect([exits.length, revision]).toEqual([2600, 2])
  rendered.end()
  expect(Math.max(...rendered.inRounds())).toBeLessThanOrEqual(250)
  expect(Math.max(...read)).toBeLessThanOrEqual(1000)
})

it('answers many questions of one caller a few at a time, each from the list as it is by then', async () => {
  const row = (id: number): Row => ({ id, messageId: id, revision: id, isListed: true, publicKey })
  const rows = Array.from({ length: 4000 }, (_, n) => row(n + 1))
  const list = createFollowedList<Row>('exits', {
    find: async (after, limit) => rows.filter(({ revision }) => revision > after.revision).slice(0, limit),
    newest: async () => rows.length,
    itemOf: ({ id }) => ({ id }),
  })
  await list.read(undefined)
  const read = async (after: number) => JSON.parse((await list.read(after)).toString()) as { revision: number }
  const all = Array.from({ length: 10 }, (_, n) => read(n + 1))
  expect(await all[0]).toMatchObject({ revision: 4000, exits: { length: 3999 } })
  rows.push(row(4001))
  list.changedHere()
  expect(await all[9]).toMatchObject({ revision: 4001, exits: { length: 3991 } })
  expect((await Promise.all(all)).map(({ revision }) => revision)).toEqual([...Array(9).fill(4000), 4001])
})
