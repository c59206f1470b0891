/** `undo-registered`: what a wrong consensus node had noted is taken back, and nothing that every node says. */

import { randomBytes } from 'node:crypto'
import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { undoRegistered } from '../../../apps/relayer/src/services/beacon-status/undo.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type Beacon, startBeacon } from '../../support/chain/beacon.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { credentials, openStore, type Store } from '../../support/stages/registered.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import { eventually, startWorld, type World } from '../../support/world/world.ts'

let world: World
let second: Beacon
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startWorld({ oracles: 2, threshold: 1 })
  second = await startBeacon({ network: world.network })
  second.finalize()
})
afterAll(async () => {
  await second?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})
beforeEach(() => {
  second?.setStep(undefined)
  second?.fail(undefined)
})

const forever = AbortSignal.timeout(600_000)
const vault = randomBytes(20)

/** Runs the command with both nodes; what it printed is one text. */
async function undo(store: Store, args: readonly string[], more: Environment = {}) {
  const lines: string[] = []
  const print = (line: unknown) => void lines.push(String(line))
  using _log = vi.spyOn(console, 'log').mockImplementation(print)
  using _error = vi.spyOn(console, 'error').mockImplementation(print)
  const settings = {
    DATABASE_URL: store.databaseUrl,
    SIGNATURE_THRESHOLD: '1',
    CONSENSUS_ENDPOINT: `${world.beacon.url},${second.url}`,
    LOG_LEVEL: 'warn',
    LOG_FORMAT: 'json',
    ...more,
  }
  const code = await runCommand(['undo-registered', ...args], world.environment(settings), () => {})
  return { code, text: lines.join('\n') }
}

/** A validator with an exit and its share set, noted as registered as a node that lies would have it. */
async function makeNoted(store: Store) {
  const set = await store.adopt('a', 1)
  const { id, publicKey, hex } = await store.addValidator()
  const messageId = await store.addExit(id, 5, [set])
  const note = (index: number, of: Uint8Array = vault, left = false) =>
    store.query(sql`update validators set registered_at = now(), beacon_index = ${index}, beacon_vault = ${Buffer.from(of)},
      oracle_set_id = ${set}, exited_at = case when ${left}::boolean then now() end where id = ${id}`)
  return { id, publicKey, hex, messageId, set, note }
}
/** Puts it into the finalized states of both nodes; returns its index. */
function finalize(publicKey: Uint8Array, status = 'active_ongoing'): number {
  const [index = -1] = [world.beacon, second].map((node) => {
    const given = node.addValidator({ publicKey, status, withdrawalCredentials: credentials(vault) })
    node.finalize()
    return given
  })
  return index
}

