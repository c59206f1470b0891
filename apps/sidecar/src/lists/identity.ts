/**
 * How this sidecar shows the relayer which node it is, where it has no token: it signs each request with a key that the node has already,
 * charon's or the SSV operator's (docs/protocol.md#19-identity-by-key). A token in RELAYER_ENDPOINT goes before any key.
 */

import { createHash, randomBytes } from 'node:crypto'
import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { HttpError, type SentRequest } from '@dvt-relayer/common/http-client.ts'
import { readBytes } from '@dvt-relayer/common/text-file.ts'
import {
  credentialsText,
  parseNodeKey,
  relayerName,
  requestText,
  type SignedRequest,
  signRequest,
} from '@dvt-relayer/crypto/oracle/request-signature.ts'
import { hasToken, type SidecarConfig } from '../config.ts'
import type { Keystore } from '../keystores/keystore.ts'

/** What signs requests: the scheme with what stands before the time, and the signature. */
interface RequestKey {
  readonly prefix: string
  sign(request: SignedRequest): Uint8Array
}

/** Makes the headers of a request as it goes out; none where there is nothing to sign with. */
export type SignHeaders = (sent: SentRequest) => Readonly<Record<string, string>>

/** By what the relayer is to know this sidecar. */
export function identityOf({ relayer, ssv, remoteSigner }: Pick<SidecarConfig, 'relayer' | 'ssv' | 'remoteSigner'>) {
  if (hasToken(relayer.endpoint)) return 'token'
  if (relayer.enrKeyFile !== undefined) return 'node_key'
  // Of several operators in one process none is the one who asks.
  return ssv?.operators.length === 1 && remoteSigner === undefined ? 'operator_key' : undefined
}

/**
 * Opens what signs requests. An SSV operator's key is that of the key shares, and there once they are: `keys` gives them.
 *
 * @returns undefined where a token is shown, or nothing
 * @throws {BootError} ENR_KEY_UNREADABLE
 */
export async function openIdentity(
  config: Pick<SidecarConfig, 'network' | 'relayer' | 'ssv' | 'remoteSigner'>,
  keys: () => Pick<Keystore, 'keyShares' | 'operatorKeys'> | undefined,
): Promise<SignHeaders | undefined> {
  const { network, relayer } = config
  const kind = identityOf(config)
  if (kind === undefined || kind === 'token') return undefined
  const node = kind === 'node_key' ? await readNodeKey(relayer.enrKeyFile ?? '') : undefined
  const bound = relayerName(relayer.endpoint)
  return ({ method, path, body }) => {
    const key = node ?? operatorOf(keys())
    if (key === undefined) return {}
    const bodyHash = createHash('sha256')
      .update(body ?? '', 'utf8')
      .digest()
    const time = Math.floor(Date.now() / 1000)
    const nonce = randomBytes(16)
    const request = { method, path, network: network.name, time, nonce, bound: { relayer: bound, bodyHash } }
    return {
      authorization: `${key.prefix}${credentialsText({ time, nonce, signature: key.sign(request) })}`,
      // So that the relayer knows who sends before it reads the body.
      ...(body === undefined ? {} : { 'content-digest': `sha-256=:${bodyHash.toString('base64')}:` }),
    }
  }
}

/** Reads charon's key. @throws {BootError} ENR_KEY_UNREADABLE */
async function readNodeKey(file: string): Promise<RequestKey> {
  let bytes: Buffer
  try {
    bytes = await readBytes(file)
  } catch (error) {
    throw new BootError(
      'ENR_KEY_UNREADABLE',
      `the key file ${file} cannot be read (${reasonOf(error)}); OBOL_ENR_KEY_FILE must name a file this user may read`,
    )
  }
  try {
    const { secretKey } = parseNodeKey(bytes.toString('latin1'))
    return { prefix: 'Node ', sign: (request) => signRequest(request, secretKey) }
  } catch (error) {
    throw new BootError('ENR_KEY_UNREADABLE', `OBOL_ENR_KEY_FILE ${file} is ${messageOf(error)}`)
  } finally {
    bytes.fill(0)
  }
}

/** The operator's key, once it is known which operator it is of: the chain may have it under several ids. */
function operatorOf(keys: Pick<Keystore, 'keyShares' | 'operatorKeys'> | undefined): RequestKey | undefined {
  const [operator] = keys?.operatorKeys ?? []
  if (keys === undefined || operator === undefined) return undefined
  const id = operator.id ?? keys.keyShares[0]?.shareIndex
  return id === undefined
    ? undefined
    : { prefix: `Operator ${id}:`, sign: (request) => operator.sign(requestText(request)) }
}

/** What the relayer's refusals of signed requests mean here. */
const MEANINGS: Readonly<Record<string, string>> = {
  REQUEST_TIME: "this machine's clock and the relayer's are more than 60 seconds apart: set both by NTP",
  REQUEST_RELAYER:
    'RELAYER_ENDPOINT is not what the relayer has as PUBLIC_URL: set the one that its administrator names',
  NODE_UNKNOWN:
    'OBOL_ENR_KEY_FILE is of no node of a cluster lock that the relayer has imported, or RELAYER_ENDPOINT or NETWORK is not what it has',
  NODE_UNPINNED: 'the relayer has not pinned the cluster lock of this node (CLUSTER_LOCK_HASHES there)',
  NODE_UNLISTED: 'AUTH_TOKENS_FILE of the relayer does not let this node in without a token',
  OPERATOR_UNKNOWN: 'the relayer does not know the key of this SSV operator yet',
  OPERATOR_FOREIGN:
    'SSV_OPERATOR_KEY_FILE is not the key of this operator id, or RELAYER_ENDPOINT or NETWORK is not what the relayer has',
  PUBLIC_URL_MISSING: 'the relayer takes no signed requests (PUBLIC_URL there): put a token into RELAYER_ENDPOINT',
}

/** What a refusal of a signed request means, in words. */
export const meaningOf = (error: unknown): string | undefined =>
  error instanceof HttpError && error.said !== undefined && Object.hasOwn(MEANINGS, error.said)
    ? MEANINGS[error.said]
    : undefined

/** The same error, saying what to do where it is a refusal of a signed request. */
export function withMeaning(error: unknown): unknown {
  const meaning = meaningOf(error)
  if (!(error instanceof HttpError) || meaning === undefined) return error
  const { code, host, message, status, said, retryAfterMs } = error
  return new HttpError(code, host, `${message}: ${meaning}`, {
    said,
    retryAfterMs,
    ...(status === undefined ? {} : { status }),
  })
}
