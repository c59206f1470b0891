/** Deposits that a cluster lock carries whole: no node signs them, and one that does not fit is as if it were not there (generation 4). */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { findChangedValidators } from '@dvt-relayer/db/queries/messages/lists.ts'
import { findCompletable, findLockSigned } from '@dvt-relayer/db/queries/messages/lock-deposits.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLockDeposits } from '../../../apps/relayer/src/services/registrations/lock-deposits.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { isValidDeposit } from '../../support/chain/follow-deposits.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { type DepositOfLock, type MadeValidator, makeLockDeposit } from '../../support/keys/make-cluster.ts'
import { isReady, nextIndex, register, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
import { openMessages } from '../../support/stages/messages.ts'
import {
  askRegister,
  clusterFor,
  ETH32,
  keysOf,
  NOTHING,
  openStage,
  type Stage,
  signAll,
} from '../../support/stages/registrations.ts'
import { getValidators, partialDeposit, postPairs, sidecarRound, signedPair } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 3, threshold: 2 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

type Address = Pick<Vault, 'address'>
type Type = '0x01' | '0x02'
const THRESHOLD = 3
const STRANGER: Address = { address: `0x${'5c'.repeat(20)}` }

const asks = (vault: Address, count: number, type: Type = '0x01', gwei = ETH32) => ({
  vault: vault.address,
  startIndex: nextIndex(world.beacon),
  amounts: Array<number>(count).fill(gwei),
  type,
})

/** The deposit of a lock to a vault; 32 ETH of type 0x01 on the network of the world, unless told. */
const depositTo = (vault: Address, change: Partial<DepositOfLock> = {}) => ({
  vault: fromHex(vault.address, 20),
  type: '0x01' as const,
  ether: 32n,
  genesisForkVersion: world.network.genesisForkVersion,
  ...change,
})
type Deposits = (validator: MadeValidator, position: number) => ReturnType<typeof makeLockDeposit>[]

/** A log that a test reads. */
function listen() {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  return { lines, logger: createLogger({ level: 'info', format: 'json', destination }) }
}

/** A relayer with a lock of this vault, or of none, and these deposits; one that fits each validator unless told. */
async function setUp(
  vault: Address,
  options: { validators?: number; named?: Address | undefined; deposits?: Deposits } = {},
) {
  const { validators = 1, deposits } = options
  const cluster = await clusterFor(world, 'named' in options ? options.named : vault, {
    validators,
    threshold: THRESHOLD,
    deposits: deposits ?? ((validator) => [makeLockDeposit(validator, depositTo(vault))]),
  })
  const stage = await openStage(world)
  const { lines, logger } = listen()
  const settings = { CLUSTER_LOCK_FILES: cluster.lockFile }
  const relayer = await stage.startRelayer(settings, { logger })
  return { cluster, stage, relayer, url: relayer.url, lines, settings, keys: keysOf(cluster.validators) }
}

/** How many partial signatures of each kind were verified. */
async function countSigned(stage: Stage) {
  const rows = await stage.query<{ kind: string; count: string }>(
    `select m.kind, count(*) from partial_signatures p join messages m on m.id = p.message_id where p.state = 'verified' group by m.kind`,
  )
  const of = (kind: string) => Number(rows.find((row) => row.kind === kind)?.count ?? 0)
  return { exits: of('exit'), deposits: of('deposit') }
}
const statesOf = async (stage: Stage) =>
  (await stage.query<{ state: string }>(`select state from messages where kind = 'deposit' order by id`)).map(
    ({ state }) => state,
  )
const bindingsOf = async (stage: Stage) =>
  (await stage.query<{ vault: Buffer }>('select vault from deposit_bindings')).map(
    ({ vault }) => `0x${vault.toString('hex')}`,
  )
/** What a crash before the last step, or `void-sealed`, leaves: the deposits are collected. */
const uncomplete = (stage: Stage) =>
  stage.query(`update messages set state = 'collecting', signature = null, ready_at = null where kind = 'deposit'`)

/** Exits alone, as sidecars of generation 3 and whoever may not sign deposits post them. */
async function signExits(url: string, validators: readonly MadeValidator[], shareIndexes: readonly number[]) {
  for (const shareIndex of shareIndexes)
    expect(await sidecarRound(url, world.network, validators, shareIndex)).toMatchObject({ status: 200, text: '{}' })
}

describe.skipIf(skipWithoutAnvil)('a vault whose lock has fitting deposits', () => {
  it.each([
    ['0x01', 32n],
    ['0x02', 32n],
    ['0x02', 256n],
  ] as const)('registers on chain with exits alone: type %s, %i ETH', async (type, ether) => {
    const vault = await world.deployVault()
    const deposits: Deposits = (validator) =>
      [1n, ether].map((amount) => makeLockDeposit(validator, depositTo(vault, { type, ether: amount })))
    const { cluster, stage, url } = await setUp(vault, { validators: 2, deposits })
    const request = asks(vault, 2, type, Number(ether) * 1_000_000_000)
    const first = await register(url, request)
    for (const [position, { deposit_signature, oracles_exit_signature_shares }] of first.validators.entries()) {
      const deposit = {
        publicKey: cluster.validators[position]?.publicKey ?? new Uint8Array(),
        withdrawalCredentials: withdrawalCredentials(type, fromHex(vault.address, 20)),
        amountGwei: ether * 1_000_000_000n,
        signature: fromHex(deposit_signature ?? '', 96),
      }
      expect(isValidDeposit(world.network, deposit)).toBe(true)
      expect(oracles_exit_signature_shares).toBeNull()
    }
    expect(first.validators_manager_signature).toBeNull()
    await signExits(url, cluster.validators, [1, 2])
    expect(isReady(await register(url, request))).toBe(false)
    await signExits(url, cluster.validators, [4])
    const answer = await registerUntilReady(url, request)
    expect(await countSigned(stage)).toEqual({ exits: 2 * THRESHOLD, deposits: 0 })
    expect(await registerOnChain(vault, type, answer)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    for (const { publicKey } of cluster.validators)
      expect(world.beacon.findValidator(publicKey)).toMatchObject({
        withdrawalCredentials: withdrawalCredentials(type, fromHex(vault.address, 20)),
        balanceGwei: ether * 1_000_000_000n,
      })
  })

  it('needs half of the partial signatures that it needs without them', async () => {
    const needed = async (deposits?: Deposits) => {
      const vault = await world.deployVault()
      const { cluster, stage, url } = await setUp(vault, { validators: 2, ...(deposits && { deposits }) })
      const request = asks(vault, 2)
      await register(url, request)
      const round = deposits === undefined ? signExits : signPairs
      await round(url, cluster.validators, [1, 2, 4])
      await registerUntilReady(url, request)
      return countSigned(stage)
    }
    const signPairs = (url: string, validators: readonly MadeValidator[], indexes: readonly number[]) =>
      signAll(world, url, validators, indexes)
    const [before, after] = [await needed(() => []), await needed()]
    console.info(
      `partial signatures verified for 2 validators of threshold ${THRESHOLD}: ${before.exits + before.deposits} without deposits in the lock, ${after.exits + after.deposits} with them`,
    )
    expect([before, after]).toEqual([
      { exits: 2 * THRESHOLD, deposits: 2 * THRESHOLD },
      { exits: 2 * THRESHOLD, deposits: 0 },
    ])
  })

  it('is its own for good, also where the lock names no vault', async () => {
    const vault = await world.deployVault()
    const { stage, url, keys } = await setUp(vault, { named: undefined })
    expect(await bindingsOf(stage)).toEqual([vault.address.toLowerCase()])
    expect((await askRegister(url, asks(STRANGER, 1))).text).toBe(NOTHING)
    const { validators } = await register(url, asks(vault, 1))
    expect(validators.map(({ public_key }) => public_key)).toEqual(keys)
    expect(validators[0]?.deposit_signature).not.toBeNull()
    await stage.age()
    expect((await askRegister(url, asks(STRANGER, 1))).text).toBe(NOTHING)
  })

  it('asks existing sidecars for what they sign anyway, and takes it', async () => {
    const vault = await world.deployVault()
    const { cluster, stage, url } = await setUp(vault)
    const [validator] = cluster.validators
    if (validator === undefined) throw new Error('no validator')
    await register(url, asks(vault, 1))
    const item = async () => {
      const [only] = await getValidators(url)
      if (only === undefined) throw new Error('nothing is listed')
      return only
    }
    expect(await item()).toMatchObject({ is_signatures_ready: false, share_indexes_ready: [] })

    // Node 1 has posted its exit alone, and owes nothing more: sidecar 2.1 posts what lacks its index.
    await signExits(url, cluster.validators, [1])
    await eventually('node 1', async () => ((await item()).share_indexes_ready.includes(1) ? true : undefined))
    // Node 2 posts both; both are verified.
    await signAll(world, url, cluster.validators, [2])
    expect(await item()).toMatchObject({ share_indexes_ready: [1, 2], share_indexes_rejected: [] })
    expect(await countSigned(stage)).toEqual({ exits: 2, deposits: 1 })
    // Node 3 posts a right exit and a wrong deposit: the one counts, the other is named, and the deposit stays what it is.
    const pair = signedPair(world.network, validator, 3, await item())
    const wrong = partialDeposit(world.network, validator, 3, { ...(await item()), vault: STRANGER.address })
    const answer = await postPairs(url, 3, [{ ...pair, deposit_signature: wrong }])
    expect(answer).toMatchObject({ status: 200, json: { failures: [{ index: 0, kind: 'deposit' }] } })
    await eventually('node 3', async () => ((await item()).share_indexes_ready.includes(3) ? true : undefined))
    await eventually('the exit', async () => ((await item()).is_signatures_ready ? true : undefined))
    expect(isReady(await registerUntilReady(url, asks(vault, 1)))).toBe(true)
    // One that is late is taken as well.
    await signAll(world, url, cluster.validators, [4])
    expect((await item()).share_indexes_ready).toEqual([1, 2, 3, 4])
  })
})

describe.skipIf(skipWithoutAnvil)('a deposit of a lock that does not fit', () => {
  const cases: [string, Partial<DepositOfLock>, { warned: boolean }][] = [
    ['of another amount', { ether: 1n }, { warned: false }],
    ['of an amount that was not asked for', { type: '0x02', ether: 64n }, { warned: false }],
    ['of the other type', { type: '0x02' }, { warned: false }],
    ['signed for another network', { genesisForkVersion: Uint8Array.of(0, 0, 0, 0) }, { warned: true }],
  ]
  it.each(cases)('%s, leaves the deposit to the nodes', async (_, change, { warned }) => {
    const vault = await world.deployVault()
    const deposits: Deposits = (validator) => [makeLockDeposit(validator, depositTo(vault, change))]
    const { cluster, stage, url, lines } = await setUp(vault, { deposits })
    const request = asks(vault, 1)
    expect((await register(url, request)).validators[0]).toMatchObject({ deposit_signature: null })
    await signExits(url, cluster.validators, [1, 2, 4])
    expect(isReady(await register(url, request))).toBe(false)
    expect(await statesOf(stage)).toEqual(['collecting'])
    expect(lines.filter((line) => line.includes('are ignored')).length).toBe(warned ? 1 : 0)
    // A share index counts when both are in.
    expect((await getValidators(url))[0]?.share_indexes_ready).toEqual([])
    await signAll(world, url, cluster.validators)
    expect(await registerOnChain(vault, '0x01', await registerUntilReady(url, request))).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
  })

  it('is named where its signature is wrong, and the right ones of the lock count', async () => {
    const vault = await world.deployVault()
    const deposits: Deposits = (validator, position) => {
      const right = makeLockDeposit(validator, depositTo(vault))
      const other = makeLockDeposit(validator, depositTo(vault, { ether: 33n }))
      const wrong = { ...right, signature: other.signature }
      // Each twice, the wrong one first: what is right counts once.
      return position === 0 ? [wrong, right, wrong, right] : [wrong]
    }
    const { url, lines, stage, cluster } = await setUp(vault, { validators: 2, deposits })
    const { validators } = await register(url, asks(vault, 2))
    expect(validators.map(({ deposit_signature: signature }) => signature !== null)).toEqual([true, false])
    const told = lines.map((line) => JSON.parse(line)).find(({ wrong }) => wrong !== undefined)
    expect(told).toMatchObject({
      level: 'warn',
      wrong: 3,
      first: 'distributed_validators[0].partial_deposit_data[0]',
    })
    for (const signature of cluster.lock.validators.flatMap(({ deposits: all }) => all.map((one) => one.signature)))
      expect(lines.join()).not.toContain(Buffer.from(signature).toString('hex'))
    expect(await stage.query('select from lock_deposits')).toHaveLength(1)
  })

  it('to another address than the lock names gives the key to nobody', async () => {
    const vault = await world.deployVault()
    const deposits: Deposits = (validator) => [makeLockDeposit(validator, depositTo(STRANGER))]
    const { url, lines, stage } = await setUp(vault, { deposits })
    for (const asking of [vault, STRANGER]) expect((await askRegister(url, asks(asking, 1))).text).toBe(NOTHING)
    expect(await bindingsOf(stage)).toEqual([STRANGER.address])
    expect(lines.filter((line) => line.includes('no vault gets these keys'))).toHaveLength(1)
  })

  it('any more, since somebody changed it in the database, is not used', async () => {
    const vault = await world.deployVault()
    const { cluster, url, stage, lines } = await setUp(vault)
    const [validator] = cluster.validators
    if (validator === undefined) throw new Error('no validator')
    const { signature } = makeLockDeposit(validator, depositTo(vault, { ether: 33n }))
    await stage.query('update lock_deposits set signature = $1', [Buffer.from(signature)])
    expect((await register(url, asks(vault, 1))).validators[0]?.deposit_signature).toBeNull()
    expect(await statesOf(stage)).toEqual(['collecting'])
    expect(lines.filter((line) => line.includes('does not verify: the nodes sign it'))).not.toEqual([])
    await signAll(world, url, cluster.validators)
    expect(isReady(await registerUntilReady(url, asks(vault, 1)))).toBe(true)
  })
})

describe.skipIf(skipWithoutAnvil)('a lock that comes while its deposits are collected', () => {
  /** A relayer that knows keys from the list alone, of which a vault has asked for one that one node has signed. */
  async function setUpListed() {
    const vault = await world.deployVault()
    const cluster = await clusterFor(world, vault, {
      validators: 1,
      deposits: (validator) => [makeLockDeposit(validator, depositTo(vault))],
    })
    const file = join(world.dir, `listed-${keysOf(cluster.validators)[0]}.csv`)
    await writeFile(file, `${keysOf(cluster.validators).join('\n')}\n`)
    const stage = await openStage(world)
    const listed = { PUBLIC_KEYS_FILE: file, SIGNATURE_THRESHOLD: String(THRESHOLD) }
    const before = await stage.startRelayer(listed)
    await register(before.url, asks(vault, 1))
    await signAll(world, before.url, cluster.validators, [1])
    await before[Symbol.asyncDispose]()
    return { vault, cluster, stage, settings: { ...listed, CLUSTER_LOCK_FILES: cluster.lockFile } }
  }

  it('completes them when it is imported', async () => {
    const { vault, cluster, stage, settings } = await setUpListed()
    expect(await statesOf(stage)).toEqual(['collecting'])
    const { url } = await stage.startRelayer(settings)
    expect(await statesOf(stage)).toEqual(['ready'])
    expect(await bindingsOf(stage)).toEqual([vault.address.toLowerCase()])
    await signExits(url, cluster.validators, [2, 4])
    expect(isReady(await registerUntilReady(url, asks(vault, 1)))).toBe(true)
  })

  it('is imported whole or not at all, when the import dies half way', async () => {
    const { vault, stage, settings } = await setUpListed()
    await stage.query(
      `create function die() returns trigger language plpgsql as $$ begin raise exception 'dead'; end $$`,
    )
    await stage.query('create trigger dies before insert on lock_deposits execute function die()')
    await expect(stage.startRelayer(settings)).rejects.toThrow()
    expect(await stage.query(`select from clusters where source = 'lock'`)).toEqual([])
    expect(await statesOf(stage)).toEqual(['collecting'])
    await stage.query('drop trigger dies on lock_deposits')
    const { url } = await stage.startRelayer(settings)
    expect((await register(url, asks(vault, 1))).validators[0]?.deposit_signature).not.toBeNull()
  })

  it('completes what a crash right after the import, or void-sealed, has left: at the next start, and at the next poll', async () => {
    const vault = await world.deployVault()
    const { stage, relayer, settings } = await setUp(vault)
    const first = await register(relayer.url, asks(vault, 1))
    await uncomplete(stage)
    expect(await register(relayer.url, asks(vault, 1))).toEqual(first)
    await uncomplete(stage)
    await relayer[Symbol.asyncDispose]()
    await stage.startRelayer(settings)
    expect(await statesOf(stage)).toEqual(['ready'])
  })

  it('was imported by a version that did not read deposits: they are read at the next start, once', async () => {
    const vault = await world.deployVault()
    const { cluster, stage, relayer, settings } = await setUp(vault)
    await stage.query('update clusters set deposits_read_at = null')
    await stage.query('delete from lock_deposits')
    await stage.query('delete from deposit_bindings')
    expect((await register(relayer.url, asks(vault, 1))).validators[0]?.deposit_signature).toBeNull()
    await relayer[Symbol.asyncDispose]()
    const [second, third] = [listen(), listen()]
    const again = await stage.startRelayer(settings, { logger: second.logger })
    expect(second.lines.filter((line) => line.includes('deposits of an imported lock read'))).toHaveLength(1)
    expect(await statesOf(stage)).toEqual(['ready'])
    expect(await bindingsOf(stage)).toEqual([vault.address.toLowerCase()])
    await signExits(again.url, cluster.validators, [1, 2, 4])
    expect(isReady(await registerUntilReady(again.url, asks(vault, 1)))).toBe(true)
    await again[Symbol.asyncDispose]()
    await stage.startRelayer(settings, { logger: third.logger })
    expect(third.lines.filter((line) => line.includes('deposits of an imported lock read'))).toEqual([])
  })
})

it('of a large lock are completed slice by slice to the last, past one that is wrong', async () => {
  const { db, query, sealing } = await openMessages()
  await query(
    sql`insert into validators (public_key) select decode(lpad(to_hex(n), 96, '0'), 'hex') from generate_series(1, 1100) n`,
  )
  const vault = randomBytes(20)
  await query(sql`
    insert into lock_deposits (validator_id, vault, validator_type, amount_gwei, signature)
    select id, ${vault}, '0x01', 1, ${randomBytes(96)} from validators`)
  await query(sql`
    insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state)
    select id, 'deposit', ${vault}, 1, '0x01', ${randomBytes(32)}, 3, 'collecting' from validators`)
  const asked: number[] = []
  const verify = async (checks: readonly unknown[]) => {
    asked.push(checks.length)
    return checks.map((_, position) => asked.length !== 2 || position !== 7)
  }
  const parts = {
    db,
    sealing,
    crypto: { verify },
    events: { messagesReady() {} },
    logger: silentLogger,
    announced() {},
  }
  const service = createLockDeposits(parts as unknown as Parameters<typeof createLockDeposits>[0])
  expect(await service.complete(null)).toBe(1099)
  expect(asked.length).toBeGreaterThan(2)
  const states = await query(sql`select state, count(*)::int from messages group by state order by state`)
  expect(states).toEqual([
    { state: 'collecting', count: 1 },
    { state: 'ready', count: 1099 },
  ])
})

it('counts for its own validator, vault, type and amount, and for nothing that differs in one of them', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openMessages()
  const [vault, other] = [new Uint8Array(20).fill(0xaa), new Uint8Array(20).fill(0xbb)]
  const ofLock = { vault, gwei: 1, type: '0x01' as const }
  const deposits = [
    { isLocks: true, deposit: ofLock },
    { isLocks: true, deposit: { ...ofLock, vault: other } },
    { isLocks: true, deposit: { ...ofLock, gwei: 2 } },
    { isLocks: true, deposit: { ...ofLock, type: '0x02' as const } },
    // Of a validator of which no lock has a deposit.
    { isLocks: false, deposit: ofLock },
  ]
  const made: { validator: number; id: number }[] = []
  for (const { isLocks, deposit } of deposits) {
    const { id: validator } = await addValidator()
    await addExit(validator)
    if (isLocks)
      await query(sql`insert into lock_deposits (validator_id, vault, validator_type, amount_gwei, signature)
                      values (${validator}, ${Buffer.from(vault)}, '0x01', 1, ${randomBytes(96)})`)
    made.push({ validator, id: await addDeposit(validator, deposit) })
  }
  const [fitting] = made
  if (fitting === undefined) throw new Error('five were made')
  const all = made.map(({ validator }) => validator)
  expect(await findLockSigned(db, all)).toEqual([fitting.id])
  expect((await findCompletable(db, null, 0, 9)).map(({ id }) => id)).toEqual([fitting.id])
  // Ready and signed for: of what the lock has a node owes its exit alone.
  await query(sql`update messages set state = 'ready', signature = ${randomBytes(96)} where kind = 'deposit'`)
  await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                  select id, 1, sha256(id::text::bytea), 'x', 'verified' from messages where kind = 'exit'`)
  const listed = await findChangedValidators(db, { revision: 0, messageId: 0 }, 99)
  expect(new Set(listed.filter(({ verified }) => verified === '1').map(({ id }) => id))).toEqual(
    new Set([fitting.validator]),
  )

  expect(new Set(listed.map(({ id }) => id))).toEqual(new Set(all))
})
