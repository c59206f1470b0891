/** The decrypted key shares of SSV operators: each is decrypted once, and wiped when it is wanted no more. */

import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Events } from '../../events.ts'
import type { HeldShare } from '../held-shares.ts'
import { idOfShare } from '../keystore.ts'
import { startProgress } from '../progress.ts'
import type { FoundShare } from './source.ts'

/** Shares between two looks at the event loop: about 5 ms. */
const SLICE = 4

/** Creates them; `decrypt` returns undefined for what is not for our key. */
export function createOpenedShares(
  decrypt: (found: FoundShare) => Uint8Array | undefined,
  events: Pick<Events, 'decryptingShares' | 'sharesUndecipherable'>,
) {
  /** Secrets, undefined where the decryption failed, by operator and content. */
  const opened = new Map<string, Uint8Array | undefined>()

  async function decryptAll(fresh: readonly (readonly [string, FoundShare])[], signal: AbortSignal): Promise<void> {
    const failed: FoundShare[] = []
    let done = 0
    const stop = startProgress((seconds) => events.decryptingShares(done, fresh.length, seconds))
    try {
      for (const [content, found] of fresh) {
        const secret = decrypt(found)
        opened.set(content, secret)
        if (secret === undefined) failed.push(found)
        if (++done % SLICE === 0) await setImmediate()
        signal.throwIfAborted()
      }
    } finally {
      stop()
    }
    if (failed.length > 0) events.sharesUndecipherable(failed)
  }

  return {
    /** Decrypts what is new, and forgets what is wanted no more. */
    async open(shares: readonly FoundShare[], signal: AbortSignal): Promise<HeldShare[]> {
      const wanted = new Map(shares.map((found) => [contentOf(found), found]))
      await decryptAll(
        [...wanted].filter(([content]) => !opened.has(content)),
        signal,
      )
      for (const [content, secret] of opened)
        if (!wanted.has(content)) {
          secret?.fill(0)
          opened.delete(content)
        }
      return shares.flatMap((found) => {
        const secretKey = opened.get(contentOf(found))
        return secretKey === undefined ? [] : [{ keyShare: found.keyShare, secretKey }]
      })
    },
    /** How many could not be decrypted. */
    failedCount: (): number => [...opened.values()].filter((secret) => secret === undefined).length,
    /** Overwrites and forgets all. */
    wipe(): void {
      for (const secret of opened.values()) secret?.fill(0)
      opened.clear()
    },
  }
}

/** What a decryption depends on, and which key share it is for. */
function contentOf({ operator, keyShare, share }: FoundShare): string {
  const hash = createHash('sha256').update(share.encryptedKeyShare).update(share.publicKeyShare).digest('base64')
  return `${operator.name} ${idOfShare(keyShare)} ${hash}`
}
