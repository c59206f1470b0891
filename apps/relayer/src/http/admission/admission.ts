/**
 * Admission: what one caller may take of what all need. Each caller has an account (`account-of.ts`), known from the headers alone, and
 * what it holds is counted there: connections, requests under way, bytes of bodies, bytes of answers. Who is at a limit waits behind
 * itself, is refused by itself (503 with Retry-After), or is cut off; nobody else is. Connections to the database and signature workers
 * are shared in the same way where they are (`libs/common/src/flow/turns.ts`, `crypto-workers/pool.ts`).
 */

import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import { createRate } from '@dvt-relayer/common/flow/rate.ts'
import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RelayerConfig } from '../../config.ts'
import { ApiError } from '../../errors.ts'
import type { Events } from '../../events.ts'
import { strangerOf } from './account-of.ts'
import { createAnswers } from './answers.ts'
import { readInTurn } from './arrivals.ts'
import { createBodies } from './bodies.ts'
import { createConnections } from './connections.ts'
import { holdToRate, holdUntilWanted } from './least-rate.ts'
import { type Limits, limitsOf } from './limits.ts'
import { createPieces, PIECE_BYTES } from './pieces.ts'
import { createRefusals } from './refusals.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** On whose account the request is; set before its body is read. */
    account: Account
    /** What it holds, until it is answered and worked on no more. */
    visit: Visit
    /** Whether there is room for so many parsed values of its body. */
    hasRoomFor: (values: number) => boolean
    /**
     * Counts it on another account from here on: its caller has proven who it is in its body. What was read of that stays on the account
     * of the stranger who sent it.
     *
     * @throws {ApiError} TOO_BUSY when too many requests of that account are under way
     */
    countAs: (proven: Account) => void
  }
}

/**
 * So much of a body that waits for its turn is taken from its connection at least; as things are that is one read of 64 KiB, where Node by itself
 * reads twice.
 */
export const UNREAD_BYTES = 16 * 1024

/** From this size a body that is refused unread is not read to its end for the sake of the connection. */
const SKIPPED_BYTES = 256 * 1024

/** Requests that go on in a round of the event loop: what follows from one until it waits for something is some tenths of a millisecond. */
const IN_A_ROUND = 1
/** Requests of one connection that wait for their rounds: clients send the next one after an answer. */
const IN_LINE_OF_ONE = 8

