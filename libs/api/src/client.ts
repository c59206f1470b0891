/** The typed client of the relayer. It checks every answer against the contract: a relayer may be hostile too. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { routes } from './routes.ts'
import type {
  ExitSharesQuery,
  ExitSharesResponse,
  ExitSignatureRequest,
  ExitsResponse,
  Info,
  OracleSharesResponse,
  SharesResponse,
  SignaturesRequest,
  ValidatorListResponse,
} from './schemas.ts'

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

export interface RelayerClient {
  /** `GET /info` */
  getInfo(signal: AbortSignal): Promise<Info>
  /** `GET /exits`; `wait` (seconds) and `after` (a revision) make it a long poll against relayers that know it. */
  getExits(query: { wait?: number; after?: number }, signal: AbortSignal): Promise<ExitsResponse>
  /** `POST /exit-signature` */
  postExitSignature(body: ExitSignatureRequest, signal: AbortSignal): Promise<SharesResponse>
  /** `GET /validators`; long polling as with `getExits` */
  getValidators(query: { wait?: number; after?: number }, signal: AbortSignal): Promise<ValidatorListResponse>
  /** `POST /signatures` */
  postSignatures(body: SignaturesRequest, signal: AbortSignal): Promise<SharesResponse>
  /** `GET /oracles/{oracle}/exit-shares`; `oracle` is an address or a public key. A `send` that signs has to sign the query it sends. */
  getExitShares(oracle: string, query: ExitSharesQuery, signal: AbortSignal): Promise<ExitSharesResponse>
  /** `GET /validators/{public_key}/oracle-shares` */
  getOracleShares(publicKey: string, signal: AbortSignal): Promise<OracleSharesResponse>
}

/** Creates a client on top of `send`. */
export function createRelayerClient(send: Send): RelayerClient {
  const info = checked('GET /info', routes.getInfo.response)
  const exits = checked('GET /exits', routes.getExits.response)
  const validators = checked('GET /validators', routes.getValidators.response)
  const exitShares = checked('GET /oracles/{oracle}/exit-shares', routes.getExitShares.response)
  const oracleShares = checked('GET /validators/{public_key}/oracle-shares', routes.getOracleShares.response)

  const list = (path: string, { wait, after }: { wait?: number; after?: number }, signal: AbortSignal) => {
    const query = {
      ...(wait === undefined ? {} : { wait: String(wait) }),
      ...(after === undefined ? {} : { after: String(after) }),
    }
    return send({ method: 'GET', path, query, extraMs: (wait ?? 0) * 1000, signal })
  }
  /** Clients do not depend on this body: whatever an existing relayer answers with a 2xx is good. */
  const post = async (path: string, body: unknown, signal: AbortSignal): Promise<SharesResponse> => {
    const answer = await send({ method: 'POST', path, query: {}, body, extraMs: 0, signal })
    return sharesAnswer.Check(answer) ? answer : {}
  }

  return {
    async getInfo(signal) {
      return info(await send({ method: 'GET', path: routes.getInfo.path, query: {}, extraMs: 0, signal }))
    },
    getExits: async (query, signal) => exits(await list(routes.getExits.path, query, signal)),
    postExitSignature: (body, signal) => post(routes.postExitSignature.path, body, signal),
    getValidators: async (query, signal) => validators(await list(routes.getValidators.path, query, signal)),
    postSignatures: (body, signal) => post(routes.postSignatures.path, body, signal),
    async getExitShares(oracle, query, signal) {
      const path = pathOf(routes.getExitShares.path, { oracle })
      return exitShares(await send({ method: 'GET', path, query, extraMs: Number(query.wait ?? 0) * 1000, signal }))
    },
    async getOracleShares(publicKey, signal) {
      const path = pathOf(routes.getOracleShares.path, { public_key: publicKey })
      return oracleShares(await send({ method: 'GET', path, query: {}, extraMs: 0, signal }))
    },
  }
}

/** A path with its parts filled in. */
const pathOf = (path: string, parts: Readonly<Record<string, string>>): string =>
  path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(parts[name] ?? ''))

const sharesAnswer = Compile(routes.postExitSignature.response)

function checked<S extends TSchema>(what: string, schema: S): (answer: unknown) => Static<S> {
  const validator = Compile(schema)
  return (answer) => {
    if (validator.Check(answer)) return answer as Static<S>
    const [error] = validator.Errors(answer)
    throw new ContractError(
      'RELAYER_ANSWER_INVALID',
      `the answer to ${what} is not what the protocol says: ${error?.instancePath ?? ''} ${error?.message ?? ''}`.trim(),
    )
  }
}
