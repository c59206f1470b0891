/**
 * How many keys each vault has left to register: a worker counts them, and leaves the numbers in the database for all processes.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { countKeysByVault } from '@dvt-relayer/db/queries/messages/registrations.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'

const NAME = 'vault_keys'
/** Vaults that are counted, those with the fewest keys. */
const MOST = 256
/** Of several workers one counts: all of them come around every minute. */
const FRESH_MS = 45_000
/** Numbers that nobody has counted anew for so long say nothing any more: no worker is there, or operators bring their own keys now. */
const KEPT_MS = 600_000
const stored = Compile(
  Type.Object({
    /** Unix milliseconds. */
    counted_at: Type.Number(),
    vaults: Type.Array(Type.Object({ vault: Type.String(), keys: Type.Integer() })),
  }),
)

/** Creates what counts once; undefined where operators bring their own keys. */
export function createVaultKeyCount({ config, db }: Pick<Context, 'config' | 'db'>) {
  if (config.manager === undefined && config.vaults === undefined) return undefined
  return async (): Promise<void> => {
    const last = await findStored(db)
    // The clocks of two machines may differ.
    if (last !== undefined && Math.abs(Date.now() - last.counted_at) < FRESH_MS) return
    if (!(await settleTallies(db))) return
    const counts = (await countKeysByVault(db)).map(({ vault, free, reserved }) => ({ vault, keys: free + reserved }))
    const anybodys = counts.find(({ vault }) => vault === null)?.keys ?? 0
    const own = new Map(counts.flatMap(({ vault, keys }) => (vault === null ? [] : [[toHex(vault), keys] as const])))
    const vaults = config.vaults ?? counts.flatMap(({ vault }) => vault ?? [])
    const left = vaults
      .map((vault) => ({ vault: checksumAddress(vault), keys: anybodys + (own.get(toHex(vault)) ?? 0) }))
      .sort((a, b) => a.keys - b.keys)
    await storeCheckpoint(db, NAME, { counted_at: Date.now(), vaults: left.slice(0, MOST) })
  }
}

/** As a worker has last counted them; none where that is long ago. */
export async function findVaultKeys(db: Sql, nowMs = Date.now()): Promise<{ vault: string; keys: number }[]> {
  const last = await findStored(db)
  return last !== undefined && nowMs - last.counted_at < KEPT_MS ? last.vaults : []
}

async function findStored(db: Sql) {
  const value = await findCheckpoint(db, NAME)
  return stored.Check(value) ? value : undefined
}
