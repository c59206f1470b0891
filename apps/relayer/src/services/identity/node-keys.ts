/** Who is who by the key in its ENR: nodes of imported cluster locks, both ways. */

import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import {
  findLockSizes,
  findNodeKeys,
  findOutsideLocks,
  findOutsideOperator,
  type LockSize,
  type NodeKeyRow,
} from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import { takeNonce } from '@dvt-relayer/db/queries/attendance/nonces.ts'
import type { Context } from '../../context.ts'

/** Locks are imported when a process starts: what another one has imported since is known here so much later. */
const FRESH_MS = 10_000

/** A node of an imported lock. */
export type NodePlace = NodeKeyRow

/** A node that signed its request with a key it has: it acts for its own validators alone. */
export type KeyedNode =
  /** An Obol node: where its key stands in imported locks. */
  | { readonly locks: readonly { readonly lockHash: Uint8Array; readonly shareIndex: number }[] }
  /** An SSV operator, whose id is its share index. */
  | { readonly operatorId: number }

/** Creates the look-up. It keeps all keys, some hundred bytes for each node, so that a stranger's question costs no query. */
export function createNodeKeys({ db }: Pick<Context, 'db'>, now: () => number = () => performance.now()) {
  const all = keptFresh(async () => Map.groupBy(await findNodeKeys(db), ({ publicKey }) => toHex(publicKey)), now)
  const sizes = keptFresh(
    async () => new Map((await findLockSizes(db)).map((lock) => [toHex(lock.lockHash), lock])),
    now,
  )

  return {
    /** The key (33 bytes) of the node at a share index of an imported lock; undefined where there is no such lock or node. */
    async find(lockHash: Uint8Array, shareIndex: number): Promise<Uint8Array | undefined> {
      const nodes = [...(await all()).values()].flat()
      return nodes.find((node) => node.shareIndex === shareIndex && equalBytes(node.lockHash, lockHash))?.publicKey
    },
    /** How many validators an imported lock has; undefined where there is no such lock. */
    sizeOf: async (lockHash: Uint8Array): Promise<Pick<LockSize, 'validators' | 'most'> | undefined> =>
      (await sizes()).get(toHex(lockHash)),
    /** Where the node of this key (33 bytes) stands: none where it is of no imported lock. */
    placesOf: async (publicKey: Uint8Array): Promise<readonly NodePlace[]> => (await all()).get(toHex(publicKey)) ?? [],
    /** Which of these validator keys are known here, and not of the clusters in which a node has the share index; lower-case hex. */
    async findForeign(node: KeyedNode, shareIndex: number, publicKeys: readonly Uint8Array[]): Promise<Set<string>> {
      const found =
        'locks' in node
          ? await findOutsideLocks(
              db,
              publicKeys,
              node.locks.filter((place) => place.shareIndex === shareIndex).map(({ lockHash }) => lockHash),
            )
          : await findOutsideOperator(db, publicKeys, node.operatorId)
      return new Set(found.map(({ publicKey }) => toHex(publicKey)))
    },
    /** Uses up the nonce of a request that a key has signed; false when it was used before, in whatever process. */
    takeNonce: (signer: Uint8Array, nonce: Uint8Array): Promise<boolean> => takeNonce(db, signer, nonce),
  }
}
export type NodeKeys = ReturnType<typeof createNodeKeys>

/** What was loaded last, on the process's own account, and anew once that is no longer fresh. */
function keptFresh<T>(load: () => Promise<T>, now: () => number): () => Promise<T> {
  let known: { at: number; value: Promise<T> } | undefined
  return () => {
    if (known !== undefined && now() - known.at < FRESH_MS) return known.value
    const mine = { at: now(), value: onOwnAccount(load) }
    known = mine
    mine.value.catch(() => {
      if (known === mine) known = undefined
    })
    return mine.value
  }
}
