/**
 * Live messages for validators, decided inside the caller's transaction: kept, revived, replaced or made. The caller holds the rows
 * of the validators, so neither two requests nor two processes ever make two live messages of a kind for one key.
 */

import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { DepositRow, ExitRow } from '@dvt-relayer/db/queries/messages/messages.ts'
import {
  countLiveExits,
  findDeposits,
  findExits,
  insertDeposits,
  insertExits,
  reviveMessages,
  supersedeMessages,
  touchMessages,
} from '@dvt-relayer/db/queries/messages/messages.ts'
import { ROTATION_REQUESTER } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { RelayerConfig } from '../../config.ts'
import { ApiError, refuseItems } from '../../errors.ts'

/** What was done; `changed` are the messages to announce. */
interface Assigned {
  created: number
  superseded: number
  revived: number
  changed: number[]
}

/** A locked validator that is to have a message, and who asks for that. */
interface Wanted {
  validatorId: number
  publicKey: Uint8Array
  threshold: number
  requester: string | null
}
interface WantedExit extends Wanted {
  validatorIndex: number
}
interface WantedDeposit extends Wanted {
  vault: Uint8Array
  amountGwei: number
  validatorType: '0x01' | '0x02'
}

export { ROTATION_REQUESTER }

/** Signing roots computed in one go: a millisecond of the event loop. */
const HASHED_AT_ONCE = 128

type AssignConfig = Pick<RelayerConfig, 'network' | 'limits' | 'validatorLifetimeSeconds'>

/**
 * Who asks is a vault, whatever the name of its token and however many tokens it has: the key's, where the caller may act for that, or
 * the caller's only one. Names of tokens, which earlier versions put here, have no colon.
 */
export const requesterOfVault = (vault: Uint8Array): string => `vault:${toHex(vault)}`
const isVault = (requester: string | null) => requester?.startsWith('vault:') === true
/** All whose tokens are for several vaults or for any: they may do the same things, so they are one. */
export const MANY_VAULTS = 'vaults:'

/** The requester of a key: null where no tokens are set. `owner` is the vault that alone may have the key, where one is known. */
export function requesterOf(
  { name, vaults }: { name: string | null; vaults: readonly Uint8Array[] | undefined },
  owner: Uint8Array | null | undefined,
): string | null {
  if (name === null) return null
  if (vaults === undefined) return MANY_VAULTS
  if (owner !== null && owner !== undefined) return requesterOfVault(owner)
  const [only, ...others] = new Set(vaults.map(requesterOfVault))
  return only !== undefined && others.length === 0 ? only : MANY_VAULTS
}

/** The name that a message gets with a request: who asks for many vaults or for none takes no vault's name away. */
export const nameAfter = (before: string | null, requester: string | null): string | null =>
  requester === MANY_VAULTS && isVault(before) ? null : requester

/** Whether nobody has asked for a message for so long that anybody may. */
export const isLapsed = (message: { state: string; idleSeconds: number }, config: AssignConfig): boolean =>
  message.state === 'expired' || message.idleSeconds > config.validatorLifetimeSeconds

/**
 * Who may ask for a key was decided by its owner and by tokens before, never by who came first. Of those who may, who asks for a vault goes
 * before who asks for many or for none: these do not move a vault's live exit to another index, for two that wait for different ones would
 * wait for ever. It is the vault's until it has lapsed, or its index is below the next free one.
 */
function isTaken(exit: ExitRow, wantedIndex: number, start: number, requester: string | null, config: AssignConfig) {
  if (requester !== null && requester !== MANY_VAULTS) return false
  if (isLapsed(exit, config) || exit.validatorIndex < start) return false
  return isVault(exit.requester) && exit.validatorIndex !== wantedIndex
}

/**
 * Gives each validator its live exit at its index. `start` is the next free index.
 *
 * @throws {ApiError} EXIT_TAKEN, TOO_MANY_EXITS: the transaction must not be committed then
 */
