/** What tests of stored messages share: a database with all tables, validators, and messages of them as rows. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer } from '@dvt-relayer/crypto/sealing.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { sql } from 'drizzle-orm'
import { onTestFinished } from 'vitest'
import { createSealing } from '../../../apps/relayer/src/services/sealing/message-seals.ts'
import { createRelayerDatabase } from '../services/postgres.ts'

/** A database of its own that ends with the test, and rows for it. */
export async function openMessages() {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const { url } = stack.use(await createRelayerDatabase())
  const db = stack.use(await connectDatabase({ url, logger: silentLogger }))
  await migrateDatabase(db, new URL('../../../migrations', import.meta.url).pathname)
  const query = async <T extends object>(statement: ReturnType<typeof sql>) => (await db.execute(statement)).rows as T[]
  const idOf = async (statement: ReturnType<typeof sql>) => Number((await query<{ id: number }>(statement))[0]?.id)
  return {
    url,
    db,
    query,
    sealing: createSealing(createSealer(randomBytes(32)), randomBytes(32), silentLogger),
    /** A validator of a new key, of a vault where one is given. */
    async addValidator(vault?: Uint8Array): Promise<{ id: number; publicKey: Uint8Array }> {
      const publicKey = randomBytes(48)
      const of = vault === undefined ? null : Buffer.from(vault)
      const at = vault === undefined ? null : new Date()
      const id = await idOf(sql`
        insert into validators (public_key, vault, reserved_at, vault_asked_at)
        values (${publicKey}, ${of}, ${at}, ${at}) returning id`)
      return { id, publicKey: new Uint8Array(publicKey) }
    },
    /** An exit of a validator, at index 0 and collecting unless told. */
    addExit(
      validatorId: number,
      { index = 0, state = 'collecting', requester = null as string | null } = {},
    ): Promise<number> {
      return idOf(sql`
        insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, signature, requester)
        values (${validatorId}, 'exit', ${index}, 0, ${randomBytes(32)}, 1, ${state},
                ${state === 'ready' ? randomBytes(96) : null}, ${requester}) returning id`)
    },
    /** A deposit of a validator to a vault, collecting unless told. */
    addDeposit(
      validatorId: number,
      {
        vault = new Uint8Array(randomBytes(20)),
        gwei = 32_000_000_000,
        type = '0x01' as '0x01' | '0x02',
        state = 'collecting',
        threshold = 1,
      } = {},
    ): Promise<number> {
      return idOf(sql`
        insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state, signature)
        values (${validatorId}, 'deposit', ${Buffer.from(vault)}, ${gwei}, ${type}, ${randomBytes(32)}, ${threshold}, ${state},
                ${state === 'ready' ? randomBytes(96) : null}) returning id`)
    },
    /** The public key share that is trusted at a share index from now on. */
    async trust(validatorId: number, shareIndex: number, publicKeyShare: Uint8Array): Promise<void> {
      await query(sql`
        insert into key_shares (validator_id, share_index, public_key_share, source)
        values (${validatorId}, ${shareIndex}, ${Buffer.from(publicKeyShare)}, 'ssv')
        on conflict (validator_id, share_index) do update set public_key_share = excluded.public_key_share`)
    },
    /** State, requester and revision of a message. */
    async message(id: number) {
      const [row] = await query<{ state: string; requester: string | null; revision: string }>(
        sql`select state, requester, revision from messages where id = ${id}`,
      )
      return { state: row?.state, requester: row?.requester, revision: Number(row?.revision) }
    },
  }
}
export type MessageStore = Awaited<ReturnType<typeof openMessages>>
