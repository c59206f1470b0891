/** Which public keys a vault is given: from where, in which order, how many, and never one that the chain has (generation 4). */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { findReserved, lockAllocation, reserveValidators } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { examine } from '../../../apps/relayer/src/doctor/doctor.ts'
import { ANCHORS } from '../../../apps/relayer/src/services/status/problems.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { isReady, nextIndex, register, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
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
import { engine, getValidators, type KeyedValidator } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually, hex } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** What a vault asks for: `count` validators from the next free index on. */
const asks = (vault: Pick<Vault, 'address'>, count: number, later = 0) => ({
  vault: vault.address,
  startIndex: nextIndex(world.beacon) + later,
  amounts: Array<number>(count).fill(ETH32),
  type: '0x01' as const,
})
const anyVault = (byte: number) => ({ address: `0x${byte.toString(16).padStart(2, '0').repeat(20)}` as const })
const readyShares = async (url: string) =>
  new Map((await getValidators(url)).map((item) => [item.public_key, item.share_indexes_ready]))

async function keysFile(name: string, lines: readonly string[]): Promise<string> {
  const file = join(world.dir, name)
  await writeFile(file, `${lines.join('\n')}\n`)
  return file
}

/** One relayer with a lock that names no vault. */
async function setUp(validators: number) {
  const cluster = await clusterFor(world, undefined, { validators })
  const stage = await openStage(world)
  const relayer = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
  return { cluster, stage, keys: keysOf(cluster.validators), relayer, url: relayer.url }
}