describe.skipIf(skipWithoutAnvil)('undo-registered', () => {
  it('takes back a registration that no node has, and a right one is noted again', async () => {
    const store = await openStore(world)
    const { id, publicKey, hex, messageId, set, note } = await makeNoted(store)
    await note(77)
    await store.query(sql`update validators set withdrawal_address = ${randomBytes(20)} where id = ${id}`)
    await store.query(sql`insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block, oracle_set_id)
      values (${id}, 77, ${randomBytes(32)}, 1, ${set})`)
    const revision = async () =>
      (await store.query<{ revision: number }>(sql`select revision from messages where id = ${messageId}`))[0]?.revision
    const before = await revision()
    expect(await undo(store, ['--key', hex])).toMatchObject({ code: 1, text: expect.stringContaining('--yes') })
    expect(await store.noted(id)).toMatchObject({ beacon_index: 77 })
    const done = await undo(store, ['--key', hex, '--yes'])
    expect(done).toMatchObject({ code: 0, text: expect.stringContaining('not registered any more') })
    expect(await store.noted(id)).toEqual({ beacon_index: null, vault: null, set: null, left: false, at: null })
    expect(await store.query(sql`select from erasure_clocks`)).toEqual([])
    expect(await store.query(sql`select state from messages where id = ${messageId}`)).toEqual([{ state: 'ready' }])
    // Oracles that had it under another vault get it again.
    expect(await revision()).not.toBe(before)
    const index = finalize(publicKey)
    await store.registered().look(forever)
    expect(await store.noted(id)).toMatchObject({ beacon_index: index, at: expect.any(String) })
    expect(await undo(store, ['--key', hex, '--yes'])).toMatchObject({
      code: 1,
      text: expect.stringContaining('as it was noted'),
    })
    expect(await store.noted(id)).toMatchObject({ beacon_index: index, at: expect.any(String) })
  })

  it.each(['index', 'vault'])('takes back one with another %s than all nodes have', async (what) => {
    const store = await openStore(world)
    const { id, publicKey, hex, note } = await makeNoted(store)
    const index = finalize(publicKey)
    await note(what === 'index' ? index + 1000 : index, what === 'vault' ? randomBytes(20) : vault)
    expect(await undo(store, ['--key', hex, '--yes'])).toMatchObject({ code: 0 })
    expect(await store.noted(id)).toMatchObject({ at: null })
  })

  it('takes back only that it has left, where all nodes have it as active', async () => {
    const store = await openStore(world)
    const { id, publicKey, hex, note } = await makeNoted(store)
    const index = finalize(publicKey)
    await note(index, vault, true)
    expect(await undo(store, ['--key', hex, '--yes'])).toMatchObject({ code: 0 })
    expect(await store.noted(id)).toMatchObject({ beacon_index: index, left: false, at: expect.any(String) })
  })

  it('changes nothing where a node differs, is away or is out of step', async () => {
    const store = await openStore(world)
    const { id, publicKey, hex, note } = await makeNoted(store)
    await note(77)
    const before = await store.noted(id)
    const refused = async (words: string, more: Environment = {}) => {
      expect(await undo(store, ['--key', hex, '--yes'], more)).toMatchObject({
        code: 1,
        text: expect.stringContaining(words),
      })
      expect(await store.noted(id)).toEqual(before)
    }
    second.fail('down')
    await refused('one does not')
    second.fail(undefined)
    second.setStep({ is_syncing: true })
    await refused('is syncing')
    second.setStep(undefined)
    await using other = await startBeacon({ network: world.network })
    other.addValidator({ publicKey, withdrawalCredentials: credentials(vault) })
    other.finalize()
    await refused('differ about this key', { CONSENSUS_ENDPOINT: `${world.beacon.url},${other.url}` })
  })

  it('refuses where an exit was erased, and says what remains', async () => {
    const store = await openStore(world)
    const { id, hex, messageId, note } = await makeNoted(store)
    await note(77)
    await store.query(sql`update messages set state = 'erased', signature = null where id = ${messageId}`)
    const { code, text } = await undo(store, ['--key', hex, '--yes'])
    expect(code).toBe(1)
    for (const words of ['was erased', 'What remains possible', 'POST /validators']) expect(text).toContain(words)
    expect(await store.noted(id)).toMatchObject({ beacon_index: 77, at: expect.any(String) })
  })

  it('says what is wrong with the key', async () => {
    const store = await openStore(world)
    const { hex } = await makeNoted(store)
    for (const [key, words] of [
      ['0x12', '--key must be'],
      [`0x${'11'.repeat(48)}`, 'does not know this public key'],
      [hex, 'not noted as registered'],
    ] as const)
      expect(await undo(store, ['--key', key, '--yes'])).toMatchObject({
        code: 1,
        text: expect.stringContaining(words),
      })
  })

  it('leaves a line in the log, for the record', async () => {
    const store = await openStore(world)
    const { hex, note } = await makeNoted(store)
    await note(77)
    const written: string[] = []
    using _write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => written.push(String(chunk)) > 0)
    expect(await undo(store, ['--key', hex, '--yes'])).toMatchObject({ code: 0 })
    const line = written.map((text) => text.trim()).find((text) => text.includes('undone by command'))
    expect(JSON.parse(line ?? '{}')).toMatchObject({ undone: 'registration', public_key: hex, validator_index: 77 })
  })
})

