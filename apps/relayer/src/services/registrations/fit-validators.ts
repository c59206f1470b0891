/** Validators on the beacon chain that a vault action is for: they must be the vault's, and in a state in which it can be carried out. */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { ValidatorRegistry } from '../../context.ts'
import type { FailureCode } from '../../errors.ts'
import { ApiError, refuseItems } from '../../errors.ts'

/** What a validator must be for its part in an action. */
interface Needs {
  statuses: readonly string[]
  /** Undefined: either. */
  type?: '0x01' | '0x02'
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
  const longest = Math.max(...lists.map(({ length }) => length))
  if (longest > mostKeys)
    throw new ApiError('TOO_MANY_KEYS', `at most ${mostKeys} public keys in one request, this one has ${longest}`)
  try {
    return await registry.findValidators(lists.flat())
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

/** @throws {ApiError} VALIDATORS_REFUSED when one of these keys, which stand in `list` of the request, is not what is needed */
export function refuseUnfit(
  vault: Uint8Array,
  known: ReadonlyMap<string, ChainValidator>,
  list: string,
  publicKeys: readonly Uint8Array[],
  needs: (position: number) => Needs,
): void {
  const typeOf = new Map(TYPES.map((type) => [toHex(withdrawalCredentials(type, vault)) as string, type]))
  const judge = (key: Uint8Array, position: number): FailureCode | undefined => {
    const validator = known.get(toHex(key))
    if (validator === undefined) return 'VALIDATOR_UNKNOWN'
    const type = typeOf.get(validator.withdrawalCredentials)
    if (type === undefined) return 'VALIDATOR_FOREIGN'
    const needed = needs(position)
    if (needed.type !== undefined && needed.type !== type) return 'VALIDATOR_TYPE'
    return needed.statuses.includes(validator.status) ? undefined : 'VALIDATOR_STATUS'
  }
  refuseItems('VALIDATORS_REFUSED', `some of ${list} are not what this action needs`, publicKeys, judge)
}
