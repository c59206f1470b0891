/** Decrypted key shares in memory, and signatures by them. */

import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { idOfShare, isSameShare, type KeyShare, type Keystore } from './keystore.ts'

/** One key share with its secret: 32 bytes. */
export interface HeldShare {
  readonly keyShare: KeyShare
  readonly secretKey: Uint8Array
}

export interface HeldShares extends Pick<Keystore, 'keyShares' | 'sign'> {
  /**
   * Holds these from now on, the first of each validator and share index. Who has decrypted the others wipes them.
   *
   * @returns whether `keyShares` changed
   */
  replace(shares: readonly HeldShare[]): boolean
}

/** Holds nothing at first. */
export function createHeldShares(engine: Pick<BlsEngine, 'sign'>): HeldShares {
  let held = new Map<string, HeldShare>()
  let keyShares: readonly KeyShare[] = []
  return {
    get keyShares() {
      return keyShares
    },
    async sign({ signingRoot, keyShare }) {
      const share = held.get(idOfShare(keyShare))
      if (share === undefined) throw new TypeError('asked to sign with a key share that is not held')
      return engine.sign(share.secretKey, signingRoot)
    },
    replace(shares) {
      const next = new Map<string, HeldShare>()
      for (const share of shares) {
        const id = idOfShare(share.keyShare)
        if (next.has(id)) continue
        const before = held.get(id)
        // The same object as before stands for the same share: whoever keeps something of it finds it again.
        const isSame = before !== undefined && isSameShare(before.keyShare, share.keyShare)
        next.set(id, isSame ? { ...share, keyShare: before.keyShare } : share)
      }
      const isSame =
        next.size === held.size && [...next].every(([id, { keyShare }]) => held.get(id)?.keyShare === keyShare)
      held = next
      if (isSame) return false
      keyShares = Array.from(next.values(), ({ keyShare }) => keyShare)
      return true
    },
  }
}
