/**
 * Choosing keys for a vault. A key is reserved for one vault; the same request again finds its keys there and is a poll.
 *
 * The choice is made in a transaction that holds, in this order, the lock of the allocation, the rows of the keys, and their messages.
 */

import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { findDeposits, findExits, retireMessages, touchMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import type { ReservableRow } from '@dvt-relayer/db/queries/messages/registrations.ts'
import {
  findBoundElsewhere,
  findExitsInTheWay,
  findMessageIds,
  findReservable,
  findReserved,
  lockAllocation,
  reserveValidators,
  touchReservations,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import { lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { assignDeposits, assignExits, byKey, isLapsed, isSameDeposit } from '../exits/assign.ts'
import type { MessageRate } from '../exits/message-rate.ts'
import { showAgain } from '../oracles/show-again.ts'
import { trimAmbiguous } from './ambiguous.ts'
import type { KeysOnChain } from './keys-on-chain.ts'

/** What an operator asks for. */
export interface RegistrationRequest {
  vault: Uint8Array
  /** Validator index of the first; the others follow. */
  startIndex: number
  amountsGwei: readonly number[]
  validatorType: '0x01' | '0x02'
  /** Name of the token, for the record of what the manager signs; null where no tokens are set. */
  caller: string | null
}

/** What a choice is made by. */
interface Choice {
  request: RegistrationRequest
  /** Whose the messages are: the vault's, whatever token asks for it. */
  requester: string
  /** The next free validator index. */
  nextIndex: number
  onChain: KeysOnChain
}

/** A key of the vault, with its live messages. */
export interface ChosenKey {
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
/**
 * So long after its vault asked last a key stays reserved that partial signatures of a deposit were posted for which nobody has verified.
 * Where no public key shares are known that is all that fewer nodes than the threshold leave: time for the others, and no more, since
 * anybody can make a point.
 */
const HOLD_SECONDS = 86_400
/** Choices of one requester that may wait for each other, and of all requesters: the first of each. */
const WAITING_CHOICES = { ofOne: 64, ofAll: 1000 }
/** How often the choice of keys starts anew because others took some. */
const TRIES = 10

/** Creates the part of the service that chooses keys. */
export function createKeyChoice({
  config,
  db,
  events,
  announced,
  messageRate,
}: Pick<Context, 'config' | 'db' | 'events' | 'announced'> & { messageRate: MessageRate }) {
  // Who must wait for the allocation waits here, not with a connection of the database in hand, and behind one choice of each other.
  const ofOne = createKeyedQueue({ depth: 1, waiting: WAITING_CHOICES.ofOne })
  const ofAll = createKeyedQueue({ depth: 1, waiting: WAITING_CHOICES.ofAll })

  /** Before anything is written: how many messages are to be made anew. @throws {ApiError} RATE_LIMIT */
  async function refuseTooMany({ request, requester }: Choice, chosen: readonly ReservableRow[]): Promise<void> {
    const { vault, startIndex, amountsGwei, validatorType } = request
    const keys = chosen.map(({ publicKey }) => publicKey)
    const [exits, deposits] = await Promise.all([findExits(db, keys), findDeposits(db, keys)])
    const [exitOf, depositOf] = [byKey(exits), byKey(deposits)]
    const fresh = keys.map((key, position) => {
      const [exit, deposit] = [exitOf.get(toHex(key)), depositOf.get(toHex(key))]
      const wanted = { vault, amountGwei: amountsGwei[position] ?? 0, validatorType }
      const isSame = deposit !== undefined && isSameDeposit(wanted, deposit)
      return Number(exit?.validatorIndex !== startIndex + position) + Number(!isSame)
    })
    messageRate.assert(
      requester,
      fresh.reduce((sum, count) => sum + count, 0),
    )
  }

  /** Chooses when the turn has come. The choice is made again when another process took some keys meanwhile. */
  async function chooseNow(choice: Choice): Promise<ChosenKey[]> {
    const { request, requester, onChain } = choice
    let isPaid = false
    for (let tries = 0; tries < TRIES; tries++) {
      const free = await onChain.findAbsent(request.amountsGwei.length, (limit, excluded) =>
        findReservable(db, request.vault, { ...reservationOf(choice, config), limit, excluded }),
      )
      const chosen = trimAmbiguous(request.validatorType, free)
      if (chosen.length === 0) return []
      // A vault that asks for more keys than there are polls as well: it is given those that it has, and nothing is to be done for them.
      const isHad = chosen.every(({ isReserved }) => isReserved)
      const standing = isHad ? await findStanding({ config, db }, choice, chosen, findMessages(db, chosen)) : undefined
      if (standing !== undefined) return standing
      if (!isPaid) await refuseTooMany(choice, chosen)
      isPaid = true
      const reserved = await db.transaction((tx) => reserve(tx, config, choice, chosen))
      if (reserved === undefined) continue
      const { counts, keys, isAnnounced } = reserved
      if (isAnnounced) announced()
      if (counts.reserved + counts.exits + counts.deposits > 0) events.registrationsAssigned(counts, requester)
      return keys
    }
    throw new ApiError('TOO_BUSY', 'other requests took keys meanwhile, again and again; ask again')
  }

  return {
    /**
     * Chooses keys for the vault, as many as there are, and gives them their messages, when its turn has come.
     *
     * @throws {ApiError} TOO_BUSY, RATE_LIMIT, and what giving messages refuses: nothing is changed then
     */
    async choose(choice: Choice): Promise<ChosenKey[]> {
      let chosen: ChosenKey[] | undefined
      // Whoever has the turn holds up all others: it must not wait in a line of its own for the database.
      const piece = () =>
        onOwnAccount(async () => {
          chosen = await chooseNow(choice)
        })
      await ofOne.run(choice.requester, () => ofAll.run('allocation', piece).then(() => undefined))
      if (chosen !== undefined) return chosen
      throw new ApiError('TOO_BUSY', 'too many requests wait for keys; ask again when the others are answered')
    },
  }
}

/** The live exits and deposits of these keys, by key. */
async function findMessages(db: Sql, validators: readonly ReservableRow[]) {
  const keys = validators.map(({ publicKey }) => publicKey)
  const [exits, deposits] = await Promise.all([findExits(db, keys), findDeposits(db, keys)])
  return [byKey(exits), byKey(deposits)] as const
}

/** The poll: undefined unless the vault has all its keys, each with the messages asked for, which somebody still asks for then. */
export async function findChosen(
  { config, db }: Pick<Context, 'config' | 'db'>,
  choice: Choice,
): Promise<ChosenKey[] | undefined> {
  const { request, onChain } = choice
  const { vault, amountsGwei } = request
  let reading: ReturnType<typeof findMessages> | undefined
  const reserved = await onChain.findAbsent(amountsGwei.length, async (limit, excluded) => {
    const found = await findReserved(db, vault, { limit, excluded })
    // Fewer than are asked for are no poll, whatever the chain says of them: whoever chooses asks for them with those that are added.
    if (found.length < amountsGwei.length) return []
    // While the chain is asked for them.
    reading = findMessages(db, found)
    reading.catch(() => {})
    return found
  })
  if (reading === undefined || reserved.length < amountsGwei.length) return undefined
  return findStanding({ config, db }, choice, reserved, reading)
}

/**
 * These keys, which are the vault's already, where nothing is to be done for them: each has the messages asked for, which somebody still
 * asks for then. Undefined otherwise.
 */
async function findStanding(
  { config, db }: Pick<Context, 'config' | 'db'>,
  { request, requester }: Choice,
  rows: readonly ReservableRow[],
  reading: ReturnType<typeof findMessages>,
): Promise<ChosenKey[] | undefined> {
  const { vault, startIndex, amountsGwei, validatorType } = request
  const publicKeys = rows.map((row) => row.publicKey)
  const [exits, deposits] = await reading
  const found = publicKeys.flatMap((publicKey, position) => {
    const [exit, deposit] = [exits.get(toHex(publicKey)), deposits.get(toHex(publicKey))]
    const amountGwei = amountsGwei[position] ?? 0
    if (exit === undefined || deposit === undefined) return []
    if (isLapsed(exit, config) || isLapsed(deposit, config)) return []
    if (exit.validatorIndex !== startIndex + position || exit.requester !== requester) return []
    if (!isSameDeposit({ vault, amountGwei, validatorType }, deposit)) return []
    return [{ publicKey, amountGwei, exit, deposit }]
  })
  if (found.length < publicKeys.length) return undefined
  const touchSeconds = config.validatorLifetimeSeconds / TOUCH_FRACTION
  const messages = found.flatMap(({ exit, deposit }) => [exit, deposit])
  const old = messages.filter(({ idleSeconds }) => idleSeconds > touchSeconds).map(({ id }) => id)
  if (old.length > 0) {
    const ids = rows.map(({ id }) => id)
    await touchMessages(
      db,
      old.map((id) => ({ id, requester })),
    )
    await touchReservations(db, ids, vault, touchSeconds)
  }
  return found.map(({ exit, deposit, ...key }) => ({ ...key, exitId: exit.id, depositId: deposit.id }))
}

/** Whose a reservation is, and how long one of another vault keeps others away. */
function reservationOf({ requester }: Choice, { validatorLifetimeSeconds: lifetimeSeconds }: Context['config']) {
  return {
    requester,
    lifetimeSeconds: lifetimeSeconds + Math.min(lifetimeSeconds, TAKEOVER_MARGIN_SECONDS),
    holdSeconds: HOLD_SECONDS,
  }
}

/** Reserves the chosen keys and gives them their messages; undefined where they are not free any more. */
async function reserve(tx: Sql, config: Context['config'], choice: Choice, chosen: readonly ReservableRow[]) {
  const { request, requester, onChain } = choice
  const { vault, validatorType, amountsGwei, startIndex: first } = request
  await lockAllocation(tx)
  // In the one order in which everybody locks them, whatever order they are given out in.
  await lockValidators(
    tx,
    chosen.map((row) => row.publicKey),
  )
  const options = { ...reservationOf(choice, config), excluded: onChain.met, limit: amountsGwei.length }
  const locked = trimAmbiguous(validatorType, await findReservable(tx, vault, options))
  const isSame = locked.length === chosen.length && locked.every(({ id }, position) => id === chosen[position]?.id)
  if (!isSame) return undefined
  const ids = locked.map(({ id }) => id)
  // One index is one validator's: the vault does not wait for the others at these any more.
  const inTheWay = await findExitsInTheWay(tx, { vault, validatorIds: ids, requester, first, count: ids.length })
  await lockMessages(tx, [...(await findMessageIds(tx, ids)), ...inTheWay])
  // Asked again now that nobody can add a partial signature: a reservation that lapsed may just have been signed for.
  if ((await findBoundElsewhere(tx, ids, vault, HOLD_SECONDS)).length > 0) return undefined
  await reserveValidators(tx, ids, vault)
  await retireMessages(tx, inTheWay)
  return giveMessages(tx, config, choice, locked, inTheWay)
}

/** Gives locked validators their exits and deposits, in their order, and announces them with those that were retired. */
async function giveMessages(
  tx: Sql,
  config: Context['config'],
  { request, requester, nextIndex }: Choice,
  locked: readonly ReservableRow[],
  retired: readonly number[],
) {
  const { vault, startIndex, amountsGwei, validatorType } = request
  const wanted = locked.map(({ id, publicKey, threshold }, position) => ({
    validatorId: id,
    publicKey,
    threshold,
    validatorIndex: startIndex + position,
    vault,
    amountGwei: amountsGwei[position] ?? 0,
    validatorType,
    requester,
  }))
  const exits = await assignExits(tx, config, wanted, nextIndex)
  const deposits = await assignDeposits(tx, config, wanted)
  const keys = await findMade(tx, wanted)
  // Last of all: until the commit nobody else can announce anything.
  await announceMessages(tx, [...retired, ...exits.changed, ...deposits.changed])
  // Exits asked for without a vault (generation 3) may have been fetched already.
  const fresh = locked.filter(({ isReserved }) => !isReserved).map(({ id }) => id)
  await showAgain(tx, fresh)
  const counts = {
    reserved: fresh.length,
    exits: exits.created + exits.revived,
    deposits: deposits.created + deposits.revived,
  }
  const isAnnounced = fresh.length + retired.length + exits.changed.length + deposits.changed.length > 0
  return { keys, counts, isAnnounced }
}

/** The messages that were just made for these keys. */
async function findMade(
  tx: Sql,
  wanted: readonly { publicKey: Uint8Array; amountGwei: number }[],
): Promise<ChosenKey[]> {
  const keys = wanted.map(({ publicKey }) => publicKey)
  const [exitOf, depositOf] = [byKey(await findExits(tx, keys)), byKey(await findDeposits(tx, keys))]
  return wanted.map(({ publicKey, amountGwei }): ChosenKey => {
    const [exit, deposit] = [exitOf.get(toHex(publicKey)), depositOf.get(toHex(publicKey))]
    if (exit === undefined || deposit === undefined) throw new Error('a message that was just made is not there')
    return { publicKey, amountGwei, exitId: exit.id, depositId: deposit.id }
  })
}
