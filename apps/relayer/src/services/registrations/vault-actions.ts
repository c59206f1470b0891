/**
 * What a vault does with validators it has (generation 4: `POST /fund`, `/withdraw`, `/consolidate`): every one must be a validator
 * on the beacon chain whose withdrawal credentials are this vault, in a state in which the action can be carried out.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import {
  encodeConsolidations,
  encodeFunding,
  encodeWithdrawals,
  nonceToRoot,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { readManagerNonce } from '@dvt-relayer/chain/stakewise/vault-contract.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/lifetime.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { ManagerAction } from '@dvt-relayer/db/queries/manager-signatures.ts'
import type { Context } from '../../context.ts'
import type { FailureCode } from '../../errors.ts'
import { ApiError, refuseDuplicates, refuseItems } from '../../errors.ts'
import type { Manager } from './manager.ts'

/** Nobody who waits for an answer waits longer than this for the node. */
const PATIENCE_MS = 5000
const ETH_GWEI = 1_000_000_000
/** The least the deposit contract takes. */
const LEAST_GWEI = ETH_GWEI
/** The most a validator can have at stake. */
const MOST_GWEI = 2048 * ETH_GWEI

/** An amount for a validator. */
export interface ValidatorAmount {
  publicKey: Uint8Array
  amountGwei: number
}

const WAITING = ['pending_initialized', 'pending_queued']
const ACTIVE = ['active_ongoing']

/** What a validator must be for its part in an action. */
interface Needs {
  statuses: readonly string[]
  /** Undefined: either. */
  type?: '0x01' | '0x02'
}

