/**
 * The oracle set in force: the Keeper's newest config, checked, kept, followed. A config that cannot be had or is not valid
 * changes nothing: the last good one stays.
 */

import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import { adoptOracleSet, findCurrentOracleSet, findCurrentOracleSetId } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { countOutdated } from '@dvt-relayer/db/queries/registered.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { type AnnouncedConfig, type Context, type OracleSetSource, PATIENCE_MS } from '../../context.ts'
import { ApiError } from '../../errors.ts'

const CHECKPOINT = 'keeper_config'
/** A config that takes longer to come is spoken of before the gateways' time is over, which may be minutes. */
const SLOW_MS = 5_000
const checkpoint = Compile(
  Type.Object({
    next_block: Type.Integer({ minimum: 0 }),
    announced: Type.Optional(
      Type.Object({
        cid: Type.String(),
        block_number: Type.Integer({ minimum: 0 }),
        time: Type.Integer({ minimum: 0 }),
      }),
    ),
  }),
)

/** The announced text, fit for the database, the log and `/ready`: any text can stand in an event. Every CID stays as it is. */
const readable = (cid: string): string =>
  cid
    .trim()
    .slice(0, 200)
    .replace(/[^\x20-\x7e]/g, '?')

/**
 * One look after the other. Who asks while one is under way shares the next with all who do: a look that began earlier says nothing of
 * what the chain has announced since.
 */
function createShared<T>(look: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve()
  let next: Promise<T> | undefined
  return () => {
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined
        const begun = look()
        running = begun
        return begun
      })
    return next
  }
}

/** What a look has found: what is wrong, in words, and the set in force where it is known. */
interface Look {
  problem: string | undefined
  id?: number
}

/** What the chain announced last, which node denies it, and why there may be a newer one that no node shows, in words. */
interface Announced {
  newest?: AnnouncedConfig | undefined
  denial?: string
  doubt?: string | undefined
  /** What is to be stored of it, where that is something new. */
  checkpoint?: object
}

export const NOT_ANNOUNCED = 'the Keeper has not announced an oracle config yet'
export const deniedWords = (denial: string): string => `the newest oracle config is not in force: ${denial}`

/** Looks at what the chain has announced since what is stored. Nothing is written; without a database nothing is known before. */
export async function findAnnounced({
  db,
  oracleSets,
}: {
  db: Context['db'] | undefined
  oracleSets: Pick<OracleSetSource, 'newest' | 'findDenial'>
}): Promise<Announced> {
  const stored = db && (await findCheckpoint(db, CHECKPOINT))
  const last = checkpoint.Check(stored) ? stored : undefined
  const known = last?.announced && { blockNumber: last.announced.block_number }
  const { config, nextBlock, doubt } = await oracleSets.newest(last?.next_block, known)
  const isKnown =
    config?.blockNumber === last?.announced?.block_number && readable(config?.cid ?? '') === last?.announced?.cid
  const denial = config === undefined || isKnown ? undefined : await oracleSets.findDenial(config)
  if (denial !== undefined) return { denial }
  const announced =
    config === undefined
      ? last?.announced
      : { cid: readable(config.cid), block_number: config.blockNumber, time: config.announcedAt }
  // Looks come more often than blocks.
  const isStored =
    last?.next_block === nextBlock && (config === undefined || (isKnown && config.announcedAt === last.announced?.time))
  const newest = announced && { cid: announced.cid, blockNumber: announced.block_number, announcedAt: announced.time }
  const fresh = { next_block: nextBlock, ...(announced === undefined ? {} : { announced }) }
  return { newest, doubt, ...(isStored ? {} : { checkpoint: fresh }) }
}

