/**
 * The exits of a rotation: which validators may be renewed, and a live exit at its real index for each of them. Sidecars sign what is
 * missing, and the workers split it for the current oracle set, as with every other exit.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { findValidators, lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import { findRotationExits, insertRotation, markOutdated } from '@dvt-relayer/db/queries/rotations.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'
import { assignExits, byKey, ROTATION_REQUESTER } from '../exits/assign.ts'

/** How long those that are ready wait for those that are not. */
const PATIENCE_SECONDS = 600
/** Indexes that are looked up at once: more than a batch has. */
const INDEXES_AT_ONCE = 500
/** An exit is wanted of who can still leave: what waits for its activation may wait longer than the oracles do. */
const CAN_LEAVE: readonly string[] = ['pending_initialized', 'pending_queued', 'active_ongoing']

/** A validator whose shares are to be renewed. */
export interface Renewed {
  /** 48 bytes. */
  publicKey: Uint8Array
  /** Its index on the beacon chain. */
  validatorIndex: number
  threshold: number
}

/** One exit of a rotation and whether its shares are there. */
export interface RotationExit extends Renewed {
  /** Undefined: there is no exit of it at its index yet. */
  messageId: number | undefined
  /** `ready`: split for the current oracle set; `kept`: signed and to be split; `collecting`: to be signed by the nodes. */
  state: 'ready' | 'kept' | 'collecting'
  /** Whether it was handed in for the current oracle set within the last day, and that is final. */
  isDone: boolean
}

const waiting = Compile(Type.Object({ oracle_set_id: Type.Integer(), since: Type.Integer() }))
const checkpointOf = (vault: Uint8Array) => `rotation:${toHex(vault)}`

type Needs = Pick<Context, 'config' | 'db' | 'chain' | 'events'>

/** Creates the part of the service that has to do with exits. */
export function createRotationExits(context: Needs) {
  const { config, db, events } = context

  /** How far the exits of these validators are under an oracle set, in their order. */
  async function findExits(renewed: readonly Renewed[], oracleSetId: number): Promise<RotationExit[]> {
    const found = byKey(await findRotationExits(db, renewed, { epoch: config.network.capellaEpoch, oracleSetId }))
    return renewed.map((validator) => {
      const row = found.get(toHex(validator.publicKey))
      const state = row?.hasShares ? 'ready' : row?.hasSignature ? 'kept' : 'collecting'
      return { ...validator, messageId: row?.messageId, state, isDone: row?.isDone ?? false }
    })
  }

  /** Gives each of these validators a live exit at its index, so that nodes sign it and workers split it; keeps those there are. */
  async function want(missing: readonly Renewed[], oracleSetId: number): Promise<void> {
    if (missing.length === 0) return
    const counts = await db.transaction(async (tx) => {
      const locked = byKey(
        await lockValidators(
          tx,
          missing.map(({ publicKey }) => publicKey),
        ),
      )
      const wanted = missing.flatMap(({ publicKey, validatorIndex, threshold }) => {
        const row = locked.get(toHex(publicKey))
        return row === undefined
          ? []
          : [
              {
                validatorId: row.id,
                publicKey,
                validatorIndex,
                threshold: row.threshold ?? threshold,
                requester: ROTATION_REQUESTER,
              },
            ]
      })
      // Else what is collected now would count as done, and be erased where exits are not kept.
      await markOutdated(
        tx,
        wanted.map(({ validatorId }) => validatorId),
        oracleSetId,
      )
      const assigned = await assignExits(tx, config, wanted, 0)
      await announceMessages(tx, assigned.changed)
      return assigned
    })
    if (counts.created + counts.revived > 0) events.exitsRequested(counts, ROTATION_REQUESTER)
  }

  return {
    /**
     * The first validators at these indexes, at most `limit`, that can leave, are final and ours; and how many of those looked at are
     * not.
     */
    findRenewable: (vault: Uint8Array, indexes: readonly number[], limit: number) =>
      findRenewable(context, vault, indexes, limit),
    findExits,
    want,

    /** Whether those that are missing have been waited for long enough; the first to ask begins the wait. */
    async isPatienceOver(vault: Uint8Array, oracleSetId: number): Promise<boolean> {
      const stored = await findCheckpoint(db, checkpointOf(vault))
      const now = Math.floor(Date.now() / 1000)
      if (waiting.Check(stored) && stored.oracle_set_id === oracleSetId) return now - stored.since > PATIENCE_SECONDS
      await storeCheckpoint(db, checkpointOf(vault), { oracle_set_id: oracleSetId, since: now })
      return false
    },

    /** Opens the rotation of these exits and ends the wait; nothing where the vault has an open one. */
    async open(
      rotation: { vault: Uint8Array; oracleSetId: number; nonce: number },
      ready: readonly RotationExit[],
    ): Promise<void> {
      const messageIds = ready.flatMap(({ messageId }) => (messageId === undefined ? [] : [messageId]))
      const id = await db.transaction(async (tx) => {
        await storeCheckpoint(tx, checkpointOf(rotation.vault), {})
        return insertRotation(tx, { ...rotation, ipfsHash: null }, messageIds)
      })
      if (id !== undefined) events.rotationOpened(rotation.vault, messageIds.length, rotation.nonce)
    },
  }
}
export type RotationExits = ReturnType<typeof createRotationExits>

/** Of a vault's validators at these indexes those that can leave, are final and ours, in their order. */
async function findFit(
  { config, db, chain }: Needs,
  vault: Uint8Array,
  indexes: readonly number[],
): Promise<Renewed[]> {
  const credentials = new Set<string>(
    (['0x01', '0x02'] as const).map((type) => toHex(withdrawalCredentials(type, vault))),
  )
  const isFit = ({ status, withdrawalCredentials: own }: ChainValidator) =>
    CAN_LEAVE.includes(status) && credentials.has(own)
  const atHead = [...(await chain.registry.findByIndex(indexes)).values()].filter(isFit)
  const keys = atHead.map(({ publicKey }) => fromHex(publicKey, 48))
  const final = await chain.registry.findFinalized(keys, await chain.registry.finalizedRoot())
  const known = byKey(await findValidators(db, keys))
  const fit = atHead.flatMap(({ publicKey, index: validatorIndex }): Renewed[] => {
    const threshold = known.get(publicKey)?.threshold ?? config.clusters.signatureThreshold
    if (!known.has(publicKey) || threshold === undefined || final.get(publicKey)?.index !== validatorIndex) return []
    return [{ publicKey: fromHex(publicKey, 48), validatorIndex, threshold }]
  })
  return fit.sort((a, b) => a.validatorIndex - b.validatorIndex)
}

async function findRenewable(context: Needs, vault: Uint8Array, indexes: readonly number[], limit: number) {
  const renewable: Renewed[] = []
  let leftOut = 0
  for (let from = 0; from < indexes.length && renewable.length < limit; from += INDEXES_AT_ONCE) {
    const asked = indexes.slice(from, from + INDEXES_AT_ONCE)
    const fit = await findFit(context, vault, asked)
    renewable.push(...fit)
    leftOut += asked.length - fit.length
  }
  return { renewable: renewable.slice(0, limit), leftOut }
}
