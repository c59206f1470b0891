/** Every error a client can get, and every failure of an item: the tables that code, docs/reference/errors.md and OpenAPI document share. */

import type { Failure } from '@dvt-relayer/api/schemas.ts'
import { CodedError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'

/** `retry` says whether the same request may succeed later without a change on the client's side. */
export const ERRORS = {
  BODY_INVALID: { status: 422, retry: false, meaning: 'the body is not JSON or not of the documented shape' },
  QUERY_INVALID: { status: 422, retry: false, meaning: 'a query parameter is not of the documented shape' },
  BODY_TOO_LARGE: {
    status: 413,
    retry: false,
    meaning:
      'the body is larger than MAX_BODY_BYTES, than anything of its cluster lock, or than a list of MAX_KEYS_PER_REQUEST keys',
  },
  MEDIA_TYPE: { status: 415, retry: false, meaning: 'the body is not sent as application/json' },
  PUBLIC_KEY_INVALID: { status: 422, retry: false, meaning: 'a public key is not a point of the group' },
  PUBLIC_KEY_DUPLICATE: { status: 422, retry: false, meaning: 'the same public key stands twice in one request' },
  TOO_MANY_KEYS: { status: 422, retry: false, meaning: 'more public keys than MAX_KEYS_PER_REQUEST' },
  TOO_MANY_SHARES: {
    status: 422,
    retry: false,
    meaning: 'more partial signatures than MAX_SHARES_PER_REQUEST, or than the cluster lock has validators',
  },
  TOO_MANY_EXITS: { status: 429, retry: true, meaning: 'more live exits than MAX_OPEN_EXITS for this requester' },
  THRESHOLD_UNKNOWN: {
    status: 422,
    retry: false,
    meaning: 'no cluster lock and no SSV cluster covers the key and SIGNATURE_THRESHOLD is not set',
  },
  VALIDATOR_KNOWN: { status: 422, retry: false, meaning: 'the beacon chain knows the public key already' },
  EXIT_TAKEN: { status: 409, retry: true, meaning: 'a vault asks for the live exit of a key at another index' },
  KEY_UNKNOWN: {
    status: 404,
    retry: false,
    meaning: 'the relayer has no validator of this key that the token of the caller covers',
  },
  VAULT_INVALID: { status: 422, retry: false, meaning: 'the vault is not an address, or its checksum is wrong' },
  VAULT_UNKNOWN: {
    status: 422,
    retry: false,
    meaning: 'the vault is not one of VAULTS, or no contract that can be asked',
  },
  AMOUNT_INVALID: {
    status: 422,
    retry: false,
    meaning: 'an amount is not one the vault takes for this type of validator',
  },
  PATH_INVALID: { status: 422, retry: false, meaning: 'a part of the path is not of the documented shape' },
  ORACLE_INVALID: {
    status: 422,
    retry: false,
    meaning: 'the oracle is neither an address whose checksum is right nor a public key on the curve',
  },
  ORACLE_UNKNOWN: { status: 404, retry: false, meaning: 'the oracle is in no oracle set this relayer has seen' },
  ORACLE_SHARES_MISSING: {
    status: 404,
    retry: true,
    meaning: 'there are no oracle shares of the validator, or not yet',
  },
  LISTS_UNEQUAL: { status: 422, retry: false, meaning: 'lists that belong together have different lengths' },
  BATCH_AMBIGUOUS: {
    status: 422,
    retry: false,
    meaning:
      'the vault cannot tell what so many validators are: 23 of type 0x01, 22 of type 0x02, 7 to fund or to consolidate, or a multiple; for fundings set VALIDATORS_FUNDING_BATCH_SIZE=6 at the Operator',
  },
  INDEX_INVALID: { status: 422, retry: false, meaning: 'no chain can have the validator index' },
  INDEX_USED: {
    status: 422,
    retry: false,
    meaning: 'the chain has used the start index already; ask with the next free one',
  },
  VALIDATORS_REFUSED: {
    status: 422,
    retry: false,
    meaning: 'some validators are not what the action needs, on the beacon chain or in the vault',
  },
  MANAGER_MISSING: {
    status: 422,
    retry: false,
    meaning: 'VALIDATORS_MANAGER_KEY_FILE is not set, so nothing can be signed',
  },
  MANAGER_FOREIGN: {
    status: 422,
    retry: false,
    meaning: "validatorsManager() of the vault is not the relayer's key nor a contract that accepts its signatures",
  },
  MANAGER_LOCAL_ONLY: {
    status: 403,
    retry: false,
    meaning:
      'AUTH_TOKENS_FILE is not set, so what WALLETS_WITHOUT_TOKENS=loopback opens answers callers on the same machine only',
  },
  DAILY_LIMIT: {
    status: 429,
    retry: true,
    meaning: 'more than MANAGER_DAILY_LIMIT_GWEI for this vault within 24 hours',
  },
  RATE_LIMIT: {
    status: 429,
    retry: true,
    meaning:
      'more that has to be stored than any Operator or oracle asks for within the time: signatures of the manager for one vault, new exits and deposits of one requester, signed requests of one oracle; Retry-After says when to ask again',
  },
  SHARES_WRONG: { status: 422, retry: false, meaning: 'every partial signature of a known validator is wrong' },
  TOKEN_MISSING: { status: 401, retry: false, meaning: 'tokens are set and the request shows none' },
  TOKEN_UNKNOWN: { status: 401, retry: false, meaning: 'the token is not in AUTH_TOKENS_FILE' },
  TOKEN_ROLE: { status: 403, retry: false, meaning: 'the role of the token may not call this route' },
  TOKEN_BINDING: { status: 403, retry: false, meaning: 'the token is bound to other vaults, share indexes or oracles' },
  REQUEST_SIGNATURE_INVALID: {
    status: 401,
    retry: false,
    meaning: 'the Authorization header of a signed request is not of the documented form, or its signature is none',
  },
  REQUEST_SIGNATURE_FOREIGN: {
    status: 403,
    retry: false,
    meaning: 'a signed request was not signed by the oracle it asks about, or what was signed is not what was sent',
  },
  REQUEST_SIGNATURE_ROUTE: {
    status: 403,
    retry: false,
    meaning: "a signed request works for the exit shares of its signer only, and a node's for what sidecars call",
  },
  REQUEST_TIME: { status: 401, retry: false, meaning: 'the time of a signed request is more than 60 seconds off' },
  REQUEST_RELAYER: {
    status: 401,
    retry: false,
    meaning: 'the request was signed for the address it came to, and PUBLIC_URL says another',
  },
  REQUEST_BODY: { status: 401, retry: false, meaning: 'the body is not the one that was signed' },
  CONTENT_DIGEST: {
    status: 400,
    retry: false,
    meaning: 'the Content-Digest of a signed request is not of the documented form, or missing where the body is large',
  },
  PUBLIC_URL_MISSING: {
    status: 403,
    retry: false,
    meaning: 'PUBLIC_URL is not set, so that no request which a node has signed can be checked: use a token',
  },
  NODE_UNKNOWN: {
    status: 401,
    retry: false,
    meaning: 'no node of an imported cluster lock has the key that signed, or what was signed is not what was sent',
  },
  NODE_UNPINNED: {
    status: 403,
    retry: false,
    meaning: 'the lock of the node that signed is not one of CLUSTER_LOCK_HASHES, or older than v1.5',
  },
  NODE_UNLISTED: {
    status: 403,
    retry: false,
    meaning: "the node's lock stands in no line `nodes` of AUTH_TOKENS_FILE, or the operator in no line `operators`",
  },
  OPERATOR_UNKNOWN: {
    status: 401,
    retry: false,
    meaning: 'the key of this SSV operator is not known: it has no validator of SSV_OWNERS, or they are not followed',
  },
  OPERATOR_FOREIGN: {
    status: 401,
    retry: false,
    meaning: 'the key of this SSV operator did not sign the request, or what was signed is not what was sent',
  },
  NODE_BINDING: {
    status: 403,
    retry: false,
    meaning: 'a node that signs its requests acts for its own share index of its own clusters only',
  },
  REQUEST_REPLAYED: { status: 401, retry: false, meaning: 'the nonce of a signed request was used before' },
  OBOL_API_OFF: { status: 404, retry: false, meaning: 'what stock charon posts is not taken: OBOL_API is not set' },
  LOCK_UNKNOWN: {
    status: 404,
    retry: false,
    meaning: 'no imported cluster lock has this lock_hash and a node of this share index',
  },
  NODE_SIGNATURE_WRONG: {
    status: 403,
    retry: false,
    meaning: 'a request of charon is not signed by the ENR key that the lock has for the node it names',
  },
  EXITS_REFUSED: {
    status: 422,
    retry: false,
    meaning:
      'some partial exits of charon were not taken, `failures` has each; the others were. The message has the command to run',
  },
  DEPOSITS_REFUSED: {
    status: 422,
    retry: false,
    meaning: 'some partial deposits of charon were not taken, `failures` has each; the others were',
  },
  EXIT_NOT_SERVED: {
    status: 404,
    retry: false,
    meaning: 'a full exit is never handed out: its oracle shares are what a vault needs, and all there is',
  },
  ROTATION_NOTHING: {
    status: 409,
    retry: false,
    meaning: 'the oracles name no validator of the vault whose exit shares are outdated',
  },
  ROTATION_COLLECTING: {
    status: 409,
    retry: true,
    meaning: 'exits for the update are still collected from the sidecars, or split',
  },
  ROTATION_SENT: { status: 409, retry: true, meaning: 'a transaction with the update is on its way, or not final yet' },
  ROTATION_UNLEARNT: {
    status: 503,
    retry: true,
    meaning: 'too few oracles say which validators are outdated, or their config lacks what a rotation needs',
  },
  ROTATION_UNAPPROVED: {
    status: 503,
    retry: true,
    meaning: 'too few oracles approve the same update, or the Keeper would not take it',
  },
  ROTATION_BUSY: { status: 503, retry: true, meaning: 'another process is at the rotations' },
  NOT_FOUND: { status: 404, retry: false, meaning: 'there is no such path' },
  METHOD_NOT_ALLOWED: { status: 405, retry: false, meaning: 'the path exists, the method does not' },
  REQUEST_INVALID: { status: 400, retry: false, meaning: 'the request is not HTTP the server understands' },
  BODY_TOO_SLOW: {
    status: 408,
    retry: true,
    meaning:
      'the body came more slowly than 32 KiB a second, or not within 4 s, and another sender who is not known yet waited for its room',
  },
  TOO_BUSY: {
    status: 503,
    retry: true,
    meaning:
      'too much of this one caller is under way already, or came of no use (`Retry-After` says when to come again), or the process is stopping',
  },
  DEPENDENCY_AWAY: { status: 503, retry: true, meaning: 'the database or a node that this request needs is away' },
  INTERNAL: { status: 500, retry: true, meaning: 'a fault of the relayer; the log has it under the request id' },
} as const satisfies Record<string, { status: number; retry: boolean; meaning: string }>

export type ErrorCode = keyof typeof ERRORS

/** What may stand in `failures`. */
export const FAILURES = {
  PUBLIC_KEY_INVALID: 'the public key is not hex of 48 bytes, or not a point of the group',
  PUBLIC_KEY_DUPLICATE: 'the same key stands earlier in the request',
  VALIDATOR_KNOWN: 'the beacon chain knows this key already',
  EXIT_TAKEN: 'a vault asks for the live exit of this key at another index',
  THRESHOLD_UNKNOWN: 'no threshold is known for this key',
  TOKEN_BINDING: 'the key is not known as that of a vault the token is bound to',
  AMOUNT_INVALID: 'the vault does not take this amount for this validator',
  VALIDATOR_UNKNOWN: 'the beacon chain knows no validator of this key, nor, to fund it, a rightly signed deposit',
  VALIDATOR_FOREIGN: 'the withdrawal credentials of this validator are not those of this vault',
  VALIDATOR_TYPE: 'the action needs a validator of type 0x02, or of type 0x01 to turn it into one',
  VALIDATOR_UNREGISTERED:
    'the vault has not registered this validator as one of type 0x02, so it neither funds it nor takes others into it',
  VALIDATOR_STATUS: 'the validator is in no state in which the action can be carried out',
  NODE_BINDING: 'the validator is of no cluster in which the node that signed the request has this share index',
  SIGNATURE_MALFORMED: 'the signature is not hex of 96 bytes that encode a point of the group',
  SIGNATURE_WRONG: 'the signature is not what this share index has to sign',
  SHARE_INDEX_UNKNOWN: 'the cluster of this validator has no such share index',
  KEY_NOT_IN_LOCK: 'the cluster lock of the request has no such validator',
  EXIT_NOT_OPEN: 'no exit of this validator is asked for: nobody is registering it, or it is registered already',
  EXIT_EPOCH_WRONG: 'the exit is made for another epoch than the one every exit of the network is for',
  EXIT_INDEX_STALE: 'the exit is made for another validator index than the one it is asked for now',
  DEPOSIT_NOT_OPEN: 'no deposit of this validator is asked for, or one to other credentials or of another amount',
} as const
export type FailureCode = keyof typeof FAILURES

/** An error a client is told. Its message is public. */
export class ApiError extends CodedError<ErrorCode> {
  readonly failures: readonly Failure[]
  /** What the header Retry-After says, where the time is known. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; failures?: readonly Failure[]; retryAfterSeconds?: number } = {},
  ) {
    super(code, message, options.cause === undefined ? {} : { cause: options.cause })
    this.failures = options.failures ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** The failure of one item of a batch. */
export function failure(index: number, code: FailureCode): Failure {
  return { index, code, message: FAILURES[code] }
}

/**
 * Refuses a list that is too long before anything of it is read: a body may hold a hundred times what a request may ask for, and each item
 * that is read, compared or named in the answer holds up everybody.
 *
 * @throws {ApiError} `code` for the longest of the lists
 */
export function refuseLong(
  code: 'TOO_MANY_KEYS' | 'TOO_MANY_SHARES',
  most: number,
  items: string,
  ...lists: readonly (readonly unknown[])[]
): void {
  const longest = Math.max(...lists.map(({ length }) => length))
  if (longest > most) throw new ApiError(code, `at most ${most} ${items} in one request, this one has ${longest}`)
}

/** Throws `code` with a failure for every item that `judge` finds one for. */
export function refuseItems<T>(
  code: ErrorCode,
  message: string,
  items: readonly T[],
  judge: (item: T, position: number) => FailureCode | undefined,
): void {
  const failures = items.flatMap((item, position) => {
    const verdict = judge(item, position)
    return verdict === undefined ? [] : [failure(position, verdict)]
  })
  if (failures.length > 0) throw new ApiError(code, message, { failures })
}

/** @throws {ApiError} PUBLIC_KEY_DUPLICATE naming every key that stands earlier in the list */
export function refuseDuplicates(publicKeys: readonly Uint8Array[]): void {
  const seen = new Set<string>()
  refuseItems('PUBLIC_KEY_DUPLICATE', 'the same public key stands twice in the request', publicKeys, (key) => {
    const hex = toHex(key)
    if (seen.has(hex)) return 'PUBLIC_KEY_DUPLICATE'
    seen.add(hex)
    return undefined
  })
}
