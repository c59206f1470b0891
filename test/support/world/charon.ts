/**
 * A node that has charon and nothing else: what `charon exit sign` and `charon deposit sign` ask and post, made by the rules of
 * docs/protocol.md#requests-of-stock-charon with an SSZ root of its own, which shares no code with the relayer's.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ExitFork } from '@dvt-relayer/crypto/messages/messages.ts'
import { depositSigningRoot, exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { engine, type KeyedValidator } from './nodes.ts'
import { type Answer, ask, hex } from './world.ts'

/** What one node of a lock has. */
export interface CharonNode {
  lockHash: Uint8Array
  shareIndex: number
  /** The secret key of its ENR. */
  enrKey: Uint8Array
  validators: readonly Pick<KeyedValidator, 'publicKey' | 'shares'>[]
}

/** One node of a cluster on disk. */
export function charonNode(
  files: { enrKeyFile: string; lockFile: string },
  shareIndex: number,
  validators: CharonNode['validators'],
): CharonNode {
  const { lock_hash } = JSON.parse(readFileSync(files.lockFile, 'utf8')) as { lock_hash: string }
  return {
    lockHash: Buffer.from(lock_hash.slice(2), 'hex'),
    shareIndex,
    enrKey: Buffer.from(readFileSync(files.enrKeyFile, 'utf8').trim(), 'hex'),
    validators,
  }
}

export interface ExitBlob {
  public_key: string
  signed_exit_message: { message: { epoch: string; validator_index: string }; signature: string }
}
export interface ExitsBody {
  partial_exits: ExitBlob[] | null
  share_idx: number
  signature: string
}

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
const bytesOf = (text: string) => Buffer.from(text.slice(2), 'hex')
const uint64 = (value: bigint) => {
  const chunk = Buffer.alloc(32)
  chunk.writeBigUInt64LE(value)
  return chunk
}
/** A tree over chunks of 32 bytes, filled up with zeros to 2^depth of them. */
function tree(bytes: Uint8Array, depth: number): Uint8Array {
  let level = Array.from({ length: Math.ceil(bytes.length / 32) }, (_, i) => {
    const chunk = Buffer.alloc(32)
    chunk.set(bytes.subarray(32 * i, 32 * (i + 1)))
    return chunk
  })
  let zero = Buffer.alloc(32)
  for (let height = 0; height < depth; height++) {
    const above: Buffer<ArrayBuffer>[] = []
    for (let i = 0; i < level.length; i += 2) above.push(Buffer.from(sha256(level[i] ?? zero, level[i + 1] ?? zero)))
    level = above
    zero = Buffer.from(sha256(zero, zero))
  }
  return level[0] ?? zero
}

/** What the ENR key signs. */
export function exitsRoot(blobs: readonly ExitBlob[], shareIndex: number): Uint8Array {
  const roots = blobs.map(({ public_key, signed_exit_message: { message, signature } }) => {
    const exit = sha256(uint64(BigInt(message.epoch)), uint64(BigInt(message.validator_index)))
    return sha256(tree(bytesOf(public_key), 1), sha256(exit, tree(bytesOf(signature), 2)))
  })
  const list = sha256(tree(Buffer.concat(roots), 16), uint64(BigInt(blobs.length)))
  return sha256(list, uint64(BigInt(shareIndex)))
}

/** A partial exit of one validator, for the network of `fork`. */
export function exitBlob(
  { shareIndex, validators }: Pick<CharonNode, 'shareIndex' | 'validators'>,
  publicKey: string,
  fork: ExitFork,
  message: { epoch: number; validatorIndex: number },
): ExitBlob {
  const secretKey = shareOf(validators, publicKey, shareIndex)
  return {
    public_key: publicKey,
    signed_exit_message: {
      message: { epoch: String(message.epoch), validator_index: String(message.validatorIndex) },
      signature: hex(engine.sign(secretKey, exitSigningRoot(fork, message))),
    },
  }
}

