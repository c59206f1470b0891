/**
 * The HTTP application, apart from the server: it does not listen, so tests inject requests into it. Everything every route
 * shares stands here: limits, tokens, checks, errors, metrics.
 */

import { routes } from '@dvt-relayer/api/routes.ts'
import swagger from '@fastify/swagger'

import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaCompiler } from 'fastify'

import { fastify } from 'fastify'
import type { TSchema } from 'typebox'
import { ApiError, ERRORS } from '../errors.ts'
import { createAdmission, UNREAD_BYTES } from './admission/admission.ts'
import type { Limits } from './admission/limits.ts'
import { allowOrigin, answerPreflight, isPreflight } from './auth/cors.ts'
import { createBind } from './bind.ts'
import { createBodyGate } from './body-gate.ts'
import { compileBody, compilePart } from './body-validator.ts'
import type { ApiContext, HttpContext } from './context.ts'
import { answerError, answerGarbage } from './error-answer.ts'
import { exitRoutes } from './routes/exits.ts'
import { explainRoutes } from './routes/explain.ts'
import { beaconRoutes } from './routes/obol/beacon.ts'
import { handInRoutes } from './routes/obol/hand-in.ts'
import { operationsRoutes } from './routes/operations.ts'
import { oracleRoutes } from './routes/oracles.ts'
import { ownerCopyRoutes } from './routes/owner-copies.ts'
import { registerRoutes } from './routes/register.ts'
import { rotationRoutes } from './routes/rotation.ts'
import { signatureRoutes } from './routes/signatures.ts'
import { statusRoutes } from './routes/status.ts'
import { validatorRoutes } from './routes/validators.ts'
import { vaultRoutes } from './routes/vaults.ts'
import { noteRefusals } from './visits.ts'

export type App = FastifyInstance

/** JSON values a body may hold: an item of a list is three, or with the public key shares of thirteen nodes some forty. */
const maxValues = (shares: number): number => Math.max(200_000, 20 * shares)

/** What operators, sidecars and oracles call. */
const API_ROUTES = [
  validatorRoutes,
  exitRoutes,
  signatureRoutes,
  registerRoutes,
  oracleRoutes,
  vaultRoutes,
  rotationRoutes,
  ownerCopyRoutes,
  explainRoutes,
  handInRoutes,
  beaconRoutes,
  statusRoutes,
] as const

const checkerOf: FastifySchemaCompiler<TSchema> = (route) =>
  route.httpPart === 'body' ? compileBody(route.schema) : compilePart(route as never)
/** Answers are built by our own code from checked values and compared with the contract in tests; no second pass over megabytes. */
const writer = () => (answer: unknown) => JSON.stringify(answer)
/** Given to fastify from the start: else it loads libraries of its own, of which nothing is ever used. Its types know only those. */
const COMPILERS = { buildValidator: () => checkerOf as never, buildSerializer: () => writer }

/** Builds the application. Without services it answers only what people and machines around the process ask. */
export async function createApp(
  context: HttpContext,
  services?: ApiContext['services'],
  limits?: Limits,
): Promise<App> {
  const { config, auth, events, stopping } = context
  const app: App = fastify({
    logger: false,
    bodyLimit: config.http.maxBodyBytes,
    // From the first byte of a request to the last of its body; clients of today give up after 10 s.
    requestTimeout: 30_000,
    connectionTimeout: 0,
    keepAliveTimeout: 75_000,
    // Who opens a connection and says nothing, or its headers byte by byte.
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 2_000, highWaterMark: UNREAD_BYTES },
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: 200 },
    genReqId: () => crypto.randomUUID(),
    return503OnClosing: true,
    schemaController: { compilersFactory: COMPILERS },
    clientErrorHandler: answerGarbage,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply, context, admission.answer),
  })
  app.decorateRequest('isLongPoll', false)
  app.decorateRequest('caller')
  app.decorateRequest('refusedWith', undefined)
  const admission = createAdmission(app, { config, events, limits, stopping })
  createBodyGate(app, { maxValues: maxValues(config.limits.shares), rounds: admission.rounds })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'other'
    events.httpAnswered(route, reply.statusCode, request.isLongPoll ? undefined : reply.elapsedTime / 1000)
  })
  if (services !== undefined) noteRefusals(app, services.nodes)
  app.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id)
    if (!auth.isOpen) allowOrigin(request, reply)
    if (stopping.aborted) reply.header('connection', 'close')
  })
  // Before the body is read: what leads nowhere costs no memory, whoever sends it.
  app.addHook('onRequest', async (request, reply) =>
    // No route but the first ends with a slash, and the router takes one for an empty last part of a path.
    request.is404 || /^[^?]+\/(\?|$)/.test(request.url) ? notFound(app, auth.isOpen, request, reply) : undefined,
  )
  app.setErrorHandler(async (error, request, reply) => {
    const status = error instanceof ApiError ? ERRORS[error.code].status : undefined
    await admission.beforeRefusal(request, reply, status)
    return answerError(error, request, reply, context, admission.answer)
  })
  await app.register(swagger, {
    openapi: {
      info: {
        title: 'dvt-relayer',
        version: '4',
        description: 'Gathers exit signatures of distributed validators for StakeWise vaults.',
      },
    },
  })
  await app.register(async (scope) => {
    const bind = createBind(scope, auth, admission, config.limits.keys)
    operationsRoutes(bind, context, () => app.swagger())
    if (services !== undefined) for (const addRoutes of API_ROUTES) addRoutes(bind, { ...context, services })
  })
  await app.ready()
  return app
}

/** Every route, and which paths are its. */
const METHODS = Object.values(routes).map(({ method, path }) => ({
  method,
  url: path,
  pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`),
}))

/**
 * A trailing slash is a redirect, a browser's question what a page may do on a known path is answered, another method there is a 405, and
 * everything else a 404, as clients of today know it.
 */
function notFound(app: App, isOpen: boolean, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const [path = '/', query] = request.url.split('?', 2)
  const bare = path === '/' ? path : path.replace(/\/+$/, '')
  const methods = METHODS.flatMap(({ method, url, pattern }) =>
    pattern.test(bare) && app.hasRoute({ method, url }) ? [method] : [],
  )
  if (bare !== path && methods.length > 0)
    return reply
      .code(307)
      .header('location', query === undefined ? bare : `${bare}?${query}`)
      .send()
  if (methods.length > 0 && isPreflight(request)) return answerPreflight(reply, methods, isOpen)
  if (methods.length > 0) {
    reply.header('allow', methods.join(', '))
    throw new ApiError('METHOD_NOT_ALLOWED', `${path} takes ${methods.join(' and ')} only`)
  }
  throw new ApiError('NOT_FOUND', 'there is no such path; /openapi.json lists all')
}
