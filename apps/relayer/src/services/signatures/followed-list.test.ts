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
  const list = createFollowedList<Row>('exits', {
    find: async (after) => rows.filter(({ revision }) => revision > after.revision),
    newest: async () => rows.at(-1)?.revision ?? 0,
    itemOf: ({ id }) => ({ id }),
  })
  await list.read(undefined)
  let revision = 1
  const change = () => rows.push({ id: ++revision, messageId: revision, revision, isListed: true, publicKey })
  /** Whether the wait for what comes after a revision has ended. */
  const wait = async (after: number) => {
    const waiting = { isOver: false }
    void list.waitForChange(after, 60_000, new AbortController().signal).then(() => {
      waiting.isOver = true
    })
    await vi.advanceTimersByTimeAsync(0)
    return waiting
  }
  return { list, change, wait }
}

it('looks for itself while somebody waits, where a notification is lost', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
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
  await vi.advanceTimersByTimeAsync(5)
  expect(second.isOver).toBe(false)
  await vi.advanceTimersByTimeAsync(15)
  expect(second.isOver).toBe(true)
  await vi.advanceTimersByTimeAsync(200)
  const third = await wait(3)
  change()
  list.notified(4)
  await vi.advanceTimersByTimeAsync(0)
  expect(third.isOver).toBe(true)
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
