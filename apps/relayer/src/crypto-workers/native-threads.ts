/**
 * The threads of the native module. It starts them for its first check of several messages, and they get the priority of whoever asks for it.
 * That is to be a signature worker, whose priority is low: else the event loop waits for its turn beside them for as long as the process runs.
 */

import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { CryptoPool } from './pool.ts'

/** Has a worker start them, before this thread checks several signatures itself. */
export async function startNativeThreads(pool: Pick<CryptoPool, 'verify'>, engine: BlsEngine): Promise<void> {
  const secretKey = new Uint8Array(32).fill(1)
  const publicKey = engine.publicKeyOf(secretKey)
  const messages = [1, 2].map((byte) => new Uint8Array(32).fill(byte))
  await pool.verify(messages.map((message) => ({ publicKey, message, signature: engine.sign(secretKey, message) })))
}
