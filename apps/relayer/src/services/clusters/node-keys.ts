/** Who is who by the key in its ENR: nodes of imported cluster locks, both ways. */

import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { findNodeKeys, type NodeKeyRow } from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import type { Context } from '../../context.ts'

/** Locks are imported when a process starts: what another one has imported since is known here so much later. */
const FRESH_MS = 10_000

/** A node of an imported lock. */
export type NodePlace = NodeKeyRow

/** Creates the look-up. It keeps all keys, some hundred bytes for each node, so that a stranger's question costs no query. */
export function createNodeKeys({ db }: Pick<Context, 'db'>, now: () => number = () => performance.now()) {
  let known: { at: number; byKey: Promise<Map<string, NodePlace[]>> } | undefined

  function all(): Promise<Map<string, NodePlace[]>> {
    if (known !== undefined && now() - known.at < FRESH_MS) return known.byKey
    const byKey = onOwnAccount(async () => Map.groupBy(await findNodeKeys(db), ({ publicKey }) => toHex(publicKey)))
    const mine = { at: now(), byKey }
    known = mine
    byKey.catch(() => {
      if (known === mine) known = undefined
    })
    return byKey
  }

  return {
    /** The key (33 bytes) of the node at a share index of an imported lock; undefined where there is no such lock or node. */
    async find(lockHash: Uint8Array, shareIndex: number): Promise<Uint8Array | undefined> {
      const nodes = [...(await all()).values()].flat()
      return nodes.find((node) => node.shareIndex === shareIndex && equalBytes(node.lockHash, lockHash))?.publicKey
    },
    /** Where the node of this key (33 bytes) stands: none where it is of no imported lock. */
    placesOf: async (publicKey: Uint8Array): Promise<readonly NodePlace[]> => (await all()).get(toHex(publicKey)) ?? [],
  }
}
export type NodeKeys = ReturnType<typeof createNodeKeys>
