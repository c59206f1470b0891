/**
 * Registrations: from an operator's request to everything a vault needs to register validators (`POST /register`, generation 4).
 *
 * A key is reserved for one vault. Which keys a vault gets is decided in a transaction that holds the lock of the allocation and
 * the rows of the keys; the same request again finds its keys there and is a poll. What the chain says is read at one block, and
 * no key that has a deposit there is given out or signed for.
 */

import {
  encodeRegistration,
  isAmbiguousLength,
  isRegistrationAmount,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createKeyedQueue } from '@dvt-relayer/common/keyed-queue.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { findDeposits, findExits, retireMessages, touchMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import type { ReservableRow } from '@dvt-relayer/db/queries/messages/registrations.ts'
import {
  findBoundElsewhere,
  findExitsInTheWay,
  findMessageIds,
  findReservable,
  findReserved,
  findSignatures,
  lockAllocation,
  reserveValidators,
  touchReservations,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import { lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { Context } from '../../context.ts'
import { ApiError, refuseItems } from '../../errors.ts'
import type { DepositRegistry, DepositView } from '../deposit-registry/deposit-registry.ts'
import { assignDeposits, assignExits, byKey, isLapsed, isSameDeposit, requesterOfVault } from '../exits/assign.ts'
import { showAgain } from '../oracles/fetch.ts'
import type { OracleShares, RenderedShares } from '../oracles/shares.ts'
import type { Manager } from './manager.ts'
import { unambiguous } from './vault-actions.ts'

/** What an operator asks for. */
export interface RegistrationRequest {
  vault: Uint8Array
  /** Validator index of the first; the others follow. */
  startIndex: number
  amountsGwei: readonly number[]
  validatorType: '0x01' | '0x02'
  /** Name of the token; null where no tokens are set. */
  caller: string | null
}

/** One validator as it stands. */
export interface Registration {
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

/** A validator with its live messages. */
interface Assigned {
  publicKey: Uint8Array
  amountGwei: number
  exitId: number
  depositId: number
}

/** Polls touch reservations and messages at most this often, a fraction of the lifetime. */
const TOUCH_FRACTION = 20
/**
 * So much longer than its messages a reservation lasts: a node that saw them listed just before they expired has posted its
 * deposit signature by then, and the key is not free any more. At most the lifetime again.
 */
const TAKEOVER_MARGIN_SECONDS = 30
/** Choices of one requester that may wait for each other, and of all requesters: the first of each. */
const WAITING_CHOICES = { ofOne: 64, ofAll: 1000 }
/** How often the choice of keys starts anew because others took some. */
const TRIES = 10
/** VALIDATOR_REGISTRY_LIMIT of the consensus specification. */
const REGISTRY_LIMIT = 2 ** 40

/** Creates the service. */
export function createRegistrations({
  config,
  db,
  chain,
  sealing,
  events,
  registry,
  manager,
  oracleShares,
}: Pick<Context, 'config' | 'db' | 'chain' | 'sealing' | 'events'> & {
  registry: DepositRegistry
  manager: Manager
  oracleShares: OracleShares
}) {
  const { limits, validatorLifetimeSeconds: lifetimeSeconds } = config
  const margin = Math.min(lifetimeSeconds, TAKEOVER_MARGIN_SECONDS)
  // Who must wait for the allocation waits here, not with a connection of the database in hand, and behind one choice of each other.
  const ofOne = createKeyedQueue({ depth: 1, waiting: WAITING_CHOICES.ofOne })
  const ofAll = createKeyedQueue({ depth: 1, waiting: WAITING_CHOICES.ofAll })

  /** What is wrong with the request whatever the chain says. */
  function refuseMalformed({ startIndex, amountsGwei, validatorType }: RegistrationRequest): void {
    if (amountsGwei.length > limits.keys)
      throw new ApiError(
        'TOO_MANY_KEYS',
        `at most ${limits.keys} validators in one request, this one has ${amountsGwei.length}`,
      )
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

  /** Which of these keys the chain has, at the view's block or on the consensus node. */
  async function areRegistered(view: DepositView, publicKeys: readonly Uint8Array[]): Promise<boolean[]> {
    if (publicKeys.length === 0) return []
    const [seen, known] = await Promise.all([
      view.isRegistered(publicKeys),
      ofConsensusNode(chain.registry.knownKeys(publicKeys)),
    ])
    return publicKeys.map((_, position) => seen[position] === true || known[position] === true)
  }

  /**
   * The first `count` of the rows that `find` gives whose keys the chain does not have. Those it has are added to `registered`, which
   * `find` leaves out: until their deposits are final nothing but the view tells of them.
   */
  async function findUnregistered(
    view: DepositView,
    registered: Uint8Array[],
    count: number,
    find: (limit: number) => Promise<ReservableRow[]>,
  ): Promise<ReservableRow[]> {
    for (;;) {
      // The more there are the further it looks, so that a few looks are enough.
      const limit = count + registered.length
      const found = await find(limit)
      const isKnown = await areRegistered(
        view,
        found.map((row) => row.publicKey),
      )
      registered.push(...found.filter((_, position) => isKnown[position]).map((row) => row.publicKey))
      const free = found.filter((_, position) => !isKnown[position])
      if (free.length >= count || found.length < limit) return free.slice(0, count)
    }
  }

  /** The poll: the vault has all its keys, each with the messages asked for. */
  async function findAssigned(
    request: RegistrationRequest,
    view: DepositView,
    registered: Uint8Array[],
    requester: string,
  ): Promise<Assigned[] | undefined> {
    const { vault, startIndex, amountsGwei, validatorType } = request
    const reserved = await findUnregistered(view, registered, amountsGwei.length, (limit) =>
      findReserved(db, vault, { limit, excluded: registered }),
    )
    if (reserved.length < amountsGwei.length) return undefined
    const keys = reserved.map((row) => row.publicKey)
    const [exitRows, depositRows] = await Promise.all([findExits(db, keys), findDeposits(db, keys)])
    const [exits, deposits] = [byKey(exitRows), byKey(depositRows)]
    const old: number[] = []
    const assigned = keys.flatMap((publicKey, position): Assigned[] => {
      const [exit, deposit] = [exits.get(toHex(publicKey)), deposits.get(toHex(publicKey))]
      const amountGwei = amountsGwei[position] ?? 0
      if (exit === undefined || deposit === undefined || isLapsed(exit, config) || isLapsed(deposit, config)) return []
      if (exit.validatorIndex !== startIndex + position || exit.requester !== requester) return []
      if (!isSameDeposit({ vault, amountGwei, validatorType }, deposit)) return []
      for (const message of [exit, deposit])
        if (message.idleSeconds > lifetimeSeconds / TOUCH_FRACTION) old.push(message.id)
      return [{ publicKey, amountGwei, exitId: exit.id, depositId: deposit.id }]
    })
    if (assigned.length < keys.length) return undefined
    if (old.length > 0) {
      await touchMessages(db, old, requester)
      await touchReservations(
        db,
        reserved.map(({ id }) => id),
        vault,
        lifetimeSeconds / TOUCH_FRACTION,
      )
    }
    return assigned
  }

  /** Chooses keys for the vault, and gives them their messages, when its turn has come. */
  async function assign(...choice: Parameters<typeof assignNow>): Promise<Assigned[]> {
    const [, , , , requester] = choice
    let assigned: Assigned[] | undefined
    const piece = async () => {
      assigned = await assignNow(...choice)
    }
    await ofOne.run(requester, () => ofAll.run('allocation', piece).then(() => undefined))
    if (assigned !== undefined) return assigned
    throw new ApiError('TOO_BUSY', 'too many requests wait for keys; ask again when the others are answered')
  }

  /** The same, now. The choice is made again when another process took some keys meanwhile. */
  async function assignNow(
    request: RegistrationRequest,
    view: DepositView,
    registered: Uint8Array[],
    nextIndex: number,
    requester: string,
  ): Promise<Assigned[]> {
    const { vault, validatorType } = request
    const count = request.amountsGwei.length
    const options = { lifetimeSeconds: lifetimeSeconds + margin, requester, excluded: registered }
    for (let tries = 0; tries < TRIES; tries++) {
      const choice = trim(
        validatorType,
        await findUnregistered(view, registered, count, (limit) => findReservable(db, vault, { ...options, limit })),
      )
      if (choice.length === 0) return []
      const assigned = await db.transaction(async (tx) => {
        await lockAllocation(tx)
        // In the one order in which everybody locks them, whatever order they are given out in.
        await lockValidators(
          tx,
          choice.map((row) => row.publicKey),
        )
        const locked = trim(validatorType, await findReservable(tx, vault, { ...options, limit: count }))
        const isSame =
          locked.length === choice.length && locked.every(({ id }, position) => id === choice[position]?.id)
        if (!isSame) return undefined
        const ids = locked.map(({ id }) => id)
        // One index is one validator's: the vault does not wait for the others at these any more.
        const first = request.startIndex
        const inTheWay = await findExitsInTheWay(tx, { vault, validatorIds: ids, requester, first, count: ids.length })
        await lockMessages(tx, [...(await findMessageIds(tx, ids)), ...inTheWay])
        // Asked again now that nobody can add a partial signature: a reservation that lapsed may just have been signed for.
        if ((await findBoundElsewhere(tx, ids, vault)).length > 0) return undefined
        await reserveValidators(tx, ids, vault)
        await retireMessages(tx, inTheWay)
        return giveMessages(tx, request, locked, { nextIndex, requester, retired: inTheWay })
      })
      if (assigned === undefined) continue
      const { reserved, exits, deposits } = assigned.counts
      if (reserved + exits + deposits > 0) events.registrationsAssigned(assigned.counts, requester)
      return assigned.validators
    }
    throw new ApiError('TOO_BUSY', 'other requests took keys meanwhile, again and again; ask again')
  }

  /** Gives locked validators their exits and deposits, in their order, and announces them with those that were retired. */
  async function giveMessages(
    tx: Parameters<Parameters<typeof db.transaction>[0]>[0],
    { vault, startIndex, amountsGwei, validatorType }: RegistrationRequest,
    locked: readonly ReservableRow[],
    { nextIndex, requester, retired }: { nextIndex: number; requester: string; retired: readonly number[] },
  ) {
    const wanted = locked.map(({ id, publicKey, threshold }, position) => ({
      validatorId: id,
      publicKey,
      threshold,
      validatorIndex: startIndex + position,
      vault,
      amountGwei: amountsGwei[position] ?? 0,
      validatorType,
    }))
    const exits = await assignExits(tx, config, wanted, nextIndex, requester)
    const deposits = await assignDeposits(tx, config, wanted, requester)
    await announceMessages(tx, [...retired, ...exits.changed, ...deposits.changed])
    // Exits asked for without a vault (generation 3) may have been fetched already.
    await showAgain(
      tx,
      locked.filter(({ isReserved }) => !isReserved).map(({ id }) => id),
    )
    const keys = wanted.map(({ publicKey }) => publicKey)
    const [exitOf, depositOf] = [byKey(await findExits(tx, keys)), byKey(await findDeposits(tx, keys))]
    const validators = wanted.map(({ publicKey, amountGwei }): Assigned => {
      const [exit, deposit] = [exitOf.get(toHex(publicKey)), depositOf.get(toHex(publicKey))]
      if (exit === undefined || deposit === undefined) throw new Error('a message that was just made is not there')
      return { publicKey, amountGwei, exitId: exit.id, depositId: deposit.id }
    })
    const counts = {
      reserved: locked.filter(({ isReserved }) => !isReserved).length,
      exits: exits.created + exits.revived,
      deposits: deposits.created + deposits.revived,
    }
    return { validators, counts }
  }

  /** What there is of each validator, and the manager's signature once everything is. */
  async function collect(
    { vault, validatorType, caller }: RegistrationRequest,
    view: DepositView,
    assigned: readonly Assigned[],
  ): Promise<Registrations> {
    const [shares, signatures] = await Promise.all([
      oracleShares.render(assigned.map(({ exitId }) => exitId)),
      findSignatures(
        db,
        assigned.map(({ depositId }) => depositId),
      ),
    ])
    // Deposits have no keys of their own.
    const opener = await sealing.openerFor(db, [])
    const signatureOf = new Map(signatures.map((message) => [message.id, opener.signature(message, message.signature)]))
    const validators = assigned.map(
      ({ publicKey, amountGwei, exitId, depositId }): Registration => ({
        publicKey,
        amountGwei,
        depositSignature: signatureOf.get(depositId),
        oracleShares: shares.get(exitId),
      }),
    )
    const ready = validators.flatMap(({ publicKey, amountGwei, depositSignature, oracleShares: own }) =>
      depositSignature === undefined || own === undefined
        ? []
        : [{ publicKey, amountGwei: BigInt(amountGwei), signature: depositSignature }],
    )
    if (validators.length === 0 || ready.length < validators.length || manager.address === null)
      return { validators, managerSignature: undefined }
    const managerSignature = await manager.sign({
      action: 'register',
      vault,
      requester: caller,
      registryRoot: view.depositRoot,
      validators: unambiguous(() => encodeRegistration({ vault, type: validatorType, validators: ready })),
      validatorCount: ready.length,
      amountGwei: ready.reduce((sum, { amountGwei }) => sum + amountGwei, 0n),
    })
    return { validators, managerSignature }
  }

  return {
    /**
     * One validator for each amount, as many as there are keys for.
     *
     * @throws {ApiError} for a request that cannot be met; nothing is changed then
     */
    async request(request: RegistrationRequest): Promise<Registrations> {
      refuseMalformed(request)
      const [view, predicted] = await Promise.all([registry.at(), ofConsensusNode(chain.registry.nextIndex())])
      // A consensus node a moment behind does not count a deposit that the signed root may hold already.
      const nextIndex = Math.max(predicted, view.count)
      if (request.startIndex < nextIndex)
        throw new ApiError(
          'INDEX_USED',
          `validators_start_index ${request.startIndex} is used: the next free validator index is ${nextIndex}`,
        )
      const requester = request.caller ?? requesterOfVault(request.vault)
      /** Keys of ours that the chain has, as far as they were met. */
      const registered: Uint8Array[] = []
      const assigned =
        (await findAssigned(request, view, registered, requester)) ??
        (await assign(request, view, registered, nextIndex, requester))
      return collect(request, view, assigned)
    },
  }
}
export type RegistrationService = ReturnType<typeof createRegistrations>

/** What the consensus node says. @throws {ApiError} DEPENDENCY_AWAY whatever kept it from saying it */
async function ofConsensusNode<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    throw new ApiError('DEPENDENCY_AWAY', 'the consensus node is away, so no validator index can be assigned', {
      cause: error,
    })
  }
}

/** Whether the vault could not tell the type of so many validators. */
const isAmbiguous = (type: '0x01' | '0x02', count: number) =>
  isAmbiguousLength({ length: count * (type === '0x01' ? 176 : 184) })

/** As many of these rows as the vault can take at once: where it could not tell the type, one less. */
const trim = <T>(type: '0x01' | '0x02', rows: readonly T[]): readonly T[] =>
  rows.length > 0 && isAmbiguous(type, rows.length) ? rows.slice(0, -1) : rows
