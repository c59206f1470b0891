/**
 * The snapshot that the status page is made of. Workers count, so that pages cost nothing however many validators there are and however
 * many people look; what is of single nodes and processes is small, and read when a page is asked for.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { findVaults } from '@dvt-relayer/db/queries/doctor/contents.ts'
import { countKeysLeft } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { countByVault } from '@dvt-relayer/db/queries/registered.ts'
import { findSnapshot, findStamp, storeSnapshot } from '@dvt-relayer/db/queries/status/snapshot.ts'
import {
  countCollecting,
  countTotals,
  countWaiting,
  findOpenRotations,
  findStatusClusters,
  sumManagerSignatures,
} from '@dvt-relayer/db/queries/status/sums.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'
import { summaryOf } from '../beacon-status/vaults.ts'

/** Clusters that are counted: of SSV each committee of operators is one. */
const MOST_CLUSTERS = 1000
const MOST_VAULTS = 200
/** Vaults whose keys are counted, each by a look at all that nobody has reserved. */
const MOST_KEY_COUNTS = 20
const DAY_SECONDS = 86_400
/** Counting takes a tenth of the time at most; where the database is slow, numbers are not old for long either. */
const REST = { times: 10, fromMs: 4_000, mostMs: 15_000 }
/** What was counted is counted anew after so long, changed or not: what is imported, and what the chain says, is not announced. */
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

/** What looks at every validator, and changes with what is imported and with the chain. */
type Sums = Pick<Snapshot, 'clusters' | 'totals' | 'vaults'>

/** Of these much changes while thousands of validators are collected. */
type Collected = Pick<Snapshot, 'collecting' | 'waiting'>

type Parts = Pick<Context, 'config' | 'db'>
type Clock = () => number

/** Creates what counts and writes. A round says when the next is due, where it took long. */
export function createSnapshots(context: Parts, now: Clock = () => performance.now()) {
  const sums = kept(now, () => findSums(context))
  const collected = kept(now, () => findCollected(context))

  const timed = async (work: () => Promise<unknown>): Promise<number | undefined> => {
    const begun = now()
    await work()
    const restMs = (now() - begun) * REST.times
    return restMs > REST.fromMs ? Math.min(restMs, REST.mostMs) : undefined
  }

  /** The snapshot's revision as this process has left it, and the last that another one wrote. */
  let own = 0
  let foreign = 0
  /** Changes with everything that is announced, and when another process has found something else than we. */
  const stampNow = async (): Promise<string> => {
    const { stamp, revision } = await findStamp(context.db)
    if (revision !== own) foreign = own = revision
    return `${stamp} ${foreign}`
  }

  return {
    /** Counts what looks at every validator; the next writing has it. */
    count: () => timed(async () => sums.renew(await stampNow())),
    /** Counts what is collected, and writes all where anything has changed. */
    write: () =>
      timed(async () => {
        const known = foreign
        const stamp = await stampNow()
        // What we counted before another process wrote would take back what that one knows.
        const counted = (foreign === known ? sums.value() : undefined) ?? (await sums.renew(stamp))
        const content = { ...counted, ...(await collected.renew(stamp)), ...(await findMovements(context)) }
        own = (await storeSnapshot(context.db, content)) ?? own
      }),
  }
}

/** What was found, until the stamp is another or it is old. */
function kept<T>(now: Clock, find: () => Promise<T>) {
  let known: { stamp: string; at: number; value: T } | undefined
  return {
    value: (): T | undefined => known?.value,
    async renew(stamp: string): Promise<T> {
      if (known?.stamp === stamp && now() - known.at < STALE_MS) return known.value
      const at = now()
      known = { stamp, at, value: await find() }
      return known.value
    },
  }
}

async function findSums({ config, db }: Parts): Promise<Sums> {
  const { slotsPerEpoch, secondsPerSlot } = config.network
  const clusters = await findStatusClusters(db, MOST_CLUSTERS)
  const rows = await countByVault(db, { vaults: null, secondsPerEpoch: slotsPerEpoch * secondsPerSlot })
  const known = new Map(rows.flatMap((row) => (row.vault === null ? [] : [[toHex(row.vault), row]])))
  const wanted = config.vaults ?? (await findVaults(db, MOST_VAULTS)).map(({ vault }) => vault)
  const counted = wanted.slice(0, MOST_KEY_COUNTS)
  const keys = new Map<string, Awaited<ReturnType<typeof countKeysLeft>>>()
  for (const vault of counted) keys.set(toHex(vault), await countKeysLeft(db, vault))
  const all = [...new Set([...wanted.map(toHex), ...known.keys()])].slice(0, MOST_VAULTS)
  return {
    clusters: clusters.map(({ shareIndexes, vaults, ...cluster }) => ({
      ...cluster,
      share_indexes: shareIndexes === '' ? [] : shareIndexes.split(',').map(Number),
      vaults: vaults === '' ? [] : vaults.split(',').map((hex) => `0x${hex}`),
    })),
    totals: await countTotals(db),
    vaults: all.map((vault) => ({
      ...summaryOf(Buffer.from(vault.slice(2), 'hex'), known.get(vault)),
      keys_free: keys.get(vault)?.free ?? null,
      keys_reserved: keys.get(vault)?.reserved ?? null,
    })),
  }
}

async function findCollected({ db }: Parts): Promise<Collected> {
  const collecting = await countCollecting(db)
  const waiting = await countWaiting(db)
  return {
    collecting: collecting.map(({ clusterId, validators, messages, oldestAt }) => ({
      ...{ cluster_id: clusterId, validators, messages, oldest_at: oldestAt },
    })),
    waiting: waiting.map(({ clusterId, shareIndex, messages, oldestAt }) => ({
      ...{ cluster_id: clusterId, share_index: shareIndex, messages, oldest_at: oldestAt },
    })),
  }
}

async function findMovements({ db }: Parts): Promise<Omit<Snapshot, keyof Sums | keyof Collected>> {
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
