/**
 * The oracle set in force: the Keeper's newest config, checked, kept, followed. A config that cannot be had or is not valid
 * changes nothing: the last good one stays.
 */

import { adoptOracleSet, findCurrentOracleSet } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { countOutdated } from '@dvt-relayer/db/queries/registered.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { AnnouncedConfig, Context } from '../../context.ts'

const CHECKPOINT = 'keeper_config'
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

/** Creates the service. */
export function createOracleSets({ db, chain, events }: Pick<Context, 'db' | 'chain' | 'events'>) {
  let refused: string | undefined

  /** What the chain announced last. The checkpoint keeps it, so that no restart scans the chain again. */
  async function findNewest(): Promise<{ newest: AnnouncedConfig | undefined; doubt: string | undefined }> {
    const stored = await findCheckpoint(db, CHECKPOINT)
    const last = checkpoint.Check(stored) ? stored : undefined
    const known = last?.announced && { blockNumber: last.announced.block_number }
    const { config, nextBlock, doubt } = await chain.oracleSets.newest(last?.next_block, known)
    const announced =
      config === undefined
        ? last?.announced
        : { cid: readable(config.cid), block_number: config.blockNumber, time: config.announcedAt }
    await storeCheckpoint(db, CHECKPOINT, { next_block: nextBlock, ...(announced === undefined ? {} : { announced }) })
    const newest = announced && { cid: announced.cid, blockNumber: announced.block_number, announcedAt: announced.time }
    return { newest, doubt }
  }

  return {
    /**
     * Looks for a newer config once. Returns what is wrong, in words, when no config is in force or the newest is not.
     */
    async follow(): Promise<string | undefined> {
      const { newest, doubt } = await findNewest()
      const current = await findCurrentOracleSet(db)
      if (newest === undefined)
        return current === undefined ? (doubt ?? 'the Keeper has not announced an oracle config yet') : doubt
      // What a node that lags behind says is older than what another process has adopted meanwhile.
      if (current !== undefined && (current.cid === newest.cid || newest.blockNumber < current.blockNumber))
        return doubt
      try {
        const set = await chain.oracleSets.fetch(newest.cid)
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
        return doubt
      } catch (error) {
        if (refused !== newest.cid) events.oracleSetRefused(newest.cid, error)
        refused = newest.cid
        return `the newest oracle config ${newest.cid} is not in force: ${(error as Error).message}`
      }
    },

    /** Whether any config is in force. */
    async hasCurrent(): Promise<boolean> {
      return (await findCurrentOracleSet(db)) !== undefined
    },
  }
}
