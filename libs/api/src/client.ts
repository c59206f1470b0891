/** The typed client of the relayer. It checks every answer against the contract: a relayer may be hostile too. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { createFaultFinder } from '@dvt-relayer/common/json/fault.ts'
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
  /** `GET /validators/{public_key}/explain` */
  getExplanation(publicKey: string, signal: AbortSignal): Answer<'getExplanation'>
  /** `POST /validators`: generation 3's request, and its poll */
  postValidators(body: BodyOf<Routes['postValidators']>, signal: AbortSignal): Answer<'postValidators'>
  /** `POST /register`: generation 4's request, and its poll */
  postRegister(body: BodyOf<Routes['postRegister']>, signal: AbortSignal): Answer<'postRegister'>
  /** `POST /fund` */
  postFund(body: BodyOf<Routes['postFund']>, signal: AbortSignal): Answer<'postFund'>
  /** `POST /withdraw` */
  postWithdraw(body: BodyOf<Routes['postWithdraw']>, signal: AbortSignal): Answer<'postWithdraw'>
  /** `POST /consolidate` */
  postConsolidate(body: BodyOf<Routes['postConsolidate']>, signal: AbortSignal): Answer<'postConsolidate'>
  /** `GET /vaults` */
  getVaults(signal: AbortSignal): Answer<'getVaults'>
  /** `GET /vaults/{vault}` */
  getVault(vault: string, query: QueryOf<Routes['getVault']>, signal: AbortSignal): Answer<'getVault'>
  /** `GET /vaults/{vault}/rotation` */
  getRotation(vault: string, signal: AbortSignal): Answer<'getRotation'>
  /** `POST /vaults/{vault}/rotation` */
  postRotation(vault: string, signal: AbortSignal): Answer<'postRotation'>
  /** `GET /vaults/{vault}/owner-copies` */
  getOwnerCopies(vault: string, query: QueryOf<Routes['getOwnerCopies']>, signal: AbortSignal): Answer<'getOwnerCopies'>
}

/** Creates a client on top of `send`. */
export function createRelayerClient(send: Send): RelayerClient {
  const getInfo = asking(send, routes.getInfo)
  const getWhoami = asking(send, routes.getWhoami)
  const getExits = asking(send, routes.getExits)
  const getValidators = asking(send, routes.getValidators)
  const getExitShares = asking(send, routes.getExitShares)
  const getOracleShares = asking(send, routes.getOracleShares)
  const getExplanation = asking(send, routes.getExplanation)
  const getVaults = asking(send, routes.getVaults)
  const getVault = asking(send, routes.getVault)
  const getRotation = asking(send, routes.getRotation)
  const postRotation = asking(send, routes.postRotation)
  const getOwnerCopies = asking(send, routes.getOwnerCopies)
  const postValidators = asking(send, routes.postValidators)
  const postRegister = asking(send, routes.postRegister)
  const postFund = asking(send, routes.postFund)
  const postWithdraw = asking(send, routes.postWithdraw)
  const postConsolidate = asking(send, routes.postConsolidate)
  return {
    getInfo: (signal) => getInfo({}, signal),
    getWhoami: (signal) => getWhoami({}, signal),
    getExits: (changes, signal) => getExits({ query: queryOf(changes) }, signal),
    postExitSignature: posting(send, routes.postExitSignature),
    getValidators: (changes, signal) => getValidators({ query: queryOf(changes) }, signal),
    postSignatures: posting(send, routes.postSignatures),
    getExitShares: (oracle, query, signal) => getExitShares({ params: { oracle }, query }, signal),
    getOracleShares: (publicKey, signal) => getOracleShares({ params: { public_key: publicKey } }, signal),
    getExplanation: (publicKey, signal) => getExplanation({ params: { public_key: publicKey } }, signal),
    postValidators: (body, signal) => postValidators({ body }, signal),
    postRegister: (body, signal) => postRegister({ body }, signal),
    postFund: (body, signal) => postFund({ body }, signal),
    postWithdraw: (body, signal) => postWithdraw({ body }, signal),
    postConsolidate: (body, signal) => postConsolidate({ body }, signal),
    getVaults: (signal) => getVaults({}, signal),
    getVault: (vault, query, signal) => getVault({ params: { vault }, query }, signal),
    getRotation: (vault, signal) => getRotation({ params: { vault } }, signal),
    postRotation: (vault, signal) => postRotation({ params: { vault } }, signal),
    getOwnerCopies: (vault, query, signal) => getOwnerCopies({ params: { vault }, query }, signal),
  }
}

const queryOf = ({ wait, after, limit, from }: ListChanges) => ({
  ...(wait === undefined ? {} : { wait: String(wait) }),
  ...(after === undefined ? {} : { after: String(after) }),
  ...(limit === undefined ? {} : { limit: String(limit) }),
  ...(from === undefined ? {} : { from: String(from) }),
})

/** What a request to a route is made of; a route that takes no parts, query or body is asked without. */
type Asked<R> = (ParamsOf<R> extends undefined ? { params?: never } : { params: ParamsOf<R> }) &
  (QueryOf<R> extends undefined ? { query?: never } : { query: QueryOf<R> }) &
  (BodyOf<R> extends undefined ? { body?: never } : { body: BodyOf<R> })

/** Asks a route, and refuses an answer that is not what the contract says. @throws {ContractError} */
function asking<const R extends RouteContract>(send: Send, route: R) {
  const validator = Compile(route.response)
  let findFault: ReturnType<typeof createFaultFinder> | undefined
  const name = `${route.method} ${route.path.replaceAll(/:(\w+)/g, '{$1}')}`
  return async (asked: Asked<R>, signal: AbortSignal): Promise<AnswerOf<R>> => {
    const {
      params,
      query = {},
      body,
    } = asked as {
      params: ParamsOf<R>
      query?: Readonly<Record<string, string>>
      body?: unknown
    }
    const path = pathOf(route, params)
    const extraMs = Number(query['wait'] ?? 0) * 1000
    const sent = { method: route.method, path, query, extraMs, signal }
    const answer = await send(body === undefined ? sent : { ...sent, body })
    if (validator.Check(answer)) return answer as AnswerOf<R>
    findFault ??= createFaultFinder(route.response)
    const { instancePath, message } = findFault(answer)
    throw new ContractError(
      'RELAYER_ANSWER_INVALID',
      `the answer to ${name} is not what the protocol says: ${instancePath} ${message}`,
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
