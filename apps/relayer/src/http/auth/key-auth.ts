/**
 * Nodes at the door that show no token: they sign each request with a key they have (docs/protocol.md#19-identity-by-key).
 *
 *     Authorization: Node <time>:<nonce>:<signature>              an Obol node, with the key of its ENR
 *     Authorization: Operator <id>:<time>:<nonce>:<signature>     an SSV operator, with its RSA key
 *
 * Both sign the same text, which names the relayer and holds the hash of the body. Who says in `Content-Digest` what that hash is, is known
 * before the body is read, and the body is on its own account; the body is compared before anybody acts on it. Without that header the
 * sender is a stranger until the body is there.
 *
 * Nothing that a request only claims is believed: the bucket of a node, its nonces and its account are touched when its signature has been
 * verified and the nonce is new, so neither strangers nor replays use them up. What they cost is counted on the address they come from.
 */

import { createHash } from 'node:crypto'
import type { Access } from '@dvt-relayer/api/contract.ts'
import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { createRate } from '@dvt-relayer/common/flow/rate.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfPublicKey } from '@dvt-relayer/crypto/address.ts'
import {
  compressedKey,
  parseRequestCredentials,
  type RequestCredentials,
  relayerName,
  requestText,
  type SignedRequest,
} from '@dvt-relayer/crypto/oracle/request-signature.ts'
import { OPERATOR_SIGNATURE_BYTES, verifyOperatorSignature } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { FastifyRequest } from 'fastify'
import type { RelayerConfig } from '../../config.ts'
import { ApiError } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { NodeKeys } from '../../services/identity/node-keys.ts'
import type { OperatorKeys } from '../../services/identity/operator-keys.ts'
import { accountOf, strangerOf } from '../admission/account-of.ts'
import { LARGE_BYTES } from '../admission/limits.ts'
import { type Caller, signingNode, UNPROVEN } from './caller.ts'
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
import type { KeyedNodes } from './tokens.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a signed request with a body: what must be true of that before anybody acts on it. */
    bodyProof: BodyProof | undefined
  }
}

/** Compares the body that came with what was signed. */
export interface BodyProof {
  isDone: boolean
  /** @throws {ApiError} where another body was signed, or nobody known has signed this one */
  check(bodyHash: Uint8Array): Promise<void>
}

/** Of one key, each of which leaves a nonce for a quarter of an hour: a sidecar has ten requests under way at most. */
const REQUESTS = { burst: 1000, perSecond: 50, most: 10_000 }
/** Of one address: requests whose signature is nobody's, or that were there before. Each costs the event loop some 0.2 ms. */
const WRONG = { burst: 1000, perSecond: 100, most: 1000 }

const TOO_MANY = `more signed requests than ${REQUESTS.perSecond} a second`
const TOO_MANY_WRONG = `more requests from this address that nobody has signed, or that were there before, than ${WRONG.perSecond} a second`

/** What a request claims, as far as its headers say. */
interface Claim extends RequestCredentials {
  /** Of an SSV operator. */
  operatorId: number | undefined
}

/** A request that is looked at: by which route it is, and when it came. */
interface Asked {
  request: FastifyRequest
  route: string
  nowSeconds: number
}

/** A key whose signature was verified. */
interface Signer {
  /** Whose nonces these are: 33 or 32 bytes. */
  key: Uint8Array
  caller: Caller
}

const MALFORMED: Refusal = {
  reason: 'signature',
  code: 'REQUEST_SIGNATURE_INVALID',
  message:
    'a signed request says "Authorization: Node <time>:<nonce>:<signature>" or "Authorization: Operator <id>:<time>:<nonce>:<signature>": Unix seconds, 16 to 32 random bytes and 65 or, of an operator, 256 bytes as hex',
}
const NO_URL: Refusal = {
  reason: 'signature',
  code: 'PUBLIC_URL_MISSING',
  message: 'this relayer takes no requests that nodes sign: PUBLIC_URL is not set there; use a token',
}
const WRONG_ROUTE: Refusal = {
  reason: 'role',
  code: 'REQUEST_SIGNATURE_ROUTE',
  message: 'a request signed with the key of a node works for what sidecars call; this route wants a token',
}
const UNPINNED: Refusal = {
  reason: 'unknown',
  code: 'NODE_UNPINNED',
  message:
    'the cluster lock of this node is not pinned at the relayer: its lock_hash has to be in CLUSTER_LOCK_HASHES, and its version v1.5 or later',
}
const UNLISTED: Refusal = {
  reason: 'unknown',
  code: 'NODE_UNLISTED',
  message:
    'AUTH_TOKENS_FILE of the relayer does not say that this node may call without a token: it wants a line "nodes <lock_hash>", or "operators <id>"',
}
const OTHER_BODY: Refusal = {
  reason: 'signature',
  code: 'REQUEST_BODY',
  message: 'the body is not the one whose SHA-256 was signed and stands in Content-Digest',
}
const noDigest = (message: string): Refusal => ({ reason: 'signature', code: 'CONTENT_DIGEST', message })

