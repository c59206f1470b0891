/** How long a key is a vault's: until nobody asks for it any more, or for good once its deposit was signed (generation 4). */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { nextIndex, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
import {
  askRegister,
  clusterFor,
  ETH32,
  keysOf,
  NOTHING,
  openStage,
  registerKeys,
  signAll,
} from '../../support/stages/registrations.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import {
  getExits,
  getValidators,
  type KeyedValidator,
  postPairs,
  sidecarRound,
  signedPair,
} from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually, hex } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const A = `0x${'aa'.repeat(20)}` as const
const B = `0x${'bb'.repeat(20)}` as const
const asks = (vault: string, amountGwei = ETH32, type: '0x01' | '0x02' = '0x01') => ({
  vault,
  startIndex: nextIndex(world.beacon),
  amounts: [amountGwei],
  type,
})

/** A relayer with one key: of a lock that names no vault, or of the list. */
async function setUp(more: Record<string, string> = {}) {
  const cluster = await clusterFor(world, undefined, { validators: 1 })
  const stage = await openStage(world)
  const settings = { CLUSTER_LOCK_FILES: cluster.lockFile, ...more }
  const relayer = await stage.startRelayer(settings)
  const [validator] = cluster.validators
  if (validator === undefined) throw new Error('no validator')
  return { stage, settings, validator, key: hex(validator.publicKey), url: relayer.url, relayer }
}

/** Posts the signatures of one node for what is listed of a validator, the deposit's made for other credentials where told so. */
async function post(url: string, validator: KeyedValidator, shareIndex: number, isDepositWrong = false) {
  const item = (await getValidators(url)).find(({ public_key }) => public_key === hex(validator.publicKey))
  if (item === undefined) throw new Error('not listed')
  const pair = signedPair(world.network, validator, shareIndex, item)
  const wrong = signedPair(world.network, validator, shareIndex, { ...item, vault: B }).deposit_signature
  return postPairs(url, shareIndex, [isDepositWrong ? { ...pair, deposit_signature: wrong } : pair])
}

/** A relayer with one key of the list. */
async function setUpListed() {
  const [validator] = createTestKeys(1, { nodes: 4, threshold: 3 })
  if (validator === undefined) throw new Error('no validator')
  const key = hex(validator.publicKey)
  const file = join(world.dir, `${key.slice(2, 18)}.csv`)
  await writeFile(file, key)
  const stage = await openStage(world)
  const { url } = await stage.startRelayer({ SIGNATURE_THRESHOLD: '3', PUBLIC_KEYS_FILE: file })
  return { validator, key, stage, url }
}

describe.skipIf(skipWithoutAnvil)('a reservation', () => {
  it('nobody asks for is free again, for another vault', async () => {
    const { url, key } = await setUp({ VALIDATOR_LIFETIME: '1' })
    expect(await registerKeys(url, asks(A))).toEqual([key])
    // What was abandoned leaves the lists, too.
    await eventually('nothing is asked for', async () => ((await getValidators(url)).length === 0 ? true : undefined))
    expect(await getExits(url)).toEqual([])
    // The key follows a little later.
    const given = await eventually('the key is free', async () => {
      const keys = await registerKeys(url, asks(B))
      return keys.length > 0 ? keys : undefined
    })
    expect(given).toEqual([key])
    expect((await askRegister(url, asks(A))).text).toBe(NOTHING)
    expect(await getValidators(url)).toMatchObject([{ vault: expect.stringMatching(/^0xb/i), public_key: key }])
  })

  it('stays its vault’s while that asks, and as long as no other does', async () => {
    const { stage, url, key } = await setUp()
    await registerKeys(url, asks(A))
    await stage.age()
    expect(await registerKeys(url, asks(A))).toEqual([key])
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
  })

  it('is as young as the last poll', async () => {
    const { stage, url, key } = await setUp()
    const asked = `select from validators where vault_asked_at > now() - interval '10 minutes'
                   union all select from messages where requested_at > now() - interval '10 minutes'`
    await registerKeys(url, asks(A))
    for (let times = 0; times < 2; times++) {
      await stage.age(3000)
      expect(await stage.query(asked)).toEqual([])
      expect(await registerKeys(url, asks(A))).toEqual([key])
      // The key, its exit and its deposit.
      expect(await stage.query(asked)).toHaveLength(3)
    }
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
  })

  it('is not ended by partial signatures of the exit alone, nor by wrong ones of the deposit', async () => {
    const { stage, url, key, validator } = await setUp()
    await registerKeys(url, asks(A))
    await sidecarRound(url, world.network, [validator], 1)
    expect(await post(url, validator, 2, true)).toMatchObject({
      status: 200,
      json: { failures: [{ index: 0, code: 'SIGNATURE_WRONG', kind: 'deposit' }] },
    })
    expect(await stage.query('select from deposit_bindings')).toEqual([])
    await stage.age()
    expect(await registerKeys(url, asks(B))).toEqual([key])
    expect((await askRegister(url, asks(A))).text).toBe(NOTHING)
  })
})

