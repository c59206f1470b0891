/**
 * The HTTP interface of the oracles (docs/protocol.md#16-rotation). Every oracle runs replicas; the first whose answer stands is enough,
 * and an answer that fits the schema and is wrong all the same sends the question to the next one.
 */

import { textLike } from '@dvt-relayer/common/expected.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createHttpClient, type HttpAsk, type HttpClientOptions } from '@dvt-relayer/common/http/client.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { type Static, Type } from 'typebox'
import { ChainError } from '../errors.ts'
import { recoverSigner } from '../execution/recover-signer.ts'
import type { Network } from '../networks.ts'
import { type RotationApproval, rotationDigest } from './keeper-approvals.ts'

const REQUEST_MS = 10_000
/** 100,000 outdated validators, of which an oracle says the index and may say more. */
const MAX_BYTES = 4 * 1024 * 1024
const MAX_VALUES = 400_000
/** Replicas of one oracle that are asked. */
const MOST_REPLICAS = 8

const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Outdated = Type.Object({
  exit_signature_block_number: whole,
  validators: Type.Array(Type.Object({ index: whole }), { maxItems: 100_000 }),
})
const Approval = Type.Object({
  // It goes into a transaction as it is: one short word.
  ipfs_hash: textLike('^[\\x21-\\x7e]{1,200}$', 'one word of at most 200 characters'),
  signature: textLike('^(0[xX])?[0-9a-fA-F]{130}$', '0x and 130 hex digits'),
  deadline: whole,
})

/** An oracle as its set names it. */
export interface OracleReplicas {
  /** Checksummed. */
  readonly address: string
  readonly endpoints: readonly string[]
}

/** What an oracle says of a vault. */
export interface OutdatedValidators {
  /** The vault's last update that the oracle has seen. */
  blockNumber: number
  indexes: ReadonlySet<number>
}

/** The shares of a vault's validators under the new set; one inner list for each validator, in the order of the oracles. */
export interface RotationRequest {
  /** 20 bytes. */
  vault: Uint8Array
  publicKeys: readonly Uint8Array[]
  publicKeyShares: readonly (readonly Uint8Array[])[]
  encryptedExitShares: readonly (readonly Uint8Array[])[]
  /** Unix seconds. */
  deadline: number
  /** `exitSignaturesNonces(vault)`, which the oracle signs and is not told. */
  nonce: number
}

/** What an oracle approves, its signature checked. */
export interface Approved {
  ipfsHash: string
  /** 65 bytes, by the oracle that was asked. */
  signature: Uint8Array
}

export interface OracleClient {
  /**
   * `GET /signatures/{vault}`: the validators whose exit shares are outdated.
   *
   * @param sinceBlock an answer from before this block is not trusted: another replica is asked
   * @throws {ChainError} ORACLE_ANSWER_WRONG; {HttpError} when no replica answers
   */
  findOutdated(vault: Uint8Array, sinceBlock: number, signal?: AbortSignal): Promise<OutdatedValidators>
  /**
   * `POST /signatures`: the approval of new shares. It is asked of one replica after the other: asking twice changes nothing.
   *
   * @throws {ChainError} ORACLE_ANSWER_WRONG for another deadline, or a signature that is not this oracle's; {HttpError}
   */
  approve(request: RotationRequest, signal?: AbortSignal): Promise<Approved>
}

/** Creates the client of one oracle. Endpoints that are not http or https are left out; with none, every call throws. */
export function createOracleClient(
  network: Pick<Network, 'chainId' | 'keeper'>,
  oracle: OracleReplicas,
  onResult?: NonNullable<HttpClientOptions['onResult']>,
): OracleClient {
  const endpoints = oracle.endpoints.filter((url) => /^https?:\/\//i.test(url) && URL.canParse(url))
  const replicas =
    endpoints.length === 0
      ? []
      : createHttpClient({
          endpoints: endpoints.slice(0, MOST_REPLICAS),
          timeoutMs: REQUEST_MS,
          maxBytes: MAX_BYTES,
          maxValues: MAX_VALUES,
          ...(onResult === undefined ? {} : { onResult }),
        }).each

  async function first<T>(signal: AbortSignal | undefined, ask: (replica: HttpAsk) => Promise<T>): Promise<T> {
    let error: unknown = wrong(oracle, 'has no endpoint in the oracle config that is http or https')
    for (const replica of replicas) {
      signal?.throwIfAborted()
      try {
        return await ask(replica)
      } catch (thrown) {
        error = thrown
      }
    }
    throw error
  }

  return {
    findOutdated: (vault, sinceBlock, signal) =>
      first(signal, async (replica) => {
        const path = `/signatures/${checksumAddress(vault)}`
        const answer = await replica.json({ path, ...(signal === undefined ? {} : { signal }) }, Outdated)
        const { exit_signature_block_number: blockNumber, validators } = answer
        if (blockNumber < sinceBlock)
          throw wrong(oracle, `has not seen the vault's update of block ${sinceBlock}, its answer is of ${blockNumber}`)
        return { blockNumber, indexes: new Set(validators.map(({ index }) => index)) }
      }),
    approve: (request, signal) =>
      first(signal, async (replica) => {
        const body = {
          vault_address: checksumAddress(request.vault),
          public_keys: request.publicKeys.map(toHex),
          public_key_shards: request.publicKeyShares.map((shares) => shares.map(toHex)),
          exit_signature_shards: request.encryptedExitShares.map((shares) => shares.map(toHex)),
          deadline: request.deadline,
        }
        const post = { method: 'POST' as const, path: '/signatures', body, ...(signal === undefined ? {} : { signal }) }
        return judgeApproval(network, oracle, request, await replica.json(post, Approval))
      }),
  }
}

async function judgeApproval(
  network: Pick<Network, 'chainId' | 'keeper'>,
  oracle: OracleReplicas,
  { vault, nonce, deadline }: RotationRequest,
  answer: Static<typeof Approval>,
): Promise<Approved> {
  if (answer.deadline !== deadline) throw wrong(oracle, 'approves another deadline than was asked for')
  const { ipfs_hash: ipfsHash } = answer
  const approval: RotationApproval = { vault, ipfsHash, nonce, deadline }
  const signature = fromHex(answer.signature, 65)
  if (recoverSigner(await rotationDigest(network, approval), signature) !== oracle.address)
    throw wrong(oracle, 'gave a signature that is not its own, or not of what was asked')
  return { ipfsHash, signature }
}

const wrong = ({ address }: OracleReplicas, reason: string) =>
  new ChainError('ORACLE_ANSWER_WRONG', `the oracle ${address} ${reason}`, { meta: { oracle: address } })
