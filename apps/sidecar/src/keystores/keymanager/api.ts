/** The keymanager API of validator clients (docs/protocol.md#keymanager-api): their keys, and exits by them. */

import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import type { SignMessage } from '../keystore.ts'
import { assertFine } from '../remote/api.ts'
import { SignerError } from '../remote/error.ts'
import type { SignerHttp } from '../remote/signer-http.ts'

/** A key with its path or the URL of its signer takes some 250 bytes and 5 values: 60,000 keys. */
const KEYS = { maxBytes: 16 * 1024 * 1024, maxValues: 400_000 }
/** A signed exit takes about 300 bytes. */
const EXIT = { maxBytes: 4096, maxValues: 100 }
/** The client lists no keys of signers of its own: it does not know the path. */
const IS_UNKNOWN = new Set([404, 405, 501])

/** Public keys of all that a client signs with, in its own hands and in those of its signers. @throws {SignerError} */
export async function askPublicKeys(http: SignerHttp, signal: AbortSignal): Promise<Set<string>> {
  const own = await askKeys(http, { path: '/eth/v1/keystores', field: 'validating_pubkey' }, signal)
  const remote = await askKeys(http, { path: '/eth/v1/remotekeys', field: 'pubkey', isOptional: true }, signal)
  return own.union(remote)
}

/** No path says but this. @throws {SignerError} */
export async function askWhetherUp(http: SignerHttp, signal: AbortSignal): Promise<void> {
  await askKeys(http, { path: '/eth/v1/keystores', field: 'validating_pubkey' }, signal)
}

/** Lower-case hex; what is no key is left out. */
async function askKeys(
  http: SignerHttp,
  { path, field, isOptional = false }: { path: string; field: string; isOptional?: boolean },
  signal: AbortSignal,
): Promise<Set<string>> {
  const answer = await http.ask({ method: 'GET', path, maxBytes: KEYS.maxBytes, signal })
  if (isOptional && IS_UNKNOWN.has(answer.status)) return new Set()
  assertFine(answer, http.title, `GET ${path}`)
  const list = fieldOf(parseJson(answer.text, KEYS.maxValues), 'data')
  if (!Array.isArray(list)) throw new SignerError('invalid', `GET ${path} at the ${http.title} answers no list of keys`)
  return new Set(
    list.flatMap((item) => {
      const text = fieldOf(item, field)
      const key = typeof text === 'string' ? parseHex(text, 48) : undefined
      return key === undefined ? [] : [toHex(key)]
    }),
  )
}

/**
 * `POST /eth/v1/validator/{key}/voluntary_exit?epoch=…`: 96 bytes that may or may not be the signature of this very exit. The client takes the
 * validator index from its beacon node, which charon is here: one that has signed for another index, or another epoch, has not answered what
 * was asked.
 *
 * @param publicKey of the key share: 48 bytes, lower-case hex with `0x`
 * @throws {SignerError}
 */
export async function askExit(
  http: SignerHttp,
  publicKey: string,
  { epoch, validatorIndex }: Extract<SignMessage, { kind: 'exit' }>,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const path = `/eth/v1/validator/${publicKey}/voluntary_exit?epoch=${epoch}`
  const what = 'POST /eth/v1/validator/{key}/voluntary_exit'
  const answer = await http.ask({ method: 'POST', path, maxBytes: EXIT.maxBytes, signal })
  assertFine(answer, http.title, what)
  const body = parseJson(answer.text, EXIT.maxValues)
  // Older Lighthouse answers without the object around it.
  const exit = fieldOf(body, 'data') ?? body
  const message = fieldOf(exit, 'message')
  const said = { epoch: decimalOf(fieldOf(message, 'epoch')), index: decimalOf(fieldOf(message, 'validator_index')) }
  const text = fieldOf(exit, 'signature')
  const signature = typeof text === 'string' ? parseHex(text, 96) : undefined
  if (signature === undefined || said.epoch === undefined || said.index === undefined)
    throw new SignerError('invalid', `${what} at the ${http.title} answers no signed exit`)
  if (said.index !== String(validatorIndex))
    throw new SignerError(
      'wrong_message',
      `the ${http.title} has signed an exit of validator index ${said.index} where that of ${validatorIndex} is asked for: is it behind the charon of this cluster, and that beside a node of this chain?`,
    )
  if (said.epoch !== String(epoch))
    throw new SignerError(
      'wrong_message',
      `the ${http.title} has signed an exit of epoch ${said.epoch} where that of ${epoch} is asked for: it passes over the epoch of the request`,
    )
  return signature
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined

/** The text of a uint64, as the API writes it; no client writes a number. */
const decimalOf = (value: unknown): string | undefined =>
  typeof value === 'string' && /^(0|[1-9]\d{0,19})$/.test(value) ? value : undefined

function parseJson(text: string, maxValues: number): unknown {
  try {
    return parseJsonText(text, maxValues)
  } catch {
    return undefined
  }
}
