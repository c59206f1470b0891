import { expect, it } from 'vitest'
import { createFollowedList } from './followed-list.ts'

interface Row {
  id: number
  messageId: number
  revision: number
  isListed: boolean
  publicKey: Uint8Array
}

const publicKey = new Uint8Array(48)

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
