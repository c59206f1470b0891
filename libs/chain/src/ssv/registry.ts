/**
 * What the events of the SSV network contract amount to: the live registrations of validators, by owner and validator key
 * (docs/protocol.md#12-ssv).
 *
 * A state is a value: applying a range of events makes a new one and leaves the old one as it was. So whoever keeps the state of
 * the last finalized block can apply what is not final yet to it, and drop the result when the chain changes.
 */

import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { type BlsEngine, SIGNATURE_BYTES } from '@dvt-relayer/crypto/bls/bls.ts'
import { operatorKeyFingerprint } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import {
  parseSharesData,
  type SharesData,
  type SharesFault,
  type SharesFaultKind,
  verifyOwnerSignature,
  verifyShares,
} from '@dvt-relayer/crypto/ssv/shares.ts'
import type { SsvEventRange, ValidatorAdded } from './events.ts'

/** Which events matter. A state is of one scope only: another one has to be built from the contract's first block. */
export interface SsvScope {
  /** The SSV network contract, 20 bytes, and its first block. */
  contract: { readonly address: Uint8Array; readonly block: number }
  /** The owners whose events count, 20 bytes each; undefined: everybody's. */
  owners: readonly Uint8Array[] | undefined
  /**
   * Only registrations with one of these operators are kept, named by id or, where it is not known yet, by public key (as
   * `parseOperatorPublicKey` gives it); undefined: all, and each costs its verification.
   */
  operators: { readonly ids: readonly number[]; readonly publicKeys: readonly Uint8Array[] } | undefined
}

/** One live registration; everything in it is verified but the ciphertexts. */
export interface SsvRegistration {
  /** 20 bytes. */
  owner: Uint8Array
  ownerNonce: number
  /** The validator's, 48 bytes. */
  publicKey: Uint8Array
  blockNumber: number
  logIndex: number
  data: SharesData
}

export type SsvFaultKind =
  | SharesFaultKind
  /** An `OperatorAdded` without an RSA-2048 key. */
  | 'operator_key'
  /** A log that cannot be decoded. */
  | 'undecodable'

/** Every kind of malformed event. */
export const SSV_FAULT_KINDS: readonly SsvFaultKind[] = [
  'operator_count',
  'operator_ids',
  'length',
  'point',
  'polynomial',
  'owner_signature',
  'operator_key',
  'undecodable',
]

/** A registration whose validator key has signed a later nonce than was counted. */
export interface SsvGap {
  readonly blockNumber: number
  readonly logIndex: number
  /** Registrations of the owner before it, as far as they are known. */
  readonly counted: number
  /** The nonce that was signed. */
  readonly signed: number
}

/** All that is known after the events of the blocks before `nextBlock`. */
export interface SsvState {
  /** The first block whose events are not in here. */
  readonly nextBlock: number
  /** `operatorKeyFingerprint` of each operator's key, by id: of all operators, whatever the scope. */
  readonly operators: ReadonlyMap<number, string>
  /** How many `ValidatorAdded` events each owner has, by address in lower-case hex. */
  readonly nonces: ReadonlyMap<string, number>
  /** The newest gap of each owner, by address in lower-case hex; a later registration with the nonce that is counted closes it. */
  readonly gaps: ReadonlyMap<string, SsvGap>
  /** By owner and validator key. */
  readonly live: ReadonlyMap<string, SsvRegistration>
  /** A block that may have an event which nobody could show yet: it does not pass unproven, however old it gets. */
  readonly doubtful?: number | undefined
  /** Events of the scope that were skipped, by kind. */
  readonly malformed: Readonly<Record<SsvFaultKind, number>>
}

/** What a range of events has changed, in its order. `reason` completes "the shares …". */
export type SsvChange =
  | { change: 'added' | 'removed'; registration: SsvRegistration }
  | { change: 'skipped'; fault: SharesFaultKind; reason: string; event: ValidatorAdded }

/** The state before the contract's first block. */
export function emptySsvState({ contract }: Pick<SsvScope, 'contract'>): SsvState {
  const malformed = Object.fromEntries(SSV_FAULT_KINDS.map((kind) => [kind, 0])) as Record<SsvFaultKind, number>
  return {
    nextBlock: contract.block,
    operators: new Map(),
    nonces: new Map(),
    gaps: new Map(),
    live: new Map(),
    malformed,
  }
}

/** The key of `SsvState.live`. */
export const registrationKey = (owner: Uint8Array, publicKey: Uint8Array): string =>
  `${toHex(owner)}:${toHex(publicKey)}`

function judge(engine: BlsEngine, event: ValidatorAdded, ownerNonce: number): SsvRegistration | SharesFault {
  const { owner, publicKey, blockNumber, logIndex } = event
  const data = parseSharesData(event.shares, event.operatorIds)
  if ('fault' in data) return data
  const fault = verifyShares(engine, { ownerAddress: owner, nonce: ownerNonce, publicKey, data })
  return fault ?? { owner, ownerNonce, publicKey, blockNumber, logIndex, data }
}

