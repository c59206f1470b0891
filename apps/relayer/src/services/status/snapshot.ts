/**
 * The snapshot that the status page is made of. Workers count, so that pages cost nothing however many validators there are and however
 * many people look; what is of single nodes and processes is small, and read when a page is asked for.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { countKeysByVault } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sumByVault } from '@dvt-relayer/db/queries/registered.ts'
import { findSnapshot, findStamp, storeSnapshot } from '@dvt-relayer/db/queries/status/snapshot.ts'
import {
  countCollecting,
  countTotals,
  countWaiting,
  findClaimingVaults,
  findOpenRotations,
  findStatusClusters,
  sumManagerSignatures,
} from '@dvt-relayer/db/queries/status/sums.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'
import { summaryOf } from '../beacon-status/vaults.ts'

/** Clusters that are counted: of SSV each committee of operators is one. */
const MOST_CLUSTERS = 1000
const MOST_VAULTS = 200
const DAY_SECONDS = 86_400
/** Counting takes a tenth of the time at most; where the database is slow, numbers are not old for long either. */
const REST = { times: 10, fromMs: 4_000, mostMs: 15_000 }
/** What was counted is counted anew after so long, changed or not: a cluster may have another name. */
const STALE_MS = 60_000

const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const wholeOrNull = Type.Union([whole, Type.Null()])

const Snapshot = Type.Object({
  clusters: Type.Array(
    Type.Object({
      id: whole,
      name: Type.String(),
      source: Type.Enum(['lock', 'ssv', 'list']),
      threshold: whole,
      validators: whole,
      share_indexes: Type.Array(whole),
      vaults: Type.Array(Type.String()),
    }),
  ),
  totals: Type.Object({ validators: whole, registered: whole, exited: whole, ready: whole, unsplit: whole }),
  vaults: Type.Array(
    Type.Object({
      vault: Type.String(),
      registered: whole,
      exited: whole,
      outdated: whole,
      wrong_index: whole,
      force_exit_at_timestamp: wholeOrNull,
      keys_free: wholeOrNull,
      keys_reserved: wholeOrNull,
    }),
  ),
  collecting: Type.Array(
    Type.Object({ cluster_id: wholeOrNull, validators: whole, messages: whole, oldest_at: whole }),
  ),
  waiting: Type.Array(Type.Object({ cluster_id: whole, share_index: whole, messages: whole, oldest_at: whole })),
  rotations: Type.Array(
    Type.Object({
      vault: Type.String(),
      state: Type.Enum(['prepared', 'approved', 'sent']),
      since_timestamp: whole,
      deadline: wholeOrNull,
    }),
  ),
  manager: Type.Array(
    Type.Object({
      vault: Type.String(),
      action: Type.Enum(['register', 'fund', 'withdraw', 'consolidate']),
      signatures: whole,
      moved_gwei: Type.String({ pattern: '^[0-9]+$' }),
      last_at: whole,
    }),
  ),
})
export type Snapshot = Static<typeof Snapshot>
const isSnapshot = Compile(Snapshot)

/** What is summed up from tallies. */
type Sums = Omit<Snapshot, 'rotations' | 'manager'>

type Parts = Pick<Context, 'config' | 'db'>
type Clock = () => number

/** Creates what counts and writes. A round says when the next is due, where it took long. */
export function createSnapshots(context: Parts, now: Clock = () => performance.now()) {
  let known: { stamp: string; at: number; sums: Sums } | undefined

  /** What is there is counted anew when a tally or the oracle set in force has changed, or it is old. */
  async function renew(stamp: string): Promise<Sums> {
    const at = now()
    if (known?.stamp !== stamp || at - known.at >= STALE_MS) known = { stamp, at, sums: await findSums(context) }
    return known.sums
  }

  /** The snapshot's revision as this process has left it, and the last that another one wrote. */
  let own = 0
  let foreign = 0
  /** Changes with everything that is counted, and when another process has found something else than we. */
  const stampNow = async (): Promise<string> => {
    const { stamp, revision } = await findStamp(context.db)
    if (revision !== own) foreign = own = revision
    return `${stamp} ${foreign}`
  }

  return {
    /** Counts, and writes all where anything has changed. After much at once, a later round does; till then the old numbers stand. */
    async write(): Promise<number | undefined> {
      const begun = now()
      if (await settleTallies(context.db)) {
        const content = { ...(await renew(await stampNow())), ...(await findMovements(context)) }
        own = (await storeSnapshot(context.db, content)) ?? own
      }
      const restMs = (now() - begun) * REST.times
      return restMs > REST.fromMs ? Math.min(restMs, REST.mostMs) : undefined
    },
  }
}