describe.skipIf(skipWithoutAnvil)('a key whose deposit was signed', () => {
  it('by one node is bound for good, whatever is asked for later', async () => {
    const { stage, url, key, validator } = await setUp()
    await registerKeys(url, asks(A))
    expect(await post(url, validator, 3)).toMatchObject({ status: 200, text: '{}' })
    expect(await stage.query('select from deposit_bindings')).toHaveLength(1)
    await stage.age()
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
    // Another amount: nobody has signed that one. What was signed binds even where its verification is not through yet.
    await stage.query('delete from deposit_bindings')
    expect(await registerKeys(url, asks(A, 40_000_000_000, '0x02'))).toEqual([key])
    await stage.age()
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
    expect(await registerKeys(url, asks(A))).toEqual([key])
  })

  it('is bound when the signature comes after the deposit has left the lists, and not by a wrong one', async () => {
    const { stage, url, key, validator } = await setUp()
    await registerKeys(url, asks(A))
    const [item] = await getValidators(url)
    if (item === undefined) throw new Error('not listed')
    await stage.age()
    await eventually('nothing is asked for', async () => ((await getValidators(url)).length === 0 ? true : undefined))
    await postPairs(url, 1, [signedPair(world.network, validator, 1, { ...item, vault: B })])
    expect(await stage.query('select from deposit_bindings')).toEqual([])
    await postPairs(url, 2, [signedPair(world.network, validator, 2, item)])
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
    expect(await registerKeys(url, asks(A))).toEqual([key])
    // Its post was answered after some seconds, judged or not.
    await eventually('the wrong one is rejected', async () =>
      (await getValidators(url))[0]?.share_indexes_rejected?.length === 1 ? true : undefined,
    )
    expect(await getValidators(url)).toMatchObject([{ share_indexes_rejected: [1] }])
  })

  it('is bound after its sealed signatures were forgotten', async () => {
    const { stage, settings, relayer, key, validator } = await setUp()
    await registerKeys(relayer.url, asks(A))
    await post(relayer.url, validator, 3)
    await stage.query('delete from deposit_bindings')
    await relayer[Symbol.asyncDispose]()
    const environment = world.environment({
      ...settings,
      DATABASE_URL: stage.databaseUrl,
      SEALING_KEY: randomBytes(32).toString('hex'),
      LOG_LEVEL: 'silent',
    })
    expect(await runCommand(['void-sealed', '--yes'], environment, () => {})).toBe(0)
    await stage.age()
    const { url } = await stage.startRelayer({ ...settings, SEALING_KEY: environment['SEALING_KEY'] ?? '' })
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
    expect(await registerKeys(url, asks(A))).toEqual([key])
  })

  it('at the very moment when another vault is given it, is not', async () => {
    const { stage, url, key } = await setUp()
    await registerKeys(url, asks(A))
    await stage.age()
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    let answered: Promise<string[]> | undefined
    await db.transaction(async (tx) => {
      await tx.execute(sql`select from messages where kind = 'deposit' for update`)
      answered = registerKeys(url, asks(B))
      await eventually('a request that waits for the deposit', async () => {
        const [row] = await stage.query<{ count: string }>(
          `select count(*) from pg_stat_activity where ${WAITS_FOR_ROW}`,
        )
        return row?.count === '1' ? true : undefined
      })
      await tx.execute(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state)
        select id, 1, '\\x01', '\\x01', 'verified' from messages where kind = 'deposit'`)
    })
    expect(await answered).toEqual([])
    expect(await registerKeys(url, asks(A))).toEqual([key])
  })
})

describe.skipIf(skipWithoutAnvil)('a key whose public key shares nobody knows', () => {
  it('is not bound by a point that one node makes up, but held, until a day after its vault asked last', async () => {
    const { validator, key, stage, url } = await setUpListed()
    const vault = await world.deployVault()
    await registerKeys(url, asks(A))
    expect(await post(url, validator, 1, true)).toMatchObject({ status: 200, text: '{}' })
    await stage.age(7200)
    expect((await askRegister(url, asks(vault.address))).text).toBe(NOTHING)
    // Another amount makes the point void; the hold stays. The vault that asks has its key.
    expect(await registerKeys(url, asks(A, 40_000_000_000, '0x02'))).toEqual([key])
    expect(await post(url, validator, 1, true)).toMatchObject({ status: 200, text: '{}' })
    await stage.age(86_400 - 600)
    expect((await askRegister(url, asks(vault.address))).text).toBe(NOTHING)
    // Posted again and again it is held no longer.
    await eventually('nothing is asked for', async () => ((await getValidators(url)).length === 0 ? true : undefined))
    const garbage = signedPair(world.network, validator, 2, {
      vault: B,
      amount: ETH32,
      validator_type: '0x01',
      validator_index: 1,
    })
    await stage.age(601)
    expect(await postPairs(url, 2, [garbage])).toMatchObject({ status: 200, text: '{}' })
    expect(await stage.query('select from deposit_bindings')).toEqual([])
    // The right vault gets its key, and its nodes bind it.
    const request = asks(vault.address)
    expect(await registerKeys(url, request)).toEqual([key])
    await signAll(world, url, [validator], [1, 2, 3])
    const ready = await registerUntilReady(url, request)
    expect(await stage.query('select vault from deposit_bindings')).toEqual([
      { vault: Buffer.from(fromHex(vault.address, 20)) },
    ])
    await stage.age()
    expect((await askRegister(url, asks(A))).text).toBe(NOTHING)
    expect(await registerOnChain(vault, '0x01', ready)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
  })

  it('is bound by enough right ones, a made up one among them', async () => {
    const { validator, key, stage, url } = await setUpListed()
    await registerKeys(url, asks(A))
    await post(url, validator, 4, true)
    await signAll(world, url, [validator], [1, 2, 3])
    await eventually('a binding', async () =>
      (await stage.query('select from deposit_bindings')).length === 1 ? true : undefined,
    )
    await stage.age()
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
    expect(await registerKeys(url, asks(A))).toEqual([key])
  })

  it('is bound by enough right ones also where they come after the deposit has left the lists', async () => {
    const { validator, key, stage, url } = await setUpListed()
    await registerKeys(url, asks(A))
    const [item] = await getValidators(url)
    if (item === undefined) throw new Error('not listed')
    await stage.age(7200)
    await eventually('nothing is asked for', async () => ((await getValidators(url)).length === 0 ? true : undefined))
    for (const shareIndex of [1, 2, 3])
      await postPairs(url, shareIndex, [signedPair(world.network, validator, shareIndex, item)])
    await eventually('a binding', async () =>
      (await stage.query('select from deposit_bindings')).length === 1 ? true : undefined,
    )
    await stage.age()
    expect((await askRegister(url, asks(B))).text).toBe(NOTHING)
    expect(await registerKeys(url, asks(A))).toEqual([key])
  })
})

describe.skipIf(skipWithoutAnvil)('release-key', () => {
  /** Runs the command; what it printed. */
  async function release(stage: { databaseUrl: string }, settings: Record<string, string>, ...args: string[]) {
    const printed: string[] = []
    const print = (...words: unknown[]) => void printed.push(words.join(' '))
    using _log = vi.spyOn(console, 'log').mockImplementation(print)
    using _error = vi.spyOn(console, 'error').mockImplementation(print)
    const environment = world.environment({ ...settings, DATABASE_URL: stage.databaseUrl, LOG_LEVEL: 'silent' })
    const code = await runCommand(['release-key', ...args], environment, () => {})
    return { code, text: printed.join('\n') }
  }

  it('frees a bound key with a warning, and everything of it is signed anew', async () => {
    const { stage, settings, url, key, validator } = await setUp()
    const vault = await world.deployVault()
    await registerKeys(url, asks(A))
    await signAll(world, url, [validator], [1, 2, 3])
    await registerUntilReady(url, asks(A))
    expect(await getValidators(url)).toMatchObject([{ public_key: key, is_signatures_ready: true }])
    const refused = await release(stage, settings, '--key', key)
    expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('--yes') })
    expect((await askRegister(url, asks(vault.address))).text).toBe(NOTHING)
    const done = await release(stage, settings, '--key', key, '--yes')
    expect(done).toMatchObject({ code: 0, text: expect.stringMatching(/bound to 0xaa.*WARNING/is) })
    await eventually('the list has nothing', async () => ((await getValidators(url)).length === 0 ? true : undefined))
    const request = asks(vault.address)
    expect(await registerKeys(url, request)).toEqual([key])
    expect(await getValidators(url)).toMatchObject([{ is_signatures_ready: false, share_indexes_ready: [] }])
    await signAll(world, url, [validator], [1, 2, 3])
    expect(await registerOnChain(vault, '0x01', await registerUntilReady(url, request))).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
  })

  it('frees a held key with a warning: its nodes may have signed', async () => {
    const { validator, key, stage, url } = await setUpListed()
    await registerKeys(url, asks(A))
    await signAll(world, url, [validator], [1])
    const done = await release(stage, { SIGNATURE_THRESHOLD: '3' }, '--key', key, '--yes')
    expect(done).toMatchObject({ code: 0, text: expect.stringMatching(/reserved for 0xa.*WARNING/is) })
    expect(await registerKeys(url, asks(B))).toEqual([key])
  })

  it('frees a reserved key without a warning', async () => {
    const { stage, settings, url, key } = await setUp()
    await registerKeys(url, asks(A))
    const done = await release(stage, settings, '--key', key.slice(2).toUpperCase(), '--yes')
    expect(done.code).toBe(0)
    expect(done.text).not.toContain('WARNING')
    expect(await registerKeys(url, asks(B))).toEqual([key])
  })

  it('refuses keys that are unknown, free, registered or no keys', async () => {
    const { stage, settings, url, key } = await setUp()
    const [unknown = ''] = keysOf(createTestKeys(1, { nodes: 1, threshold: 1 }))
    expect(await release(stage, settings, '--key', unknown, '--yes')).toMatchObject({
      code: 1,
      text: expect.stringContaining('does not know'),
    })
    expect(await release(stage, settings, '--key', key, '--yes')).toMatchObject({
      code: 1,
      text: expect.stringContaining('no vault'),
    })
    expect(await release(stage, settings, '--key', '0x12', '--yes')).toMatchObject({ code: 1 })
    await registerKeys(url, asks(A))
    await stage.query('insert into registry_validators (public_key, block_number) values ($1, 1)', [fromHex(key, 48)])
    expect(await release(stage, settings, '--key', key, '--yes')).toMatchObject({
      code: 1,
      text: expect.stringContaining('registered'),
    })
    expect(await stage.query('select from validators where vault is not null')).toHaveLength(1)
  })
})