/** Creates the service. */
export function createOracleSets({
  db,
  chain,
  events,
  patienceMs = PATIENCE_MS,
}: Pick<Context, 'db' | 'chain' | 'events'> & Partial<Pick<Context, 'patienceMs'>>) {
  let refused: string | undefined

  /** What the chain announced last. The checkpoint keeps it, so that no restart scans the chain again; it does not move while one is denied. */
  async function findNewest(): Promise<Announced> {
    const found = await findAnnounced({ db, oracleSets: chain.oracleSets })
    if (found.checkpoint !== undefined) await storeCheckpoint(db, CHECKPOINT, found.checkpoint)
    return found
  }

  /** Looks for a newer config once; see `follow`. `id` is that of the one in force, where none was adopted. */
  async function look(onSlow: (problem: string) => void = () => {}): Promise<Look> {
    const { newest, denial, doubt } = await findNewest()
    if (denial !== undefined) return { problem: deniedWords(denial) }
    const current = await findCurrentOracleSet(db)
    if (newest === undefined)
      return current === undefined ? { problem: doubt ?? NOT_ANNOUNCED } : { problem: doubt, id: current.id }
    // What a node that lags behind says is older than what another process has adopted meanwhile.
    if (current !== undefined && (current.cid === newest.cid || newest.blockNumber < current.blockNumber))
      return { problem: doubt, id: current.id }
    const slow = setTimeout(
      () =>
        onSlow(
          `the newest oracle config ${newest.cid} is not in force: no IPFS gateway has given it yet (IPFS_FETCH_ENDPOINTS)`,
        ),
      SLOW_MS,
    )
    try {
      const set = await chain.oracleSets.fetch(newest.cid).finally(() => clearTimeout(slow))
      const outdated = await db.transaction(async (tx) => {
        await adoptOracleSet(tx, {
          cid: newest.cid,
          threshold: set.threshold,
          publicKeys: Buffer.concat(set.publicKeys),
          config: set.config,
          blockNumber: newest.blockNumber,
          announcedAt: newest.announcedAt,
        })
        return countOutdated(tx)
      })
      refused = undefined
      events.oracleSetAdopted(newest.cid, set.publicKeys.length, set.threshold, newest.blockNumber)
      if (outdated.validators > 0) events.validatorsOutdated(newest.cid, outdated.validators, outdated.vaults)
      return { problem: doubt }
    } catch (error) {
      if (refused !== newest.cid) events.oracleSetRefused(newest.cid, error)
      refused = newest.cid
      return { problem: `the newest oracle config ${newest.cid} is not in force: ${(error as Error).message}` }
    }
  }

  /** The head at which the newest config was seen to be in force: a block announces nothing later, so each is looked at once. */
  let settled: string | undefined

  /** The id of the set in force, the newest that the chain has announced by now; undefined where that is not in force, or there is none. */
  async function findNewestId(): Promise<number | undefined> {
    // The set is read anew at each question: what another process has adopted may be of a block that this node does not have yet.
    const [current, head] = await Promise.all([findCurrentOracleSetId(db), chain.oracleSets.head()])
    if (head === settled) return current
    const { problem, id = await findCurrentOracleSetId(db) } = await look()
    if (problem !== undefined) return undefined
    // Events are asked for by number: they are this block's only if it stood there all the time, at the one node that answered all.
    if (id !== undefined && (await chain.oracleSets.head()) === head) settled = head
    return id
  }

  // For all who ask, so in the line of none of them.
  const shared = createShared(() => onOwnAccount(findNewestId))

  return {
    /**
     * Looks for a newer config once. Returns what is wrong, in words, when no config is in force or the newest is not.
     *
     * @param onSlow told meanwhile, where the content of a newer one takes long to come
     */
    follow: async (onSlow?: (problem: string) => void): Promise<string | undefined> => (await look(onSlow)).problem,

    /**
     * The id of the oracle set in force, once the chain has been asked now: what it has announced by then is adopted first.
     *
     * @throws {ApiError} DEPENDENCY_AWAY where the chain cannot be asked in time, or the newest config is not in force
     */
    async newest(): Promise<number> {
      let id: number | undefined
      try {
        id = await withTimeout(shared(), patienceMs)
      } catch (error) {
        if (error instanceof DatabaseError) throw error
        throw new ApiError('DEPENDENCY_AWAY', 'the chain cannot be asked for the newest oracle config', {
          cause: error,
        })
      }
      if (id !== undefined) return id
      throw new ApiError('DEPENDENCY_AWAY', 'the newest oracle config is not in force here yet; /ready says why')
    },

    /** Whether any config is in force. */
    async hasCurrent(): Promise<boolean> {
      return (await findCurrentOracleSet(db)) !== undefined
    },
  }
}
export type OracleSets = ReturnType<typeof createOracleSets>
