/**
 * The nodes of a cluster and the clients of a relayer, as small as they can be. What nodes and operators post is what existing software sends,
 * byte for byte; what is only looked at comes by the client library.
 */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { ExitItem, SignaturesRequest, ValidatorItem, ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { untilExitsReady } from '@dvt-relayer/client/follow.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { createFastEcies, createPlainEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { TestOracle } from '../chain/oracles.ts'
import type { MadeValidator } from '../keys/make-cluster.ts'
import { relayerAt, unending } from './relayer-client.ts'
import type { Answer } from './world.ts'
import { ask, eventually } from './world.ts'

/** How long something is waited for, and between two looks. */
const [PATIENCE_MS, LOOK_MS] = [120_000, 50]

export const engine: BlsEngine = createBlstEngine()

/** A validator with shares, without the files of a cluster. */
export type KeyedValidator = Pick<MadeValidator, 'publicKey' | 'secretKey' | 'shares'>

/** The partial exit signature of one share, as hex. */
export function partialExit(
  network: Network,
  validator: KeyedValidator,
  shareIndex: number,
  validatorIndex: number,
): string {
  const share = validator.shares.find(({ index }) => index === BigInt(shareIndex))
  if (share === undefined) throw new Error(`no share ${shareIndex}`)
  return toHex(engine.sign(share.secretKey, exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex })))
}

/** Their public keys as they are on the wire. */
export const publicKeysOf = (validators: readonly Pick<KeyedValidator, 'publicKey'>[]): string[] =>
  validators.map(({ publicKey }) => toHex(publicKey))

/** Resolves when a relayer has an oracle set. `headers` are of somebody who may read `/ready`. */
export function untilOracleSet(url: string, headers: Record<string, string> = {}): Promise<true> {
  return eventually('the oracle set', async () =>
    (await ask(url, '/ready', { headers })).text.includes('"oracle_set":{"ok":true}') ? true : undefined,
  )
}

/** What Operator 3 does once: post its keys. */
export function postValidators(
  url: string,
  publicKeys: readonly string[],
  headers: Record<string, string> = {},
): Promise<Answer> {
  return ask(url, routes.postValidators.path, { body: { public_keys: publicKeys }, headers })
}

/** Asks until every validator has its oracle shares. */
export const untilShares = (
  url: string,
  publicKeys: readonly string[],
  headers: Record<string, string> = {},
): Promise<ValidatorsResponse> =>
  untilExitsReady(relayerAt(url, headers), publicKeys, AbortSignal.timeout(PATIENCE_MS), LOOK_MS)

/** `GET /exits` */
export async function getExits(url: string, headers: Record<string, string> = {}): Promise<ExitItem[]> {
  return (await relayerAt(url, headers).getExits({}, unending)).exits
}

/** What sidecar 1 does in one round: one GET, one POST with everything that is not ready, signed for its share index. */
export async function sidecarRound(
  url: string,
  network: Network,
  validators: readonly KeyedValidator[],
  shareIndex: number,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const byKey = new Map<string, KeyedValidator>(validators.map((validator) => [toHex(validator.publicKey), validator]))
  const shares = (await getExits(url, headers)).flatMap((exit) => {
    const validator = byKey.get(exit.public_key)
    if (validator === undefined || exit.is_exit_signature_ready) return []
    return [
      {
        public_key: exit.public_key,
        exit_signature: partialExit(network, validator, shareIndex, exit.validator_index),
      },
    ]
  })
  return postShares(url, shareIndex, shares, headers)
}

/** The partial deposit signature of one share, as hex. */
export function partialDeposit(
  network: Network,
  validator: KeyedValidator,
  shareIndex: number,
  deposit: Pick<ValidatorItem, 'vault' | 'amount' | 'validator_type'>,
): string {
  const share = validator.shares.find(({ index }) => index === BigInt(shareIndex))
  if (share === undefined) throw new Error(`no share ${shareIndex}`)
  const root = depositSigningRoot(network, {
    publicKey: validator.publicKey,
    withdrawalCredentials: withdrawalCredentials(deposit.validator_type, fromHex(deposit.vault, 20)),
    amountGwei: BigInt(deposit.amount),
  })
  return toHex(engine.sign(share.secretKey, root))
}

