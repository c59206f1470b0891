/** What the tests of rotations share: oracles in this process that approve, lie, stall and fall silent, and vaults with validators. */

import { createHash } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { oracleAddress } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import type { Hex } from 'viem'
import { type HttpStandIn, type StandInAnswer, type StandInRequest, startHttpStandIn } from '../chain/http-stand-in.ts'
import { makeOracles, oracleConfig, type TestOracle } from '../chain/oracles.ts'
import { signUpdate } from '../oracle/oracle-approvals.ts'
import type { KeyedValidator } from '../world/nodes.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { credentialsOf, query } from './manager.ts'

/** How an oracle behaves: as it should, or in one of the ways it should not. */
export type Manner =
  | 'honest'
  | 'other_hash'
  | 'other_deadline'
  | 'other_key'
  | 'high_s'
  | 'huge'
  | 'redirect'
  | 'refusing'
  | 'slow'
  | 'stale'

/** The body of `POST /signatures`. */
export interface ApprovalBody {
  vault_address: string
  public_keys: string[]
  public_key_shards: string[][]
  exit_signature_shards: string[][]
  deadline: number
}

/** An oracle of a test. */
export interface RotationOracle extends TestOracle, HttpStandIn {
  readonly address: Hex
  readonly endpoints: readonly string[]
  manner: Manner
  /** What it calls outdated, and the block of the last update it has seen. */
  outdated: number[]
  block: number
  /** `exitSignaturesNonces(vault)`, which it would read from the chain. */
  nonce: number
  /** Called when it is asked for its approval, before it answers. */
  onApproval: (() => void) | undefined
  /** Every request for its approval. */
  readonly asked: ApprovalBody[]
}

const GROUP_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

/** What oracles make of a request: the same of the same shares, whatever the deadline. */
const hashOf = ({ deadline: _, ...content }: ApprovalBody) =>
  `Qm${createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 44)}`

/** The same signature with the other value of s, which `ecrecover` takes and contracts refuse. */
function otherS(signature: Hex): Hex {
  const s = GROUP_ORDER - BigInt(`0x${signature.slice(66, 130)}`)
  return `0x${signature.slice(2, 66)}${s.toString(16).padStart(64, '0')}${signature.endsWith('1b') ? '1c' : '1b'}`
}

/** Starts an oracle. `keeper` is where its signatures count. */
export async function startRotationOracle(network: { chainId: number; keeper: Uint8Array }): Promise<RotationOracle> {
  const [keys] = makeOracles(1)
  if (keys === undefined) throw new Error('no oracle')
  const asked: ApprovalBody[] = []
  let manner: Manner = 'honest'

  async function approve(body: ApprovalBody): Promise<StandInAnswer> {
    asked.push(body)
    oracle.onApproval?.()
    if (oracle.manner === 'refusing') return { status: 400, body: { message: 'no' } }
    const deadline = oracle.manner === 'other_deadline' ? body.deadline + 1 : body.deadline
    const ipfsHash = oracle.manner === 'other_hash' ? hashOf({ ...body, public_keys: [] }) : hashOf(body)
    const secretKey = oracle.manner === 'other_key' ? secp256k1.utils.randomSecretKey() : keys?.secretKey
    const signature = await signUpdate(
      toHex(secretKey ?? new Uint8Array()),
      { chainId: network.chainId, keeper: toHex(network.keeper) },
      { vault: body.vault_address as Hex, ipfsHash, nonce: oracle.nonce, deadline },
    )
    return {
      status: 200,
      body: { ipfs_hash: ipfsHash, signature: oracle.manner === 'high_s' ? otherS(signature) : signature, deadline },
    }
  }

  async function answer(request: StandInRequest): Promise<StandInAnswer> {
    if (oracle.manner === 'redirect') return { status: 307, body: {}, headers: { location: `${server.url}/elsewhere` } }
    if (oracle.manner === 'huge') return { status: 200, body: new Uint8Array(5 * 1024 * 1024).fill(0x20) }
    if (request.method === 'POST' && request.path === '/signatures') return approve(request.body as ApprovalBody)
    if (!request.path.startsWith('/signatures/0x')) return { status: 404, body: {} }
    const block = oracle.manner === 'stale' ? oracle.block - 1 : oracle.block
    const validators = oracle.outdated.map((index) => ({ index, extra: 'ignored' }))
    return { status: 200, body: { exit_signature_block_number: block, validators } }
  }

  const server = await startHttpStandIn(answer)
  const oracle: RotationOracle = Object.assign(server, {
    ...keys,
    address: oracleAddress(keys.publicKey),
    endpoints: [server.url],
    outdated: [],
    block: 0,
    nonce: 0,
    asked,
    onApproval: undefined,
    manner: 'honest' as Manner,
  })
  Object.defineProperty(oracle, 'manner', {
    get: () => manner,
    set(next: Manner) {
      manner = next
      server.fail(next === 'slow' ? 'slow' : undefined)
    },
  })
  return oracle
}

/** Announces these oracles, `needed` of which the Keeper wants, `threshold` of which can exit. Returns the CID. */
export async function announceOracles(
  { keeper, ipfs }: Pick<VaultWorld, 'keeper' | 'ipfs'>,
  oracles: readonly RotationOracle[],
  {
    threshold,
    needed,
    validity = 120,
    limit = 100,
  }: { threshold: number; needed: number; validity?: number; limit?: number },
): Promise<string> {
  const outcome = await keeper.setOracles(
    oracles.map(({ address }) => address),
    needed,
  )
  if (!outcome.ok) throw new Error(outcome.error)
  const cid = ipfs.add({
    ...oracleConfig(oracles, threshold),
    signature_validity_period: validity,
    validators_exit_rotation_batch_limit: limit,
  })
  await keeper.setConfig(cid)
  return cid
}

/** Puts a validator on the beacon chain and into the database as registered. Returns its index. */
export async function addRegistered(
  world: Pick<VaultWorld, 'beacon' | 'query'>,
  vault: string,
  { publicKey }: Pick<KeyedValidator, 'publicKey'>,
  fields: { status?: string; credentials?: string } = {},
): Promise<number> {
  const withdrawalCredentials = credentialsOf('0x02', fields.credentials ?? vault)
  const index = world.beacon.addValidator({
    publicKey,
    withdrawalCredentials,
    status: fields.status ?? 'active_ongoing',
  })
  world.beacon.finalize()
  await query(
    world,
    `insert into validators (public_key, beacon_index, beacon_vault, registered_at) values ($1, $2, $3, now())
     on conflict (public_key) do update set beacon_index = $2, beacon_vault = $3, registered_at = now()`,
    [Buffer.from(publicKey), index, Buffer.from(vault.slice(2), 'hex')],
  )
  return index
}

/** An address nobody has. */
export const someVault = (seed: number): Hex => checksumAddress(new Uint8Array(20).fill(seed))
