/**
 * A vault's exit signatures on chain: what is final, and which rotations final updates have ended.
 *
 * One checkpoint a vault says up to which nonce this is done. It moves on in the transaction that ends the rotations, so every update
 * counts once, whatever is killed when.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { BlockRef } from '@dvt-relayer/chain/execution/execution.ts'
import { findFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import {
  type ExitSignaturesUpdate,
  findUpdates,
  readExitSignaturesNonce,
  readMinOracles,
} from '@dvt-relayer/chain/stakewise/keeper-updates.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { completeRotations, voidOvertaken } from '@dvt-relayer/db/queries/rotations.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { showRenewed } from '../oracles/show-again.ts'

/** A vault as the chain has it. */
export interface VaultView {
  latest: BlockRef
  /** Hash of the newest final block that no node contradicts. */
  finalHash: string
  /** `exitSignaturesNonces(vault)` at the newest block, and at the newest final one. */
  latestNonce: number
  finalNonce: number
  /** `validatorsMinOracles()` at the newest block. */
  needed: number
  /** Block of the vault's last final update; 0 where there is none. */
  sinceBlock: number
}

const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const stored = Compile(Type.Object({ nonce: whole, block_number: whole }))
const checkpointOf = (vault: Uint8Array) => `exit_signatures:${toHex(vault)}`

/** Creates the part of the service that looks at the chain. */
export function createRotationUpdates({
  config: { network },
  db,
  chain: { execution },
  events,
}: Pick<Context, 'db'> & {
  config: Pick<Context['config'], 'network'>
  chain: Pick<Context['chain'], 'execution'>
  events: Pick<Context['events'], 'rotationEnded'>
}) {
  /** What is noted, and the updates that have become final since. */
  async function findNews(vault: Uint8Array, finalNonce: number, toBlock: number, signal: AbortSignal) {
    const checkpoint = await findCheckpoint(db, checkpointOf(vault))
    const noted = stored.Check(checkpoint) ? checkpoint : undefined
    // What is final stays so. Noting less would have updates looked for where they are not.
    if (noted !== undefined && finalNonce < noted.nonce) throw behind()
    // Before anything was noted no rotation was opened: only where the last update stands matters then.
    const count = noted === undefined ? Math.min(1, finalNonce) : finalNonce - noted.nonce
    if (count <= 0) return { noted, updates: [] }
    const fromBlock = Math.max(network.keeperBlock, noted?.block_number ?? 0)
    const scan = { vault, fromBlock, toBlock, count, signal }
    // An answer that lacks one may hold an older one in its place, such as the last that was noted.
    const isWhole = (found: readonly ExitSignaturesUpdate[]) =>
      found.length === count && found.every(({ nonce }, position) => nonce === BigInt(finalNonce - count + position))
    const updates = await findUpdates(execution, network, scan)
    if (isWhole(updates)) return { noted, updates }
    const { host } = execution
    // What one node leaves out another one has, as a rule; the Keeper's own count tells who has all.
    for (const node of execution.each) {
      const others = await findUpdates(node, network, scan).catch(() => [])
      signal.throwIfAborted()
      if (isWhole(others)) return { noted, updates: others }
    }
    throw new ChainError(
      'EXECUTION_INVALID',
      `the execution node at ${host} does not have all of the last ${count} updates of a vault's exit signatures: it has ${updates.length}, of nonce ${updates.map(({ nonce }) => nonce).join(', ') || 'none'}, up to ${finalNonce - 1}`,
    )
  }

  const behind = () =>
    new ChainError(
      'EXECUTION_INVALID',
      `the execution node at ${execution.host} is behind: it knows fewer updates of a vault than were final before`,
    )

  async function look(vault: Uint8Array, signal: AbortSignal) {
    // What is noted of it never goes back: no node alone may say which block is final.
    const [final, latest] = await Promise.all([
      findFinalBlock(execution, network, signal),
      execution.getBlock('latest', signal),
    ])
    if (final === undefined || latest === undefined)
      throw new ApiError('DEPENDENCY_AWAY', 'the execution node does not say yet which block is final')
    const [finalNonce, latestNonce, needed] = await Promise.all([
      readExitSignaturesNonce(execution, network, vault, final.hash, signal),
      readExitSignaturesNonce(execution, network, vault, latest.hash, signal),
      readMinOracles(execution, network, latest.hash, signal),
    ])
    if (latestNonce < finalNonce) throw behind()
    const { noted, updates } = await findNews(vault, finalNonce, final.number, signal)
    const sinceBlock = updates.at(-1)?.blockNumber ?? noted?.block_number ?? 0
    return { view: { latest, finalHash: final.hash, latestNonce, finalNonce, needed, sinceBlock }, noted, updates }
  }

  return {
    /** Looks, and changes nothing. */
    look: async (vault: Uint8Array, signal: AbortSignal): Promise<VaultView> => (await look(vault, signal)).view,

    /** Looks, and ends the rotations that have come to their end. */
    async settle(vault: Uint8Array, signal: AbortSignal): Promise<VaultView> {
      const { view, noted, updates } = await look(vault, signal)
      if (noted?.nonce === view.finalNonce) return view
      const ended = await db.transaction(async (tx) => {
        const ipfsHashes = updates.map(({ ipfsHash }) => ipfsHash)
        const done = await completeRotations(tx, { vault, from: noted?.nonce ?? 0, to: view.finalNonce, ipfsHashes })
        const overtaken = await voidOvertaken(tx, vault, view.finalNonce)
        await storeCheckpoint(tx, checkpointOf(vault), { nonce: view.finalNonce, block_number: view.sinceBlock })
        if (done > 0) await showRenewed(tx, vault)
        return { done, overtaken }
      })
      if (ended.done > 0) events.rotationEnded('done', vault, ended.done, 'the update is final')
      if (ended.overtaken > 0)
        events.rotationEnded('void', vault, ended.overtaken, 'another update of the vault was final first')
      return view
    },
  }
}