describe.skipIf(skipWithoutAnvil)('keys come', () => {
  it('from locks and PUBLIC_KEYS_FILE, in order, each with the threshold of its cluster', async () => {
    const first = await clusterFor(world, undefined, { validators: 2, nodes: 4, threshold: 3 })
    const second = await clusterFor(world, undefined, { validators: 2, nodes: 3, threshold: 2 })
    const listed = createTestKeys(2, { nodes: 4, threshold: 4 })
    const [locked = ''] = keysOf(second.validators)
    const [one = '', two = ''] = keysOf(listed)
    const file = await keysFile('order.csv', [two.slice(2).toUpperCase(), locked, one])
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({
      CLUSTER_LOCK_FILES: `${first.lockFile},${second.lockFile}`,
      PUBLIC_KEYS_FILE: file,
      SIGNATURE_THRESHOLD: '4',
    })
    const request = asks(anyVault(0x11), 6)
    expect(await registerKeys(url, request)).toEqual([
      ...keysOf(first.validators),
      ...keysOf(second.validators),
      two,
      one,
    ])
    const has = async (count: number) => {
      const { validators, validators_manager_signature } = await register(url, request)
      const done = validators.map((item) => item.deposit_signature && item.oracles_exit_signature_shares)
      // Some are not enough: the manager signs for all or for none.
      expect(validators_manager_signature !== null).toBe(done.every(Boolean))
      return done.filter(Boolean).length === count ? done.map(Boolean) : undefined
    }
    const all = [...first.validators, ...second.validators, ...listed]
    const four = [...first.validators, ...listed]
    await signAll(world, url, all, [1, 2])
    expect(await eventually('those of threshold 2', () => has(2))).toEqual([false, false, true, true, false, false])
    await signAll(world, url, all, [3])
    expect(await eventually('those of threshold 3', () => has(4))).toEqual([true, true, true, true, false, false])
    await signAll(world, url, four, [4])
    await eventually('all', () => has(6))
  })

  it('from the file as it is at the start: what was taken out of it is not handed out', async () => {
    const listed = keysOf(createTestKeys(3, { nodes: 4, threshold: 3 }))
    const stage = await openStage(world)
    const settings = { SIGNATURE_THRESHOLD: '3', PUBLIC_KEYS_FILE: await keysFile('taken-out.csv', listed) }
    const request = asks(anyVault(0x12), 3)
    {
      await using relayer = await stage.startRelayer(settings)
      expect(await registerKeys(relayer.url, request)).toEqual(listed)
    }
    await keysFile('taken-out.csv', listed.toSpliced(1, 1))
    {
      await using relayer = await stage.startRelayer(settings)
      expect(await registerKeys(relayer.url, request)).toEqual(listed.toSpliced(1, 1))
    }
    // Put back, it is its vault's again: it was reserved all the time.
    await keysFile('taken-out.csv', listed)
    {
      await using relayer = await stage.startRelayer(settings)
      expect(await registerKeys(relayer.url, asks(anyVault(0x13), 3))).toEqual([])
      expect((await registerKeys(relayer.url, request)).toSorted()).toEqual(listed.toSorted())
    }
    // Without a file nobody gets any.
    await using relayer = await stage.startRelayer({ SIGNATURE_THRESHOLD: '3' })
    expect((await askRegister(relayer.url, request)).text).toBe(NOTHING)
  })

  it('to a vault that no lock names not at all, and whose relayer it is learns why', async () => {
    const owner = anyVault(0x15)
    const cluster = await clusterFor(world, owner, { validators: 2 })
    const stage = await openStage(world)
    const lines: Record<string, unknown>[] = []
    const destination = { write: (line: string) => lines.push(JSON.parse(line)) }
    const logger = createLogger({ level: 'info', format: 'json', destination })
    const { url } = await stage.startRelayer(
      { CLUSTER_LOCK_FILES: cluster.lockFile },
      { logger, intervalsMs: { 'unserved vaults': 50 } },
    )
    const stranger = anyVault(0x16)
    for (let times = 0; times < 3; times++) expect((await askRegister(url, asks(stranger, 2))).text).toBe(NOTHING)
    // Once within a minute, however often it asks.
    const said = lines.filter(({ msg }) => String(msg).startsWith('a vault asks for validators and gets none'))
    expect(said).toMatchObject([{ vault: stranger.address, validators: 2, level: 'warn' }])
    const status = async () => (await ask(url, '/status.json')).json as Status
    const reason = await eventually('the reason, once keys are counted', async () =>
      (await status()).unserved.find((one) =>
        one.reason.startsWith('no lock and no line of PUBLIC_KEYS_FILE names it'),
      ),
    )
    expect(reason).toMatchObject({
      ...{ vault: stranger.address, validators: 2 },
      reason: expect.stringMatching(/: the 2 free keys can only go to 0x15/),
    })
    const { problems } = await status()
    expect(problems.map(({ anchor }) => anchor)).toContain(ANCHORS.unserved)
    const environment = world.environment({
      ...{ DATABASE_URL: stage.databaseUrl, CLUSTER_LOCK_FILES: cluster.lockFile },
    })
    const { findings } = await examine(environment)
    expect(findings.find(({ check }) => check === 'keys')?.details).toContainEqual(
      expect.stringMatching(new RegExp(`^${stranger.address} has asked for 2 validators and got none`)),
    )
    // A vault that gets keys is not told of.
    expect(await registerKeys(url, asks(owner, 2))).toHaveLength(2)
    expect((await status()).unserved.map(({ vault }) => vault)).toEqual([stranger.address])
  })

  it('from a file of nothing but keys of locks without SIGNATURE_THRESHOLD', async () => {
    const cluster = await clusterFor(world, undefined, { validators: 2 })
    const stage = await openStage(world)
    const file = await keysFile('locked.csv', keysOf(cluster.validators))
    const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, PUBLIC_KEYS_FILE: file })
    expect(await registerKeys(url, asks(anyVault(0x14), 2))).toEqual(keysOf(cluster.validators))
  })

  it.each([
    ['is not there', undefined, { SIGNATURE_THRESHOLD: '3' }, 'PUBLIC_KEYS_INVALID', 'cannot be read'],
    ['holds no key', '# none', { SIGNATURE_THRESHOLD: '3' }, 'PUBLIC_KEYS_INVALID', 'no key'],
    ['holds something else', '0x1234', { SIGNATURE_THRESHOLD: '3' }, 'PUBLIC_KEYS_INVALID', 'line 1'],
    ['holds no point', `0x${'ab'.repeat(48)}`, { SIGNATURE_THRESHOLD: '3' }, 'PUBLIC_KEYS_INVALID', 'line 1'],
    [
      'holds the point at infinity',
      `0xc0${'00'.repeat(47)}`,
      { SIGNATURE_THRESHOLD: '3' },
      'PUBLIC_KEYS_INVALID',
      'line 1',
    ],
    ['holds keys of no lock, and no threshold is set', 'a key', {}, 'THRESHOLD_UNKNOWN', 'SIGNATURE_THRESHOLD'],
  ])('from no file that %s: the boot fails', async (_, text, settings, code, message) => {
    const stage = await openStage(world)
    const cluster = await clusterFor(world, undefined, { validators: 1 })
    const [key = ''] = keysOf(createTestKeys(1, { nodes: 1, threshold: 1 }))
    const file =
      text === undefined ? join(world.dir, 'nowhere.csv') : await keysFile('bad.csv', [text === 'a key' ? key : text])
    const boot = stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, PUBLIC_KEYS_FILE: file, ...settings })
    await expect(boot).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
    expect(await stage.query(`select from clusters where source = 'list'`)).toEqual([])
  })
})

