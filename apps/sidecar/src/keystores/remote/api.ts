/** The remote signing API (docs/protocol.md#13-remote-signer): bodies of requests, and what answers mean. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import type { SignRequest } from '../keystore.ts'
import { SignerError, type SignerFault } from './error.ts'
import type { SignerAnswer, SignerHttp } from './signer-http.ts'

/** A key takes about 100 bytes: 160,000 keys. */
const MAX_KEYS_BYTES = 16 * 1024 * 1024
const MAX_KEYS = 200_000
/** A signature takes about 210. */
const MAX_SIGNATURE_BYTES = 4096
const MAX_SIGNATURE_VALUES = 100

type SignerNetwork = Pick<
  Network,
  'capellaForkVersion' | 'capellaEpoch' | 'genesisForkVersion' | 'genesisValidatorsRoot'
>

/**
 * The body of a request for a signature; all numbers are decimal strings. Exits are signed under Capella's fork version whatever fork
 * is current, so it stands for both versions of the fork, from Capella's epoch on.
 */
export function signBody(network: SignerNetwork, { signingRoot, message, keyShare }: SignRequest): string {
  const root = toHex(signingRoot)
  if (message.kind === 'deposit')
    return JSON.stringify({
      type: 'DEPOSIT',
      signingRoot: root,
      deposit: {
        pubkey: keyShare.validatorPublicKey,
        withdrawal_credentials: toHex(message.withdrawalCredentials),
        amount: String(message.amountGwei),
        genesis_fork_version: toHex(network.genesisForkVersion),
      },
    })
  const version = toHex(network.capellaForkVersion)
  return JSON.stringify({
    type: 'VOLUNTARY_EXIT',
    fork_info: {
      fork: { previous_version: version, current_version: version, epoch: String(network.capellaEpoch) },
      genesis_validators_root: toHex(network.genesisValidatorsRoot),
    },
    signingRoot: root,
    voluntary_exit: { epoch: String(message.epoch), validator_index: String(message.validatorIndex) },
  })
}

/** `GET /api/v1/eth2/publicKeys`: lower-case hex; what is no key is left out. @throws {SignerError} */
export async function askPublicKeys(http: SignerHttp, signal: AbortSignal): Promise<Set<string>> {
  const path = '/api/v1/eth2/publicKeys'
  const answer = await http.ask({ method: 'GET', path, maxBytes: MAX_KEYS_BYTES, signal })
  assertFine(answer, http.title, `GET ${path}`)
  const list = parseJson(answer.text, MAX_KEYS)
  if (!Array.isArray(list)) throw new SignerError('invalid', `GET ${path} at the ${http.title} answers no list of keys`)
  return new Set(
    list.flatMap((item) => {
      const key = typeof item === 'string' ? parseHex(item, 48) : undefined
      return key === undefined ? [] : [toHex(key)]
    }),
  )
}

/**
 * `POST /api/v1/eth2/sign/{key}`: 96 bytes that may or may not be a signature. The answer is JSON or bare hex, whatever its content
 * type says.
 *
 * @param publicKey of the key share: 48 bytes, lower-case hex with `0x`
 * @throws {SignerError}
 */
export async function askSignature(
  http: SignerHttp,
  publicKey: string,
  body: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const path = `/api/v1/eth2/sign/${publicKey}`
  const answer = await http.ask({ method: 'POST', path, body, maxBytes: MAX_SIGNATURE_BYTES, signal })
  assertFine(answer, http.title, 'POST /api/v1/eth2/sign')
  const json = parseJson(answer.text, MAX_SIGNATURE_VALUES)
  const text = typeof json === 'object' && json !== null ? (json as { signature?: unknown }).signature : json
  const signature = parseHex(typeof text === 'string' ? text : answer.text.trim(), 96)
  if (signature === undefined)
    throw new SignerError('invalid', `POST /api/v1/eth2/sign at the ${http.title} answers no signature`)
  return signature
}

/** `GET /upcheck`; a signer that does not know it is there all the same. @throws {SignerError} */
export async function askWhetherUp(http: SignerHttp, signal: AbortSignal): Promise<void> {
  const answer = await http.ask({ method: 'GET', path: '/upcheck', maxBytes: MAX_SIGNATURE_BYTES, signal })
  if (answer.status !== 404) assertFine(answer, http.title, 'GET /upcheck')
}

const FAULT_OF_STATUS: Readonly<Record<number, SignerFault>> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'unauthorized',
  404: 'unknown_key',
  412: 'refused',
}

/** A stranger's body never goes into a message: the status says it. */
export function assertFine({ status }: SignerAnswer, title: string, what: string): void {
  if (status >= 200 && status < 300) return
  const fault = FAULT_OF_STATUS[status] ?? (status >= 500 ? 'server_error' : 'status')
  throw new SignerError(fault, `${what} at the ${title} answers with status ${status}`)
}

function parseJson(text: string, maxValues: number): unknown {
  try {
    return parseJsonText(text, maxValues)
  } catch {
    return undefined
  }
}
