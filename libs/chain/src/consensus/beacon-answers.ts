/** Answers of the beacon API: their schemas, and what is made of them. Numbers are decimal strings there. */

import { type Static, Type } from 'typebox'
import { ChainError } from '../errors.ts'

const hex = (bytes: number) => Type.String({ pattern: `^0x[0-9a-fA-F]{${bytes * 2}}$` })
const decimal = Type.String({ pattern: '^(0|[1-9][0-9]{0,19})$' })

export const Genesis = Type.Object({
  data: Type.Object({ genesis_validators_root: hex(32), genesis_fork_version: hex(4) }),
})
export const Header = Type.Object({
  data: Type.Object({
    root: hex(32),
    header: Type.Object({ message: Type.Object({ slot: decimal, state_root: hex(32) }) }),
  }),
})
/** What a node says of the state it answers from; nodes of old leave it out. */
const standing = { execution_optimistic: Type.Optional(Type.Boolean()), finalized: Type.Optional(Type.Boolean()) }
export const Root = Type.Object({ ...standing, data: Type.Object({ root: hex(32) }) })
const ValidatorItem = Type.Object({
  index: decimal,
  balance: decimal,
  status: Type.String({ pattern: '^[a-z_]{1,40}$' }),
  validator: Type.Object({ pubkey: hex(48), withdrawal_credentials: hex(32), effective_balance: decimal }),
})
export const OneValidator = Type.Object({ data: ValidatorItem })
export const ManyValidators = Type.Object({ ...standing, data: Type.Array(ValidatorItem) })
export const PendingDeposits = Type.Object({
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
  data: Type.Object({ is_syncing: Type.Boolean(), head_slot: decimal, sync_distance: decimal }),
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

/** Refuses an answer about a finalized state. @throws {ChainError} CONSENSUS_INVALID when the node itself does not vouch for the state it answered from */
export function assertFinal({
  execution_optimistic: isOptimistic,
  finalized,
}: Pick<Static<typeof Root>, 'execution_optimistic' | 'finalized'>) {
  if (isOptimistic === true)
    throw new ChainError(
      'CONSENSUS_INVALID',
      'the consensus node has not verified its finalized state (execution_optimistic): its execution node is behind or away',
    )
  if (finalized === false)
    throw new ChainError('CONSENSUS_INVALID', 'the consensus node says that its finalized state is not finalized')
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
