/** What tests of erasing share: validators whose deposits are on the chain, two consensus nodes that have them, and rounds a day apart. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { depositSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { sql } from 'drizzle-orm'
import { onTestFinished } from 'vitest'
import { createChain } from '../../../apps/relayer/src/chain.ts'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createRetention } from '../../../apps/relayer/src/services/exits/retention.ts'
import type { Beacon } from '../chain/beacon.ts'
import { depositBySomebodyElse } from '../contracts/deposits.ts'
import { engine } from '../world/nodes.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { credentials, openStore } from './registered.ts'

/** A registered validator with one exit. */
export interface MadeExit {
  id: number
  publicKey: Uint8Array
  secretKey: Uint8Array
  hex: string
  index: number
  messageId: number
  depositBlock: number
}

/** How a validator is made; what is left out is as it should be. */
export interface MadeOptions {
  /** Withdrawal credentials of its deposit, and in the states of the nodes. */
  deposited?: Uint8Array
  inState?: Uint8Array
  /** A signature in place of the right one. */
  signature?: Uint8Array
}

/** A database of its own, and a vault. `nodes` are what validators are put into, which all have as many already. */
export async function openErasure(world: VaultWorld, nodes: readonly Beacon[]) {
  const store = await openStore(world)
  const pool = startCryptoPool(1)
  onTestFinished(() => pool[Symbol.asyncDispose]())
  const vault = randomBytes(20)
  const set = await store.adopt('a', 1)
  const forever = AbortSignal.timeout(600_000)
  const endpoints = nodes.map(({ url }) => url).join(',')

  return {
    ...store,
    vault,
    /** Makes a deposit; the block becomes final. */
    async deposit(
      { publicKey, secretKey }: Pick<MadeExit, 'publicKey' | 'secretKey'>,
      { deposited = credentials(vault), signature }: MadeOptions = {},
    ): Promise<number> {
      const message = { publicKey, withdrawalCredentials: deposited, amountGwei: 32_000_000_000n }
      const signed = signature ?? engine.sign(secretKey, depositSigningRoot(world.network, message))
      const outcome = await depositBySomebodyElse(world.anvil, world.depositContract, { ...message, signature: signed })
      if (!outcome.ok) throw new Error('the deposit was refused')
      await world.anvil.mine(4)
      return outcome.blockNumber
    },
    /** A key of ours that nothing is known of. */
    async addKey() {
      const secretKey = Uint8Array.from(randomBytes(32)).fill(0, 0, 1)
      const publicKey = engine.publicKeyOf(secretKey)
      const [row] = await store.query<{ id: number }>(
        sql`insert into validators (public_key) values (${Buffer.from(publicKey)}) returning id`,
      )
      return { id: row?.id ?? 0, publicKey, secretKey, hex: toHex(publicKey) }
    },
    /** A validator that is deposited, final everywhere and noted, with an exit that is ready. */
    async make(options: MadeOptions = {}): Promise<MadeExit> {
      const key = await this.addKey()
      const depositBlock = await this.deposit(key, options)
      const inState = options.inState ?? credentials(vault)
      const [index = -1] = nodes.map((node) => {
        const given = node.addValidator({ publicKey: key.publicKey, withdrawalCredentials: inState })
        node.finalize()
        return given
      })
      const messageId = await store.addExit(key.id, index, [set])
      await store.registered().look(forever)
      return { ...key, index, messageId, depositBlock }
    },
    /** One round, as of a relayer that has just started. */
    async round(more: Environment = {}): Promise<void> {
      const settings = { EXIT_RETENTION: 'erase', CONSENSUS_ENDPOINT: endpoints, ...more }
      const { config } = readConfig(
        world.environment({ DATABASE_URL: store.databaseUrl, SIGNATURE_THRESHOLD: '1', ...settings }),
      )
      const chain = createChain(config, pool, store.events, store.logger)
      const context = { ...store, config, chain, crypto: pool, announced: () => {} }
      await createRetention(context).run(forever)
    },
    /** Lets so many hours pass for the clocks. */
    async pass(hours: number): Promise<void> {
      await store.query(sql`update erasure_clocks set held_since = held_since - make_interval(hours => ${hours}::int)`)
    },
    /** Since when a validator's clock runs; undefined where it does not. */
    async heldSince({ id }: Pick<MadeExit, 'id'>): Promise<string | undefined> {
      const [row] = await store.query<{ since: string }>(
        sql`select held_since::text as since from erasure_clocks where validator_id = ${id}`,
      )
      return row?.since
    },
    async stateOf({ messageId }: Pick<MadeExit, 'messageId'>): Promise<string | undefined> {
      const [row] = await store.query<{ state: string }>(sql`select state from messages where id = ${messageId}`)
      return row?.state
    },
    /** What erasing was said to wait for. */
    reasons: () => store.logged('exits are not erased yet').map(({ reason }) => String(reason)),
  }
}