/** What of a request must be as it was signed, in words. */
const SAME = 'network, relayer, method, path with its query, body, time and nonce must be those that were signed'

/** The scheme and the credentials of a request that a node has signed, if it is one. Linear: a header of blanks comes from anybody. */
export function keyCredentials({
  headers,
}: Pick<FastifyRequest, 'headers'>): { scheme: string; text: string } | undefined {
  const [, scheme, text] = /^(node|operator)\s+(\S*)$/i.exec(headers.authorization?.trimEnd() ?? '') ?? []
  return scheme === undefined || text === undefined ? undefined : { scheme: scheme.toLowerCase(), text }
}

/** Reads what stands after the scheme. */
function parseClaim(scheme: string, text: string): Claim | undefined {
  if (scheme === 'node') {
    const credentials = parseRequestCredentials(text)
    return credentials && { ...credentials, operatorId: undefined }
  }
  const [, id = '', rest = ''] = /^([1-9]\d{0,15}):(.*)$/.exec(text) ?? []
  const credentials = parseRequestCredentials(rest, OPERATOR_SIGNATURE_BYTES)
  return credentials !== undefined && Number.isSafeInteger(Number(id))
    ? { ...credentials, operatorId: Number(id) }
    : undefined
}

/** The hash of the body that is to come, as far as headers say: undefined where they do not. */
function bodyHashOf({ headers }: FastifyRequest): Uint8Array | Refusal | undefined {
  const length = headers['transfer-encoding'] === undefined ? Number(headers['content-length'] ?? 0) : undefined
  if (length === 0) return NO_BODY
  const digest = headers['content-digest']
  if (digest === undefined)
    return length !== undefined && length <= LARGE_BYTES
      ? undefined
      : noDigest(
          `a signed request whose body has more than ${LARGE_BYTES} bytes, or does not say how many, needs the header "Content-Digest: sha-256=:<base64>:"`,
        )
  const [, base64] = /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(String(digest).trim()) ?? []
  const hash = base64 === undefined ? undefined : Buffer.from(base64, 'base64')
  if (hash?.length === 32) return hash
  return noDigest('Content-Digest of a signed request says "sha-256=:<base64 of 32 bytes>:" and nothing else')
}

