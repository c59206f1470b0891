/** Answers of the beacon API: their schemas, and what is made of them. Numbers are decimal strings there. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import { type Static, Type } from 'typebox'
import { ChainError } from '../errors.ts'

const hex = (bytes: number) => textLike(`^0x[0-9a-fA-F]{${bytes * 2}}$`, `0x and ${bytes * 2} hex digits`)
const decimal = textLike('^(0|[1-9][0-9]{0,19})$', 'a whole number as text, in decimal digits')

export const Genesis = Type.Object({
  data: Type.Object({
    genesis_time: Type.Optional(decimal),
    genesis_validators_root: hex(32),
    genesis_fork_version: hex(4),
  }),
})
/** `GET /eth/v1/config/spec`: presets and settings by name, most of them text. Nodes of old leave some out. */
export const Spec = Type.Object({ data: Type.Record(Type.String(), Type.Unknown()) })
/** What a node says of the state it answers from; nodes of old leave it out. */
const standing = { execution_optimistic: Type.Optional(Type.Boolean()), finalized: Type.Optional(Type.Boolean()) }
export type Standing = Partial<Record<keyof typeof standing, boolean>>
export const Header = Type.Object({
  ...standing,
  data: Type.Object({
    root: hex(32),
    header: Type.Object({ message: Type.Object({ slot: decimal, state_root: hex(32) }) }),
  }),
})
export const Root = Type.Object({ ...standing, data: Type.Object({ root: hex(32) }) })
const ValidatorItem = Type.Object({
  index: decimal,
  balance: decimal,
  // Whatever it is called: a list that names one anew is counted all the same.
  status: textLike('^[a-zA-Z_]{1,40}$', 'a state of a validator, in letters'),
  validator: Type.Object({ pubkey: hex(48), withdrawal_credentials: hex(32), effective_balance: decimal }),
})
export const ManyValidators = Type.Object({ ...standing, data: Type.Array(ValidatorItem) })
export const PendingDeposits = Type.Object({
  ...standing,
  data: Type.Array(
    Type.Object({
      pubkey: hex(48),
      withdrawal_credentials: hex(32),
      amount: decimal,
      signature: hex(96),
    }),
  ),
})
export const Syncing = Type.Object({
  data: Type.Object({
    is_syncing: Type.Boolean(),
    head_slot: decimal,
    sync_distance: decimal,
    is_optimistic: Type.Optional(Type.Boolean()),
    el_offline: Type.Optional(Type.Boolean()),
  }),
})

/** The head of the chain; roots are lower-case hex. */
export interface Head {
  root: string
  slot: number
  stateRoot: string
}

/** A validator the state knows; public key and withdrawal credentials are lower-case hex. */
export interface ChainValidator {
  index: number
  publicKey: string
  /** As the beacon API names it: `pending_queued`, `active_ongoing`, `active_exiting`, `withdrawal_done` … */
  status: string
  withdrawalCredentials: string
  balanceGwei: bigint
  effectiveBalanceGwei: bigint
}

/**
 * A decimal string as a number.
 *
 * @throws {ChainError} CONSENSUS_INVALID above 2^53 − 1: never rounded
 */
export function parseDecimal(text: string, what: string): number {
  const value = Number(text)
  if (!/^(0|[1-9]\d*)$/.test(text) || !Number.isSafeInteger(value))
    throw new ChainError('CONSENSUS_INVALID', `${what} is not a whole number up to 2^53 - 1`)
  return value
}

/** A decimal string as a uint64. @throws {ChainError} CONSENSUS_INVALID above 2^64 − 1 */
export function parseUint64(text: string, what: string): bigint {
  const value = BigInt(text)
  if (value >= 2n ** 64n) throw new ChainError('CONSENSUS_INVALID', `${what} is above 2^64 - 1`)
  return value
}

/** Refuses an answer from a head that the execution node has not verified. @throws {ChainError} CONSENSUS_INVALID */
export function assertVerified({ execution_optimistic: isOptimistic }: Standing, host: string): void {
  if (isOptimistic === true)
    throw new ChainError(
      'CONSENSUS_INVALID',
      `the consensus node at ${host} has not verified what it answers from (execution_optimistic): its execution node is behind or away`,
      { meta: { host } },
    )
}

/** Refuses an answer about a finalized state. @throws {ChainError} CONSENSUS_INVALID when the node itself does not vouch for the state it answered from */
export function assertFinal(said: Standing, host: string): void {
  assertVerified(said, host)
  if (said.finalized === false)
    throw new ChainError(
      'CONSENSUS_INVALID',
      `the consensus node at ${host} says that its finalized state is not finalized`,
      { meta: { host } },
    )
}

/** The same where nothing can be undone: also of a node that leaves out whether its state is finalized. @throws {ChainError} CONSENSUS_INVALID */
export function assertSaysFinal(said: Standing, host: string): void {
  assertFinal(said, host)
  if (said.finalized !== true)
    throw new ChainError(
      'CONSENSUS_INVALID',
      `the consensus node at ${host} does not say whether the state it answers from is finalized`,
      { meta: { host } },
    )
}

/** A validator as the beacon API lists it. */
export function toValidator({ index, balance, status, validator }: Static<typeof ValidatorItem>): ChainValidator {
  return {
    index: parseDecimal(index, 'validator index'),
    publicKey: validator.pubkey.toLowerCase(),
    status,
    withdrawalCredentials: validator.withdrawal_credentials.toLowerCase(),
    balanceGwei: parseUint64(balance, 'balance'),
    effectiveBalanceGwei: parseUint64(validator.effective_balance, 'effective balance'),
  }
}

/** The error of a node that answers with something else. */
export const notAskedFor = () =>
  new ChainError('CONSENSUS_INVALID', 'the consensus node answers with a validator that was not asked for')

/** The error of a node that has not seen its chain's finality since it was started. */
export const notFinalYet = (host: string) =>
  new ChainError('CONSENSUS_INVALID', `the consensus node at ${host} knows no finalized state yet`, { meta: { host } })
