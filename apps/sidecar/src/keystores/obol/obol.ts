/** Key shares of Obol nodes: keystores and cluster lock as charon leaves them (docs/protocol.md#11-obol). */

import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import type { ObolNodeSource } from '../../config/obol.ts'
import type { Events } from '../../events.ts'
import { createHeldShares } from '../held-shares.ts'
import type { Keystore } from '../keystore.ts'
import { startProgress } from '../progress.ts'
import { createLockReader, type LockOptions } from './lock.ts'
import { createObolNode, type NodeLook, type ObolNode } from './node.ts'

export interface ObolOptions extends LockOptions {
  nodes: readonly ObolNodeSource[]
  events: Events
  signal: AbortSignal
}

/**
 * Opens the key shares of one or several nodes: every lock is verified, every keystore decrypted once and matched to the lock by the
 * public key derived from its secret key; the node's position in the lock is the one all its keys stand at. The first fault ends it; when
 * it looks again, a fault takes no key away.
 *
 * @throws {BootError} KEYSTORES_MISSING, KEYSTORE_UNREADABLE, LOCK_MISSING, LOCK_INVALID, LOCK_NOT_PINNED, KEYS_NOT_IN_LOCK,
 * NODE_INDEX_MIXED, NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG
 */
export async function openObolKeystore(options: ObolOptions): Promise<Keystore> {
  const { events, engine } = options
  const readLock = createLockReader(options)
  const nodes = options.nodes.map((source) => createObolNode(source, { ...options, readLock }))
  const held = createHeldShares(engine)
  const start = performance.now()

  /** Looks at all nodes before the minutes of decryption begin. `onProblem` may throw. */
  async function load(signal: AbortSignal, onProblem: (error: unknown) => void): Promise<void> {
    const looks: { node: ObolNode; look: NodeLook }[] = []
    for (const node of nodes)
      await node.look().then((look) => {
        looks.push({ node, look })
      }, onProblem)
    const total = looks.reduce((sum, { look }) => sum + look.fresh.length, 0)
    let done = 0
    const stop = startProgress((seconds) => events.decrypting(done, total, seconds))
    try {
      for (const { node, look } of looks)
        await node
          .open(look, signal, () => {
            done++
          })
          .catch(onProblem)
    } finally {
      stop()
    }
  }

  function close(): void {
    held.replace([])
    for (const node of nodes) node.close()
  }

  try {
    await load(options.signal, (error) => {
      throw error
    })
  } catch (error) {
    close()
    throw error
  }
  held.replace(nodes.flatMap((node) => node.held))
  events.keysLoaded(held.keyShares.length, nodes.length, (performance.now() - start) / 1000)
  return {
    get keyShares() {
      return held.keyShares
    },
    sign: held.sign,
    async reload(signal) {
      const problems: unknown[] = []
      await load(signal, (error) => problems.push(error))
      const isChanged = held.replace(nodes.flatMap((node) => node.held))
      const [first, ...more] = problems
      if (first === undefined) return isChanged
      if (more.length === 0) throw first
      throw new BootError('KEYS_UNREADABLE', problems.map(messageOf).join('; '), { cause: first })
    },
    async [Symbol.asyncDispose]() {
      close()
    },
  }
}