export async function assignExits(
  tx: Sql,
  config: AssignConfig,
  wanted: readonly WantedExit[],
  start: number,
): Promise<Assigned> {
  const { network, limits } = config
  const epoch = network.capellaEpoch
  const exits = byKey(
    await findExits(
      tx,
      wanted.map(({ publicKey }) => publicKey),
    ),
  )
  refuseItems('EXIT_TAKEN', 'some keys have a live exit that another requester asked for', wanted, (item) => {
    const exit = exits.get(toHex(item.publicKey))
    return exit !== undefined && isTaken(exit, item.validatorIndex, start, item.requester, config)
      ? 'EXIT_TAKEN'
      : undefined
  })
  const plan = planOf(wanted, exits, (item, exit) => exit.validatorIndex === item.validatorIndex)
  const assigned = await carryOut(tx, plan, async (fresh) => {
    const made = await mapInPieces(fresh, HASHED_AT_ONCE, ({ validatorId, validatorIndex, threshold, requester }) => {
      const signingRoot = exitSigningRoot(network, { epoch, validatorIndex })
      return { validatorId, validatorIndex, epoch, signingRoot, threshold, requester }
    })
    return insertExits(tx, made)
  })
  // Counted when all is done: a replaced exit may have expired or have been another's, and a revived one counts again.
  // Rotations ask for validators that are registered alone, and for some batches at a time.
  const limited = new Set(assigned.created + assigned.revived > 0 ? wanted.map(({ requester }) => requester) : [])
  limited.delete(ROTATION_REQUESTER)
  for (const requester of limited)
    if ((await countLiveExits(tx, requester)) > limits.openExits)
      throw new ApiError(
        'TOO_MANY_EXITS',
        `at most ${limits.openExits} live exits for one requester; wait until some are registered or expire`,
      )
  return assigned
}

/** Gives each validator its live deposit to its vault, of its amount and type. */
export async function assignDeposits(
  tx: Sql,
  config: AssignConfig,
  wanted: readonly WantedDeposit[],
): Promise<Assigned> {
  const deposits = byKey(
    await findDeposits(
      tx,
      wanted.map(({ publicKey }) => publicKey),
    ),
  )
  const plan = planOf(wanted, deposits, isSameDeposit)
  return carryOut(tx, plan, async (fresh) => {
    const made = await mapInPieces(fresh, HASHED_AT_ONCE, (item) => {
      const { validatorId, publicKey, threshold, requester, vault, amountGwei, validatorType } = item
      const signingRoot = depositSigningRoot(config.network, {
        publicKey,
        withdrawalCredentials: withdrawalCredentials(validatorType, vault),
        amountGwei: BigInt(amountGwei),
      })
      return { validatorId, vault, amountGwei, validatorType, signingRoot, threshold, requester }
    })
    return insertDeposits(tx, made)
  })
}

/** Whether a deposit is the one that is wanted. */
export const isSameDeposit = (
  { vault, amountGwei, validatorType }: Pick<WantedDeposit, 'vault' | 'amountGwei' | 'validatorType'>,
  deposit: DepositRow,
): boolean =>
  equalBytes(deposit.vault, vault) && deposit.amountGwei === amountGwei && deposit.validatorType === validatorType

interface Planned<W> {
  item: W
  action: 'create' | 'replace' | 'revive' | 'keep'
  messageId: number | undefined
  /** What the message is to be asked for by; null leaves it as it is. */
  requester: string | null
}

function planOf<W extends Wanted, M extends { id: number; state: string; requester: string | null }>(
  wanted: readonly W[],
  messages: ReadonlyMap<string, M>,
  isSame: (item: W, message: M) => boolean,
): Planned<W>[] {
  return wanted.map((item): Planned<W> => {
    const message = messages.get(toHex(item.publicKey))
    const requester = nameAfter(message?.requester ?? null, item.requester)
    if (message === undefined) return { item, action: 'create', messageId: undefined, requester }
    if (!isSame(item, message)) return { item, action: 'replace', messageId: message.id, requester }
    return { item, action: message.state === 'expired' ? 'revive' : 'keep', messageId: message.id, requester }
  })
}

async function carryOut<W>(
  tx: Sql,
  plan: readonly Planned<W>[],
  insert: (fresh: W[]) => Promise<number[]>,
): Promise<Assigned> {
  const askedOf = (...actions: Planned<W>['action'][]) =>
    plan.flatMap(({ action, messageId: id, requester }) =>
      actions.includes(action) && id !== undefined ? [{ id, requester }] : [],
    )
  const idsOf = (...actions: Planned<W>['action'][]) => askedOf(...actions).map(({ id }) => id)
  await lockMessages(tx, idsOf('keep', 'revive', 'replace'))
  await supersedeMessages(tx, idsOf('replace'))
  await touchMessages(tx, askedOf('keep'))
  await reviveMessages(tx, askedOf('revive'))
  const created = await insert(
    plan.flatMap(({ action, item }) => (action === 'create' || action === 'replace' ? [item] : [])),
  )
  return {
    created: created.length,
    superseded: idsOf('replace').length,
    revived: idsOf('revive').length,
    changed: [...created, ...idsOf('replace', 'revive')],
  }
}

/** Rows by the hex of their public key. */
export function byKey<T extends { publicKey: Uint8Array }>(rows: readonly T[]): Map<string, T> {
  return new Map(rows.map((row) => [toHex(row.publicKey), row]))
}
