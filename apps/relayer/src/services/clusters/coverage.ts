/** Which clusters a caller's token covers, for `GET /whoami`: so that one that was made for somebody else shows at once. */

import { MOST_COVERED, type Whoami } from '@dvt-relayer/api/schemas.ts'
import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { findCoverage } from '@dvt-relayer/db/queries/clusters.ts'
import type { Context } from '../../context.ts'
import type { KeyedNode } from '../identity/node-keys.ts'

/** Counting validators takes some milliseconds where there are 100,000: it is done for all who ask within so long. */
const FRESH_MS = 15_000

/** What a token is bound to, as far as clusters go; undefined is everything. */
interface Binding {
  vaults: readonly Uint8Array[] | undefined
  shareIndexes: readonly number[] | undefined
  /** Of a node that signed its request: its own clusters alone. */
  node?: KeyedNode | undefined
}

/** Creates the service. */
export function createCoverage({ db }: Pick<Context, 'db'>, now: () => number = () => performance.now()) {
  /** By the vaults they were counted for: there are no more of them than tokens. */
  const found = new Map<string, { at: number; clusters: Promise<Whoami['clusters']> }>()

  async function count(vaults: Binding['vaults']): Promise<Whoami['clusters']> {
    const rows = await findCoverage(db, vaults, MOST_COVERED)
    return rows.map(({ lockHash, shareIndexes, ...cluster }) => ({
      ...cluster,
      lock_hash: lockHash === null ? null : toHex(lockHash),
      share_indexes: shareIndexes === '' ? [] : shareIndexes.split(',').map(Number),
    }))
  }

  function counted(vaults: Binding['vaults']): Promise<Whoami['clusters']> {
    const key = vaults === undefined ? '*' : vaults.map(toHex).join()
    const known = found.get(key)
    if (known !== undefined && now() - known.at < FRESH_MS) return known.clusters
    const clusters = onOwnAccount(() => count(vaults))
    found.set(key, { at: now(), clusters })
    clusters.catch(() => found.delete(key))
    return clusters
  }

  return {
    /** The clusters with validators of these vaults, and nodes of these share indexes where their nodes are known. */
    async of({ vaults, shareIndexes, node }: Binding): Promise<Whoami['clusters']> {
      const clusters = await counted(vaults)
      if (node !== undefined) return clusters.filter((cluster) => isOf(cluster, node))
      if (shareIndexes === undefined) return clusters
      return clusters.filter(
        ({ share_indexes: own }) => own.length === 0 || own.some((index) => shareIndexes.includes(index)),
      )
    },
  }
}
/** Whether a node is one of a cluster. */
function isOf({ source, lock_hash: hash, share_indexes: indexes }: Whoami['clusters'][number], node: KeyedNode) {
  if ('locks' in node) return node.locks.some(({ lockHash }) => toHex(lockHash) === hash)
  return source === 'ssv' && indexes.includes(node.operatorId)
}
export type Coverage = ReturnType<typeof createCoverage>
