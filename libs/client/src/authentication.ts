/**
 * How a caller shows the relayer who it is: by a token, or by a key that it has already and signs each request with
 * (docs/protocol.md#19-identity-by-key). A signature binds the request, so it is made anew for each attempt.
 */

import { createHash, randomBytes } from 'node:crypto'
import type { SentRequest } from '@dvt-relayer/common/http/client.ts'
import {
  credentialsText,
  relayerName,
  requestText,
  type SignedRequest,
  signRequest,
} from '@dvt-relayer/crypto/oracle/request-signature.ts'

/** Makes the headers of a request as it goes out; none where there is nothing to show yet. */
export type Authenticate = (sent: SentRequest) => Readonly<Record<string, string>>

/** Whom signed requests are for. */
export interface Addressee {
  /** Name of the relayer's network, such as `mainnet`. */
  network: string
  /** The relayer's `PUBLIC_URL`, which is the URL that it is asked at. */
  url: URL
}

/** A token of AUTH_TOKENS_FILE, as Bearer. */
export function withToken(token: string): Authenticate {
  const headers = { authorization: `Bearer ${token}` }
  return () => headers
}

/** A node of an Obol cluster whose lock the relayer has pinned, by charon's key. @param secretKey 32 bytes of `charon-enr-private-key` */
export const withNodeKey = (addressee: Addressee, secretKey: Uint8Array): Authenticate =>
  signing(addressee, () => ({ prefix: 'Node ', sign: (request) => signRequest(request, secretKey) }))

/** An oracle, by its secp256k1 key: for its own exit shares. @param secretKey 32 bytes */
export const withOracleKey = ({ network }: Pick<Addressee, 'network'>, secretKey: Uint8Array): Authenticate =>
  // The first version of the text: relayers without a PUBLIC_URL, and those of before, take it too.
  signing({ network }, () => ({ prefix: 'Oracle ', sign: (request) => signRequest(request, secretKey) }))

/** An operator of the SSV network. */
export interface OperatorSigner {
  /** Its id in the network. */
  id: number
  /** RSA-PSS of a text with its key: SHA-256, salt of 32 bytes; 256 bytes. */
  sign(text: string): Uint8Array
}

/** An SSV operator, by its RSA key; `operator` gives undefined as long as it is not known. */
export const withOperatorKey = (addressee: Addressee, operator: () => OperatorSigner | undefined): Authenticate =>
  signing(addressee, () => {
    const found = operator()
    return found && { prefix: `Operator ${found.id}:`, sign: (request) => found.sign(requestText(request)) }
  })

/** The scheme with what stands before the time, and the signature. */
interface RequestKey {
  prefix: string
  sign(request: SignedRequest): Uint8Array
}

function signing({ network, url }: { network: string; url?: URL }, keyOf: () => RequestKey | undefined): Authenticate {
  const relayer = url === undefined ? undefined : relayerName(url)
  return ({ method, path, body }) => {
    const key = keyOf()
    if (key === undefined) return {}
    const bodyHash = createHash('sha256')
      .update(body ?? '', 'utf8')
      .digest()
    const [time, nonce] = [Math.floor(Date.now() / 1000), randomBytes(16)]
    const bound = relayer === undefined ? {} : { bound: { relayer, bodyHash } }
    const signature = key.sign({ method, path, network, time, nonce, ...bound })
    return {
      authorization: `${key.prefix}${credentialsText({ time, nonce, signature })}`,
      // So that the relayer knows who sends before it reads the body.
      ...(body === undefined ? {} : { 'content-digest': `sha-256=:${bodyHash.toString('base64')}:` }),
    }
  }
}
