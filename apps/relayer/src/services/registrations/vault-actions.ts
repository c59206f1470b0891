/**
 * What a vault does with validators it has (generation 4: `POST /fund`, `/withdraw`, `/consolidate`): every one must be a validator
 * on the beacon chain whose withdrawal credentials are this vault, in a state in which the action can be carried out, and what the vault
 * contract would refuse is refused here. Then the validators manager signs.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import {
  encodeConsolidations,
  encodeFunding,
  encodeWithdrawals,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { Context } from '../../context.ts'
import { refuseDuplicates, refuseItems } from '../../errors.ts'
import { unambiguous } from './ambiguous.ts'
import { ACTIVE, findValidators, findWithPending, readForFit, refuseUnfit, WAITING } from './fit-validators.ts'
import type { Manager } from './manager.ts'
import type { VaultReader } from './vault-state.ts'

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

/** What Operators set where so many at once have a second reading. */
const FEWER_FUNDINGS = 'ask for one more or one less: set VALIDATORS_FUNDING_BATCH_SIZE=6 at the Operator'
const FEWER_CONSOLIDATIONS = 'ask for one more or one less: name so many --source-public-keys at the Operator'

/** Nothing is only pending where an action needs validators. */
const NONE: ReadonlyMap<string, string> = new Map()

/** Creates the service: one function an action, each the manager's signature for it. */
export function createVaultActions({
  config,
  chain,
  manager,
  vaultReader,
}: Pick<Context, 'config' | 'chain'> & { manager: Manager; vaultReader: VaultReader }) {
  const find = (...lists: readonly (readonly Uint8Array[])[]) =>
    findValidators(chain.registry, config.limits.keys, ...lists)

  return {
    /** Adds amounts to validators of type `0x02`. */
    async fund(vault: Uint8Array, items: readonly ValidatorAmount[], requester: string | null): Promise<Uint8Array> {
      const publicKeys = items.map(({ publicKey }) => publicKey)
      manager.assertWallet()
      refuseDuplicates(publicKeys)
      refuseAmounts(items, `an amount to fund is ${LEAST_GWEI} to ${MOST_GWEI} Gwei`, LEAST_GWEI)
      const found = await findWithPending(chain.registry, config.limits.keys, publicKeys)
      const needs = { statuses: [...WAITING, ...ACTIVE], type: '0x02', isCompounding: true } as const
      const needed = { list: 'public_keys', publicKeys, needs: () => needs }
      const state = await readForFit(vault, found, needed, (keys) => vaultReader.read(vault, keys))
      return manager.sign({
        action: 'fund',
        vault,
        requester,
        registryRoot: state.nonceRoot,
        validators: unambiguous(() => encodeFunding({ vault, validators: items.map(inGwei) }), FEWER_FUNDINGS),
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
      manager.assertWallet()
      refuseDuplicates(publicKeys)
      refuseAmounts(items, `an amount to withdraw is at most ${MOST_GWEI} Gwei, or 0 for the full exit`, 0)
      const validators = await find(publicKeys)
      const needs = (position: number) =>
        items[position]?.amountGwei === 0 ? { statuses: ACTIVE } : ({ statuses: ACTIVE, type: '0x02' } as const)
      refuseUnfit(vault, { validators, pending: NONE }, { list: 'public_keys', publicKeys, needs })
      const state = await vaultReader.read(vault, [])
      const moved = items.map(({ publicKey, amountGwei }) =>
        amountGwei === 0 ? balanceOf(validators, publicKey) : BigInt(amountGwei),
      )
      return manager.sign({
        action: 'withdraw',
        vault,
        requester,
        registryRoot: state.nonceRoot,
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
      manager.assertWallet()
      refuseDuplicates(sources)
      const isSwitch = items.map(({ source, target }) => equalBytes(source, target))
      refuseEndingTargets(
        sources.filter((_, position) => !isSwitch[position]),
        targets,
      )
      const validators = await find(sources, targets)
      const known = { validators, pending: NONE }
      refuseUnfit(vault, known, {
        list: 'source_public_keys',
        publicKeys: sources,
        needs: (position) => (isSwitch[position] ? { statuses: ACTIVE, type: '0x01' } : { statuses: ACTIVE }),
      })
      const needed = {
        list: 'target_public_keys',
        publicKeys: targets,
        needs: (position: number) =>
          // The oracles answer for a switch, and the vault has it as one of type 0x02 from then on.
          isSwitch[position]
            ? { statuses: ACTIVE }
            : ({ statuses: ACTIVE, type: '0x02', isCompounding: true } as const),
      }
      const state = await readForFit(vault, known, needed, (keys) => vaultReader.read(vault, keys))
      const moves = items.map(({ source, target }) => ({ sourcePublicKey: source, targetPublicKey: target }))
      const moved = sources.map((source, position) => (isSwitch[position] ? 0n : balanceOf(validators, source)))
      return manager.sign({
        action: 'consolidate',
        vault,
        requester,
        registryRoot: state.nonceRoot,
        validators: unambiguous(() => encodeConsolidations(moves), FEWER_CONSOLIDATIONS),
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
