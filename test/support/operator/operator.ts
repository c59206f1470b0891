/**
 * What Operator 4.2 does, small: it asks the relayer and puts the answer on chain as it is. It encodes for the contract by itself and
 * shares no code with the relayer for that.
 */

import { untilRegistrationReady } from '@dvt-relayer/client/follow.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Hex } from 'viem'
import { concatHex } from 'viem/utils'
import type { Beacon } from '../chain/beacon.ts'
import type { Outcome } from '../contracts/transactions.ts'
import type { Vault } from '../contracts/vault.ts'
import { relayerAt } from '../world/relayer-client.ts'
import { encodeDeposit, hexOf, uint64 } from './operator-encoding.ts'
import { type Headers, postAsOperator } from './operator-http.ts'

/** How long an answer is waited for, and between two questions. */
const [PATIENCE_MS, LOOK_MS] = [120_000, 50]

export interface RegisterRequest {
  /** Checksummed. */
  vault: string
  startIndex: number
  /** Gwei; at most 10. */
  amounts: readonly number[]
  type: '0x01' | '0x02'
}

/** What it reads of the answer; hex with or without `0x`. */
export interface RegisterAnswer {
  validators: {
    public_key: string
    amount: number
    deposit_signature: string | null
    exit_signature: string | null
    oracles_exit_signature_shares: { public_keys: string[]; encrypted_exit_signatures: string[] } | null
    /** Of our relayer. */
    receipt?: string | null
  }[]
  validators_manager_signature: string | null
}

/** One `POST /register`. @throws {OperatorFailure} */
export async function register(url: string, request: RegisterRequest, headers?: Headers): Promise<RegisterAnswer> {
  const { vault, startIndex, amounts, type } = request
  const body = { vault, validators_start_index: startIndex, amounts, validator_type: type }
  return (await postAsOperator(url, '/register', body, headers)) as unknown as RegisterAnswer
}

/** Whether it would go on: every validator has its signature and shares, and the manager has signed. */
export function isReady({ validators, validators_manager_signature }: RegisterAnswer): boolean {
  const done = validators.every((item) => item.deposit_signature && item.oracles_exit_signature_shares)
  return validators.length > 0 && done && Boolean(validators_manager_signature)
}

/** Asks until the answer is ready, by the client library. @throws {RelayerRefusal | HttpError} at the first failure */
export function registerUntilReady(
  url: string,
  { vault, startIndex, amounts, type }: RegisterRequest,
  headers?: Headers,
): Promise<RegisterAnswer> {
  const request = { vault, validators_start_index: startIndex, amounts: [...amounts], validator_type: type }
  return untilRegistrationReady(relayerAt(url, headers), request, AbortSignal.timeout(PATIENCE_MS), LOOK_MS)
}

/** The index its next validator will get, as the consensus node has it once no deposit is pending. */
export function nextIndex(beacon: Pick<Beacon, 'validatorCount'>): number {
  return beacon.validatorCount
}

/** Sends the registration over the root that is current now. It deposits the amounts of the answer unchecked. */
export async function registerOnChain(vault: Vault, type: '0x01' | '0x02', answer: RegisterAnswer): Promise<Outcome> {
  const validators = answer.validators.map(({ public_key, amount, deposit_signature }) => {
    if (deposit_signature === null) throw new Error('the answer is not ready')
    return encodeDeposit(vault.address, type, public_key, amount, fromHex(deposit_signature, 96))
  })
  const root = await vault.depositContract.root()
  return vault.register(root, concatHex(validators), hexOf(answer.validators_manager_signature))
}

/** `POST /fund`. Returns the manager's signature. @throws {OperatorFailure} */
export function fund(url: string, vault: string, tops: readonly Amount[], headers?: Headers): Promise<Hex> {
  return askForSignature(url, '/fund', { vault, ...listsOf(tops) }, headers)
}

/** `POST /withdraw`; amount 0 is a full exit. Returns the manager's signature. @throws {OperatorFailure} */
export function withdraw(url: string, vault: string, exits: readonly Amount[], headers?: Headers): Promise<Hex> {
  return askForSignature(url, '/withdraw', { vault, ...listsOf(exits) }, headers)
}

/** `POST /consolidate`. Returns the manager's signature. @throws {OperatorFailure} */
export function consolidate(url: string, vault: string, pairs: readonly Pair[], headers?: Headers): Promise<Hex> {
  const [source_public_keys, target_public_keys] = [
    pairs.map(({ source }) => source),
    pairs.map(({ target }) => target),
  ]
  return askForSignature(url, '/consolidate', { vault, source_public_keys, target_public_keys }, headers)
}

/** Sends the top-ups that the signature is for; likewise the two below. */
export function fundOnChain(vault: Vault, tops: readonly Amount[], signature: string): Promise<Outcome> {
  const validators = tops.map(({ publicKey, amountGwei }) =>
    encodeDeposit(vault.address, '0x02', publicKey, amountGwei, new Uint8Array(96)),
  )
  return vault.fund(concatHex(validators), hexOf(signature))
}

export function withdrawOnChain(vault: Vault, exits: readonly Amount[], signature: string): Promise<Outcome> {
  const validators = exits.flatMap(({ publicKey, amountGwei }) => [hexOf(publicKey), uint64(amountGwei)])
  return vault.withdraw(concatHex(validators), hexOf(signature))
}

/** @param oracleSignatures what the oracles have signed, which a switch to type 0x02 needs */
export function consolidateOnChain(
  vault: Vault,
  pairs: readonly Pair[],
  signature: string,
  oracleSignatures?: Hex,
): Promise<Outcome> {
  return vault.consolidate(encodePairs(pairs), hexOf(signature), oracleSignatures)
}

/** The bytes of consolidations, as vault and oracles get them. */
export function encodePairs(pairs: readonly Pair[]): Hex {
  return concatHex(pairs.flatMap(({ source, target }) => [hexOf(source), hexOf(target)]))
}

export interface Amount {
  publicKey: string
  amountGwei: number
}

export interface Pair {
  source: string
  target: string
}

const listsOf = (amounts: readonly Amount[]) => ({
  public_keys: amounts.map(({ publicKey }) => publicKey),
  amounts: amounts.map(({ amountGwei }) => amountGwei),
})

async function askForSignature(url: string, path: string, body: object, headers?: Headers): Promise<Hex> {
  return hexOf((await postAsOperator(url, path, body, headers))['validators_manager_signature'] as string | null)
}