/** Creates the service. */
export function createVaultActions({
  config,
  chain,
  manager,
}: Pick<Context, 'config' | 'chain'> & { manager: Manager }) {
  const { limits } = config

  /** The chain's validators of these keys, by lower-case hex. @throws {ApiError} TOO_MANY_KEYS, DEPENDENCY_AWAY */
  function findValidators(...lists: readonly (readonly Uint8Array[])[]): Promise<Map<string, ChainValidator>> {
    const most = Math.max(...lists.map(({ length }) => length))
    if (most > limits.keys)
      throw new ApiError('TOO_MANY_KEYS', `at most ${limits.keys} public keys in one request, this one has ${most}`)
    return chain.registry.findValidators(lists.flat()).catch((error: unknown) => {
      throw new ApiError('DEPENDENCY_AWAY', 'the consensus node is away, so nothing is signed for validators', {
        cause: error,
      })
    })
  }

  /** @throws {ApiError} VALIDATORS_REFUSED when one of these keys, which stand in `list` of the request, is not what is needed */
  function refuseUnfit(
    vault: Uint8Array,
    known: ReadonlyMap<string, ChainValidator>,
    list: string,
    publicKeys: readonly Uint8Array[],
    needs: (position: number) => Needs,
  ): void {
    const types = ['0x01', '0x02'] as const
    const typeOf = new Map(types.map((type) => [toHex(withdrawalCredentials(type, vault)) as string, type]))
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

  /** The vault's nonce at the newest block, as the root that is signed. */
  async function nonceRoot(vault: Uint8Array): Promise<Uint8Array> {
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS)
      const read = async () => {
        const block = await chain.execution.getBlock('latest', signal)
        if (block === undefined) throw new ApiError('DEPENDENCY_AWAY', 'the execution node has no newest block')
        return nonceToRoot(await readManagerNonce(chain.execution, vault, block.hash, signal))
      }
      return await withTimeout(read(), PATIENCE_MS)
    } catch (error) {
      if (error instanceof ApiError) throw error
      if (error instanceof ChainError && ['EXECUTION_REVERTED', 'EXECUTION_EMPTY'].includes(error.code))
        throw new ApiError('VAULT_UNKNOWN', 'there is no vault at this address that counts its manager signatures', {
          cause: error,
        })
      throw new ApiError('DEPENDENCY_AWAY', "the execution node is away, so the vault's nonce is not known", {
        cause: error,
      })
    }
  }

  async function sign(
    action: ManagerAction,
    vault: Uint8Array,
    requester: string | null,
    what: { validators: Uint8Array; validatorCount: number; amountGwei: bigint },
  ): Promise<Uint8Array> {
    return manager.sign({ action, vault, requester, registryRoot: await nonceRoot(vault), ...what })
  }

  const total = (amounts: readonly bigint[]) => amounts.reduce((sum, amount) => sum + amount, 0n)
  const encoded = (items: readonly ValidatorAmount[]) =>
    items.map(({ publicKey, amountGwei }) => ({ publicKey, amountGwei: BigInt(amountGwei) }))

  return {
    /** The signature for adding amounts to validators of type `0x02`. */
    async fund(vault: Uint8Array, items: readonly ValidatorAmount[], requester: string | null): Promise<Uint8Array> {
      const publicKeys = items.map(({ publicKey }) => publicKey)
      refuseDuplicates(publicKeys)
      refuseAmounts(items, `an amount to fund is ${LEAST_GWEI} to ${MOST_GWEI} Gwei`, LEAST_GWEI)
      const known = await findValidators(publicKeys)
      refuseUnfit(vault, known, 'public_keys', publicKeys, () => ({ statuses: [...WAITING, ...ACTIVE], type: '0x02' }))
      const validators = unambiguous(() => encodeFunding({ vault, validators: encoded(items) }))
      const amountGwei = total(items.map((item) => BigInt(item.amountGwei)))
      return sign('fund', vault, requester, { validators, validatorCount: items.length, amountGwei })
    },

    /** The signature for withdrawing amounts; 0 is the full exit, of either type. */
    async withdraw(
      vault: Uint8Array,
      items: readonly ValidatorAmount[],
      requester: string | null,
    ): Promise<Uint8Array> {
      const publicKeys = items.map(({ publicKey }) => publicKey)
      refuseDuplicates(publicKeys)
      refuseAmounts(items, `an amount to withdraw is at most ${MOST_GWEI} Gwei, or 0 for the full exit`, 0)
      const known = await findValidators(publicKeys)
      refuseUnfit(vault, known, 'public_keys', publicKeys, (position) =>
        items[position]?.amountGwei === 0 ? { statuses: ACTIVE } : { statuses: ACTIVE, type: '0x02' },
      )
      const moved = items.map(({ publicKey, amountGwei }) =>
        amountGwei === 0 ? (known.get(toHex(publicKey))?.balanceGwei ?? 0n) : BigInt(amountGwei),
      )
      return sign('withdraw', vault, requester, {
        validators: encodeWithdrawals(encoded(items)),
        validatorCount: items.length,
        amountGwei: total(moved),
      })
    },

    /** The signature for moving validators into others; into itself turns one of type `0x01` into `0x02`. */
    async consolidate(
      vault: Uint8Array,
      items: readonly { source: Uint8Array; target: Uint8Array }[],
      requester: string | null,
    ): Promise<Uint8Array> {
      const sources = items.map(({ source }) => source)
      const targets = items.map(({ target }) => target)
      refuseDuplicates(sources)
      const isSwitch = items.map(({ source, target }) => equalBytes(source, target))
      const ending = new Set(sources.filter((_, position) => !isSwitch[position]).map((key) => toHex(key)))
      refuseItems(
        'PUBLIC_KEY_DUPLICATE',
        'target_public_keys: the source of one consolidation is the target of another, so its balance would end nowhere',
        targets,
        (key) => (ending.has(toHex(key)) ? 'PUBLIC_KEY_DUPLICATE' : undefined),
      )
      const known = await findValidators(sources, targets)
      refuseUnfit(vault, known, 'source_public_keys', sources, (position) =>
        isSwitch[position] ? { statuses: ACTIVE, type: '0x01' } : { statuses: ACTIVE },
      )
      refuseUnfit(vault, known, 'target_public_keys', targets, (position) =>
        isSwitch[position] ? { statuses: ACTIVE } : { statuses: ACTIVE, type: '0x02' },
      )
      const validators = unambiguous(() =>
        encodeConsolidations(items.map(({ source, target }) => ({ sourcePublicKey: source, targetPublicKey: target }))),
      )
      const moved = sources.map((key, position) =>
        isSwitch[position] ? 0n : (known.get(toHex(key))?.balanceGwei ?? 0n),
      )
      return sign('consolidate', vault, requester, {
        validators,
        validatorCount: items.length,
        amountGwei: total(moved),
      })
    },
  }
}
export type VaultActions = ReturnType<typeof createVaultActions>

/** @throws {ApiError} AMOUNT_INVALID for every amount below `least`, or above what a validator can have */
function refuseAmounts(items: readonly ValidatorAmount[], message: string, least: number): void {
  refuseItems('AMOUNT_INVALID', message, items, ({ amountGwei }) =>
    amountGwei < least || amountGwei > MOST_GWEI ? 'AMOUNT_INVALID' : undefined,
  )
}

/** Encodes, with words for the client where the vault could not tell what so many are. */
export function unambiguous(encode: () => Uint8Array): Uint8Array {
  try {
    return encode()
  } catch (error) {
    if (error instanceof ChainError && error.code === 'VALIDATORS_INVALID')
      throw new ApiError('BATCH_AMBIGUOUS', `${error.message}; ask for one more or one less`, { cause: error })
    throw error
  }
}