/** Creates the admission of an application, and puts it before its routes. */
export function createAdmission(
  app: FastifyInstance,
  {
    config,
    events,
    limits = limitsOf(config),
    stopping = new AbortController().signal,
  }: { config: RelayerConfig; events: Events; limits?: Limits | undefined; stopping?: AbortSignal },
) {
  const { maxBodyBytes } = config.http
  const bodies = createBodies(limits.bodies)
  const answers = createAnswers(limits.answers)
  const onCut = () => events.callerBounded('connections')
  const connections = createConnections(limits.connections, onCut)
  const pieces = createPieces()
  const refusals = createRefusals(limits)
  const refusalsOfBodies = createRefusals({ refusalMs: 0, refusals: limits.refusalsOfBodies })
  const forbidden = createRate(limits.forbiddenOfOne)
  /** Those whose bodies have room that other strangers wait for, whoever they turned out to be of. */
  const ofStrangers = new WeakSet<FastifyRequest>()
  const [rounds, roundsOfStrangers] = [createRounds(IN_A_ROUND), createRounds(IN_A_ROUND)]
  /** Requests under way, by account. */
  const underWay = new Map<string, number>()
  const tellHeld = () => {
    events.bytesHeld('bodies', bodies.held())
    events.bytesHeld('answers', answers.held())
  }

  // Room is made for a connection when it is read, so that those that only come cost the ones behind them little.
  app.server.prependListener('connection', (socket) => connections.opened(socket, strangerOf({ socket })))
  readInTurn(app.server, limits.arrivals, (socket) => accountKey(strangerOf({ socket })), onCut)
  app.decorateRequest('account')
  app.decorateRequest('visit')
  app.decorateRequest('hasRoomFor')
  app.decorateRequest('countAs')

  app.addHook('preParsing', async (request, reply, payload) => {
    const { 'content-length': said, 'transfer-encoding': encoding } = request.headers
    if (encoding === undefined && !(Number(said ?? 0) > 0)) return payload
    const most = request.routeOptions.bodyLimit ?? maxBodyBytes
    // What does not say how long it is may be as long as a body can be.
    const length = encoding === undefined ? Number(said) : most
    if (length > most && length > SKIPPED_BYTES) reply.header('connection', 'close')
    if (length > most) throw new ApiError('BODY_TOO_LARGE', `a body of this request may have at most ${most} bytes`)
    const gone = goneOf(reply)
    const room = await bodies.take(request.account, length, gone.signal)
    gone.forget()
    if (room === undefined) {
      events.callerBounded('bodies')
      await pauseUnlessOver(reply, refusalsOfBodies.nextMs(request.account))
      if (length > SKIPPED_BYTES) reply.header('connection', 'close')
      throw new ApiError('TOO_BUSY', 'too many requests of yours are being worked on; send this one again in a moment')
    }
    tellHeld()
    request.visit.atEnd(watchUpload(request, reply))
    request.visit.atEnd(() => {
      room.release()
      tellHeld()
    })
    request.hasRoomFor = room.holds
    return payload
  })

  app.addHook('onSend', async (request, reply) => {
    watchReader(request, reply)
  })

  /** Cuts off who sends its body slower than the least rate; and a stranger, for whom another one waits, sooner. */
  function watchUpload(request: FastifyRequest, reply: FastifyReply): () => void {
    const { raw, account } = request
    let isCut = false
    const cut = () => {
      if (isCut || raw.complete || reply.sent) return
      isCut = true
      events.callerBounded('upload')
      reply.header('connection', 'close')
      void reply.send(new ApiError('BODY_TOO_SLOW', 'the body came too slowly, and the connection is closed'))
    }
    const ends = [holdToRate(limits.upload, () => raw.socket.bytesRead, cut)]
    if (account.group === 'stranger')
      ends.push(holdUntilWanted(limits.uploadOfStrangers, bodies.isWantedByStrangers, cut))
    const stop = () => {
      for (const end of ends) end()
    }
    raw.once('end', stop)
    return stop
  }

  /** Cuts off who does not take its answer. */
  function watchReader(request: FastifyRequest, reply: FastifyReply): void {
    const { socket } = request.raw
    const stop = holdToRate(
      limits.answer,
      () => socket.bytesWritten - socket.writableLength,
      () => {
        events.callerBounded('answer')
        socket.destroy()
      },
    )
    whenOver(reply, stop)
  }

  /** How many requests of a connection wait for their rounds. */
  const inLine = new WeakMap<Socket, number>()

  /**
   * Waits for the round in which the request of an account may go on: those that come at a moment are not worked on in one go. Known callers
   * do not wait behind strangers, however many addresses these have. Resolves for who has hung up meanwhile as well.
   */
  async function turn({ raw: { socket } }: FastifyRequest, account: Account): Promise<void> {
    if (socket.destroyed) return
    const waiting = inLine.get(socket) ?? 0
    // A connection takes any number of requests whose answers nobody waits for.
    if (waiting >= IN_LINE_OF_ONE) return void socket.destroy()
    inLine.set(socket, waiting + 1)
    const { turn: wait } = account.group === 'stranger' ? roundsOfStrangers : rounds
    await wait(accountKey(account), () => socket.destroyed)
    inLine.set(socket, (inLine.get(socket) ?? 1) - 1)
  }

  /** Waits, until the caller hangs up or the process is told to stop. */
  async function pauseUnlessOver(reply: FastifyReply, ms: number): Promise<void> {
    const gone = goneOf(reply)
    await pause(ms, AbortSignal.any([gone.signal, stopping]))
    gone.forget()
  }

  /** Connections on which a refusal waits. */
  const refusing = new WeakSet<Socket>()

  /** Has whoever asks for too much at once wait for its refusal, so that asking again and again costs it time and not the others. */
  async function refuse(reply: FastifyReply, account: Account): Promise<never> {
    events.callerBounded('requests')
    const { socket } = reply.request.raw
    // One that waits costs some kilobytes, and a connection takes any number of requests whose answers nobody waits for.
    if (refusing.has(socket)) {
      socket.destroy()
      throw tooMany()
    }
    refusing.add(socket)
    await pauseUnlessOver(reply, refusals.nextMs(account))
    reply.header('connection', 'close')
    throw tooMany()
  }
  /** Has a known caller wait that was told too often that something is not its own. */
  async function waitForbidden(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (ofStrangers.has(request)) return
    const { waitSeconds } = limits.forbiddenOfOne
    const seconds = forbidden.owe(accountKey(request.account), 1, performance.now(), waitSeconds) ?? waitSeconds
    if (seconds === 0) return
    await pauseUnlessOver(reply, seconds * 1000)
  }

  const tooMany = () =>
    new ApiError('TOO_BUSY', `${limits.requestsOfOne} requests of yours are under way; send this one again later`)

  const isFull = (account: Account) => (underWay.get(accountKey(account)) ?? 0) >= limits.requestsOfOne
  /** Counts a request on the account that it has now. */
  const count = ({ account }: FastifyRequest, requests: 1 | -1) => {
    const key = accountKey(account)
    const left = (underWay.get(key) ?? 0) + requests
    if (left > 0) underWay.set(key, left)
    else underWay.delete(key)
  }

  return {
    /** A request of a known caller begins. @throws {ApiError} TOO_BUSY when too many of its are under way */
    async begin(request: FastifyRequest, reply: FastifyReply, account: Account): Promise<void> {
      whenOver(reply, connections.begun(request.raw.socket, account))
      if (isFull(account)) await refuse(reply, account)
      request.account = account
      if (account.group === 'stranger') ofStrangers.add(request)
      count(request, 1)
      request.hasRoomFor = () => true
      request.visit = createVisit(reply)
      request.visit.atEnd(() => count(request, -1))
      request.countAs = (proven) => {
        if (isFull(proven)) {
          events.callerBounded('requests')
          throw tooMany()
        }
        // Of who has hung up meanwhile nothing is counted any more, and would not be taken back.
        const isCounted = !request.visit.hasEnded()
        if (isCounted) count(request, -1)
        request.account = proven
        if (isCounted) count(request, 1)
      }
      await turn(request, account)
      // It is counted no more, so nothing is to be done for it any more; and nobody reads the answer.
      if (request.raw.socket.destroyed) throw new ApiError('TOO_BUSY', 'the caller has hung up')
    },
    /** What is refused, before anything is known of who sends it too, is answered in a round of its own as well. */
    async beforeRefusal(request: FastifyRequest, reply: FastifyReply, status?: number): Promise<void> {
      if (isBegun(request) && status === 403) await waitForbidden(request, reply)
      await turn(request, accountOfAnswered(request))
    },
    /** The rounds of the event loop in which requests go on: what else of them takes long shares these. */
    rounds,
    /** What to send of an answer: the same bytes to everybody, in pieces as they are taken. */
    answer(request: FastifyRequest, reply: FastifyReply, bytes: Buffer): Buffer | Readable {
      if (bytes.length <= PIECE_BYTES) return bytes
      const account = accountOfAnswered(request)
      const over = answers.hold(account, bytes, () => {
        events.callerBounded('answer')
        request.raw.socket.destroy()
      })
      tellHeld()
      whenOver(reply, () => {
        over()
        tellHeld()
      })
      reply.header('content-length', bytes.length)
      return Readable.from(pieces.of(account, bytes), { objectMode: false, highWaterMark: PIECE_BYTES })
    },
  }
}
export type Admission = ReturnType<typeof createAdmission>

