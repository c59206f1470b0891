/**
 * A stand-in for Web3Signer, built to docs/protocol.md#13-remote-signer alone: it computes every signing root from the request's fields by
 * the general rules of SSZ and refuses what does not fit, so a client that sends the right root with wrong fields is found out. Over TLS it
 * wants a client certificate. It can be told to fail in every way a signer can.
 */

import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { bytesRoot, containerRoot, uint64Root } from '@dvt-relayer/crypto/messages/ssz.ts'
import type { TestCa } from './certificates.ts'

/** What happens to a request for a signature instead of the usual; `never` is no answer at all. */
export type SignerMode =
  | 'right'
  | 'wrong_signature'
  | 'other_key'
  | 'never'
  | 'garbage'
  | 'huge'
  | 'reset'
  | { status: number }
  | { delayMs: number }

export interface Web3SignerOptions {
  /** Secret keys, 32 bytes each. */
  keys: readonly Uint8Array[]
  /** Serves TLS with a certificate of this authority, and asks for a client certificate of it. */
  ca?: TestCa
  /** The server's own certificate has expired. */
  ended?: boolean
  port?: number
}

export interface Web3Signer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** `METHOD /path` of every request, oldest first. */
  readonly requests: string[]
  /** Header `authorization` of the last request. */
  readonly authorization: () => string | undefined
  /** Bodies of requests for signatures that were answered with one. */
  readonly signed: SignBody[]
  /** How requests for signatures by this key (any, when left out) are answered from now on. */
  behave(mode: SignerMode, publicKey?: string): void
  /** Refuses one type of message, as a policy would. */
  refuse(type: SignBody['type']): void
  /** How every request is answered, those for /upcheck and the list of keys too. */
  behaveAll(mode: 'right' | 'never' | { status: number }): void
  /** Answers bare hex instead of JSON. */
  answerText(isText: boolean): void
  /** Adds or takes away a key. */
  setKeys(keys: readonly Uint8Array[]): void
  /** Resolves when the condition holds; looked at after every request. */
  until(condition: () => boolean): Promise<void>
  /** The most requests for signatures that were open at once. */
  readonly mostAtOnce: () => number
}

/** A body as it came. */
export interface SignBody {
  type: string
  signingRoot: string
  fork_info?: { fork: Record<string, string>; genesis_validators_root: string }
  voluntary_exit?: { epoch: string; validator_index: string }
  deposit?: { pubkey: string; withdrawal_credentials: string; amount: string; genesis_fork_version: string }
}

const engine = createBlstEngine()
const decimal = (text: unknown): bigint => {
  if (typeof text !== 'string' || !/^(0|[1-9]\d*)$/.test(text))
    throw new BadRequest('a number must be a decimal string')
  return BigInt(text)
}
const bytes = (text: unknown, length: number): Uint8Array => {
  const parsed = typeof text === 'string' && text.startsWith('0x') ? parseHex(text, length) : undefined
  if (parsed === undefined) throw new BadRequest(`not 0x and ${length} bytes`)
  return parsed
}

class BadRequest extends Error {}

/** The root of SigningData of what a body describes. */
function rootOf({ type, fork_info, voluntary_exit, deposit }: SignBody): Uint8Array {
  const signingRoot = (object: Uint8Array, kind: number, version: Uint8Array, genesis: Uint8Array) => {
    const fork = containerRoot([bytesRoot(version, 4), genesis])
    return containerRoot([object, Buffer.concat([Uint8Array.of(kind, 0, 0, 0), fork.subarray(0, 28)])])
  }
  if (type === 'VOLUNTARY_EXIT') {
    const { previous_version, current_version, epoch } = fork_info?.fork ?? {}
    const exitEpoch = decimal(voluntary_exit?.epoch)
    // The exit's epoch decides which of the two versions counts.
    const version = exitEpoch < decimal(epoch) ? previous_version : current_version
    const object = containerRoot([uint64Root(exitEpoch), uint64Root(decimal(voluntary_exit?.validator_index))])
    return signingRoot(object, 4, bytes(version, 4), bytes(fork_info?.genesis_validators_root, 32))
  }
  if (type !== 'DEPOSIT' || deposit === undefined) throw new BadRequest('unknown type')
  const message = containerRoot([
    bytesRoot(bytes(deposit.pubkey, 48), 48),
    bytes(deposit.withdrawal_credentials, 32),
    uint64Root(decimal(deposit.amount)),
  ])
  return signingRoot(message, 3, bytes(deposit.genesis_fork_version, 4), new Uint8Array(32))
}

