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
