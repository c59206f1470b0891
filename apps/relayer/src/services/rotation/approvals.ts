/** Approvals: what an open rotation hands in, asked of every oracle, and the calldata that enough equal answers make. */

import { joinSignatures } from '@dvt-relayer/chain/stakewise/keeper-approvals.ts'
import { encodeUpdate, isAccepted } from '@dvt-relayer/chain/stakewise/keeper-updates.ts'
import { slices } from '@dvt-relayer/common/hex.ts'
import type { RotationContentRow, RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import {
  approveRotation,
  findRotationContent,
  insertRotation,
  voidRotation,
} from '@dvt-relayer/db/queries/rotations.ts'
import type { Context } from '../../context.ts'
import type { Approval } from './next-step.ts'
import { askApprovals, type RotationOracles } from './oracles.ts'
import type { VaultView } from './updates.ts'

const PUBLIC_KEY_BYTES = 48
const CIPHERTEXT_BYTES = 193

/** Creates the part of the service that asks for approvals. */
export function createRotationApprovals({
  config: { network },
  db,
  chain: { execution },
  events,
}: Pick<Context, 'config' | 'db' | 'chain' | 'events'>) {
  /**
   * Notes what was approved. Oracles that come to another hash of the same shares than before make it another rotation: calldata with
   * the earlier hash may have been handed out, and its end must be known when it comes.
   */
  async function note(vault: Uint8Array, row: RotationRow, ipfsHash: string, content: readonly RotationContentRow[]) {
    if (await approveRotation(db, row.id, ipfsHash)) return row.id
    return db.transaction(async (tx) => {
      await voidRotation(tx, row.id)
      const rotation = { vault, oracleSetId: row.oracleSetId, nonce: row.nonce, ipfsHash }
      return insertRotation(
        tx,
        rotation,
        content.map(({ messageId: id }) => id),
      )
    })
  }

  return {
    /** What a rotation hands in; undefined when some of it is gone. */
    async findContent(row: RotationRow): Promise<readonly RotationContentRow[] | undefined> {
      const content = await findRotationContent(db, row.id)
      const isWhole = content.length > 0 && content.every(({ publicKeyShares: shares }) => shares !== null)
      return isWhole ? content : undefined
    },

    /**
     * Asks every oracle once, with a new deadline. The shares are the stored ones, so that the content, and with it its hash, is the
     * same whenever and by whomever it is asked.
     */
    async ask(
      rotation: { vault: Uint8Array; row: RotationRow; content: readonly RotationContentRow[] },
      oracles: RotationOracles,
      { needed, latest: { timestamp } }: VaultView,
      signal: AbortSignal,
    ): Promise<Approval> {
      const { vault, row, content } = rotation
      if (oracles.validitySeconds === undefined) return { step: 'no_validity' }
      // The Keeper goes by the time of blocks, which a slow clock here must not fall behind.
      const deadline = Math.max(Math.floor(Date.now() / 1000), timestamp) + oracles.validitySeconds
      const request = {
        vault,
        publicKeys: content.map(({ publicKey: key }) => key),
        publicKeyShares: content.map(({ publicKeyShares: all }) => slicesOf(all, PUBLIC_KEY_BYTES)),
        encryptedExitShares: content.map(({ ciphertexts }) => slicesOf(ciphertexts, CIPHERTEXT_BYTES)),
        deadline,
        nonce: row.nonce,
      }
      const { ipfsHash, signatures } = await askApprovals(oracles, request, needed, events, signal)
      if (signatures.length < needed)
        return { step: 'unapproved', approvals: signatures.length, needed, oracles: oracles.oracles.length }
      const data = await encodeUpdate({ vault, deadline, ipfsHash, signatures: joinSignatures(signatures, needed) })
      const latest = await execution.getBlock('latest', signal)
      if (latest === undefined || !(await isAccepted(execution, network, data, latest.hash, signal)))
        return { step: 'refused' }
      const rotationId = await note(vault, row, ipfsHash, content)
      if (rotationId === undefined) return { step: 'refused' }
      const validators = content.map(({ publicKey, validatorIndex }) => ({
        publicKey,
        validatorIndex,
      }))
      return { step: 'approved', rotationId, update: { data, deadline, nonce: row.nonce, ipfsHash, validators } }
    },
  }
}

const slicesOf = (bytes: Uint8Array | null, length: number) => slices(bytes ?? new Uint8Array(), length)
