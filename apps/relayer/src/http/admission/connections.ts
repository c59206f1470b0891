/**
 * Connections: a new one is always taken, so that `/health` can be asked. Where there are too many, whoever has the most loses one for
 * it: one that waits for its next request, else the oldest.
 */

import type { Socket } from 'node:net'
import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import type { Limits } from './limits.ts'

interface Held {
  socket: Socket
  owner: string
  isStranger: boolean
  /** Requests under way on it. */
  requests: number
}

/** Creates the record; `onCut` is told of each connection that is closed for others. */
export function createConnections(limits: Limits['connections'], onCut: () => void) {
  /** By owner, the oldest first. */
  const owners = new Map<string, Set<Held>>()
  const bySocket = new Map<Socket, Held>()
  let strangers = 0

  function add(held: Held): void {
    const theirs = owners.get(held.owner) ?? new Set()
    owners.set(held.owner, theirs.add(held))
    if (held.isStranger) strangers++
  }
  function remove(held: Held): void {
    const theirs = owners.get(held.owner)
    if (theirs?.delete(held) !== true) return
    if (theirs.size === 0) owners.delete(held.owner)
    if (held.isStranger) strangers--
  }

  /**
   * Of whoever has the most, the one that costs least to lose. Nothing is copied, and of idle connections the first is taken: hundreds may
   * come at a moment.
   */
  function leastLoss(isOfStrangers: boolean): Held | undefined {
    let most: Set<Held> | undefined
    for (const theirs of owners.values()) {
      const [first] = theirs
      // An owner is a stranger in all of its connections, or in none.
      if (isOfStrangers && first?.isStranger !== true) continue
      if (theirs.size > (most?.size ?? 0)) most = theirs
    }
    let first: Held | undefined
    for (const held of most ?? []) {
      if (held.requests === 0) return held
      first ??= held
    }
    return first
  }

  function makeRoom(): void {
    const isTooMany = bySocket.size >= limits.total
    if (!isTooMany && strangers < limits.strangers) return
    const lost = leastLoss(!isTooMany)
    if (lost === undefined) return
    remove(lost)
    bySocket.delete(lost.socket)
    lost.socket.destroy()
    onCut()
  }

  return {
    /** A connection has come. */
    opened(socket: Socket, stranger: Account): void {
      makeRoom()
      const held: Held = { socket, owner: accountKey(stranger), isStranger: true, requests: 0 }
      bySocket.set(socket, held)
      add(held)
      socket.once('close', () => {
        remove(held)
        bySocket.delete(socket)
      })
    },
    /** A request of somebody begins on a connection. Returns what ends it. */
    begun(socket: Socket, account: Account): () => void {
      const held = bySocket.get(socket)
      if (held === undefined) return () => {}
      held.requests++
      const owner = accountKey(account)
      if (owner !== held.owner) {
        remove(held)
        Object.assign(held, { owner, isStranger: account.group === 'stranger' })
        add(held)
      }
      return () => {
        held.requests--
      }
    },
    count: (): number => bySocket.size,
  }
}
