/** What the tests of registered validators share: a migrated database, the world's chain as services see it, and exits with share sets. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { adoptOracleSet } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { sql } from 'drizzle-orm'
import { onTestFinished } from 'vitest'
import { createChain } from '../../../apps/relayer/src/chain.ts'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createBeaconStatus } from '../../../apps/relayer/src/services/beacon-status/beacon-status.ts'
import { createRelayerDatabase } from '../services/postgres.ts'
import { engine } from '../world/nodes.ts'
import type { World } from '../world/world.ts'

/** A database of its own, and the parts of a relayer that services take; all end with the test. */
export async function openStore(world: World) {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const lines: Record<string, unknown>[] = []
  const logger: Logger = createLogger({
    level: 'debug',
    format: 'json',
    destination: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  })
  const { url } = stack.use(await createRelayerDatabase())
  const db = stack.use(await connectDatabase({ url, logger }))
  await migrateDatabase(db, new URL('../../../migrations', import.meta.url).pathname)
  const { config } = readConfig(world.environment({ DATABASE_URL: url, SIGNATURE_THRESHOLD: '1' }))
  const events = createEvents(logger)
  const chain = createChain(config, stack.use(startCryptoPool(1)), events, logger)
  const context = { config, db, chain, events, logger }
  const query = async <T extends object>(statement: ReturnType<typeof sql>) => (await db.execute(statement)).rows as T[]
  let positions = 0
  return {
    ...context,
    databaseUrl: url,
    query,
    /** What was logged with this text. */
    logged: (text: string) => lines.filter(({ msg }) => msg === text),
    /** The service as a process that has just started has it. */
    registered: () => createBeaconStatus(context),
    /** Makes an announced set the current one; returns its id. */
    async adopt(
      cid: string,
      blockNumber: number,
      more: { announcedAt?: number; config?: object } = {},
    ): Promise<number> {
      await db.transaction((tx) =>
        adoptOracleSet(tx, {
          cid,
          threshold: 1,
          publicKeys: Buffer.alloc(130),
          blockNumber,
          announcedAt: 1_000 + blockNumber,
          config: {},
          ...more,
        }),
      )
      const [row] = await query<{ id: number }>(sql`select id from oracle_sets where is_current`)
      return row?.id ?? 0
    },
    /** A validator of a new key. */
    async addValidator(): Promise<{ id: number; publicKey: Uint8Array; hex: string }> {
      const publicKey = engine.publicKeyOf(Uint8Array.from(randomBytes(32)).fill(0, 0, 1))
      const [row] = await query<{ id: number }>(
        sql`insert into validators (public_key) values (${Buffer.from(publicKey)}) returning id`,
      )
      return { id: row?.id ?? 0, publicKey, hex: toHex(publicKey) }
    },
    /** An exit of a validator at an index, live unless told, with a share set for each of these oracle sets. */
    async addExit(
      validatorId: number,
      validatorIndex: number,
      setIds: readonly number[],
      state = 'ready',
    ): Promise<number> {
      const root = Buffer.from(exitSigningRoot(world.network, { epoch: 0, validatorIndex }))
      const [row] = await query<{ id: number }>(sql`
        insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, signature)
        values (${validatorId}, 'exit', ${validatorIndex}, 0, ${root}, 1, ${state}, ${randomBytes(96)}) returning id`)
      const id = row?.id ?? 0
      for (const setId of setIds)
        await query(sql`
          insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
          values (${id}, ${setId}, ${randomBytes(96)}, ${randomBytes(386)}, ${randomBytes(32)}, ${++positions})`)
      return id
    },
    /** Says at which block a validator's first deposit was made. */
    async deposited(publicKey: Uint8Array, blockNumber: number): Promise<void> {
      await query(
        sql`insert into registry_validators (public_key, block_number) values (${Buffer.from(publicKey)}, ${blockNumber})`,
      )
    },
    /** What is noted of a validator. */
    async noted(validatorId: number) {
      const [row] = await query<{
        beacon_index: number | null
        vault: string | null
        set: number | null
        left: boolean
        at: string | null
      }>(sql`
        select beacon_index, '0x' || encode(beacon_vault, 'hex') as vault, oracle_set_id as set, exited_at is not null as left,
               registered_at as at from validators where id = ${validatorId}`)
      return row
    },
  }
}
export type Store = Awaited<ReturnType<typeof openStore>>

/** Withdrawal credentials of type 0x01 (or another) to a vault (docs/protocol.md#3-messages). */
export function credentials(vault: Uint8Array, type = 1): Uint8Array {
  return Buffer.concat([Buffer.from([type]), Buffer.alloc(11), vault])
}
