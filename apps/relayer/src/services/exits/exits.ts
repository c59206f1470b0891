/**
 * Exits: from an operator's request to the live message of each key (generation 3, `POST /validators`).
 *
 * The same request again is a poll. A key's live exit changes only inside a transaction that holds the key's row, in one order
 * for everybody, so neither two operators nor two processes ever make two live exits for one key.
 */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { ExitRow } from '@dvt-relayer/db/queries/messages/messages.ts'
import { findExits, touchMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import type { ValidatorRow } from '@dvt-relayer/db/queries/messages/validators.ts'
import { findValidators, insertValidators, lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { Context } from '../../context.ts'
import { ApiError, refuseDuplicates, refuseItems } from '../../errors.ts'
import type { DepositRegistry } from '../deposit-registry/deposit-registry.ts'
import { assignExits, byKey, isLapsed, MANY_VAULTS, nameAfter, requesterOf } from './assign.ts'
import type { MessageRate } from './message-rate.ts'

/** Who asks, as its token says; without a name where no tokens are set. */
interface Requester {
  name: string | null
  /** 20-byte addresses; undefined means any vault. */
  vaults: readonly Uint8Array[] | undefined
  /** Whether it may ask for keys of which no vault is known. */
  mayHaveUnowned: boolean
}

/** The exit of one key asked for. */
interface RequestedExit {
  messageId: number
}

/** Polls touch an exit's time at most this often, a fraction of the lifetime, so that polling every second writes little. */
const TOUCH_FRACTION = 20

/** Creates the service. */
export function createExits({
  config,
  db,
  chain,
  crypto,
  events,
  announced,
  registry,
  messageRate,
}: Pick<Context, 'config' | 'db' | 'chain' | 'crypto' | 'events' | 'announced'> & {
  registry: Pick<DepositRegistry, 'countIfBegun'>
  messageRate: MessageRate
}) {
  const { clusters, validatorLifetimeSeconds } = config
  const thresholdOf = (validator: ValidatorRow | undefined) => validator?.threshold ?? clusters.signatureThreshold

  /** The poll: nothing to decide, because every key has its live exit at its index. */
  async function findAll(
    publicKeys: readonly Uint8Array[],
    start: number | undefined,
    requester: Requester,
  ): Promise<ExitRow[] | undefined> {
    const exits = byKey(await findExits(db, publicKeys))
    const first = start ?? exits.get(toHex(publicKeys[0] ?? new Uint8Array()))?.validatorIndex ?? 0
    const found = publicKeys.flatMap((key, position) => {
      const exit = exits.get(toHex(key))
      if (exit === undefined || isLapsed(exit, config) || exit.validatorIndex !== first + position) return []
      const asking = requesterOf(requester, exit.owner)
      return asking === null || asking === MANY_VAULTS || exit.requester === asking ? [exit] : []
    })
    if (found.length < publicKeys.length) return undefined
    refuseForeign(publicKeys, exits, requester)
    return found
  }

  /**
   * The next free index: a consensus node a moment behind does not count a deposit that the logs may have already, where they are
   * followed. Undefined while either node is away or not in step, and what is asked for is all there, in one row.
   */
  async function findStart(publicKeys: readonly Uint8Array[], requester: Requester): Promise<number | undefined> {
    try {
      const [predicted, counted = 0] = await Promise.all([chain.registry.nextIndex(), registry.countIfBegun()])
      return Math.max(predicted, counted)
    } catch (error) {
      if ((await findAll(publicKeys, undefined, requester)) !== undefined) return undefined
      throw error instanceof ApiError || error instanceof DatabaseError ? error : consensusAway(error)
    }
  }

  /** Keys that are none, where new ones may be asked for, or that another vault has; returns what is known of the others. */
  async function refuseNotTheirs(
    publicKeys: readonly Uint8Array[],
    requester: Requester,
  ): Promise<ReadonlyMap<string, ValidatorRow>> {
    const known = byKey(await findValidators(db, publicKeys))
    const { vaults, mayHaveUnowned } = requester
    // Where keys that nobody knows are refused whatever they are, below or for want of a threshold, none is parsed: a request has a thousand.
    const isForNew = thresholdOf(undefined) !== undefined && (vaults === undefined || mayHaveUnowned)
    const fresh = isForNew ? publicKeys.filter((key) => !known.has(toHex(key))) : []
    const isPoint = await crypto.arePublicKeys(fresh)
    const invalid = new Set<string>(fresh.filter((_, position) => isPoint[position] !== true).map(toHex))
    refuseItems('PUBLIC_KEY_INVALID', 'some public keys are not points of the group', publicKeys, (key) =>
      invalid.has(toHex(key)) ? 'PUBLIC_KEY_INVALID' : undefined,
    )
    // Before what would tell strangers which keys there are.
    refuseForeign(publicKeys, known, requester)
    return known
  }

  /** Keys that must not get an exit at all, told apart before anything is written. */
  async function refuseUnusable(publicKeys: readonly Uint8Array[], requester: Requester): Promise<void> {
    const known = await refuseNotTheirs(publicKeys, requester)
    refuseItems(
      'THRESHOLD_UNKNOWN',
      'no imported cluster lock and no SSV cluster covers some keys and SIGNATURE_THRESHOLD is not set',
      publicKeys,
      (key) => (thresholdOf(known.get(toHex(key))) === undefined ? 'THRESHOLD_UNKNOWN' : undefined),
    )
    const onChain = await chain.registry.knownKeys(publicKeys).catch((error: unknown) => {
      throw consensusAway(error)
    })
    refuseItems(
      'VALIDATOR_KNOWN',
      'the beacon chain knows some of these public keys already',
      publicKeys,
      (_, position) => (onChain[position] === true ? 'VALIDATOR_KNOWN' : undefined),
    )
  }

  /** Before anything is written: how many exits are to be made anew. @throws {ApiError} RATE_LIMIT */
  async function refuseTooMany(publicKeys: readonly Uint8Array[], start: number, { name }: Requester): Promise<void> {
    const exits = byKey(await findExits(db, publicKeys))
    const fresh = publicKeys.filter((key, position) => exits.get(toHex(key))?.validatorIndex !== start + position)
    messageRate.assert(name, fresh.length)
  }

  /** Decides about every key in one transaction. */
  async function assign(publicKeys: readonly Uint8Array[], start: number, requester: Requester): Promise<void> {
    const counts = await db.transaction(async (tx) => {
      await insertValidators(tx, publicKeys)
      const validators = byKey(await lockValidators(tx, publicKeys))
      // Asked again now that nobody can reserve them, and not by the statement that waited for that: a vault may just have been given some.
      const now = byKey(await findValidators(tx, publicKeys))
      refuseForeign(publicKeys, now, requester)
      const wanted = publicKeys.map((publicKey, position) => {
        const validator = validators.get(toHex(publicKey))
        const threshold = thresholdOf(validator)
        if (validator === undefined || threshold === undefined)
          throw new Error('a validator that was just locked is not there')
        return {
          validatorId: validator.id,
          publicKey,
          threshold,
          validatorIndex: start + position,
          requester: requesterOf(requester, now.get(toHex(publicKey))?.owner),
        }
      })
      const assigned = await assignExits(tx, config, wanted, start)
      await announceMessages(tx, assigned.changed)
      return assigned
    })
    if (counts.changed.length > 0) announced()
    if (counts.created + counts.revived > 0) events.exitsRequested(counts, requester.name)
  }

  /** Notes that somebody still asks for these exits. */
  async function touch(exits: readonly ExitRow[], requester: Requester): Promise<void> {
    const old = exits.filter((exit) => exit.idleSeconds > validatorLifetimeSeconds / TOUCH_FRACTION)
    await touchMessages(
      db,
      old.map(({ id, owner, requester: before }) => ({
        id,
        requester: nameAfter(before, requesterOf(requester, owner)),
      })),
    )
  }

  return {
    /**
     * The live exits of these keys at consecutive indexes from the network's next free one, in the order of the request.
     *
     * @throws {ApiError} for keys that cannot get one; nothing is changed then
     */
    async request(publicKeys: readonly Uint8Array[], requester: Requester): Promise<RequestedExit[]> {
      refuseDuplicates(publicKeys)
      // Before any node is asked: who asks for what is not its own again and again costs others little.
      if (requester.vaults !== undefined) await refuseNotTheirs(publicKeys, requester)
      const start = await findStart(publicKeys, requester)
      let exits = await findAll(publicKeys, start, requester)
      if (exits !== undefined) await touch(exits, requester)
      else if (start !== undefined) {
        await refuseUnusable(publicKeys, requester)
        await refuseTooMany(publicKeys, start, requester)
        await assign(publicKeys, start, requester)
        exits = await findAll(publicKeys, start, requester)
      }
      if (exits === undefined)
        throw new ApiError('EXIT_TAKEN', 'another request for the same keys came in between; ask again')
      return exits.map(({ id }) => ({ messageId: id }))
    },
  }
}
export type Exits = ReturnType<typeof createExits>

const consensusAway = (cause: unknown) =>
  new ApiError('DEPENDENCY_AWAY', 'the consensus node is away or not in step, so no validator index can be assigned', {
    cause,
  })

/**
 * Asked at every poll: a token may have been bound anew, or a vault given a key, since its exits were made. Another vault's key, one of no
 * vault and one that nobody knows are refused alike: what is here of others is not told.
 *
 * @throws {ApiError} TOKEN_BINDING
 */
function refuseForeign(
  publicKeys: readonly Uint8Array[],
  known: ReadonlyMap<string, Pick<ValidatorRow, 'owner'>>,
  { vaults, mayHaveUnowned }: Requester,
): void {
  if (vaults === undefined) return
  const isAllowed = (vault: Uint8Array | null | undefined) =>
    vault === null || vault === undefined ? mayHaveUnowned : vaults.some((bound) => equalBytes(bound, vault))
  refuseItems(
    'TOKEN_BINDING',
    'some keys are not known as those of a vault this token is bound to: a cluster lock, PUBLIC_KEYS_FILE or a signed deposit says whose a key is',
    publicKeys,
    (key) => (isAllowed(known.get(toHex(key))?.owner) ? undefined : 'TOKEN_BINDING'),
  )
}