function shareOf(validators: CharonNode['validators'], publicKey: string, shareIndex: number): Uint8Array {
  const shares = validators.find((validator) => hex(validator.publicKey) === publicKey)?.shares
  const share = shares?.find(({ index }) => index === BigInt(shareIndex))
  if (share === undefined) throw new Error(`no share ${shareIndex} of ${publicKey}`)
  return share.secretKey
}

/** The body as charon posts it: sorted by index, null when there is nothing, signed by the ENR key. */
export function exitsBody({ enrKey, shareIndex }: CharonNode, blobs: readonly ExitBlob[]): ExitsBody {
  const indexOf = (blob: ExitBlob) => Number(blob.signed_exit_message.message.validator_index)
  const sorted = blobs.toSorted((a, b) => indexOf(a) - indexOf(b))
  const made = secp256k1.sign(exitsRoot(sorted, shareIndex), enrKey, { prehash: false, format: 'recovered' })
  const signature = hex(Uint8Array.from([...made.subarray(1), made[0] ?? 0]))
  return { partial_exits: sorted.length === 0 ? null : sorted, share_idx: shareIndex, signature }
}

export const postExits = (url: string, { lockHash }: Pick<CharonNode, 'lockHash'>, body: ExitsBody): Promise<Answer> =>
  ask(url, `/exp/partial_exits/${hex(lockHash)}`, { body })

/** `charon deposit sign`: one validator, one amount. */
export function postDeposits(
  url: string,
  { lockHash, shareIndex }: Pick<CharonNode, 'lockHash' | 'shareIndex'>,
  deposits: readonly object[],
): Promise<Answer> {
  const body = { partial_deposit_data: deposits }
  return ask(url, `/deposit_data/partial_deposits/${hex(lockHash)}/${shareIndex}`, { body })
}

/** What `charon deposit sign` posts of one validator. */
export function depositBlob(
  { shareIndex, validators }: Pick<CharonNode, 'shareIndex' | 'validators'>,
  publicKey: string,
  fork: { genesisForkVersion: Uint8Array },
  { credentials, amountGwei }: { credentials: Uint8Array; amountGwei: bigint },
) {
  const root = depositSigningRoot(fork, {
    publicKey: bytesOf(publicKey),
    withdrawalCredentials: credentials,
    amountGwei,
  })
  return {
    pubkey: publicKey,
    withdrawal_credentials: hex(credentials),
    amount: String(amountGwei),
    signature: hex(engine.sign(shareOf(validators, publicKey, shareIndex), root)),
  }
}

/** `charon exit sign --all --exit-epoch=<epoch>` with the stand-in as its beacon node: every call that it makes, in order. */
export async function exitSignAll(url: string, node: CharonNode, epoch: number): Promise<Answer> {
  const beacon = async <T>(path: string, body?: unknown): Promise<T> => {
    const answer = await ask(url, `/obol/eth/v1${path}`, body === undefined ? {} : { body })
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.text}`)
    return (answer.json as { data: T }).data
  }
  const { is_syncing } = await beacon<{ is_syncing: boolean }>('/node/syncing')
  if (is_syncing) throw new Error('the beacon node is syncing')
  await beacon('/node/version')
  const spec = await beacon<Record<string, string>>('/config/spec')
  const genesis = await beacon<Record<string, string>>('/beacon/genesis')
  const found = await beacon<{ index: string; status: string; validator: { pubkey: string } }[]>(
    '/beacon/states/head/validators',
    {
      ids: node.validators.map(({ publicKey }) => hex(publicKey)),
      statuses: ['pending_queued', 'active_ongoing'],
    },
  )
  const fork = {
    capellaForkVersion: bytesOf(spec['CAPELLA_FORK_VERSION'] ?? ''),
    genesisValidatorsRoot: bytesOf(genesis['genesis_validators_root'] ?? ''),
  }
  const blobs = found.map(({ index, validator }) =>
    exitBlob(node, validator.pubkey, fork, { epoch, validatorIndex: Number(index) }),
  )
  return postExits(url, node, exitsBody(node, blobs))
}
