/**
 * How this sidecar shows the relayer which node it is, where it has no token: it signs each request with a key that the node has already,
 * charon's or the SSV operator's (docs/protocol.md#19-identity-by-key). A token in RELAYER_ENDPOINT goes before any key.
 */

import {
  type Authenticate,
  type OperatorSigner,
  withNodeKey,
  withOperatorKey,
} from '@dvt-relayer/client/authentication.ts'
import { BootError, messageOf, reasonOf, TextError } from '@dvt-relayer/common/errors.ts'
import { decodeText, readBytes } from '@dvt-relayer/common/files/text-file.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { parseNodeKey } from '@dvt-relayer/crypto/oracle/request-signature.ts'
import { hasToken, type SidecarConfig } from '../config.ts'
import type { Keystore } from '../keystores/keystore.ts'

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
): Promise<Authenticate | undefined> {
  const { network, relayer } = config
  const kind = identityOf(config)
  if (kind === undefined || kind === 'token') return undefined
  const addressee = { network: network.name, url: relayer.endpoint }
  if (kind === 'operator_key') return withOperatorKey(addressee, () => operatorOf(keys()))
  return withNodeKey(addressee, await readNodeKey(relayer.enrKeyFile ?? ''))
}

/** Reads charon's key. @throws {BootError} ENR_KEY_UNREADABLE */
async function readNodeKey(file: string): Promise<Uint8Array> {
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
    return parseNodeKey(decodeText(bytes)).secretKey
  } catch (error) {
    const why = error instanceof TextError ? error.message : `is ${messageOf(error)}`
    throw new BootError('ENR_KEY_UNREADABLE', `OBOL_ENR_KEY_FILE ${file} ${why}`)
  } finally {
    bytes.fill(0)
  }
}

/** The operator's key, once it is known which operator it is of; where it is of several, as which one to sign the settings have to say. */
function operatorOf(keys: Pick<Keystore, 'keyShares' | 'operatorKeys'> | undefined): OperatorSigner | undefined {
  const [operator] = keys?.operatorKeys ?? []
  if (keys === undefined || operator === undefined) return undefined
  const [first] = keys.keyShares
  const isOne = keys.keyShares.every(({ shareIndex }) => shareIndex === first?.shareIndex)
  const id = operator.id ?? (isOne ? first?.shareIndex : undefined)
  return id === undefined ? undefined : { id, sign: operator.sign }
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
