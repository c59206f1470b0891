/** How bodies are read: JSON only, of no more values than a request needs. How many bytes are held at once is `admission`'s. */

import { createHash, type Hash } from 'node:crypto'
import { Transform } from 'node:stream'
import { accountKey, onAccountOf } from '@dvt-relayer/common/account.ts'
import { messageOf, TextError } from '@dvt-relayer/common/errors.ts'
import type { Rounds } from '@dvt-relayer/common/flow/rounds.ts'
import { type JsonPieces, parseJsonInPieces } from '@dvt-relayer/common/json/pieces.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import type { FastifyInstance, FastifyRequest, RequestPayload } from 'fastify'
import type { TSchema } from 'typebox'
import { ApiError } from '../errors.ts'
import { createParsing, type ParsedSize } from './admission/parsing.ts'
import type { BodyProof } from './auth/key-auth.ts'
import { compilePieces, type PieceCheck } from './body-validator.ts'

/** From this size on, bodies are parsed in turns, a piece at a time: each takes a millisecond or many. */
const IN_TURNS_BYTES = 64 * 1024

/** Reads JSON bodies. What takes long of one is done in `rounds`. */
export function createBodyGate(
  app: FastifyInstance,
  { maxValues, rounds }: { maxValues: number; rounds: Rounds },
  rest?: (ms: number) => Promise<unknown>,
): void {
  app.decorateRequest('bodyProof', undefined)
  // After admission's hook: the room for the body is there.
  app.addHook('preParsing', async (request, _reply, payload) =>
    request.bodyProof === undefined ? payload : hashing(payload, request.bodyProof),
  )
  const parsing = createParsing(rounds, rest)
  /** Requests whose bodies are long, and how long. */
  const large = new WeakMap<FastifyRequest, ParsedSize>()
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    const { bodyProof: proof } = request
    // Nothing is parsed of what nobody known has signed. Who hangs up meanwhile still holds the room of its body.
    if (proof !== undefined)
      await request.visit.work(() =>
        onAccountOf(request.account, () => proof.check(hashes.get(proof)?.digest() ?? new Uint8Array())),
      )
    // Five million empty objects take seconds to parse and a gigabyte, so what is parsed is bounded by values, not by bytes alone.
    const size = { bytes: body.length, values: 0 }
    const admit = (values: number) => {
      if (!request.hasRoomFor(values))
        throw new ApiError('TOO_BUSY', 'too much of yours is being worked on; send this again in a moment')
      size.values = values
    }
    try {
      // Validation reads named fields only and nothing is merged, so a "__proto__" key in a body reaches nothing.
      if (body.length < IN_TURNS_BYTES) return parseJsonText(body.toString('utf8'), maxValues, admit)
      large.set(request, size)
      const pieces = piecesOf(request)
      // So does who hangs up now: the body is there until its turn comes.
      const parsed = await request.visit.work(() =>
        parsing.run(request.account, (between) =>
          parseJsonInPieces(body, { maxValues, admit, between, check: pieces.check }),
        ),
      )
      pieces.checked(parsed)
      return parsed
    } catch (error) {
      throw error instanceof ApiError ? error : new ApiError('BODY_INVALID', bodyProblem(error, maxValues))
    }
  })
  // To read what a long one says takes as long as to parse it: in a round of its own.
  app.addHook('preHandler', async (request) => {
    if (large.has(request)) await request.visit.work(() => rounds.turn(accountKey(request.account)))
  })
  app.addHook('onResponse', async (request, { statusCode }) => {
    const size = large.get(request)
    if (size !== undefined && statusCode >= 400 && statusCode < 500) parsing.refused(request.account, size)
  })
}

/** Of the schemas of bodies, once a long one has come. */
const pieceChecks = new WeakMap<TSchema, PieceCheck>()

/** How the pieces of the body of a request are checked; not at all where its route looks at none. */
function piecesOf(request: FastifyRequest): {
  check: NonNullable<JsonPieces['check']>
  checked(body: object): void
} {
  const schema = request.routeOptions.schema?.body as TSchema | undefined
  if (schema === undefined) return { check: () => {}, checked: () => {} }
  const known = pieceChecks.get(schema) ?? compilePieces(schema)
  pieceChecks.set(schema, known)
  return {
    check(name, items, from) {
      const fault = known.faultOf(name, items, from)
      if (fault !== undefined) throw new ApiError('BODY_INVALID', `body${fault.instancePath} ${fault.message}`)
    },
    checked: known.checked,
  }
}

/** Of bodies that are being read. */
const hashes = new WeakMap<BodyProof, Hash>()

/** The same bytes, hashed as they pass. */
function hashing(payload: RequestPayload, proof: BodyProof): RequestPayload {
  const hash = createHash('sha256')
  hashes.set(proof, hash)
  const passing: Transform & { receivedEncodedLength?: number } = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      hash.update(chunk)
      passing.receivedEncodedLength = (passing.receivedEncodedLength ?? 0) + chunk.length
      next(null, chunk)
    },
  })
  passing.receivedEncodedLength = 0
  payload.on('error', (error) => passing.destroy(error))
  return payload.pipe(passing)
}

function bodyProblem(error: unknown, maxValues: number): string {
  const isTooMuch = error instanceof TextError && (error.code === 'JSON_TOO_MANY' || error.code === 'JSON_TOO_DEEP')
  return `the body ${messageOf(error)}${isTooMuch ? `; one may hold at most ${maxValues} values` : ''}`
}