/** What a signature of a later nonce shows. */
const OF_GAP = 'execution nodes left earlier registrations of its owner out, or the owner skipped some'
/** So many registrations may be missing before one that shows it. */
const MOST_MISSING = 16

/** The later nonce that the validator key has signed, if there is one. */
function findLaterNonce(engine: BlsEngine, event: ValidatorAdded, counted: number): number | undefined {
  const { owner: ownerAddress, publicKey, shares } = event
  const signature = shares.subarray(0, SIGNATURE_BYTES)
  for (let nonce = counted + 1; nonce <= counted + MOST_MISSING; nonce++)
    if (verifyOwnerSignature(engine, { ownerAddress, nonce, publicKey, signature })) return nonce
  return undefined
}

/**
 * Applies the next range of events. A registration of the scope is verified (about 6 ms, other work goes on between two) and skipped when
 * it is malformed; it uses up its owner's nonce all the same.
 *
 * @param range must begin at the state's next block: a gap would shift nonces, and refuse every later registration
 * @throws {TypeError} for another range
 */
export async function applySsvEvents(
  engine: BlsEngine,
  scope: SsvScope,
  state: SsvState,
  range: SsvEventRange,
): Promise<{ state: SsvState; changes: SsvChange[] }> {
  if (range.fromBlock !== state.nextBlock || range.toBlock < range.fromBlock)
    throw new TypeError(`the next block is ${state.nextBlock}, not ${range.fromBlock}`)
  const owners = scope.owners === undefined ? undefined : new Set(scope.owners.map(toHex))
  const keys = new Set(scope.operators?.publicKeys.map(operatorKeyFingerprint))
  const operators = new Map(state.operators)
  const nonces = new Map(state.nonces)
  const gaps = new Map(state.gaps)
  const live = new Map(state.live)
  const malformed = { ...state.malformed, undecodable: state.malformed.undecodable + range.undecodable }
  const changes: SsvChange[] = []
  const isOurs = (id: number) =>
    scope.operators === undefined || scope.operators.ids.includes(id) || keys.has(operators.get(id) ?? '')

  const remove = (key: string) => {
    const registration = live.get(key)
    if (registration !== undefined) changes.push({ change: 'removed', registration })
    live.delete(key)
  }
  const add = (event: ValidatorAdded, ownerNonce: number) => {
    const judged = judge(engine, event, ownerNonce)
    if ('fault' in judged) {
      malformed[judged.fault]++
      const signed = judged.fault === 'owner_signature' ? findLaterNonce(engine, event, ownerNonce) : undefined
      const { blockNumber, logIndex } = event
      if (signed !== undefined) gaps.set(toHex(event.owner), { blockNumber, logIndex, counted: ownerNonce, signed })
      const reason = signed === undefined ? judged.reason : `${judged.reason} but for nonce ${signed}: ${OF_GAP}`
      changes.push({ change: 'skipped', ...judged, reason, event })
      return
    }
    gaps.delete(toHex(event.owner))
    const key = registrationKey(event.owner, event.publicKey)
    remove(key)
    live.set(key, judged)
    changes.push({ change: 'added', registration: judged })
  }

  for (const event of range.events) {
    if (event.kind === 'operator_added') {
      if (event.publicKey === undefined) malformed.operator_key++
      else operators.set(event.operatorId, operatorKeyFingerprint(event.publicKey))
      continue
    }
    const owner = toHex(event.owner)
    if (owners?.has(owner) === false) continue
    if (event.kind === 'validator_removed') {
      remove(registrationKey(event.owner, event.publicKey))
      continue
    }
    const nonce = nonces.get(owner) ?? 0
    nonces.set(owner, nonce + 1)
    if (!event.operatorIds.some(isOurs)) continue
    add(event, nonce)
    await setImmediate()
  }
  const doubtful = (state.doubtful ?? 0) > range.toBlock ? state.doubtful : undefined
  return { state: { nextBlock: range.toBlock + 1, operators, nonces, gaps, live, doubtful, malformed }, changes }
}

const byPlace = (a: SsvRegistration, b: SsvRegistration) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex

/**
 * The live registrations, one for each validator key: where its holder has signed for two owners, the newest.
 * With a scope of operators, only those that name one of them.
 */
export function liveRegistrations({ live }: Pick<SsvState, 'live'>): SsvRegistration[] {
  const newest = new Map<string, SsvRegistration>()
  for (const registration of live.values()) {
    const key = toHex(registration.publicKey)
    const other = newest.get(key)
    if (other === undefined || byPlace(registration, other) > 0) newest.set(key, registration)
  }
  return [...newest.values()].sort(byPlace)
}

/**
 * The ids that an operator's public key (as `parseOperatorPublicKey` gives it) was added under: none, one, or several, since the contract
 * takes another spelling of a key for another key.
 */
export function operatorIdsOf({ operators }: Pick<SsvState, 'operators'>, publicKey: Uint8Array): number[] {
  const fingerprint = operatorKeyFingerprint(publicKey)
  return [...operators].flatMap(([id, other]) => (other === fingerprint ? [id] : []))
}