async function findSums({ config, db }: Parts): Promise<Sums> {
  const { slotsPerEpoch, secondsPerSlot } = config.network
  const clusters = await findStatusClusters(db, MOST_CLUSTERS)
  const rows = await sumByVault(db, slotsPerEpoch * secondsPerSlot)
  const known = new Map(rows.flatMap((row) => (row.vault === null ? [] : [[toHex(row.vault), row]])))
  const wanted = config.vaults ?? (await findClaimingVaults(db, MOST_VAULTS)).map(({ vault }) => vault)
  const left = await countKeysByVault(db)
  const keys = new Map(
    left.map(({ vault, free, reserved }) => [vault === null ? '' : toHex(vault), { free, reserved }]),
  )
  const all = [...new Set([...wanted.map(toHex), ...known.keys()])].slice(0, MOST_VAULTS)
  const keyed = new Set(wanted.map(toHex))
  const collecting = await countCollecting(db)
  const waiting = await countWaiting(db)
  return {
    clusters: clusters.map(({ shareIndexes, vaults, ...cluster }) => ({
      ...cluster,
      share_indexes: shareIndexes === '' ? [] : shareIndexes.split(',').map(Number),
      vaults: vaults === '' ? [] : vaults.split(',').map((hex) => `0x${hex}`),
    })),
    totals: await countTotals(db),
    vaults: all.map((vault) => ({
      ...summaryOf(Buffer.from(vault.slice(2), 'hex'), known.get(vault)),
      keys_free: keyed.has(vault) ? (keys.get('')?.free ?? 0) + (keys.get(vault)?.free ?? 0) : null,
      keys_reserved: keyed.has(vault) ? (keys.get(vault)?.reserved ?? 0) : null,
    })),
    collecting: collecting.map(({ clusterId, validators, messages, oldestAt }) => ({
      ...{ cluster_id: clusterId, validators, messages, oldest_at: oldestAt },
    })),
    waiting: waiting.map(({ clusterId, shareIndex, messages, oldestAt }) => ({
      ...{ cluster_id: clusterId, share_index: shareIndex, messages, oldest_at: oldestAt },
    })),
  }
}

async function findMovements({ db }: Parts): Promise<Omit<Snapshot, keyof Sums>> {
  const rotations = await findOpenRotations(db, MOST_VAULTS)
  const signed = await sumManagerSignatures(db, DAY_SECONDS)
  return {
    rotations: rotations.map(({ vault, isApproved, isSent, createdAt, deadline }) => ({
      vault: checksumAddress(vault),
      state: isSent ? 'sent' : isApproved ? 'approved' : 'prepared',
      since_timestamp: createdAt,
      deadline,
    })),
    manager: signed.map(({ vault, movedGwei, lastAt, ...rest }) => ({
      ...rest,
      vault: checksumAddress(vault),
      moved_gwei: movedGwei,
      last_at: lastAt,
    })),
  }
}

/** What is shown before a worker has counted. */
const NOTHING: Snapshot = {
  ...{ clusters: [], vaults: [], collecting: [], waiting: [], rotations: [], manager: [] },
  totals: { validators: 0, registered: 0, exited: 0, ready: 0, unsplit: 0 },
}

/** Creates what reads the snapshot: whole only when it has changed. One that another version wrote otherwise counts as none. */
export function createSnapshotReader({ db }: Pick<Context, 'db'>) {
  let known: { revision: number; content: Snapshot } = { revision: 0, content: NOTHING }
  return async (): Promise<{ snapshot: Snapshot; countedAt: number | null }> => {
    const found = await findSnapshot(db, known.revision)
    if (found === undefined) return { snapshot: NOTHING, countedAt: null }
    const { revision, writtenAt, content } = found
    if (content !== null) {
      if (!isSnapshot.Check(content)) return { snapshot: NOTHING, countedAt: null }
      known = { revision, content }
    }
    return { snapshot: known.content, countedAt: writtenAt }
  }
}
