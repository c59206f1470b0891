/**
 * Arrivals: Node takes in one new connection in each round of the event loop, and those that wait for that stand in one line, whoever opened
 * them. To read one for the first time takes several times as long. So where many of one address come, they are read only in rounds in which
 * nobody comes, with a rest between; all others at once.
 */

import type { Server, Socket } from 'node:net'
import { createFairLine } from '@dvt-relayer/common/flow/fair-line.ts'
import { createRate } from '@dvt-relayer/common/flow/rate.ts'
import type { Limits } from './limits.ts'

/** Rounds in a row in which somebody comes while the many wait, after which they are read as well. */
const PATIENCE = 1000
/** How many times as long as the reading a rest is, and what is owed before one is taken: timers know no less. */
const REST = { times: 2, leastMs: 1 }

/**
 * Rests twice as long as what began just now takes in this round of the event loop and the next one, where what it has brought is looked
 * at: so those that come in hundreds, each with 64 KiB and a request that lasts, leave others most of the loop.
 */
export function createRest(
  nextRound: (then: () => void) => void = (then) => void setImmediate(then),
  wait: (then: () => void, ms: number) => void = (then, ms) => void setTimeout(then, ms),
  nowMs: () => number = () => performance.now(),
): (then: () => void) => void {
  let owedMs = 0
  return (then) => {
    const startMs = nowMs()
    const go = () => {
      owedMs += REST.times * (nowMs() - startMs)
      if (owedMs < REST.leastMs) return then()
      wait(then, owedMs)
      owedMs = 0
    }
    nextRound(() => nextRound(go))
  }
}

/**
 * Has a server read each new connection when the turn of its address comes, and nothing of it before; `onCut` is told of each that is
 * closed for others.
 */
export function readInTurn(
  server: Server,
  limits: Limits['arrivals'],
  addressOf: (socket: Socket) => string,
  onCut: () => void,
  nextRound: (then: () => void) => void = (then) => void setImmediate(then),
  rest: (then: () => void) => void = createRest(),
): void {
  const readers = server.listeners('connection')
  server.removeAllListeners('connection')
  Object.assign(server, { pauseOnConnect: true })
  const rate = createRate(limits)
  const [few, many] = [createFairLine<Socket>(), createFairLine<Socket>()]
  let isComing = false
  let hasCome = false
  let isResting = false
  let inARow = 0

  function come(): void {
    if (!isComing) nextRound(go)
    isComing = true
  }
  function go(): void {
    isComing = false
    inARow = hasCome ? inARow + 1 : 0
    hasCome = false
    const isTurnOfMany = !isResting && (inARow === 0 || inARow > PATIENCE)
    if (!readNext(few) && isTurnOfMany && readNext(many) && server.listening) {
      isResting = true
      rest(() => {
        isResting = false
        if (many.size() > 0) come()
      })
    }
    if (many.size() === 0) inARow = 0
    if (few.size() > 0 || (many.size() > 0 && !isResting)) come()
  }
  /** Whether there was one to read. */
  function readNext(line: typeof few): boolean {
    let socket = line.shift()
    while (socket?.destroyed) socket = line.shift()
    if (socket === undefined) return false
    // Of one that is given to its readers now a server that is closing would wait for the end.
    if (server.listening) {
      for (const reader of readers) reader.call(server, socket)
      socket.resume()
    } else socket.destroy()
    return true
  }

  server.on('connection', (socket: Socket) => {
    // Until it has a reader nobody else hears of it.
    socket.on('error', () => {})
    const address = addressOf(socket)
    const line = rate.take(address, 1, performance.now()) === 0 ? few : many
    line.push(address, socket)
    if (many.count() > limits.waiting) {
      many.popOfMost()?.destroy()
      onCut()
    }
    hasCome = true
    come()
  })
}