/** Whether it was known whose it is: what is refused before is of a stranger. */
const isBegun = ({ account }: { account?: Account }): boolean => account !== undefined
const accountOfAnswered = (request: FastifyRequest): Account =>
  isBegun(request) ? request.account : strangerOf(request)

/** Calls `then` once, when the answer is out or its connection gone; at once where it is gone already. */
function whenOver({ raw }: FastifyReply, then: () => void): void {
  let isOver = false
  const end = () => {
    if (!isOver) then()
    isOver = true
  }
  if (raw.destroyed || raw.writableFinished) end()
  raw.once('close', end)
  raw.once('finish', end)
}

/** Aborted when the caller hangs up, until forgotten. */
function goneOf({ raw }: FastifyReply): { signal: AbortSignal; forget(): void } {
  const gone = new AbortController()
  const onGone = () => gone.abort()
  if (raw.destroyed) onGone()
  raw.once('close', onGone)
  return { signal: gone.signal, forget: () => void raw.off('close', onGone) }
}

/** A request, from its headers to its answer, and to the end of the work it has caused: who hangs up still holds what is worked on. */
function createVisit(reply: FastifyReply) {
  const ends: (() => void)[] = []
  let working = 0
  let isOver = false
  let hasEnded = false
  const settle = () => {
    if (!isOver || working > 0 || hasEnded) return
    hasEnded = true
    for (const end of ends) end()
  }
  whenOver(reply, () => {
    isOver = true
    settle()
  })
  return {
    /** Does work that counts as part of it. */
    async work<T>(work: () => Promise<T>): Promise<T> {
      working++
      try {
        return await work()
      } finally {
        working--
        // Of who has hung up, what follows from it at once counts too: a body that was compared is parsed, and then goes to its route.
        if (isOver) setImmediate(settle)
      }
    },
    /** Whether it is answered, or given up, and worked on no more. */
    hasEnded: (): boolean => hasEnded,
    atEnd(end: () => void): void {
      if (hasEnded) end()
      else ends.push(end)
    },
  }
}
type Visit = ReturnType<typeof createVisit>
