/** Nodes that show no token: they sign their requests as docs/protocol.md tells it. No code is shared with the relayer. */

import { constants, createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { privateKeyToAccount } from 'viem/accounts'

/** What relayers of these tests are called, wherever they listen. */
export const PUBLIC_URL = 'https://relayer.example'

/** Of an Obol node the hex of its key; of an SSV operator its id and its private key. */
export type NodeIdentity = { enrKey: `0x${string}` } | { operatorId: number; rsaKey: KeyObject }

/** An Obol node by the file of its key. */
export const nodeOf = ({ enrKeyFile }: { enrKeyFile: string }): NodeIdentity => ({
  enrKey: `0x${readFileSync(enrKeyFile, 'utf8').trim().replace(/^0x/, '')}`,
})

export interface SignedParts {
  method?: string
  path: string
  /** As it is sent; signed as it is, whatever is sent. */
  body?: string
  network?: string
  relayer?: string
  time?: number
  nonce?: string
  /** Whether the hash of the body stands in a header of its own. */
  hasDigest?: boolean
}

/** The text of a request. */
export function textOf({
  path,
  body = '',
  method = body === '' ? 'GET' : 'POST',
  network = 'hoodi',
  relayer = PUBLIC_URL,
  time = 0,
  nonce = '',
}: SignedParts): string {
  const hash = createHash('sha256').update(body, 'utf8').digest('hex')
  return `dvt-relayer request\nnetwork: ${network}\nrelayer: ${relayer}\nmethod: ${method}\npath: ${path}\nbody: 0x${hash}\ntime: ${time}\nnonce: ${nonce}`
}

/** The headers of a signed request, with those of its body. */
export async function signedBy(identity: NodeIdentity, parts: SignedParts): Promise<Record<string, string>> {
  const { time = Math.floor(Date.now() / 1000), nonce = `0x${randomBytes(16).toString('hex')}`, body } = parts
  const text = textOf({ ...parts, time, nonce })
  const signature =
    'enrKey' in identity
      ? await privateKeyToAccount(identity.enrKey).signMessage({ message: text })
      : `0x${sign('sha256', Buffer.from(text), { key: identity.rsaKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }).toString('hex')}`
  const who = 'enrKey' in identity ? 'Node ' : `Operator ${identity.operatorId}:`
  return {
    authorization: `${who}${time}:${nonce}:${signature}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(body === undefined || parts.hasDigest === false
      ? {}
      : { 'content-digest': `sha-256=:${createHash('sha256').update(body, 'utf8').digest('base64')}:` }),
  }
}