describe.skipIf(skipWithoutAnvil)('a vault', () => {
  it('gets the keys whose lock names it, and no other does', async () => {
    const stage = await openStage(world)
    const [a, b] = [anyVault(0x21), anyVault(0x22)]
    const [ofA, ofB] = [await clusterFor(world, a, { validators: 2 }), await clusterFor(world, b, { validators: 1 })]
    const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: `${ofA.lockFile},${ofB.lockFile}` })
    expect(await registerKeys(url, asks(b, 3))).toEqual(keysOf(ofB.validators))
    expect(await registerKeys(url, asks(a, 3))).toEqual(keysOf(ofA.validators))
    expect((await askRegister(url, asks(anyVault(0x23), 1))).text).toBe(NOTHING)
  })

  it('keeps its keys, and another gets others', async () => {
    const { url, keys } = await setUp(5)
    const [a, b] = [anyVault(0x24), anyVault(0x25)]
    expect(await registerKeys(url, asks(a, 2))).toEqual(keys.slice(0, 2))
    expect(await registerKeys(url, asks(b, 1))).toEqual(keys.slice(2, 3))
    const before = await ask(url, '/validators')
    expect(await registerKeys(url, asks(a, 2))).toEqual(keys.slice(0, 2))
    // A poll is no change: sidecars are not told of anything.
    expect((await ask(url, '/validators')).text).toBe(before.text)
    expect(await registerKeys(url, asks(a, 3))).toEqual([...keys.slice(0, 2), keys[3]])
    expect(await registerKeys(url, asks(a, 1, 5))).toEqual(keys.slice(0, 1))
    expect(await registerKeys(url, asks(b, 9))).toEqual([keys[2], keys[4]])
    expect((await askRegister(url, asks(anyVault(0x26), 1))).text).toBe(NOTHING)
  })

  it('that changes the start index gets new exits and keeps the deposits', async () => {
    const { url, keys, cluster } = await setUp(2)
    const vault = anyVault(0x27)
    await register(url, asks(vault, 2))
    await signAll(world, url, cluster.validators, [1, 2])
    const deposits = await registerUntilHalfSigned(url, asks(vault, 2))
    expect(await registerKeys(url, asks(vault, 2, 7))).toEqual(keys)
    const items = await getValidators(url)
    expect(items.map(({ validator_index }) => validator_index)).toEqual(
      [0, 1].map((i) => nextIndex(world.beacon) + 7 + i),
    )
    // Their deposit shares are in, their exit shares are not.
    expect(items.map(({ share_indexes_ready }) => share_indexes_ready)).toEqual([[], []])
    expect(deposits).toEqual([2, 2])
    await signAll(world, url, cluster.validators, [3])
    // One more node completes the deposits; the exits have but one share.
    await eventually('deposit signatures', async () => {
      const { validators } = await register(url, asks(vault, 2, 7))
      expect(validators.map((item) => item.oracles_exit_signature_shares)).toEqual([null, null])
      return validators.every((item) => item.deposit_signature !== null) ? true : undefined
    })
  })

  /** How many nodes' shares are in, of each validator. */
  async function registerUntilHalfSigned(url: string, request: ReturnType<typeof asks>): Promise<number[]> {
    expect(isReady(await register(url, request))).toBe(false)
    return [...(await readyShares(url)).values()].map((indexes) => indexes.length)
  }

  it.each([
    ['amount', { amounts: [64_000_000_000] }],
    ['type', { type: '0x01' as const }],
  ])('that changes the %s gets a new deposit and keeps the exit', async (_, change) => {
    const vault = await world.deployVault()
    const cluster = await clusterFor(world, vault, { validators: 1 })
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const request = { ...asks(vault, 1), type: '0x02' as const }
    await register(url, request)
    await signAll(world, url, cluster.validators)
    const before = await registerUntilReady(url, request)
    const changed = { ...request, ...change }
    const { validators, validators_manager_signature } = await register(url, changed)
    expect(validators_manager_signature).toBeNull()
    expect(validators).toEqual([{ ...before.validators[0], amount: changed.amounts[0], deposit_signature: null }])
    await signAll(world, url, cluster.validators)
    const after = await registerUntilReady(url, changed)
    const [exit] = before.validators
    expect(after.validators[0]?.oracles_exit_signature_shares).toEqual(exit?.oracles_exit_signature_shares)
    expect(await registerOnChain(vault, changed.type, after)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    expect(world.beacon.findValidator(cluster.validators[0]?.publicKey ?? 0)?.balanceGwei).toBe(
      BigInt(changed.amounts[0] ?? 0),
    )
  })

  it('never has one index twice', async () => {
    const { url, keys, cluster } = await setUp(3)
    const vault = anyVault(0x28)
    await register(url, asks(vault, 3))
    await signAll(world, url, cluster.validators, [1])
    expect(await registerKeys(url, asks(vault, 1, 2))).toEqual(keys.slice(0, 1))
    const indexes = async () =>
      new Map((await getValidators(url)).map((item) => [item.public_key, item.validator_index]))
    const start = nextIndex(world.beacon)
    expect(await indexes()).toEqual(
      new Map([
        [keys[1], start + 1],
        [keys[0], start + 2],
      ]),
    )
    // Asked for again, the third comes back with what was collected for it.
    await register(url, asks(vault, 3))
    expect(await indexes()).toEqual(new Map(keys.map((key, position) => [key, start + position])))
    expect(await readyShares(url)).toEqual(
      new Map([
        [keys[0], []],
        [keys[1], [1]],
        [keys[2], [1]],
      ]),
    )
  })
})

