/** The typed client of the relayer. It checks every answer against the contract: a relayer may be hostile too. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { Compile } from 'typebox/compile'
import { type AnswerOf, type BodyOf, type ParamsOf, pathOf, type QueryOf, type RouteContract } from './contract.ts'
import { type Routes, routes } from './routes.ts'

/** Sends one request and returns the parsed JSON of a 2xx answer; throws for everything else. */
export type Send = (request: {
  method: 'GET' | 'POST'
  path: string
  query: Readonly<Record<string, string>>
  body?: unknown
  /** How long the answer may take beyond the usual, for long polling. */
  extraMs: number
  signal: AbortSignal
}) => Promise<unknown>

/** The relayer's answer does not have the shape the protocol says. */
export class ContractError extends CodedError<'RELAYER_ANSWER_INVALID'> {}

type Answer<Name extends keyof Routes> = Promise<AnswerOf<Routes[Name]>>
/**
 * `wait` (seconds) and `after` (a revision) make it a long poll, `limit` and `from` (`next` of the page before) one for a page, against
 * relayers that know it.
 */
type ListChanges = { wait?: number; after?: number; limit?: number; from?: number }

export interface RelayerClient {
  /** `GET /info` */
  getInfo(signal: AbortSignal): Answer<'getInfo'>
  /** `GET /whoami` */
  getWhoami(signal: AbortSignal): Answer<'getWhoami'>
  /** `GET /exits` */
  getExits(query: ListChanges, signal: AbortSignal): Answer<'getExits'>
  /** `POST /exit-signature` */
  postExitSignature(body: BodyOf<Routes['postExitSignature']>, signal: AbortSignal): Answer<'postExitSignature'>
  /** `GET /validators` */
  getValidators(query: ListChanges, signal: AbortSignal): Answer<'getValidators'>
  /** `POST /signatures` */
  postSignatures(body: BodyOf<Routes['postSignatures']>, signal: AbortSignal): Answer<'postSignatures'>
  /** `GET /oracles/{oracle}/exit-shares`; `oracle` is an address or a public key. A `send` that signs has to sign the query it sends. */
  getExitShares(oracle: string, query: QueryOf<Routes['getExitShares']>, signal: AbortSignal): Answer<'getExitShares'>
  /** `GET /validators/{public_key}/oracle-shares` */
  getOracleShares(publicKey: string, signal: AbortSignal): Answer<'getOracleShares'>
}

/** Creates a client on top of `send`. */
export function createRelayerClient(send: Send): RelayerClient {
  const getInfo = getting(send, routes.getInfo)
  const getWhoami = getting(send, routes.getWhoami)
  const getExits = getting(send, routes.getExits)
  const getValidators = getting(send, routes.getValidators)
  const getExitShares = getting(send, routes.getExitShares)
  const getOracleShares = getting(send, routes.getOracleShares)
  return {
    getInfo: (signal) => getInfo({}, signal),
    getWhoami: (signal) => getWhoami({}, signal),
    getExits: (changes, signal) => getExits({ query: queryOf(changes) }, signal),
    postExitSignature: posting(send, routes.postExitSignature),
    getValidators: (changes, signal) => getValidators({ query: queryOf(changes) }, signal),
    postSignatures: posting(send, routes.postSignatures),
    getExitShares: (oracle, query, signal) => getExitShares({ params: { oracle }, query }, signal),
    getOracleShares: (publicKey, signal) => getOracleShares({ params: { public_key: publicKey } }, signal),
  }
}

const queryOf = ({ wait, after, limit, from }: ListChanges) => ({
  ...(wait === undefined ? {} : { wait: String(wait) }),
  ...(after === undefined ? {} : { after: String(after) }),
  ...(limit === undefined ? {} : { limit: String(limit) }),
  ...(from === undefined ? {} : { from: String(from) }),
})

/** What a request to a route is made of; a route that takes no parts or no query is asked without. */
type Asked<R> = (ParamsOf<R> extends undefined ? { params?: never } : { params: ParamsOf<R> }) &
  (QueryOf<R> extends undefined ? { query?: never } : { query: QueryOf<R> })

/** Asks a route, and refuses an answer that is not what the contract says. @throws {ContractError} */
function getting<const R extends RouteContract>(send: Send, route: R) {
  const validator = Compile(route.response)
  const name = `${route.method} ${route.path.replaceAll(/:(\w+)/g, '{$1}')}`
  return async (asked: Asked<R>, signal: AbortSignal): Promise<AnswerOf<R>> => {
    const { params, query = {} } = asked as { params: ParamsOf<R>; query?: Readonly<Record<string, string>> }
    const path = pathOf(route, params)
    const extraMs = Number(query['wait'] ?? 0) * 1000
    const answer = await send({ method: route.method, path, query, extraMs, signal })
    if (validator.Check(answer)) return answer as AnswerOf<R>
    const [error] = validator.Errors(answer)
    throw new ContractError(
      'RELAYER_ANSWER_INVALID',
      `the answer to ${name} is not what the protocol says: ${error?.instancePath ?? ''} ${error?.message ?? ''}`.trim(),
    )
  }
}

/** Posts to a route. Clients do not depend on the answer's body: whatever an existing relayer answers with a 2xx is good. */
function posting<R extends Routes['postExitSignature'] | Routes['postSignatures']>(send: Send, route: R) {
  const validator = Compile(route.response)
  return async (body: BodyOf<R>, signal: AbortSignal): Promise<AnswerOf<R>> => {
    const answer = await send({ method: route.method, path: route.path, query: {}, body, extraMs: 0, signal })
    return (validator.Check(answer) ? answer : {}) as AnswerOf<R>
  }
}