describe('what is undone', () => {
  type Says = { index?: number; of?: Uint8Array; type?: number; status?: string } | undefined
  const INDEX = 77

  /** A registered validator; undoing asks nodes that say each of these of it. */
  async function openNoted() {
    const { db, query, addValidator, addExit } = await openMessages()
    const { id, publicKey } = await addValidator()
    const exit = await addExit(id, { index: INDEX, state: 'ready' })
    const undone: string[] = []
    const undo = (...nodes: Says[]) =>
      undoRegistered(
        {
          db,
          events: { registrationUndone: (what: string) => void undone.push(what) },
          consensusNodes: nodes.map((says) => ({
            findFinal: async () => {
              const { index = INDEX, of = vault, type = 1, status = 'active_ongoing' } = says ?? {}
              const validator = { index, status, withdrawalCredentials: toHex(credentials(of, type)) } as ChainValidator
              return new Map(says === undefined ? [] : [[toHex(publicKey), validator]])
            },
          })),
        } as unknown as Parameters<typeof undoRegistered>[0],
        publicKey,
      ).catch(({ code }: { code: string }) => code)
    const note = (of: Uint8Array | null, left: boolean) =>
      query(sql`update validators set registered_at = now(), beacon_index = ${INDEX}, beacon_vault = ${of && Buffer.from(of)},
        exited_at = case when ${left}::boolean then now() end where id = ${id}`)
    const noted = async () =>
      (
        await query<{ registered: boolean; left: boolean }>(
          sql`select registered_at is not null as registered, exited_at is not null as left from validators`,
        )
      )[0]
    return { db, query, exit, undo, undone, note, noted }
  }

  it('is what differs from what all nodes have, and nothing where they differ from each other', async () => {
    const { undo, undone, note, noted } = await openNoted()
    const other = randomBytes(20)
    const gone = 'active_exiting'
    const [RIGHT, DISAGREE] = ['REGISTERED_RIGHTLY', 'NODES_DISAGREE']
    const cases: [noted: { of?: Uint8Array | null; left?: boolean }, nodes: Says[], outcome: string][] = [
      [{}, [{}, {}], RIGHT],
      [{}, [{ status: gone }, { status: 'exited_slashed' }], RIGHT],
      [{ left: true }, [{ status: gone }, { status: gone }], RIGHT],
      [{ of: null }, [{ type: 0 }, { type: 0 }], RIGHT],
      [{ left: true }, [{}, {}], 'exit'],
      [{}, [undefined, undefined], 'registration'],
      [{}, [{ index: 1 }, { index: 1 }], 'registration'],
      [{}, [{ of: other }, { of: other }], 'registration'],
      [{}, [{ type: 0 }, { type: 0 }], 'registration'],
      [{ of: null }, [{}, {}], 'registration'],
      [{ left: true }, [{ of: other }, { of: other }], 'registration'],
      [{}, [undefined, {}], DISAGREE],
      [{}, [{}, undefined], DISAGREE],
      [{}, [{ index: 1 }, { index: 1 }, { index: 2 }], DISAGREE],
      [{}, [{ index: 2 }, { index: 1 }], DISAGREE],
      [{}, [{ of: other }, {}], DISAGREE],
      [{ left: true }, [{}, { status: gone }], DISAGREE],
      [{ left: true }, [{ status: gone }, {}], DISAGREE],
    ]
    for (const [{ of = vault, left = false }, nodes, outcome] of cases) {
      await note(of, left)
      undone.length = 0
      expect([nodes, await undo(...nodes)]).toEqual([nodes, outcome])
      const isDone = outcome === 'registration' || outcome === 'exit'
      expect(undone).toEqual(isDone ? [outcome] : [])
      expect(await noted()).toEqual({ registered: outcome !== 'registration', left: isDone ? false : left })
    }
  })

  it('is decided once nobody else decides about the validator', async () => {
    const { db, query, exit, undo, note, noted } = await openNoted()
    await note(vault, false)
    const undoing = await db.transaction(async (tx) => {
      await tx.execute(sql`select from validators for no key update`)
      const answer = undo(undefined)
      await eventually('the command waits', async () =>
        (await query(sql`select from pg_stat_activity where ${sql.raw(WAITS_FOR_ROW)}`)).length > 0 ? true : undefined,
      )
      await tx.execute(sql`update messages set state = 'erased', signature = null where id = ${exit}`)
      return { answer }
    })
    expect(await undoing.answer).toBe('EXIT_ERASED')
    expect(await noted()).toEqual({ registered: true, left: false })
  })
})