describe.skipIf(skipWithoutAnvil)('a key bound to a vault', () => {
  it('is that vault’s, whoever it was reserved for', async () => {
    const { url, keys, stage } = await setUp(1)
    await stage.query('insert into deposit_bindings (validator_id, vault) select id, $1 from validators', [
      Buffer.alloc(20, 0x2b),
    ])
    expect((await askRegister(url, asks(anyVault(0x2a), 1))).text).toBe(NOTHING)
    expect(await registerKeys(url, asks(anyVault(0x2b), 1))).toEqual(keys)
  })
})

describe.skipIf(skipWithoutAnvil)('so many validators that the vault cannot tell their type', () => {
  it.each([
    ['0x01', 23],
    ['0x01', 46],
    ['0x02', 22],
  ] as const)('of type %s, %i, are refused', async (type, count) => {
    const { url } = await setUp(1)
    const answer = await askRegister(url, { ...asks(anyVault(0x31), count), type })
    expect(answer).toMatchObject({ status: 422, json: { code: 'BATCH_AMBIGUOUS' } })
    expect(await getValidators(url)).toEqual([])
  })

  it.each([
    ['0x01', 24, 23, 22],
    ['0x02', 23, 22, 21],
    ['0x01', 22, 23, 22],
  ] as const)('of type %s: of %i with %i keys left there are %i', async (type, asked, left, given) => {
    const { url, keys } = await setUp(left)
    const request = { ...asks(anyVault(0x32), asked), type }
    expect(await registerKeys(url, request)).toEqual(keys.slice(0, given))
    expect(await registerKeys(url, request)).toEqual(keys.slice(0, given))
  })
})

