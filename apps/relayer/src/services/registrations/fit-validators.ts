/**
 * Validators that a vault action is for: they must be the vault's on the beacon chain and in its contract, and in a state in which the
 * action can be carried out.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { ValidatorRegistry } from '../../context.ts'
import type { FailureCode } from '../../errors.ts'
import { ApiError, refuseItems, refuseLong } from '../../errors.ts'
import type { VaultState } from './vault-state.ts'

/** What a validator must be for its part in an action. */
interface Needs {
  statuses: readonly string[]
  /** Undefined: either. */
  type?: '0x01' | '0x02'
  /** The vault must have it as one of type 0x02, where its version can say. */
  isCompounding?: true
}

/** What the beacon chain knows of keys, by lower-case hex. */
export interface KnownValidators {
  validators: ReadonlyMap<string, ChainValidator>
  /** Withdrawal credentials of those whose rightly signed deposit is pending. */
  pending: ReadonlyMap<string, string>
}

/** Keys that stand in a list of a request, and what each must be. */
interface Needed {
  /** The name of the list. */
  list: string
  publicKeys: readonly Uint8Array[]
  needs: (position: number) => Needs
}

/** Statuses of the beacon API: deposited and not active yet. */
export const WAITING: readonly string[] = ['pending_initialized', 'pending_queued']
/** Active, and not on its way out. */
export const ACTIVE: readonly string[] = ['active_ongoing']

const TYPES = ['0x01', '0x02'] as const

/** The chain's validators of these keys, by lower-case hex. @throws {ApiError} TOO_MANY_KEYS, DEPENDENCY_AWAY */
export async function findValidators(
  registry: ValidatorRegistry,
  mostKeys: number,
  ...lists: readonly (readonly Uint8Array[])[]
): Promise<Map<string, ChainValidator>> {
  refuseLong('TOO_MANY_KEYS', mostKeys, 'public keys', ...lists)
  return ofConsensusNode(registry.findValidators(lists.flat()))
}

/**
 * The same, and the credentials of those that are no validators yet because their deposit is pending.
 *
 * @throws {ApiError} TOO_MANY_KEYS, DEPENDENCY_AWAY
 */
export async function findWithPending(
  registry: ValidatorRegistry,
  mostKeys: number,
  publicKeys: readonly Uint8Array[],
): Promise<KnownValidators> {
  const validators = await findValidators(registry, mostKeys, publicKeys)
  const pending = new Map<string, string>()
  const findAbsent = () =>
    publicKeys.map((key) => toHex(key)).filter((key) => !validators.has(key) && !pending.has(key))
  // Twice: a reading of the queue that others have begun may be of a head before, and what is processed in between is in neither answer.
  for (let tries = 1; tries <= 2 && findAbsent().length > 0; tries++) {
    const waiting = await ofConsensusNode(registry.findPending(findAbsent().map((key) => fromHex(key))))
    for (const [key, credentials] of waiting) pending.set(key, credentials)
    const late = await ofConsensusNode(registry.findValidators(findAbsent().map((key) => fromHex(key))))
    for (const [key, validator] of late) validators.set(key, validator)
  }
  return { validators, pending }
}

async function ofConsensusNode<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    throw new ApiError(
      'DEPENDENCY_AWAY',
      'the consensus node is away or not in step, so nothing is signed for validators',
      {
        cause: error,
      },
    )
  }
}

/** @throws {ApiError} VALIDATORS_REFUSED when one of these keys is not what is needed, as far as the beacon chain says */
export function refuseUnfit(vault: Uint8Array, known: KnownValidators, needed: Needed): void {
  const judge = judgeOnChain(vault, known, needed)
  refuse(needed, needed.publicKeys.map(judge))
}

/**
 * The vault, read for those of these keys that are fit on the beacon chain: for what is refused anyway it is not asked.
 *
 * @throws {ApiError} VALIDATORS_REFUSED with all that are not what is needed, and what `read` throws
 */
export async function readForFit(
  vault: Uint8Array,
  known: KnownValidators,
  needed: Needed,
  read: (publicKeys: readonly Uint8Array[]) => Promise<VaultState>,
): Promise<VaultState> {
  const { publicKeys, needs } = needed
  const unfit = publicKeys.map(judgeOnChain(vault, known, needed))
  if (!unfit.includes(undefined)) refuse(needed, unfit)
  const isAsked = (position: number) => unfit[position] === undefined && needs(position).isCompounding === true
  const state = await read(publicKeys.filter((_, position) => isAsked(position)))
  const isRegistered = (key: Uint8Array) => {
    // What is only pending is believed when the vault itself says that it has registered it.
    const said = state.isCompounding(key)
    return said === true || (said === undefined && known.validators.has(toHex(key)))
  }
  const judge = (key: Uint8Array, position: number) =>
    isAsked(position) && !isRegistered(key) ? 'VALIDATOR_UNREGISTERED' : unfit[position]
  refuse(needed, publicKeys.map(judge))
  return state
}

/** Tells what is wrong with a key, as the beacon chain has it. */
function judgeOnChain(vault: Uint8Array, { validators, pending }: KnownValidators, { needs }: Needed) {
  const typeOf = new Map(TYPES.map((type) => [toHex(withdrawalCredentials(type, vault)) as string, type]))
  return (key: Uint8Array, position: number): FailureCode | undefined => {
    const validator = validators.get(toHex(key))
    const credentials = validator?.withdrawalCredentials ?? pending.get(toHex(key))
    if (credentials === undefined) return 'VALIDATOR_UNKNOWN'
    const type = typeOf.get(credentials)
    if (type === undefined) return 'VALIDATOR_FOREIGN'
    const needed = needs(position)
    if (needed.type !== undefined && needed.type !== type) return 'VALIDATOR_TYPE'
    if (validator !== undefined && !needed.statuses.includes(validator.status)) return 'VALIDATOR_STATUS'
    return undefined
  }
}

function refuse({ list }: Needed, verdicts: readonly (FailureCode | undefined)[]): void {
  refuseItems('VALIDATORS_REFUSED', `some of ${list} are not what this action needs`, verdicts, (verdict) => verdict)
}
