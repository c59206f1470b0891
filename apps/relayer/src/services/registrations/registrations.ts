/**
 * Registrations: from an operator's request to everything a vault needs to register validators (`POST /register`, generation 4).
 *
 * What the chain says is read at one block. Keys are chosen by `choose-keys.ts`, what nodes signed for them is collected here, and the
 * validators manager signs once everything is there.
 */

import { encodeRegistration, isRegistrationAmount } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { findSignatures } from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { Context } from '../../context.ts'
import { ApiError, refuseItems, refuseLong } from '../../errors.ts'
import type { DepositRegistry, DepositView } from '../deposit-registry/deposit-registry.ts'
import { requesterOfVault } from '../exits/assign.ts'
import type { MessageRate } from '../exits/message-rate.ts'
import type { OracleSets } from '../oracles/sets.ts'
import type { OracleShares, RenderedShares } from '../oracles/shares.ts'
import { isAmbiguous, unambiguous } from './ambiguous.ts'
import { type ChosenKey, createKeyChoice, findChosen, type RegistrationRequest } from './choose-keys.ts'
import { createKeysOnChain, ofConsensusNode } from './keys-on-chain.ts'
import { createLockDeposits } from './lock-deposits.ts'
import type { Manager } from './manager.ts'
import type { UnservedVaults } from './unserved.ts'
import type { VaultReader } from './vault-state.ts'

/** One validator as it stands. */
interface Registration {
  publicKey: Uint8Array
  amountGwei: number
  depositSignature: Uint8Array | undefined
  oracleShares: RenderedShares | undefined
}

export interface Registrations {
  validators: Registration[]
  /** There when every validator is ready and there is a wallet. */
  managerSignature: Uint8Array | undefined
}

/** VALIDATOR_REGISTRY_LIMIT of the consensus specification. */
const REGISTRY_LIMIT = 2 ** 40

