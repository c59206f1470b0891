/**
 * Oracles at the door: which oracle a path is about, and requests that an oracle signed instead of showing a token.
 *
 *     Authorization: Oracle <time>:<nonce>:<signature>
 *
 * What is signed stands in `libs/crypto/src/oracle/request-signature.ts`: either version. Everything that needs no database is judged before it is touched,
 * and a nonce is stored for known oracles only: strangers can neither fill the table nor use up a nonce of somebody else.
 */

import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { createRate } from '@dvt-relayer/common/flow/rate.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfPublicKey, parseAddress } from '@dvt-relayer/crypto/address.ts'
import { parseOraclePublicKey } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { RequestCredentials } from '@dvt-relayer/crypto/oracle/request-signature.ts'
import { parseRequestCredentials, relayerName } from '@dvt-relayer/crypto/oracle/request-signature.ts'
import type { FastifyRequest } from 'fastify'
import { ApiError } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { OracleFetch } from '../../services/oracles/fetch.ts'
import { strangerOf } from '../admission/account-of.ts'
import { type Caller, signingOracle } from './caller.ts'
import {
  NO_BODY,
  NO_SIGNATURE,
  proofAccount,
  REPLAYED,
  type Refusal,
  recoverKey,
  takeOne,
  timeFault,
} from './signed-requests.ts'

const ADDRESS_DIGITS = 40
/**
 * Signed requests of one oracle, each of which leaves a nonce for a quarter of an hour: it fetches 100,000 validators in as many pages as a
 * burst has, and waits for news in one request at a time.
 */
const REQUESTS = { burst: 1000, perSecond: 20, most: 1000 }
/**
 * Wrong signatures from one address, and those of keys that are no oracle's, which anybody can make and send again: each costs the event loop
 * a recovery, 0.1 ms to some milliseconds, and the latter a query. Right ones cost nothing here, so that all oracles may stand behind one proxy.
 */
const WRONG = { burst: 500, perSecond: 50, most: 1000 }

const TOO_MANY = `more signed requests than ${REQUESTS.perSecond} a second`
const TOO_MANY_WRONG = `more requests from this address that no oracle has signed than ${WRONG.perSecond} a second`

/** The address of the oracle a path names by address or by public key. @throws {ApiError} ORACLE_INVALID */
export function parseOracle(text: string): Uint8Array {
  const isAddress = text.replace(/^0x/i, '').length === ADDRESS_DIGITS
  const address = isAddress ? parseAddress(text) : addressOfKey(text)
  if (address !== undefined) return address
  throw new ApiError(
    'ORACLE_INVALID',
    isAddress
      ? 'the oracle is not an address: send 40 hex digits, all lower case or with the right checksum'
      : 'the oracle is neither an address of 20 bytes nor a secp256k1 public key of 64, 65 or 33 bytes on the curve',
  )
}

function addressOfKey(text: string): Uint8Array | undefined {
  try {
    return addressOfPublicKey(parseOraclePublicKey(text))
  } catch {
    return undefined
  }
}

/** Nobody of this address has ever had a share here. */
export const oracleUnknown = () =>
  new ApiError('ORACLE_UNKNOWN', 'the oracle is in no oracle set this relayer has seen: is the network the right one?')

const MALFORMED: Refusal = {
  reason: 'signature',
  code: 'REQUEST_SIGNATURE_INVALID',
  message:
    'a signed request says "Authorization: Oracle <time>:<nonce>:<signature>": Unix seconds, 16 to 32 random bytes and 65 bytes as hex',
}
const FOREIGN: Refusal = {
  reason: 'signature',
  code: 'REQUEST_SIGNATURE_FOREIGN',
  message:
    'the oracle of the path did not sign this request: its key, the network, the path with its query, time and nonce must be those that were signed',
}
/** Creates what decides about signed requests. */
export function createOracleAuth({
  network,
  publicUrl,
  events,
  oracleFetch,
}: {
  network: { name: string }
  /** Undefined: the second version of the text, which names the relayer, is not taken. */
  publicUrl?: URL | undefined
  events: Pick<Events, 'authRefused'>
  oracleFetch: Pick<OracleFetch, 'isKnown' | 'takeNonce'>
}) {
  const rate = createRate(REQUESTS)
  const wrong = createRate(WRONG)

  /** What is wrong with a request by itself, without a look at the database. */
  function faultOf(
    request: FastifyRequest,
    { time, nonce, signature }: RequestCredentials,
    oracle: Uint8Array,
    nowSeconds: number,
  ): Refusal | undefined {
    const late = timeFault(time, nowSeconds)
    if (late !== undefined) return late
    takeOne(wrong, strangerOf(request).name, nowSeconds, TOO_MANY_WRONG)
    const signed = { method: request.method, path: request.raw.url ?? '', network: network.name, time, nonce }
    const key = recoverKey(signed, signature)
    if (key === undefined) return NO_SIGNATURE
    // The route takes no body.
    const bound = publicUrl && { relayer: relayerName(publicUrl), bodyHash: NO_BODY }
    const isOfOracle = (found: Uint8Array | undefined) =>
      found !== undefined && equalBytes(addressOfPublicKey(found), oracle)
    if (!isOfOracle(key) && (bound === undefined || !isOfOracle(recoverKey({ ...signed, bound }, signature))))
      return FOREIGN
    return undefined
  }

  return {
    /**
     * The caller of a request with these credentials, which must be the oracle its path is about.
     *
     * @throws {ApiError} REQUEST_SIGNATURE_INVALID, REQUEST_TIME, REQUEST_SIGNATURE_FOREIGN, ORACLE_UNKNOWN, RATE_LIMIT, REQUEST_REPLAYED
     */
    async authenticate(
      request: FastifyRequest,
      text: string,
      oracle: Uint8Array,
      route: string,
      nowSeconds = Date.now() / 1000,
    ): Promise<Caller> {
      const refuse = ({ reason, code, message }: Refusal): never => {
        events.authRefused(reason, route, undefined)
        throw new ApiError(code, message)
      }
      const credentials = parseRequestCredentials(text)
      if (credentials === undefined) return refuse(MALFORMED)
      const fault = faultOf(request, credentials, oracle, nowSeconds)
      if (fault !== undefined) return refuse(fault)
      if (!(await oracleFetch.isKnown(oracle))) throw oracleUnknown()
      wrong.give(strangerOf(request).name, 1)
      takeOne(rate, toHex(oracle), nowSeconds, TOO_MANY)
      const take = () => oracleFetch.takeNonce(oracle, credentials.nonce)
      if (!(await onAccountOf(proofAccount('oracle', toHex(oracle)), take))) return refuse(REPLAYED)
      return signingOracle(oracle)
    },
  }
}
