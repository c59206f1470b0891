/** The locks of rotations: one process at a time at a vault, and at the wallet. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { type Locked, tryLock } from '@dvt-relayer/db/try-lock.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'

/** The lock of one vault's rotation. */
export const rotationLock = (vault: Uint8Array): string => `rotation:${toHex(vault)}`
/** The lock of the wallet: no two transactions of it may get one nonce. */
const WALLET_LOCK = 'rotation wallet'
/** How long somebody who asks waits for the process that is at it. */
const PATIENCE_MS = 8_000
const RETRY_MS = 250
/** Vaults that are worked at, each with a connection of its own to the database. */
const VAULTS_AT_ONCE = 4

/** Creates the locks of this process. */
export function createRotationLocks(db: Context['db']) {
  /** Locks that this process has or is trying for: who waits for one of them needs no connection for that. */
  const held = new Set<string>()

  async function tryHold<T>(lock: string, work: () => Promise<T>): Promise<Locked<T>> {
    if (held.has(lock)) return { isOurs: false, holder: 'this one' }
    held.add(lock)
    try {
      return await tryLock(db, lock, work)
    } finally {
      held.delete(lock)
    }
  }

  async function hold<T>(lock: string, work: () => Promise<T>, most: number): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const isFull = held.size >= most
      const locked: Locked<T> = isFull ? { isOurs: false, holder: 'this one' } : await tryHold(lock, work)
      if (locked.isOurs) return locked.value
      if (performance.now() > deadline)
        throw new ApiError('ROTATION_BUSY', `another process is at it (${locked.holder}); ask again`)
      await pause(RETRY_MS)
    }
  }

  return {
    /** Works at a vault, unless this process or another one is at it. */
    tryVault: <T>(vault: Uint8Array, work: () => Promise<T>): Promise<Locked<T>> => tryHold(rotationLock(vault), work),

    /** Works at a vault, and waits a little for who is at it. @throws {ApiError} ROTATION_BUSY */
    holdVault: <T>(vault: Uint8Array, work: () => Promise<T>): Promise<T> =>
      hold(rotationLock(vault), work, VAULTS_AT_ONCE),

    /** Works with the wallet, and waits a little for who has it. Whoever works at a vault may. @throws {ApiError} ROTATION_BUSY */
    holdWallet: <T>(work: () => Promise<T>): Promise<T> => hold(WALLET_LOCK, work, Number.POSITIVE_INFINITY),
  }
}
export type RotationLocks = ReturnType<typeof createRotationLocks>