/** Creates what decides about requests that nodes sign. */
export function createKeyAuth({
  config: { network, http, clusters },
  events,
  listed,
  nodeKeys,
  operatorKeys,
}: {
  config: {
    network: Pick<RelayerConfig['network'], 'name'>
    http: Pick<RelayerConfig['http'], 'publicUrl'>
    clusters: Pick<RelayerConfig['clusters'], 'lockHashes'>
  }
  events: Pick<Events, 'authRefused'>
  listed: KeyedNodes
  nodeKeys: Pick<NodeKeys, 'placesOf' | 'takeNonce'>
  operatorKeys: OperatorKeys
}) {
  const relayer = http.publicUrl === undefined ? undefined : relayerName(http.publicUrl)
  const rate = createRate(REQUESTS)
  const wrong = createRate(WRONG)
  const isListed = (list: ReadonlySet<string>, value: string) => list.has('*') || list.has(value)
  const isPinned = (lockHash: Uint8Array) => clusters.lockHashes.some((pin) => equalBytes(pin, lockHash))

  /** The node whose key signed a request, or why there is none. */
  async function findNode(request: SignedRequest, { signature }: Claim): Promise<Signer | Refusal> {
    const recovered = recoverKey(request, signature)
    if (recovered === undefined) return NO_SIGNATURE
    const key = compressedKey(recovered)
    const places = await nodeKeys.placesOf(key)
    const pinned = places.filter(({ isHashKnown, lockHash }) => isHashKnown && isPinned(lockHash))
    const locks = pinned.filter(({ lockHash }) => isListed(listed.nodes, toHex(lockHash)))
    if (places.length === 0)
      return {
        reason: 'unknown',
        code: 'NODE_UNKNOWN',
        message: `no node of an imported cluster lock has the key that signed this request, or what was signed is not what came: ${SAME} (this relayer is ${relayer})`,
      }
    if (pinned.length === 0) return UNPINNED
    if (locks.length === 0) return UNLISTED
    return { key, caller: signingNode(`node:${toHex(addressOfPublicKey(recovered))}`, { locks }) }
  }

  /** The operator that signed a request, or why it is not the one it says. */
  async function findOperator(request: SignedRequest, operatorId: number, { signature }: Claim) {
    if (!isListed(listed.operators, String(operatorId))) return UNLISTED
    const publicKey = await operatorKeys.find(operatorId)
    if (publicKey === undefined)
      return {
        reason: 'unknown',
        code: 'OPERATOR_UNKNOWN',
        message: `the relayer does not know the key of operator ${operatorId}: it has no validator of SSV_OWNERS, or the SSV contract is not followed there yet`,
      } satisfies Refusal
    if (!verifyOperatorSignature(publicKey, requestText(request), signature))
      return {
        reason: 'signature',
        code: 'OPERATOR_FOREIGN',
        message: `the key of operator ${operatorId} did not sign this request: key, ${SAME} (this relayer is ${relayer})`,
      } satisfies Refusal
    const key = createHash('sha256').update(publicKey).digest()
    return { key, caller: signingNode(`operator:${operatorId}`, { operatorId }) }
  }

  const findSigner = (request: SignedRequest, claim: Claim): Promise<Signer | Refusal> =>
    claim.operatorId === undefined ? findNode(request, claim) : findOperator(request, claim.operatorId, claim)

  /** The same refusal, or that the request was signed for the address it came to: most often PUBLIC_URL is not what sidecars are told. */
  async function explained(refusal: Refusal, host: string | undefined, signed: SignedRequest, claim: Claim) {
    const isDoubtful = refusal.code === 'NODE_UNKNOWN' || refusal.code === 'OPERATOR_FOREIGN'
    if (!isDoubtful || host === undefined || signed.bound === undefined) return refusal
    for (const other of [`https://${host}`, `http://${host}`]) {
      if (!URL.canParse(other) || other === relayer) continue
      const found = await findSigner({ ...signed, bound: { ...signed.bound, relayer: other } }, claim)
      if ('code' in found && found.code === refusal.code) continue
      return {
        reason: 'signature',
        code: 'REQUEST_RELAYER',
        message: `the request was signed for ${other}, and this relayer is ${relayer} (PUBLIC_URL there): RELAYER_ENDPOINT of the sidecar has to be the same`,
      } satisfies Refusal
    }
    return refusal
  }

  function refuse({ reason, code, message }: Refusal, route: string, name?: string | null): never {
    events.authRefused(reason, route, name ?? undefined)
    throw new ApiError(code, message)
  }

  /** The caller whose signature this is and who has not used its nonce before; the hash of the body is known. */
  async function prove(
    { request, route, nowSeconds }: Asked,
    claim: Claim,
    bound: NonNullable<SignedRequest['bound']>,
  ): Promise<Caller> {
    const { name: address } = strangerOf(request)
    const { method, raw, headers } = request
    const { time, nonce } = claim
    takeOne(wrong, address, nowSeconds, TOO_MANY_WRONG)
    const signed = { method, path: raw.url ?? '', network: network.name, time, nonce, bound }
    const found = await findSigner(signed, claim)
    if ('code' in found) return refuse(await explained(found, headers.host, signed, claim), route)
    const { key, caller } = found
    wrong.give(address, 1)
    takeOne(rate, toHex(key), nowSeconds, TOO_MANY)
    const take = () => nodeKeys.takeNonce(key, nonce)
    if (await onAccountOf(proofAccount('sidecar', toHex(key)), take)) return caller
    rate.give(toHex(key), 1)
    wrong.take(address, 1, nowSeconds * 1000)
    return refuse(REPLAYED, route, caller.name)
  }

  return {
    /**
     * The caller of a signed request, known by its headers where they say which body it has; else {@link UNPROVEN} until that is read.
     * `bodyProof` of a request with a body says what is still to be compared.
     *
     * @throws {ApiError} PUBLIC_URL_MISSING, REQUEST_SIGNATURE_ROUTE, REQUEST_SIGNATURE_INVALID, REQUEST_TIME, CONTENT_DIGEST, RATE_LIMIT,
     * NODE_UNKNOWN, NODE_UNPINNED, NODE_UNLISTED, OPERATOR_UNKNOWN, OPERATOR_FOREIGN, REQUEST_RELAYER, REQUEST_REPLAYED
     */
    async authenticate(
      request: FastifyRequest,
      access: Access,
      route: string,
      nowSeconds = Date.now() / 1000,
    ): Promise<Caller> {
      const { scheme, text } = keyCredentials(request) ?? { scheme: '', text: '' }
      if (relayer === undefined) return refuse(NO_URL, route)
      if (access !== 'public' && !access.includes('sidecar')) return refuse(WRONG_ROUTE, route)
      const claim = parseClaim(scheme, text)
      if (claim === undefined) return refuse(MALFORMED, route)
      const late = timeFault(claim.time, nowSeconds)
      if (late !== undefined) return refuse(late, route)
      const said = bodyHashOf(request)
      if (said !== undefined && 'code' in said) return refuse(said, route)

      const asked = { request, route, nowSeconds }
      if (said === undefined) {
        request.bodyProof = proofOf(async (bodyHash) => {
          request.caller = await prove(asked, claim, { relayer, bodyHash })
          // What is done from here on is on the node's own account.
          request.countAs(accountOf(request.caller, access, request))
        })
        return UNPROVEN
      }
      const caller = await prove(asked, claim, { relayer, bodyHash: said })
      if (said !== NO_BODY)
        request.bodyProof = proofOf(async (bodyHash) => {
          if (!equalBytes(bodyHash, said)) refuse(OTHER_BODY, route, caller.name)
        })
      return caller
    },
  }
}
export type KeyAuth = ReturnType<typeof createKeyAuth>

function proofOf(compare: (bodyHash: Uint8Array) => Promise<void>): BodyProof {
  const proof = {
    isDone: false,
    async check(bodyHash: Uint8Array): Promise<void> {
      await compare(bodyHash)
      proof.isDone = true
    },
  }
  return proof
}
