/**
 * A stand-in for the keymanager API of a validator client behind charon, built to the public description of that API and to how its clients
 * answer: paths, statuses and bodies of Lighthouse, Lodestar and Teku. It signs as a client does: with the index that its beacon node says,
 * at the epoch it is asked for, under the domain that its fork schedule gives. It can be told to fail in every way a client can.
 */

import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { bytesRoot, containerRoot, uint64Root } from '@dvt-relayer/crypto/messages/ssz.ts'
import { type HttpStandIn, type StandInAnswer, startHttpStandIn } from '../chain/http-stand-in.ts'

/** How clients differ: whether `data` stands around an exit, whether remote keys are listed, and what a missing thing answers with. */
const CLIENTS = {
  lighthouse: { isWrapped: true, hasRemoteKeys: true, unknownKey: 404, unknownIndex: 404 },
  'older lighthouse': { isWrapped: false, hasRemoteKeys: true, unknownKey: 500, unknownIndex: 500 },
  lodestar: { isWrapped: true, hasRemoteKeys: true, unknownKey: 500, unknownIndex: 500 },
  teku: { isWrapped: true, hasRemoteKeys: true, unknownKey: 400, unknownIndex: 400 },
  'without remote keys': { isWrapped: true, hasRemoteKeys: false, unknownKey: 404, unknownIndex: 404 },
} as const
export type ClientName = keyof typeof CLIENTS
export const CLIENT_NAMES = Object.keys(CLIENTS) as ClientName[]

/** What happens to a request for an exit instead of the usual. */
export type ClientMode =
  | 'right'
  | 'other_index'
  | 'other_epoch'
  | 'other_key'
  | 'other_exit'
  | 'never'
  | 'garbage'
  | 'huge'
  | 'numbers'
  | 'nothing'
  | 'nested'
  | { status: number }

export interface KeymanagerOptions {
  client?: ClientName
  /** Secret keys of shares. */
  keys: readonly Uint8Array[]
  /** The rest of its keys is with a signer of its own. */
  remoteKeys?: readonly Uint8Array[]
  token?: string
  genesisValidatorsRoot: Uint8Array
  /** Fork versions with their first epochs, in order; of the same epoch the last one counts. */
  forks: readonly { epoch: number; version: Uint8Array }[]
  /** The version of Capella, under which clients since EIP-7044 sign every exit; undefined for one that came before. */
  capella?: Uint8Array | undefined
  /** The validator index that its beacon node, which is charon, has for a public key share (hex); undefined: it knows none. */
  indexOf(publicKeyShare: string): number | undefined
}

export interface Keymanager extends HttpStandIn {
  /** Exits that were asked for, as `key?epoch=…`. */
  readonly asked: string[]
  /** How requests for exits by this key (any, when left out) are answered from now on. */
  behave(mode: ClientMode, publicKey?: string): void
}

const engine = createBlstEngine()

/** Starts a validator client. */
export async function startKeymanager(options: KeymanagerOptions): Promise<Keymanager> {
  const client = CLIENTS[options.client ?? 'lighthouse']
  const { token = 'api-token-0xabc', keys, remoteKeys = [], genesisValidatorsRoot, forks, capella } = options
  const secrets = new Map([...keys, ...remoteKeys].map((key) => [toHex(engine.publicKeyOf(key)), key]))
  const modes = new Map<string | undefined, ClientMode>()
  const asked: string[] = []
  const failure = (status: number, message: string): StandInAnswer => ({
    status,
    body: { code: status, message, stacktraces: [] },
  })

  function rootOf(epoch: bigint, index: number): Uint8Array {
    const current = forks.findLast((fork) => BigInt(fork.epoch) <= epoch)?.version ?? new Uint8Array(4)
    const forkData = containerRoot([bytesRoot(capella ?? current, 4), genesisValidatorsRoot])
    const exit = containerRoot([uint64Root(epoch), uint64Root(BigInt(index))])
    return containerRoot([exit, Buffer.concat([Uint8Array.of(4, 0, 0, 0), forkData.subarray(0, 28)])])
  }

  function exit(key: string, query: URLSearchParams): StandInAnswer | Promise<StandInAnswer> {
    const mode = modes.get(key) ?? modes.get(undefined) ?? 'right'
    asked.push(`${key}?${query.toString()}`)
    const secret = secrets.get(key as `0x${string}`)
    if (secret === undefined) return failure(client.unknownKey, `${key} is disabled or not managed here`)
    const known = options.indexOf(key)
    if (known === undefined) return failure(client.unknownIndex, `the validator index for ${key} is not known`)
    if (mode === 'never') return new Promise(() => {})
    if (mode === 'garbage') return { status: 200, body: Buffer.from('<html>sorry</html>') }
    if (mode === 'huge') return { status: 200, body: { data: { signature: `0x${'ab'.repeat(5_000_000)}` } } }
    if (mode === 'nothing') return { status: 200, body: { data: null } }
    if (mode === 'nested') return { status: 200, body: Buffer.from('['.repeat(1000)) }
    if (typeof mode === 'object') return failure(mode.status, 'no')
    const epoch = BigInt(query.get('epoch') ?? '400000') + (mode === 'other_epoch' ? 1n : 0n)
    const index = known + (mode === 'other_index' ? 1 : 0)
    const by = mode === 'other_key' ? [...secrets.values()].find((other) => other !== secret) : secret
    // One that says what was asked for, and has signed something else.
    const root = rootOf(epoch, mode === 'other_exit' ? index + 1 : index)
    const text = (value: bigint | number) => (mode === 'numbers' ? Number(value) : String(value))
    const signed = {
      message: { epoch: text(epoch), validator_index: text(index) },
      signature: toHex(engine.sign(by ?? secret, root)),
    }
    return { status: 200, body: client.isWrapped ? { data: signed } : signed }
  }

  const server = await startHttpStandIn(({ method, path, query, headers }) => {
    if (headers['authorization'] !== `Bearer ${token}`) return failure(401, 'Unauthorized')
    const hexOf = (list: readonly Uint8Array[]) => list.map((key) => toHex(engine.publicKeyOf(key)))
    if (method === 'GET' && path === '/eth/v1/keystores')
      return {
        status: 200,
        body: {
          data: hexOf(keys).map((key) => ({
            validating_pubkey: key,
            derivation_path: 'm/12381/3600/0/0/0',
            readonly: false,
          })),
        },
      }
    if (method === 'GET' && path === '/eth/v1/remotekeys' && client.hasRemoteKeys)
      return {
        status: 200,
        body: { data: hexOf(remoteKeys).map((pubkey) => ({ pubkey, url: 'http://signer:9000', readonly: true })) },
      }
    const [, key = ''] = /^\/eth\/v1\/validator\/(0x[0-9a-f]{96})\/voluntary_exit$/.exec(path) ?? []
    if (method === 'POST' && parseHex(key, 48) !== undefined) return exit(key, query)
    return failure(404, 'Not Found')
  })
  return { ...server, asked, behave: (mode, publicKey) => void modes.set(publicKey, mode) }
}
