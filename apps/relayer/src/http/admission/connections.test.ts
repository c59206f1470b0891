import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { Account } from '@dvt-relayer/common/account.ts'
import { describe, expect, it } from 'vitest'
import { createConnections } from './connections.ts'

const stranger = (name: string): Account => ({ group: 'stranger', name })
const node = (name: string): Account => ({ group: 'sidecar', name })

/** Connections that are made in turn, each with a name. */
function openedUpTo(limits: { total: number; strangers: number }) {
  const closed: string[] = []
  let cut = 0
  const connections = createConnections(limits, () => cut++)
  const open = (name: string, from: Account): Socket => {
    const socket = Object.assign(new EventEmitter(), {
      destroy: () => {
        closed.push(name)
        socket.emit('close')
      },
    }) as unknown as Socket
    connections.opened(socket, from)
    return socket
  }
  /** One of a caller that has shown who it is; its request is over unless it goes on. */
  const known = (name: string, account: Account, isUnderWay = false): Socket => {
    const socket = open(name, stranger('proxy'))
    const end = connections.begun(socket, account)
    if (!isUnderWay) end()
    return socket
  }
  return { connections, open, known, closed, cuts: () => cut }
}

describe('connections', () => {
  it('are as many as they may be, and one more costs whoever has the most the oldest', () => {
    const { connections, known, open, closed, cuts } = openedUpTo({ total: 4, strangers: 4 })
    known('a1', node('a'))
    for (const name of ['b1', 'b2', 'b3']) known(name, node('b'))
    expect([connections.count(), closed, cuts()]).toEqual([4, [], 0])
    open('new', stranger('c'))
    expect([connections.count(), closed, cuts()]).toEqual([4, ['b1'], 1])
  })

  it('that wait for their next request go before those on which one is under way', () => {
    const { known, open, closed } = openedUpTo({ total: 4, strangers: 4 })
    known('a1', node('a'), true)
    known('a2', node('a'), true)
    known('a3', node('a'))
    known('b1', node('b'))
    open('new', stranger('c'))
    open('newer', stranger('d'))
    // Of two who have as many, whoever came first; on all of its connections a request is under way.
    expect(closed).toEqual(['a3', 'a1'])
  })

  it('of strangers are fewer, and one stranger more costs no caller that is known', () => {
    const { connections, known, open, closed } = openedUpTo({ total: 100, strangers: 2 })
    for (const name of ['a1', 'a2', 'a3']) known(name, node('a'))
    open('s1', stranger('s'))
    open('t1', stranger('t'))
    expect(closed).toEqual([])
    open('s2', stranger('s'))
    expect(closed).toEqual(['s1'])
    expect(connections.count()).toBe(5)
  })

  it('count for a caller from its first request on, and no more for the stranger it was', () => {
    const { connections, open, closed } = openedUpTo({ total: 100, strangers: 2 })
    const first = open('s1', stranger('s'))
    connections.begun(first, node('a'))
    for (const name of ['s2', 's3']) open(name, stranger('s'))
    expect(closed).toEqual([])
    // A caller without a token stays a stranger.
    connections.begun(first, stranger('s'))
    open('s4', stranger('s'))
    expect(closed).toHaveLength(1)
  })

  it('that are closed count no more, once', () => {
    const { connections, open, closed } = openedUpTo({ total: 2, strangers: 2 })
    const first = open('a', stranger('a'))
    open('b', stranger('b'))
    first.emit('close')
    expect(connections.count()).toBe(1)
    open('c', stranger('c'))
    expect([connections.count(), closed]).toEqual([2, []])
    open('d', stranger('d'))
    expect([connections.count(), closed]).toEqual([2, ['b']])
    // A request that begins on one that is gone holds nothing.
    connections.begun(first, node('a'))()
    expect(connections.count()).toBe(2)
  })
})
