/**
 * What a vault does with validators it has (generation 4: `POST /fund`, `/withdraw`, `/consolidate`): every one must be a validator
 * on the beacon chain whose withdrawal credentials are this vault, in a state in which the action can be carried out. Then the
 * validators manager signs.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import {
  encodeConsolidations,
  encodeFunding,
  encodeWithdrawals,
  nonceToRoot,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { readManagerNonce } from '@dvt-relayer/chain/stakewise/vault-contract.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/lifetime.ts'
import type { ManagerAction } from '@dvt-relayer/db/queries/manager-signatures.ts'
import type { Context } from '../../context.ts'
import { ApiError, refuseDuplicates, refuseItems } from '../../errors.ts'
import { unambiguous } from './ambiguous.ts'
import { ACTIVE, findValidators, refuseUnfit, WAITING } from './fit-validators.ts'
import type { Manager } from './manager.ts'

/** Nobody who waits for an answer waits longer than this for the node. */
const PATIENCE_MS = 5000
const ETH_GWEI = 1_000_000_000
/** The least the deposit contract takes. */
const LEAST_GWEI = ETH_GWEI
/** The most a validator can have at stake. */
const MOST_GWEI = 2048 * ETH_GWEI

/** An amount for a validator. */
interface ValidatorAmount {
  publicKey: Uint8Array
  amountGwei: number
}

/** One validator moved into another, or into itself. */
interface Consolidation {
  source: Uint8Array
  target: Uint8Array
}

/** Creates the service: one function an action, each the manager's signature for it. */
export function createVaultActions({
  config,
  chain,
  manager,
}: Pick<Context, 'config' | 'chain'> & { manager: Manager }) {
  const find = (...lists: readonly (readonly Uint8Array[])[]) =>
    findValidators(chain.registry, config.limits.keys, ...lists)

  /** The manager's signature, over the vault's nonce at the newest block. */
  async function sign(
    action: ManagerAction,
    vault: Uint8Array,
    requester: string | null,
    what: { validators: Uint8Array; validatorCount: number; amountGwei: bigint },
  ): Promise<Uint8Array> {
    return manager.sign({
      action,
      vault,
      requester,
      registryRoot: await readNonceRoot(chain.execution, vault),
      ...what,
    })
  }

  return {
    /** Adds amounts to validators of type `0x02`. */
    async fund(vault: Uint8Array, items: readonly ValidatorAmount[], requester: string | null): Promise<Uint8Array> {
      const publicKeys = items.map(({ publicKey }) => publicKey)
      refuseDuplicates(publicKeys)
      refuseAmounts(items, `an amount to fund is ${LEAST_GWEI} to ${MOST_GWEI} Gwei`, LEAST_GWEI)
      const known = await find(publicKeys)
      refuseUnfit(vault, known, 'public_keys', publicKeys, () => ({ statuses: [...WAITING, ...ACTIVE], type: '0x02' }))
      return sign('fund', vault, requester, {
        validators: unambiguous(() => encodeFunding({ vault, validators: items.map(inGwei) })),
        validatorCount: items.length,
        amountGwei: total(items.map((item) => BigInt(item.amountGwei))),
      })
    },

    /** Withdraws amounts; 0 is the full exit, of either type. */
    async withdraw(
      vault: Uint8Array,
      items: readonly ValidatorAmount[],
      requester: string | null,
    ): Promise<Uint8Array> {
      const publicKeys = items.map(({ publicKey }) => publicKey)
      refuseDuplicates(publicKeys)
      refuseAmounts(items, `an amount to withdraw is at most ${MOST_GWEI} Gwei, or 0 for the full exit`, 0)
      const known = await find(publicKeys)
      refuseUnfit(vault, known, 'public_keys', publicKeys, (position) =>
        items[position]?.amountGwei === 0 ? { statuses: ACTIVE } : { statuses: ACTIVE, type: '0x02' },
      )
      const moved = items.map(({ publicKey, amountGwei }) =>
        amountGwei === 0 ? balanceOf(known, publicKey) : BigInt(amountGwei),
      )
      return sign('withdraw', vault, requester, {
        validators: encodeWithdrawals(items.map(inGwei)),
        validatorCount: items.length,
        amountGwei: total(moved),
      })
    },

    /** Moves validators into others; into itself turns one of type `0x01` into `0x02`. */
    async consolidate(
      vault: Uint8Array,
      items: readonly Consolidation[],
      requester: string | null,
    ): Promise<Uint8Array> {
      const sources = items.map(({ source }) => source)
      const targets = items.map(({ target }) => target)
      refuseDuplicates(sources)
      const isSwitch = items.map(({ source, target }) => equalBytes(source, target))
      refuseEndingTargets(
        sources.filter((_, position) => !isSwitch[position]),
        targets,
      )
      const known = await find(sources, targets)
      refuseUnfit(vault, known, 'source_public_keys', sources, (position) =>
        isSwitch[position] ? { statuses: ACTIVE, type: '0x01' } : { statuses: ACTIVE },
      )
      refuseUnfit(vault, known, 'target_public_keys', targets, (position) =>
        isSwitch[position] ? { statuses: ACTIVE } : { statuses: ACTIVE, type: '0x02' },
      )
      const moves = items.map(({ source, target }) => ({ sourcePublicKey: source, targetPublicKey: target }))
      const moved = sources.map((source, position) => (isSwitch[position] ? 0n : balanceOf(known, source)))
      return sign('consolidate', vault, requester, {
        validators: unambiguous(() => encodeConsolidations(moves)),
        validatorCount: items.length,
        amountGwei: total(moved),
      })
    },
  }
}
export type VaultActions = ReturnType<typeof createVaultActions>

const total = (amounts: readonly bigint[]): bigint => amounts.reduce((sum, amount) => sum + amount, 0n)

const inGwei = ({ publicKey, amountGwei }: ValidatorAmount) => ({ publicKey, amountGwei: BigInt(amountGwei) })

const balanceOf = (known: ReadonlyMap<string, ChainValidator>, publicKey: Uint8Array): bigint =>
  known.get(toHex(publicKey))?.balanceGwei ?? 0n

/** @throws {ApiError} AMOUNT_INVALID for every amount below `least`, or above what a validator can have */
function refuseAmounts(items: readonly ValidatorAmount[], message: string, least: number): void {
  refuseItems('AMOUNT_INVALID', message, items, ({ amountGwei }) =>
    amountGwei < least || amountGwei > MOST_GWEI ? 'AMOUNT_INVALID' : undefined,
  )
}

/** @throws {ApiError} PUBLIC_KEY_DUPLICATE for every target that ends as the source of another consolidation */
function refuseEndingTargets(ending: readonly Uint8Array[], targets: readonly Uint8Array[]): void {
  const isEnding = new Set(ending.map((key) => toHex(key)))
  refuseItems(
    'PUBLIC_KEY_DUPLICATE',
    'target_public_keys: the source of one consolidation is the target of another, so its balance would end nowhere',
    targets,
    (key) => (isEnding.has(toHex(key)) ? 'PUBLIC_KEY_DUPLICATE' : undefined),
  )
}

/** The vault's nonce at the newest block, as the root that is signed. @throws {ApiError} VAULT_UNKNOWN, DEPENDENCY_AWAY */
async function readNonceRoot(execution: ExecutionClient, vault: Uint8Array): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  const read = async () => {
    const block = await execution.getBlock('latest', signal)
    if (block === undefined) throw new ApiError('DEPENDENCY_AWAY', 'the execution node has no newest block')
    return nonceToRoot(await readManagerNonce(execution, vault, block.hash, signal))
  }
  try {
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
