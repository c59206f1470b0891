import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createConnection, Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createRest, readInTurn } from './arrivals.ts'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

interface Figures {
  burst?: number
  /** How many of the many wait at most. */
  most?: number
  /** Rests are over at once. */
  isRested?: boolean
}

/** A server whose rounds and rests end when they are told to, and whose callers say in their order of coming where they come from. */
async function serverOf(addresses: readonly string[], { burst = 10, most = 10, isRested = true }: Figures = {}) {
  const [heard, waiting, resting]: [string[], (() => void)[], (() => void)[]] = [[], [], []]
  let cut = 0
  const server = createServer((request, answer) => {
    heard.push(request.url ?? '')
    answer.end()
  })
  const taken: Socket[] = []
  readInTurn(
    server,
    { burst, perSecond: 1e-6, most: 10, waiting: most },
    (socket) => addresses[taken.push(socket) - 1] ?? '',
    () => {
      cut++
    },
    (then) => void waiting.push(then),
    (then) => (isRested ? then() : void resting.push(then)),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => server.close())
  return {
    heard,
    taken,
    /** Has somebody connect who says nothing. */
    emit: (socket: Socket): boolean => server.emit('connection', socket),
    /** Connects and asks at once; resolves when the server has the connection. */
    async ask(path: string): Promise<Socket> {
      const taken = once(server, 'connection')
      const socket = createConnection((server.address() as AddressInfo).port, '127.0.0.1')
      ends.push(() => socket.destroy())
      socket.on('error', () => {})
      socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`)
      await taken
      return socket
    },
    /** Lets a round come. */
    round: (): void => waiting.shift()?.(),
    close: () => new Promise((resolve) => server.close(resolve)),
    waits: (): number => waiting.length,
    /** Ends a rest. */
    rested: (): void => resting.shift()?.(),
    cut: (): number => cut,
    areRead: (): boolean[] => taken.map((socket) => socket.listenerCount('data') > 0),
  }
}

const answerTo = async (socket: Socket | undefined) => {
  const [chunk] = await once(socket ?? new Socket(), 'data')
  return String(chunk)
}

describe('readInTurn', () => {
  it('reads one connection a round, addresses in rotation', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd', 'monitor'])
    const sockets = new Map<string, Socket>()
    for (const path of ['/1', '/2', '/3', '/health']) sockets.set(path, await server.ask(path))
    for (const socket of server.taken) expect([socket.isPaused(), socket.listenerCount('data')]).toEqual([true, 0])
    const order = ['/1', '/health', '/2', '/3']
    for (const [round, path] of order.entries()) {
      const answered = answerTo(sockets.get(path))
      server.round()
      expect(await answered).toContain('200 OK')
      expect(server.heard).toEqual(order.slice(0, round + 1))
    }
    expect(server.waits()).toBe(0)
  })

  it('reads the many of one address when nobody comes, and others meanwhile', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd', 'monitor'], { burst: 1 })
    const sockets = new Map<string, Socket>()
    for (const path of ['/1', '/2', '/3', '/health']) {
      sockets.set(path, await server.ask(path))
      const answered = ['/1', '/health'].includes(path) ? answerTo(sockets.get(path)) : undefined
      server.round()
      await answered
    }
    expect(server.heard).toEqual(['/1', '/health'])
    for (const path of ['/2', '/3']) {
      const answered = answerTo(sockets.get(path))
      server.round()
      await answered
    }
    expect(server.heard).toEqual(['/1', '/health', '/2', '/3'])
  })

  it('reads as many of an address as are few, and no second one in the round of one of them', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd', 'other'], { burst: 2 })
    for (const path of ['/1', '/2', '/3']) await server.ask(path)
    server.round()
    expect(server.areRead()).toEqual([true, false, false])
    await server.ask('/other')
    server.round()
    expect(server.areRead()).toEqual([true, true, false, false])
    // Nobody comes any more.
    server.round()
    expect(server.areRead()).toEqual([true, true, false, true])
    server.round()
    expect(server.areRead()).toEqual([true, true, true, true])
  })

  it('rests between two of the many, and meanwhile reads the few', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd', 'crowd', 'monitor', 'other'], {
      burst: 1,
      isRested: false,
    })
    for (const path of ['/1', '/2', '/3', '/4']) await server.ask(path)
    // In the first somebody has come.
    for (const _ of [1, 2]) server.round()
    expect(server.areRead()).toEqual([true, true, false, false])
    // No round is asked for in vain.
    expect(server.waits()).toBe(0)
    for (const path of ['/health', '/gone']) await server.ask(path)
    server.taken[5]?.destroy()
    for (const _ of [1, 2]) server.round()
    expect(server.areRead()).toEqual([true, true, false, false, true, false])
    server.rested()
    server.round()
    expect(server.areRead()).toEqual([true, true, true, false, true, false])
    expect(server.waits()).toBe(0)
    server.rested()
    server.round()
    expect(server.areRead()).toEqual([true, true, true, true, true, false])
    server.rested()
    expect(server.waits()).toBe(0)
  })

  it('cuts off the newest of the address with the most where too many wait', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd', 'proxy', 'proxy', 'crowd', 'proxy'], {
      burst: 1,
      most: 3,
    })
    for (const path of ['/1', '/2', '/3', '/4', '/5']) await server.ask(path)
    expect(server.cut()).toBe(0)
    const areGone = () => server.taken.map(({ destroyed }) => destroyed)
    await server.ask('/6')
    expect([server.cut(), ...areGone()]).toEqual([1, false, false, false, false, false, true])
    // Those before it, where it has no more than they have.
    await server.ask('/7')
    expect([server.cut(), ...areGone()]).toEqual([2, false, false, true, false, false, true, false])
    for (let round = 0; round < 6; round++) server.round()
    expect(server.areRead()).toEqual([true, true, false, true, true, false, true])
  })

  it('reads the many as well where somebody comes for ever', async () => {
    const server = await serverOf(['a', 'a'], { burst: 1 })
    for (const path of ['/1', '/2']) await server.ask(path)
    // The first is one of few.
    server.round()
    const come = () => server.emit(new Socket())
    for (let round = 2; round <= 1000; round++) {
      come()
      server.round()
    }
    expect(server.taken[1]?.listenerCount('data')).toBe(0)
    come()
    server.round()
    expect(server.taken[1]?.listenerCount('data')).toBeGreaterThan(0)
  })

  it('counts no rounds in which nobody of the many waited', async () => {
    const others = Array.from({ length: 2000 }, (_, place) => `other ${place}`)
    const server = await serverOf([...others, 'crowd', 'crowd'], { burst: 1 })
    for (const _ of others) {
      server.emit(new Socket())
      server.round()
    }
    const areRead = () => server.areRead().slice(-2)
    for (const path of ['/1', '/2']) {
      await server.ask(path)
      server.round()
    }
    expect(areRead()).toEqual([true, false])
    server.round()
    expect(areRead()).toEqual([true, true])
  })

  it('reads a connection to its end once it is read', async () => {
    const server = await serverOf(['a'])
    const socket = await server.ask('/1')
    const first = answerTo(socket)
    server.round()
    await first
    socket.write('GET /2 HTTP/1.1\r\nhost: a\r\n\r\n')
    await answerTo(socket)
    expect(server.heard).toEqual(['/1', '/2'])
  })

  it('closes those that wait while the server is closing', async () => {
    const server = await serverOf(['a'])
    await server.ask('/1')
    const closed = server.close()
    server.round()
    await closed
    expect([server.heard, server.taken[0]?.destroyed]).toEqual([[], true])
  })

  it('does not rest while the server is closing', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd'], { burst: 1, isRested: false })
    for (const path of ['/1', '/2', '/3']) await server.ask(path)
    const closed = server.close()
    for (let round = 0; round < 3; round++) server.round()
    await closed
    expect(server.taken.map(({ destroyed }) => destroyed)).toEqual([true, true, true])
  })

  it('goes on past one that was reset before its turn', async () => {
    const server = await serverOf(['a', 'b'])
    const reset = await server.ask('/1')
    const other = await server.ask('/2')
    reset.resetAndDestroy()
    await once(reset, 'close')
    const answered = answerTo(other)
    server.round()
    server.round()
    await answered
    expect(server.heard).toContain('/2')
  })

  it('gives no round to one that has failed meanwhile', async () => {
    const server = await serverOf(['a', 'b'])
    await server.ask('/1')
    const other = await server.ask('/2')
    server.taken[0]?.destroy(new Error('it has failed'))
    const answered = answerTo(other)
    server.round()
    await answered
    expect([server.heard, server.taken[0]?.listenerCount('data')]).toEqual([['/2'], 0])
  })
})

describe('createRest', () => {
  it('rests twice as long as two rounds took, once that comes to a millisecond', () => {
    let now = 0
    const [rounds, waits, rested]: [(() => void)[], [() => void, number][], number[]] = [[], [], []]
    const rest = createRest(
      (then) => void rounds.push(then),
      (then, ms) => void waits.push([then, ms]),
      () => now,
    )
    /** Of one that takes so long in each of its two rounds. */
    const restAfter = (...ms: number[]) => {
      rest(() => void rested.push(now))
      for (const took of ms) {
        now += took
        rounds.shift()?.()
      }
    }
    restAfter(0.125, 0.25)
    expect([rested, waits]).toEqual([[0.375], []])
    restAfter(0.25)
    expect(rested).toHaveLength(1)
    now += 3
    rounds.shift()?.()
    expect([rested, waits.map(([, ms]) => ms)]).toEqual([[0.375], [7.25]])
    waits.shift()?.[0]()
    expect(rested).toEqual([0.375, 3.625])
    // Nothing is owed any more.
    restAfter(0.125, 0.25)
    expect([rested.length, waits.length, rounds.length]).toEqual([3, 0, 0])
    restAfter(0, 0.125)
    expect(waits.map(([, ms]) => ms)).toEqual([1])
  })
})