/** `GET /validators` */
export async function getValidators(url: string, headers: Record<string, string> = {}): Promise<ValidatorItem[]> {
  return (await relayerAt(url, headers).getValidators({}, unending)).validators
}

/** What a sidecar posts for one validator in generation 4. */
export type PostedPair = SignaturesRequest['shares'][number]

/** What sidecar 2.1 signs for one validator; 2.0 leaves the public key shares out. */
export function signedPair(
  network: Network,
  validator: KeyedValidator,
  shareIndex: number,
  item: Pick<ValidatorItem, 'vault' | 'amount' | 'validator_type' | 'validator_index'>,
  withHints = true,
): PostedPair {
  return {
    public_key: toHex(validator.publicKey),
    exit_signature: partialExit(network, validator, shareIndex, item.validator_index),
    deposit_signature: partialDeposit(network, validator, shareIndex, item),
    ...(withHints && {
      public_key_shares: validator.shares.map(({ index, publicKey }) => ({
        share_index: Number(index),
        public_key_share: toHex(publicKey),
      })),
    }),
  }
}

/**
 * What sidecar 2.1 does in one round: one GET, one POST with everything that lacks its index in `share_indexes_ready`. It does not
 * look at `is_signatures_ready`.
 */
export async function sidecar2Round(
  url: string,
  network: Network,
  validators: readonly KeyedValidator[],
  shareIndex: number,
  options: { headers?: Record<string, string>; withHints?: boolean } = {},
): Promise<Answer | undefined> {
  const byKey = new Map<string, KeyedValidator>(validators.map((validator) => [toHex(validator.publicKey), validator]))
  const shares = (await getValidators(url, options.headers)).flatMap((item) => {
    const validator = byKey.get(item.public_key)
    if (validator === undefined || item.share_indexes_ready.includes(shareIndex)) return []
    return [signedPair(network, validator, shareIndex, item, options.withHints)]
  })
  if (shares.length === 0) return undefined
  return postPairs(url, shareIndex, shares, options.headers)
}

/** `POST /signatures` */
export function postPairs(
  url: string,
  shareIndex: number,
  shares: readonly PostedPair[],
  headers: Record<string, string> = {},
): Promise<Answer> {
  return ask(url, routes.postSignatures.path, { body: { share_index: shareIndex, shares }, headers })
}

/** `POST /exit-signature` */
export function postShares(
  url: string,
  shareIndex: number,
  shares: readonly { public_key: string; exit_signature: string }[],
  headers: Record<string, string> = {},
): Promise<Answer> {
  return ask(url, routes.postExitSignature.path, { body: { share_index: shareIndex, shares }, headers })
}

/**
 * What the oracles do: each decrypts its share and checks it; `threshold` of them rebuild the exit, which must verify under the
 * validator key for this index. Throws when anything is wrong.
 */
export async function assertOraclesCanExit(
  network: Network,
  oracles: readonly TestOracle[],
  threshold: number,
  publicKey: Uint8Array,
  validatorIndex: number,
  shares: ValidatorsResponse['validators'][number]['oracles_exit_signature_shares'],
): Promise<void> {
  if (shares === null) throw new Error('no shares')
  const [fast, plain] = [createFastEcies(), createPlainEcies()]
  const message = exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex })
  if (shares.public_keys.length !== oracles.length) throw new Error('not one share for each oracle')
  const decrypted = oracles.map(({ secretKey }, position) => {
    // The first with the library that oracles use; it takes a hundred times as long.
    const signature = (position === 0 ? plain : fast).decrypt(
      secretKey,
      fromHex(shares.encrypted_exit_signatures[position] ?? '', 193),
    )
    if (!engine.verify(fromHex(shares.public_keys[position] ?? '', 48), message, signature))
      throw new Error(`oracle ${position + 1} got a wrong share`)
    return { index: BigInt(position + 1), point: signature }
  })
  const some = decrypted.slice(oracles.length - threshold)
  if (!engine.verify(publicKey, message, engine.interpolateSignatures(some)))
    throw new Error('the oracles cannot rebuild the exit')
  if (threshold > 1 && engine.verify(publicKey, message, engine.interpolateSignatures(some.slice(1))))
    throw new Error('fewer oracles than the threshold can exit')
}