/** Creates the service. */
export function createRegistrations({
  registry,
  manager,
  oracleSets,
  oracleShares,
  unserved,
  vaultReader,
  ...context
}: Pick<Context, 'config' | 'db' | 'chain' | 'crypto' | 'sealing' | 'events' | 'logger' | 'announced'> & {
  registry: DepositRegistry
  manager: Manager
  messageRate: MessageRate
  oracleSets: OracleSets
  oracleShares: OracleShares
  unserved: Pick<UnservedVaults, 'note'>
  vaultReader: VaultReader
}) {
  const { config, db, chain, sealing } = context
  const keys = createKeyChoice(context)
  const lockDeposits = createLockDeposits(context)

  /** What there is of each validator, with the deposits that a lock has signed: no node need sign those. */
  async function collectWithLocks(chosen: readonly ChosenKey[]): Promise<Registration[]> {
    const validators = await collect(chosen)
    const unsigned = chosen.filter((_, position) => validators[position]?.depositSignature === undefined)
    if (unsigned.length === 0) return validators
    const completed = await lockDeposits.complete(unsigned.map(({ depositId }) => depositId))
    return completed === 0 ? validators : collect(chosen)
  }

  /** What there is of each validator. */
  async function collect(chosen: readonly ChosenKey[]): Promise<Registration[]> {
    const [shares, signatures] = await Promise.all([
      oracleShares.render(chosen.map(({ exitId }) => exitId)),
      findSignatures(
        db,
        chosen.map(({ depositId }) => depositId),
      ),
    ])
    // Deposits have no keys of their own.
    const opener = await sealing.openerFor(db, [])
    const signatureOf = new Map(signatures.map((message) => [message.id, opener.signature(message, message.signature)]))
    return chosen.map(({ publicKey, amountGwei, exitId, depositId }) => ({
      publicKey,
      amountGwei,
      depositSignature: signatureOf.get(depositId),
      oracleShares: shares.get(exitId),
    }))
  }

  /** The manager's signature, once everything is there of every validator. The vault was seen to take it. */
  async function sign(
    { vault, validatorType, caller }: RegistrationRequest,
    view: DepositView,
    validators: readonly Registration[],
  ): Promise<Uint8Array | undefined> {
    const ready = validators.flatMap(({ publicKey, amountGwei, depositSignature: signature, oracleShares: shares }) =>
      signature === undefined || shares === undefined ? [] : [{ publicKey, amountGwei: BigInt(amountGwei), signature }],
    )
    if (ready.length < validators.length || manager.address === null) return undefined
    return manager.sign({
      action: 'register',
      vault,
      requester: caller,
      registryRoot: view.depositRoot,
      validators: unambiguous(() => encodeRegistration({ vault, type: validatorType, validators: ready })),
      validatorCount: ready.length,
      amountGwei: ready.reduce((sum, { amountGwei }) => sum + amountGwei, 0n),
    })
  }

  return {
    /**
     * One validator for each amount, as many as there are keys for.
     *
     * @throws {ApiError} for a request that cannot be met; nothing is changed then
     */
    async request(request: RegistrationRequest): Promise<Registrations> {
      refuseMalformed(request, config.limits.keys)
      const [view, predicted] = await Promise.all([registry.at(), ofConsensusNode(chain.registry.nextIndex())])
      // A consensus node a moment behind does not count a deposit that the signed root may hold already.
      const nextIndex = Math.max(predicted, view.count)
      if (request.startIndex < nextIndex)
        throw new ApiError(
          'INDEX_USED',
          `validators_start_index ${request.startIndex} is used: the next free validator index is ${nextIndex}`,
        )
      const requester = requesterOfVault(request.vault)
      const choice = { request, requester, nextIndex, onChain: createKeysOnChain(view, chain.registry) }
      const chosen = (await findChosen(context, choice)) ?? (await keys.choose(choice))
      if (chosen.length === 0) {
        unserved.note(request)
        return { validators: [], managerSignature: undefined }
      }
      let validators = await collectWithLocks(chosen)
      if (!isWhole(validators)) return { validators, managerSignature: undefined }
      // Shares for oracles that the chain has just replaced are worth nothing to the operator. Asked last, so that little can come after,
      // and beside the vault, which is asked at the block that is known already.
      const [setId] = await Promise.all([
        oracleSets.newest(),
        manager.address === null ? undefined : vaultReader.assertManager(request.vault, view.blockHash),
      ])
      if (validators.some(({ oracleShares }) => oracleShares?.oracleSetId !== setId)) validators = await collect(chosen)
      return { validators, managerSignature: isWhole(validators) ? await sign(request, view, validators) : undefined }
    },
  }
}
export type RegistrationService = ReturnType<typeof createRegistrations>

/** Whether everything is there of every validator, and there are any. */
const isWhole = (validators: readonly Registration[]): boolean =>
  validators.length > 0 &&
  validators.every(({ depositSignature, oracleShares }) => depositSignature !== undefined && oracleShares !== undefined)

/** What is wrong with a request whatever the chain says. @throws {ApiError} */
function refuseMalformed({ startIndex, amountsGwei, validatorType }: RegistrationRequest, mostKeys: number): void {
  refuseLong('TOO_MANY_KEYS', mostKeys, 'validators', amountsGwei)
  if (startIndex + amountsGwei.length > REGISTRY_LIMIT)
    throw new ApiError('INDEX_INVALID', 'validators_start_index is beyond what any chain can have')
  refuseItems(
    'AMOUNT_INVALID',
    validatorType === '0x01'
      ? 'a validator of type 0x01 is registered with exactly 32000000000 Gwei'
      : 'a validator of type 0x02 is registered with 32000000000 to 2048000000000 Gwei',
    amountsGwei,
    (amount) => (isRegistrationAmount(validatorType, BigInt(amount)) ? undefined : 'AMOUNT_INVALID'),
  )
  if (isAmbiguous(validatorType, amountsGwei.length))
    throw new ApiError(
      'BATCH_AMBIGUOUS',
      `the vault cannot tell the type of ${amountsGwei.length} validators of type ${validatorType}; ask for one more or one less`,
    )
}