/** Starts a signer. */
export async function startWeb3Signer(options: Web3SignerOptions): Promise<Web3Signer> {
  const requests: string[] = []
  const signed: SignBody[] = []
  const modes = new Map<string | undefined, SignerMode>()
  const conditions = new Set<() => void>()
  const timers = new Set<NodeJS.Timeout>()
  let secrets = new Map<string, Uint8Array>()
  let everything: 'right' | 'never' | { status: number } = 'right'
  let isText = false
  let refused: string | undefined
  let authorization: string | undefined
  let open = 0
  let most = 0

  function setKeys(keys: readonly Uint8Array[]): void {
    secrets = new Map(keys.map((key) => [toHex(engine.publicKeyOf(key)), key]))
  }
  setKeys(options.keys)

  function sign(path: string, text: string, request: IncomingMessage, response: ServerResponse): void {
    const key = `0x${(path.split('/').at(-1) ?? '').replace(/^0x/, '').toLowerCase()}`
    const mode = modes.get(key) ?? modes.get(undefined) ?? 'right'
    const send = (status: number, body: string, type = 'text/plain') =>
      response.writeHead(status, { 'content-type': type }).end(body)
    if (mode === 'never') return
    if (mode === 'reset') return void request.socket.destroy()
    if (mode === 'garbage') return void send(200, '<html>sorry</html>', 'text/html')
    if (mode === 'huge') return void send(200, `"0x${'ab'.repeat(5_000_000)}"`, 'application/json')
    if (typeof mode === 'object' && 'status' in mode) return void send(mode.status, 'no')
    const secret = secrets.get(key)
    if (secret === undefined) return void send(404, `Signer not found for identifier ${key}`)
    const body = JSON.parse(text) as SignBody
    if (body.type === refused) return void send(412, 'refused')
    const root = rootOf(body)
    if (toHex(root) !== body.signingRoot) throw new BadRequest('signing root does not match the fields')
    const other = [...secrets.values()].find((candidate) => candidate !== secret)
    const by = mode === 'other_key' ? (other ?? secret) : secret
    const signature = toHex(engine.sign(by, mode === 'wrong_signature' ? new Uint8Array(32) : root))
    const answerNow = () => {
      if (mode === 'right' || typeof mode === 'object') signed.push(body)
      const wantsJson = !isText && (request.headers.accept ?? '').includes('application/json')
      if (wantsJson) send(200, JSON.stringify({ signature }), 'application/json')
      else send(200, signature)
    }
    if (typeof mode !== 'object') return void answerNow()
    const timer = setTimeout(() => {
      timers.delete(timer)
      answerNow()
    }, mode.delayMs)
    timers.add(timer)
  }

  function answer(request: IncomingMessage, response: ServerResponse, text: string): void {
    const path = (request.url ?? '').split('?')[0] ?? ''
    requests.push(`${request.method} ${path}`)
    authorization = request.headers.authorization
    if (everything === 'never') return
    if (everything !== 'right') return void response.writeHead(everything.status).end('no')
    try {
      if (request.method === 'POST' && path.startsWith('/api/v1/eth2/sign/')) sign(path, text, request, response)
      else if (path === '/upcheck') response.writeHead(200, { 'content-type': 'text/plain' }).end('OK')
      else if (path === '/api/v1/eth2/publicKeys')
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify([...secrets.keys()]))
      else response.writeHead(404).end()
    } catch (error) {
      response.writeHead(error instanceof BadRequest ? 400 : 500).end(String(error))
    }
  }

  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    if (request.method === 'POST') {
      open++
      most = Math.max(most, open)
      response.on('close', () => {
        open--
      })
    }
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => response.destroy())
    request.on('end', () => {
      answer(request, response, Buffer.concat(chunks).toString())
      for (const look of [...conditions]) look()
    })
  }
  const { ca } = options
  const server =
    ca === undefined
      ? createHttpServer(listener)
      : createHttpsServer(
          {
            ...ca.issue('signer', { ended: options.ended ?? false }),
            ca: ca.cert,
            requestCert: true,
            rejectUnauthorized: true,
          },
          listener,
        )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `${ca === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    requests,
    authorization: () => authorization,
    signed,
    behave: (mode, publicKey) => void modes.set(publicKey, mode),
    behaveAll(mode) {
      everything = mode
    },
    refuse(type) {
      refused = type
    },
    answerText(value) {
      isText = value
    },
    setKeys,
    until: (condition) =>
      new Promise((resolve) => {
        const look = () => {
          if (!condition()) return
          conditions.delete(look)
          resolve()
        }
        conditions.add(look)
        look()
      }),
    mostAtOnce: () => most,
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearTimeout(timer)
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
