/** A vault's rotation as the database has it, for who asks. */

import type { RotationResponse } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { RotationStateRow } from '@dvt-relayer/db/queries/rotations.ts'
import { findNewestRotation, findRotationContent, findWantedExits } from '@dvt-relayer/db/queries/rotations.ts'
import type { Context } from '../../context.ts'
import { describeCurrentSet } from '../beacon-status/vaults.ts'
import { ROTATION_REQUESTER } from '../exits/assign.ts'

/** The open rotation with its validators, or those whose exits are wanted for one; and the last that ended. */
export async function findRotationState(db: Context['db'], vault: Uint8Array): Promise<RotationResponse> {
  const newest = await findNewestRotation(db, vault)
  const open = newest?.state === 'open' ? newest : undefined
  const validators =
    open === undefined
      ? await findWantedExits(db, vault, ROTATION_REQUESTER)
      : (await findRotationContent(db, open.id)).map((row) => ({ ...row, hasShares: true }))
  return {
    vault: checksumAddress(vault),
    state: stateOf(open, validators.length),
    oracle_set: await describeCurrentSet(db),
    validators: validators.map((row) => ({
      public_key: toHex(row.publicKey),
      validator_index: row.validatorIndex,
      state: row.hasShares ? 'ready' : 'collecting',
    })),
    nonce: open?.nonce ?? null,
    ipfs_hash: open?.ipfsHash ?? null,
    transaction_hash: hexOrNull(open?.transactionHash),
    last: newest === undefined ? null : lastOf(newest),
  }
}

function stateOf(open: RotationStateRow | undefined, wanted: number): RotationResponse['state'] {
  if (open === undefined) return wanted > 0 ? 'collecting' : 'idle'
  return open.transactionHash === null ? 'prepared' : 'sent'
}

function lastOf({ state, nonce, ipfsHash, transactionHash, endedAt }: RotationStateRow): RotationResponse['last'] {
  if (state === 'open' || endedAt === null) return null
  return {
    state,
    nonce,
    ipfs_hash: ipfsHash,
    transaction_hash: hexOrNull(transactionHash),
    ended_at_timestamp: endedAt,
  }
}

const hexOrNull = (bytes: Uint8Array | null | undefined) => (bytes == null ? null : toHex(bytes))
