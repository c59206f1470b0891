/**
 * What a vault does with validators it has (generation 4: `POST /fund`, `/withdraw`, `/consolidate`): every one must be a validator
 * on the beacon chain whose withdrawal credentials are this vault, in a state in which the action can be carried out.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus.ts'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import {
  encodeConsolidations,
  encodeFunding,
  encodeWithdrawals,
  nonceToRoot,
} from '@dvt-relayer/chain/validators-manager.ts'
import { readManagerNonce } from '@dvt-relayer/chain/vault-contract.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/lifetime.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages.ts'
import type { ManagerAction } from '@dvt-relayer/db/queries/manager-signatures.ts'
import type { Context } from '../context.ts'
import type { FailureCode } from '../errors.ts'
import { ApiError, refuseDuplicates, refuseItems } from '../errors.ts'
import type { Manager } from './manager.ts'

/** Nobody who waits for an answer waits longer than this for the node. */
const PATIENCE_MS = 5000
const ETH_GWEI = 1_000_000_000
/** The least the deposit contract takes, and the most a validator can have. */
const FUND_GWEI = { least: ETH_GWEI, most: 2048 * ETH_GWEI }

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
  /** Whether it must be of type `0x02`. */
  isCompounding: boolean
}

/** Creates the service. */
export function createVaultActions({
  config,
  chain,
  manager,
}: Pick<Context, 'config' | 'chain'> & { manager: Manager }) {
  const { limits } = config

  /** The chain's validators of these keys, each checked. @throws {ApiError} VALIDATORS_REFUSED, DEPENDENCY_AWAY */
  async function findChecked(
    vault: Uint8Array,
    publicKeys: readonly Uint8Array[],
    needs: (place: number, validator: ChainValidator) => Needs,
  ): Promise<ChainValidator[]> {
    if (publicKeys.length > limits.keys)
      throw new ApiError(
        'TOO_MANY_KEYS',
        `at most ${limits.keys} public keys in one request, this one has ${publicKeys.length}`,
      )
    const known = await chain.registry.findValidators(publicKeys).catch((error: unknown) => {
      throw new ApiError('DEPENDENCY_AWAY', 'the consensus node is away, so nothing is signed for validators', {
        cause: error,
      })
    })
    const [eth1, compounding] = (['0x01', '0x02'] as const).map((type) => toHex(withdrawalCredentials(type, vault)))
    const judge = (key: Uint8Array, place: number): FailureCode | undefined => {
      const validator = known.get(toHex(key))
      if (validator === undefined) return 'VALIDATOR_UNKNOWN'
      const { withdrawalCredentials: credentials, status } = validator
      if (credentials !== eth1 && credentials !== compounding) return 'VALIDATOR_FOREIGN'
      const { isCompounding, statuses } = needs(place, validator)
      if (isCompounding && credentials !== compounding) return 'VALIDATOR_TYPE'
      return statuses.includes(status) ? undefined : 'VALIDATOR_STATUS'
    }
    refuseItems('VALIDATORS_REFUSED', 'some validators are not what this action needs', publicKeys, judge)
    return publicKeys.flatMap((key) => known.get(toHex(key)) ?? [])
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
      refuseItems(
        'AMOUNT_INVALID',
        `an amount to fund is ${FUND_GWEI.least} to ${FUND_GWEI.most} Gwei`,
        items,
        ({ amountGwei }) =>
          amountGwei < FUND_GWEI.least || amountGwei > FUND_GWEI.most ? 'AMOUNT_INVALID' : undefined,
      )
      await findChecked(vault, publicKeys, () => ({ statuses: [...WAITING, ...ACTIVE], isCompounding: true }))
      return sign('fund', vault, requester, {
        validators: unambiguous(() => encodeFunding({ vault, validators: encoded(items) })),
        validatorCount: items.length,
        amountGwei: total(items.map(({ amountGwei }) => BigInt(amountGwei))),
      })
    },

    /** The signature for withdrawing amounts; 0 is the full exit, of either type. */
    async withdraw(
      vault: Uint8Array,
      items: readonly ValidatorAmount[],
      requester: string | null,
    ): Promise<Uint8Array> {
      const publicKeys = items.map(({ publicKey }) => publicKey)
      refuseDuplicates(publicKeys)
      const found = await findChecked(vault, publicKeys, (place) => ({
        statuses: ACTIVE,
        isCompounding: items[place]?.amountGwei !== 0,
      }))
      return sign('withdraw', vault, requester, {
        validators: encodeWithdrawals(encoded(items)),
        validatorCount: items.length,
        amountGwei: total(
          items.map(({ amountGwei }, place) =>
            amountGwei === 0 ? (found[place]?.balanceGwei ?? 0n) : BigInt(amountGwei),
          ),
        ),
      })
    },

    /** The signature for moving validators into others; into itself turns one of type `0x01` into `0x02`. */
    async consolidate(
      vault: Uint8Array,
      items: readonly { source: Uint8Array; target: Uint8Array }[],
      requester: string | null,
    ): Promise<Uint8Array> {
      const sources = items.map(({ source }) => source)
      refuseDuplicates(sources)
      const found = await findChecked(vault, sources, () => ({ statuses: ACTIVE, isCompounding: false }))
      const targets = items.map(({ target }) => target)
      const isSwitch = (place: number) =>
        toHex(sources[place] ?? new Uint8Array()) === toHex(targets[place] ?? new Uint8Array())
      await findChecked(vault, targets, (place) => ({ statuses: ACTIVE, isCompounding: !isSwitch(place) }))
      return sign('consolidate', vault, requester, {
        validators: encodeConsolidations(
          items.map(({ source, target }) => ({ sourcePublicKey: source, targetPublicKey: target })),
        ),
        validatorCount: items.length,
        amountGwei: total(found.map(({ balanceGwei }, place) => (isSwitch(place) ? 0n : balanceGwei))),
      })
    },
  }
}
export type VaultActions = ReturnType<typeof createVaultActions>

/** Encodes, with words for the client where the vault could not tell the type of so many. */
export function unambiguous(encode: () => Uint8Array): Uint8Array {
  try {
    return encode()
  } catch (error) {
    if (error instanceof ChainError && error.code === 'VALIDATORS_INVALID')
      throw new ApiError('BATCH_AMBIGUOUS', `${error.message}; ask for one more or one less`, { cause: error })
    throw error
  }
}
