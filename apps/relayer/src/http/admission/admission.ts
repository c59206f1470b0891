/**
 * Admission: what one caller may take of what all need. Each caller has an account (`account-of.ts`), known from the headers alone, and
 * what it holds is counted there: connections, requests under way, bytes of bodies, bytes of answers. Who is at a limit waits behind
 * itself, is refused by itself (503 with Retry-After), or is cut off; nobody else is. Connections to the database and signature workers
 * are shared in the same way where they are (`libs/common/src/turns.ts`, `crypto-workers/pool.ts`).
 */

import { Readable } from 'node:stream'
import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RelayerConfig } from '../../config.ts'
import { ApiError } from '../../errors.ts'
import type { Events } from '../../events.ts'
import { strangerOf } from './account-of.ts'
import { createAnswers } from './answers.ts'
import { createBodies } from './bodies.ts'
import { createConnections } from './connections.ts'
import { holdToRate } from './least-rate.ts'
import { type Limits, limitsOf } from './limits.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** On whose account the request is; set before its body is read. */
    account: Account
    /** Whether there is room for so many parsed values of its body. */
    hasRoomFor: (values: number) => boolean
  }
}

/** Answers are handed to the socket in pieces of this size, so that one sees how far a reader is. */
const PIECE_BYTES = 64 * 1024

/** Creates the admission of an application, and puts it before its routes. */
export function createAdmission(
  app: FastifyInstance,
  { config, events, limits = limitsOf(config) }: { config: RelayerConfig; events: Events; limits?: Limits | undefined },
) {
  const { maxBodyBytes } = config.http
  const bodies = createBodies(limits.bodies)
  const answers = createAnswers(limits.answers)
  const connections = createConnections(limits.connections, () => events.callerBounded('connections'))
  /** Requests under way, by account. */
  const underWay = new Map<string, number>()
  const tellHeld = () => {
    events.bytesHeld('bodies', bodies.held())
    events.bytesHeld('answers', answers.held())
  }

  app.server.on('connection', (socket) => connections.opened(socket, strangerOf({ socket })))
  app.decorateRequest('account')
  app.decorateRequest('hasRoomFor')

  app.addHook('preParsing', async (request, reply, payload) => {
    const { 'content-length': said, 'transfer-encoding': encoding } = request.headers
    if (encoding === undefined && !(Number(said ?? 0) > 0)) return payload
    // What does not say how long it is may be as long as a body can be.
    const length = encoding === undefined ? Number(said) : maxBodyBytes
    if (length > maxBodyBytes) throw new ApiError('BODY_TOO_LARGE', `a body may have at most ${maxBodyBytes} bytes`)
    const gone = new AbortController()
    const onGone = () => gone.abort()
    reply.raw.once('close', onGone)
    const room = await bodies.take(request.account, length, gone.signal)
    reply.raw.off('close', onGone)
    if (room === undefined) {
      events.callerBounded('bodies')
      throw new ApiError('TOO_BUSY', 'too many requests of yours are being worked on; send this one again in a moment')
    }
    tellHeld()
    const stop = watchUpload(request, reply)
    whenOver(reply, () => {
      stop()
      room.release()
      tellHeld()
    })
    request.hasRoomFor = room.holds
    return payload
  })

  app.addHook('onSend', async (request, reply) => {
    watchReader(request, reply)
  })

  /** Cuts off who sends its body slower than the least rate. */
  function watchUpload(request: FastifyRequest, reply: FastifyReply): () => void {
    const { raw } = request
    const stop = holdToRate(
      limits.upload,
      () => raw.socket.bytesRead,
      () => {
        if (raw.complete || reply.sent) return
        events.callerBounded('upload')
        reply.header('connection', 'close')
        void reply.send(new ApiError('BODY_TOO_SLOW', 'the body came too slowly, and the connection is closed'))
      },
    )
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

  return {
    /** A request of a known caller begins. @throws {ApiError} TOO_BUSY when too many of its are under way */
    begin(request: FastifyRequest, reply: FastifyReply, account: Account): void {
      const key = accountKey(account)
      const count = underWay.get(key) ?? 0
      if (count >= limits.requestsOfOne) {
        events.callerBounded('requests')
        throw new ApiError('TOO_BUSY', `${count} requests of yours are under way; send this one again in a moment`)
      }
      request.account = account
      request.hasRoomFor = () => true
      underWay.set(key, count + 1)
      const end = connections.begun(request.raw.socket, account)
      whenOver(reply, () => {
        end()
        const left = (underWay.get(key) ?? 1) - 1
        if (left === 0) underWay.delete(key)
        else underWay.set(key, left)
      })
    },
    /** What to send of an answer that is bytes already: the same bytes to everybody, in pieces as they are taken. */
    answer(request: FastifyRequest, reply: FastifyReply, bytes: Buffer): Buffer | Readable {
      if (bytes.length <= PIECE_BYTES) return bytes
      const over = answers.hold(request.account, bytes, () => {
        events.callerBounded('answer')
        request.raw.socket.destroy()
      })
      tellHeld()
      whenOver(reply, () => {
        over()
        tellHeld()
      })
      reply.header('content-length', bytes.length)
      return Readable.from(piecesOf(bytes), { objectMode: false, highWaterMark: PIECE_BYTES })
    },
    bodies,
    answers,
    connections,
  }
}
export type Admission = ReturnType<typeof createAdmission>

/** Calls `then` once, when the answer is out or its connection gone. */
function whenOver({ raw }: FastifyReply, then: () => void): void {
  let isOver = false
  const end = () => {
    if (!isOver) then()
    isOver = true
  }
  raw.once('close', end)
  raw.once('finish', end)
}

/** Views of the bytes; nothing is copied. */
function* piecesOf(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length; from += PIECE_BYTES) yield bytes.subarray(from, from + PIECE_BYTES)
}