describe.skipIf(skipWithoutAnvil)('a key the chain has', () => {
  /** Deposits a key for other credentials, as somebody who got such a signature can. */
  async function depositElsewhere({ publicKey, secretKey }: KeyedValidator, isValid = true): Promise<void> {
    const credentials = withdrawalCredentials('0x01', new Uint8Array(20).fill(0x66))
    const message = { publicKey, withdrawalCredentials: credentials, amountGwei: 1_000_000_000n }
    const root = isValid ? depositSigningRoot(world.network, message) : new Uint8Array(32)
    const deposit = { ...message, signature: engine.sign(secretKey, root) }
    expect(await depositBySomebodyElse(world.anvil, world.depositContract, deposit)).toMatchObject({ ok: true })
  }

  it('since one block, from more registrations than one request takes, is passed over', async () => {
    const vault = await world.deployVault()
    const cluster = await clusterFor(world, vault, { validators: 14 })
    const keys = keysOf(cluster.validators)
    const stage = await openStage(world)
    const settings = { CLUSTER_LOCK_FILES: cluster.lockFile }
    const relayer = await stage.startRelayer(settings)
    const batch = asks(vault, 12)
    await register(relayer.url, batch)
    await signAll(world, relayer.url, cluster.validators)
    expect(await registerOnChain(vault, '0x01', await registerUntilReady(relayer.url, batch))).toMatchObject({
      ok: true,
    })
    // The consensus node has not seen them; the deposit logs of the newest block have them.
    expect(await registerKeys(relayer.url, asks(vault, 1, 12))).toEqual(keys.slice(12, 13))
    await signAll(world, relayer.url, cluster.validators)
    const one = await registerUntilReady(relayer.url, asks(vault, 1, 12))
    expect(one.validators.map(({ public_key }) => public_key)).toEqual(keys.slice(12, 13))
    await world.beaconFollows.sync()
    await world.anvil.mine(3)
    expect(await registerKeys(relayer.url, asks(vault, 9))).toEqual(keys.slice(12))
    // Final, and settled at the start of another process.
    const other = await stage.startRelayer(settings)
    await eventually('settled', async () =>
      (await stage.query('select from registry_validators where public_key = $1', [fromHex(keys[0] ?? '', 48)]))
        .length > 0
        ? true
        : undefined,
    )
    expect(await registerKeys(other.url, asks(vault, 9))).toEqual(keys.slice(12))
  })

  it('through a stranger’s deposit is not given out or signed for, however ready it is', async () => {
    const { url, keys, cluster, stage } = await setUp(2)
    const vault = await world.deployVault()
    const request = asks(vault, 1)
    await register(url, request)
    await signAll(world, url, cluster.validators)
    await registerUntilReady(url, request)
    const [first] = cluster.validators
    if (first === undefined) throw new Error('no validator')
    await depositElsewhere(first)
    const signatures = async () => (await stage.query('select from manager_signatures')).length
    const before = await signatures()
    // The deposit logs of the newest block have it; the consensus node has not.
    const after = await register(url, asks(vault, 1, 1))
    expect(after.validators.map(({ public_key }) => public_key)).toEqual([keys[1]])
    expect(after.validators_manager_signature).toBeNull()
    expect(await signatures()).toBe(before)
    await world.beaconFollows.queue()
    expect(await registerKeys(url, asks(vault, 2, 1))).toEqual([keys[1]])
    expect(await registerKeys(url, asks(anyVault(0x41), 2, 1))).toEqual([])
    await world.beaconFollows.sync()
  })

  it('is ours still where the stranger’s signature is wrong', async () => {
    const { url, cluster } = await setUp(1)
    const vault = await world.deployVault()
    const request = asks(vault, 1)
    await register(url, request)
    await signAll(world, url, cluster.validators)
    await registerUntilReady(url, request)
    const [first] = cluster.validators
    if (first === undefined) throw new Error('no validator')
    await depositElsewhere(first, false)
    await world.beaconFollows.queue()
    const after = await registerUntilReady(url, request)
    expect(await registerOnChain(vault, '0x01', after)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    expect(world.beacon.findValidator(first.publicKey)).toMatchObject({
      index: request.startIndex,
      withdrawalCredentials: withdrawalCredentials('0x01', fromHex(vault.address, 20)),
    })
  })

  it('and only the consensus node tells of is passed over', async () => {
    const { url, keys, cluster } = await setUp(2)
    world.beacon.addValidators(cluster.validators[0]?.publicKey ?? new Uint8Array(48))
    expect(await registerKeys(url, asks(anyVault(0x42), 2))).toEqual(keys.slice(1))
  })
})

describe.skipIf(skipWithoutAnvil)('requests at the same time', () => {
  it('lock keys in the order everybody locks them, whatever order they are given out in', async () => {
    const { stage, url, keys } = await setUp(2)
    const vault = anyVault(0x51)
    // Made so that the key given out first is the one that is locked last.
    const [low = '', high = ''] = keys.toSorted()
    const [lowKey, highKey] = [Buffer.from(fromHex(low, 48)), Buffer.from(fromHex(high, 48))]
    await stage.query('update validators set place = case when public_key = $1 then 0 else 1 end', [highKey])
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    let waiting: Promise<string[]> | undefined
    await db.transaction(async (tx) => {
      await tx.execute(sql`select from validators where public_key = ${lowKey} for update`)
      waiting = registerKeys(url, asks(vault, 2))
      const held = await eventually('a request that waits for a key', async () => {
        const [row] = await stage.query<{ query: string }>(`select query from pg_stat_activity where ${WAITS_FOR_ROW}`)
        return row?.query
      })
      // It has not begun to write: an update would take the rows in whatever order it finds them.
      expect(held).toMatch(/order by v\.public_key for no key update/)
      const other = sql`select from validators where public_key = ${highKey} for update nowait`
      await tx.execute(other)
    })
    expect(await waiting).toEqual([high, low])
  })

  it('keep the order in which keys were reserved, whichever began first', async () => {
    const { stage, cluster } = await setUp(3)
    const vault = new Uint8Array(20).fill(0x52)
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    const ids = (await stage.query<{ id: string }>('select id from validators order by place')).map(({ id }) =>
      Number(id),
    )
    await db.transaction(async (early) => {
      await early.execute(sql`select now()`)
      await db.transaction(async (late) => {
        await lockAllocation(late)
        await reserveValidators(late, ids.slice(1), vault)
      })
      await lockAllocation(early)
      await reserveValidators(early, ids, vault)
    })
    const reserved = await findReserved(db, vault, { limit: 9, excluded: [] })
    const [a, b, c] = keysOf(cluster.validators)
    expect(reserved.map((row) => hex(row.publicKey))).toEqual([b, c, a])
  })
})
