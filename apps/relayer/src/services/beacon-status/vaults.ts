/** Vaults as their registered validators stand: whose shares on chain are of the oracle set in force, and how long the others have. */

import type { OracleSetInfo, VaultResponse, VaultSummary, VaultsResponse } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { findCurrentOracleSet, findCurrentOracleSetId } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { VaultRow } from '@dvt-relayer/db/queries/registered.ts'
import { countByVault, findOutdated, sumByVault } from '@dvt-relayer/db/queries/registered.ts'
import { findTalliesRevision } from '@dvt-relayer/db/queries/status/tallies.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import type { Context } from '../../context.ts'

/** Outdated validators in one answer. */
const PAGE = 1000
const ORACLE_KEY_BYTES = 65

/** The oracle set in force, as answers name it. */
export async function describeCurrentSet(db: Context['db']): Promise<OracleSetInfo | null> {
  const set = await findCurrentOracleSet(db)
  if (set === undefined) return null
  return {
    cid: set.cid,
    block_number: set.blockNumber,
    announced_at_timestamp: Math.floor(set.announcedAt),
    threshold: set.threshold,
    oracles: set.publicKeys.length / ORACLE_KEY_BYTES,
  }
}

/** Creates the service. */
export function createVaults({ config, db, events }: Pick<Context, 'config' | 'db' | 'events'>) {
  const secondsPerEpoch = config.network.slotsPerEpoch * config.network.secondsPerSlot

  /** Of these vaults (of all when null). After much at once, the validators themselves are counted. */
  async function count(vaults: readonly Uint8Array[] | null): Promise<VaultRow[]> {
    if (!(await settleTallies(db))) return countByVault(db, { vaults, secondsPerEpoch })
    const rows = await sumByVault(db, secondsPerEpoch)
    const wanted = vaults && new Set(vaults.map(toHex))
    return rows.filter(({ vault }) => wanted === null || (vault !== null && wanted.has(toHex(vault))))
  }
  /** What was last counted, and of which tallies. */
  let counted: { revision: number; setId: number | undefined; rows: VaultRow[] } | undefined

  return {
    /** The vaults that have registered validators; of these only, unless undefined. */
    async list(vaults: readonly Uint8Array[] | undefined): Promise<VaultsResponse> {
      const [oracleSet, rows] = await Promise.all([describeCurrentSet(db), count(vaults ?? null)])
      return {
        oracle_set: oracleSet,
        vaults: rows.flatMap((row) => (row.vault === null ? [] : [summaryOf(row.vault, row)])),
      }
    },

    /** One vault, with its outdated validators of an index above `after`. A vault without registered validators has none of them. */
    async get(vault: Uint8Array, after: number): Promise<VaultResponse> {
      const [oracleSet, [row], outdated] = await Promise.all([
        describeCurrentSet(db),
        count([vault]),
        findOutdated(db, vault, after, PAGE),
      ])
      return {
        ...summaryOf(vault, row),
        oracle_set: oracleSet,
        outdated_validators: outdated.map(({ publicKey: key, beaconIndex: index, cid }) => ({
          public_key: toHex(key),
          validator_index: index,
          oracle_set_cid: cid,
        })),
        next: outdated.length < PAGE ? null : (outdated.at(-1)?.beaconIndex ?? null),
      }
    },

    /** Counts for the metrics, anew where a tally or the oracle set has changed since, or in any case. After much at once, a later call does. */
    async count(isAnew = true): Promise<void> {
      if (!(await settleTallies(db))) return
      const [revision, setId] = await Promise.all([findTalliesRevision(db), findCurrentOracleSetId(db)])
      if (isAnew || counted?.revision !== revision || counted.setId !== setId)
        counted = { revision, setId, rows: await sumByVault(db, secondsPerEpoch) }
      const { rows } = counted
      const sum = (of: (row: VaultRow) => number) => rows.reduce((total, row) => total + of(row), 0)
      const now = Date.now() / 1000
      events.vaultsCounted(
        {
          current: sum(({ registered, exited, outdated }) => registered - exited - outdated),
          outdated: sum(({ outdated }) => outdated),
          exited: sum(({ exited }) => exited),
          wrongIndex: sum(({ wrongIndex: wrong }) => wrong),
        },
        rows.flatMap(({ vault, outdated, forceExitAt: at }) =>
          vault === null
            ? []
            : [
                {
                  vault: checksumAddress(vault),
                  outdated,
                  forceExitSeconds: at === null ? null : Math.max(0, Math.round(at - now)),
                },
              ],
        ),
      )
    },
  }
}
export type Vaults = ReturnType<typeof createVaults>

/** What an answer says of a vault; zeros where no validator of it is registered. */
export function summaryOf(vault: Uint8Array, row: VaultRow | undefined): VaultSummary {
  const at = row?.forceExitAt ?? null
  return {
    vault: checksumAddress(vault),
    registered: row?.registered ?? 0,
    exited: row?.exited ?? 0,
    outdated: row?.outdated ?? 0,
    wrong_index: row?.wrongIndex ?? 0,
    // A config may name a time that no clock will show.
    force_exit_at_timestamp: at !== null && Number.isSafeInteger(Math.floor(at)) ? Math.floor(at) : null,
  }
}
