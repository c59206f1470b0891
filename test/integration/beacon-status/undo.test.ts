/** `undo-registered`: what a wrong consensus node had noted is taken back, and nothing that every node says. */

import { randomBytes } from 'node:crypto'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type Beacon, startBeacon } from '../../support/chain/beacon.ts'
import { credentials, openStore, type Store } from '../../support/stages/registered.ts'
import { startWorld, type World } from '../../support/world/world.ts'

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
