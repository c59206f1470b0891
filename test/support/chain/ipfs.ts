/** An IPFS gateway stand-in: true CIDs, and content that is not what its CID says when a test wants that. */

import { cidOf } from '@dvt-relayer/chain/ipfs/cid.ts'
import { type HttpStandIn, startHttpStandIn } from './http-stand-in.ts'

export interface Ipfs extends HttpStandIn {
  /** Adds bytes, or a value as JSON; returns the true CID. */
  add(content: Uint8Array | object, version?: 0 | 1): string
  /** Serves this content under this CID, whatever it is: a hostile gateway, or an encoding unknown to us. */
  put(cid: string, content: Uint8Array | object): void
}

const bytesOf = (content: Uint8Array | object): Uint8Array =>
  content instanceof Uint8Array ? content : new TextEncoder().encode(JSON.stringify(content))

/** Starts a gateway: `GET /ipfs/{cid}`; and `POST /api/v0/add` for JSON, which answers with the `Hash` it has from then on. */
export async function startIpfs(files: readonly (Uint8Array | object)[] = []): Promise<Ipfs> {
  const contents = new Map<string, Uint8Array>()
  const server = await startHttpStandIn(({ path, method, body: added }) => {
    if (method === 'POST' && path === '/api/v0/add') return { status: 200, body: { Hash: add(added as object) } }
    const body = contents.get(path.replace(/^\/ipfs\//, ''))
    return body === undefined ? { status: 404, body: { message: 'no such content' } } : { status: 200, body }
  })
  const add = (content: Uint8Array | object, version: 0 | 1 = 0) => {
    const bytes = bytesOf(content)
    const cid = cidOf(bytes, version)
    contents.set(cid, bytes)
    return cid
  }
  for (const file of files) add(file)
  return { ...server, add, put: (cid, content) => void contents.set(cid, bytesOf(content)) }
}
