/** OWNER_PUBLIC_KEYS: copies of exits that only the owner of a vault can read, and who is shown them. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OwnerCopiesResponse } from '@dvt-relayer/api/schemas.ts'
import { OwnerCopiesResponse as OwnerCopiesSchema } from '@dvt-relayer/api/schemas.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { depositSigningRoot, exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { findErasable } from '@dvt-relayer/db/queries/messages/retention.ts'
import { sql } from 'drizzle-orm'
import { decrypt } from 'eciesjs'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import type { CryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { createOwnerCopies } from '../../../apps/relayer/src/services/exits/owner-copies.ts'
import { openSealing } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { makeOracles } from '../../support/chain/oracles.ts'
import { deployDepositContract, depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { type MadeCluster, makeCluster } from '../../support/keys/make-cluster.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { credentials } from '../../support/stages/registered.ts'
import { engine, getExits, postValidators, sidecarRound } from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

/** Before the first test of the world: a database of its own, of which the chain is not asked. */
it('of registered validators those are looked at whose owner is to have a copy and the chain alone names the vault', async () => {
  const { db: own, query, addValidator, addExit } = await openMessages()
  const [vault, other] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]
  const publicKey = Buffer.alloc(65, 4)
  const add = async (more: { beaconVault?: Buffer; lockVault?: Buffer; hasCopy?: true } = {}) => {
    const { id } = await addValidator()
    const exit = await addExit(id, { index: 7, state: 'ready' })
    await query(sql`
      update validators set registered_at = now(), beacon_index = 7, beacon_vault = ${more.beaconVault ?? vault},
                            withdrawal_address = ${more.lockVault ?? null} where id = ${id}`)
    if (more.hasCopy)
      await query(sql`insert into owner_copies (message_id, vault, owner_public_key, ciphertext)
                      values (${exit}, ${vault}, ${publicKey}, 'x')`)
    return id
  }
  const wanted = await add()
  await add({ hasCopy: true })
  await add({ beaconVault: other })
  // Its lock says it as well: it is copied without a clock.
  await add({ lockVault: vault })
  const options = { rotationRequester: 'rotation', owners: [{ vault, publicKey }], delaySeconds: 86_400, limit: 9 }
  const find = async (isErasing: boolean) =>
    (await findErasable(own, { ...options, isErasing, afterId: 0 })).map(({ id }) => id)
  expect(await find(false)).toEqual([wanted])
  // What no owner waits for is erased, where that is asked for.
  expect(await find(true)).toEqual([wanted, wanted + 1, wanted + 2])
})

const VAULT = '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'
const [owner, nextOwner] = makeOracles(2) as [ReturnType<typeof makeOracles>[0], ReturnType<typeof makeOracles>[0]]

let world: World
let cluster: MadeCluster
let relayer: Relayer
let db: Database
let pool: CryptoPool
const admin = createToken('admin', 'admin', '*')
const tokens = {
  own: createToken('own', 'operator', VAULT),
  any: createToken('any', 'operator', '*'),
  foreign: createToken('foreign', 'operator', `0x${'11'.repeat(20)}`),
  node: createToken('node', 'sidecar', '*'),
}
const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` })

beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  cluster = await makeCluster({
    dir: join(world.dir, 'cluster'),
    nodes: 4,
    threshold: 3,
    validators: 5,
    network: world.network,
    withdrawalAddress: fromHex(VAULT, 20),
    feeRecipient: new Uint8Array(20).fill(1),
  })
  const file = join(world.dir, 'tokens')
  await writeFile(file, [admin, ...Object.values(tokens)].map(({ line }) => line).join('\n'))
  relayer = await world.startRelayer({ ...settings(), AUTH_TOKENS_FILE: file })
  db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
  pool = startCryptoPool(1)
  const validators = [...cluster.validators, ...strangers]
  const keys = validators.map(({ publicKey }) => hex(publicKey))
  expect((await postValidators(relayer.url, keys, bearer(admin))).status).toBe(200)
  // The last of the cluster is not ready.
  const signed = validators.filter((_, position) => position !== 4)
  for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, signed, share, bearer(admin))
  await eventually('the exits', async () => {
    const ready = (await getExits(relayer.url, bearer(admin))).filter((exit) => exit.is_exit_signature_ready)
    return ready.length === signed.length ? true : undefined
  })
})
afterAll(async () => {
  await pool?.[Symbol.asyncDispose]()
  await db?.[Symbol.asyncDispose]()
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** Validators of which no lock names a vault. */
const strangers = createTestKeys(1, { nodes: 4, threshold: 3 })
const settings = () => ({ SIGNATURE_THRESHOLD: '3', CLUSTER_LOCK_FILES: cluster.lockFile })

/** The service of a process with this owner, and what it logs. */
async function openService(publicKey: Uint8Array | undefined, vault = VAULT) {
  const lines: Record<string, unknown>[] = []
  const logger = createLogger({
    level: 'error',
    format: 'json',
    destination: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  })
  const entry = publicKey === undefined ? '' : `${vault}:${hex(publicKey)}`
  const { config } = readConfig(world.environment({ ...settings(), OWNER_PUBLIC_KEYS: entry }))
  const sealing = await openSealing(config, db, silentLogger)
  const events = createEvents(silentLogger)
  return { lines, ...createOwnerCopies({ config, db, crypto: pool, sealing, events, logger }) }
}
const stored = async () =>
  (
    await db.execute(
      sql`select message_id, encode(ciphertext, 'hex') as ciphertext from owner_copies order by message_id`,
    )
  ).rows
const copiesOf = async (query = '', headers = bearer(tokens.own)) => {
  const answer = await ask(relayer.url, `/vaults/${VAULT.toLowerCase()}/owner-copies${query}`, { headers })
  expect(answer.status, answer.text).toBe(200)
  expect(Compile(OwnerCopiesSchema).Check(answer.json)).toBe(true)
  return answer.json as OwnerCopiesResponse
}
/** What an owner does with the library that oracles use: the JSON it may send to a beacon node. */
const openCopy = (ciphertext: string, secretKey: Uint8Array) =>
  Buffer.from(decrypt(secretKey, fromHex(ciphertext))).toString('utf8')

describe("an owner's copy", () => {
  it('is made of every exit that is ready and whose vault has an owner: a SignedVoluntaryExit that verifies', async () => {
    await (await openService(undefined)).run()
    expect(await stored()).toEqual([])
    const [a, b] = [await openService(owner.publicKey), await openService(owner.publicKey)]
    await Promise.all([a.run(), b.run()])
    const { owner_copies: copies } = await copiesOf()
    expect(copies.map(({ public_key }) => public_key)).toEqual(
      cluster.validators.slice(0, 4).map(({ publicKey }) => hex(publicKey)),
    )
    const exits = await getExits(relayer.url, bearer(admin))
    for (const copy of copies) {
      const exit = exits.find(({ public_key }) => public_key === copy.public_key)
      expect(copy).toMatchObject({
        validator_index: exit?.validator_index,
        epoch: world.network.capellaEpoch,
        owner_public_key: hex(owner.publicKey),
      })
      const text = openCopy(copy.ciphertext, owner.secretKey)
      const { signature } = JSON.parse(text) as { signature: string }
      expect(text).toBe(
        `{"message":{"epoch":"${world.network.capellaEpoch}","validator_index":"${exit?.validator_index}"},"signature":"${signature}"}`,
      )
      const root = exitSigningRoot(world.network, { epoch: copy.epoch, validatorIndex: copy.validator_index })
      expect(engine.verify(fromHex(copy.public_key, 48), root, fromHex(signature, 96))).toBe(true)
      expect(() => openCopy(copy.ciphertext, nextOwner.secretKey)).toThrow()
    }
    const before = await stored()
    await a.run()
    expect(await stored()).toEqual(before)
  })

  it('is replaced when the key of the owner changes, and not for a key of another vault', async () => {
    const before = await stored()
    await (await openService(nextOwner.publicKey, `0x${'22'.repeat(20)}`)).run()
    expect(await stored()).toEqual(before)
    await (await openService(nextOwner.publicKey)).run()
    const { owner_copies: copies } = await copiesOf()
    expect(copies).toHaveLength(4)
    for (const copy of copies) {
      expect(copy.owner_public_key).toBe(hex(nextOwner.publicKey))
      expect(openCopy(copy.ciphertext, nextOwner.secretKey)).toContain(`"validator_index":"${copy.validator_index}"`)
    }
  })

  it('goes to the vault that the chain names, and is shown to no other and of no other index', async () => {
    const [first, second, third] = cluster.validators.map(({ publicKey }) => Buffer.from(publicKey)) as [
      Buffer,
      Buffer,
      Buffer,
    ]
    const other = new Uint8Array(20).fill(0x22)
    await db.execute(sql`update validators set registered_at = now(), beacon_vault = ${Buffer.from(other)}, beacon_index =
      (select validator_index from messages m where m.validator_id = validators.id) where public_key = ${first}`)
    await db.execute(sql`update validators set registered_at = now(), beacon_index = 1, beacon_vault = ${Buffer.from(fromHex(VAULT, 20))}
      where public_key = ${second}`)
    const shown = [toHex(third), hex(cluster.validators[3]?.publicKey ?? third)]
    expect((await copiesOf()).owner_copies.map(({ public_key }) => public_key)).toEqual(shown)
    const service = await openService(owner.publicKey, checksumAddress(other))
    await service.run()
    // The word of one node would give the exit to somebody else for good: all that erasing wants has to hold first.
    const ofOther = async () =>
      (await db.execute(sql`select from owner_copies where vault = ${Buffer.from(other)}`)).rows
    expect(await ofOther()).toEqual([])
    const clock = (
      vault: Uint8Array,
    ) => sql`insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block)
      select id, beacon_index, ${Buffer.from(credentials(vault))}, 1 from validators where public_key = ${first}`
    await db.execute(clock(fromHex(VAULT, 20)))
    await service.run()
    expect(await ofOther()).toEqual([])
    await db.execute(sql`delete from erasure_clocks`)
    await db.execute(clock(other))
    await service.run()
    await db.execute(sql`delete from erasure_clocks`)
    const answer = await ask(relayer.url, `/vaults/${toHex(other)}/owner-copies`, { headers: bearer(admin) })
    expect((answer.json as OwnerCopiesResponse).owner_copies).toMatchObject([
      { public_key: toHex(first), owner_public_key: hex(owner.publicKey) },
    ])
    await db.execute(
      sql`update messages set state = 'superseded' where validator_id = (select id from validators where public_key = ${third})`,
    )
    expect((await copiesOf()).owner_copies).toHaveLength(1)
    await db.execute(sql`update messages set state = 'ready' where state = 'superseded'`)
    await db.execute(sql`update validators set registered_at = null, beacon_index = null, beacon_vault = null`)
    await (await openService(nextOwner.publicKey)).run()
    expect((await copiesOf()).owner_copies).toHaveLength(4)
  })

  it('is not made for a vault that only asks for the validator', async () => {
    const asking = `0x${'33'.repeat(20)}`
    const ofStranger = Buffer.from(strangers[0]?.publicKey ?? [])
    await db.execute(sql`insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state)
      select id, 'deposit', ${Buffer.from(fromHex(asking, 20))}, 32000000000, '0x01', ${Buffer.alloc(32, 1)}, 3, 'collecting'
      from validators where public_key = ${ofStranger}`)
    const before = await stored()
    const service = await openService(owner.publicKey, asking)
    await service.run()
    expect(await stored()).toEqual(before)
    // Its deposit may be made: the vault has it for good.
    await db.execute(sql`insert into deposit_bindings (validator_id, vault)
      select validator_id, vault from messages where kind = 'deposit'`)
    await service.run()
    expect(await service.find(fromHex(asking, 20), 0, 10)).toMatchObject([{ publicKey: ofStranger }])
    await db.execute(sql`delete from owner_copies where vault = ${Buffer.from(fromHex(asking, 20))}`)
    await db.execute(sql`delete from deposit_bindings`)
    await db.execute(sql`delete from messages where kind = 'deposit'`)
  })

  it('of an exit that cannot be opened is said once, and the others are made', async () => {
    await db.execute(sql`delete from owner_copies`)
    const [first] = (
      await db.execute(sql`select id, signature from messages where signature is not null order by id limit 1`)
    ).rows
    const id = Number(first?.['id'])
    await db.execute(
      sql`update messages set signature = set_byte(signature, 60, get_byte(signature, 60) # 1) where id = ${id}`,
    )
    const service = await openService(owner.publicKey)
    await service.run()
    await service.run()
    expect((await stored()).map(({ message_id }) => message_id)).not.toContain(id)
    expect(await stored()).toHaveLength(3)
    expect(service.lines).toMatchObject([{ count: 1, msg: expect.stringContaining('void-sealed') }])
    await db.execute(sql`update messages set signature = ${first?.['signature']} where id = ${id}`)
    await service.run()
    expect(await stored()).toHaveLength(4)
  })

  it('is looked for again only once something has changed that it hangs on', async () => {
    const service = await openService(owner.publicKey)
    await service.run()
    // Nobody deletes them but with their exits: so it shows who looks.
    await db.execute(sql`delete from owner_copies`)
    await service.run()
    expect(await stored()).toEqual([])
    await db.execute(sql`
      insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block)
      select min(id), 1, ${Buffer.alloc(32)}, 1 from validators`)
    await service.run()
    expect(await stored()).toHaveLength(4)
    await db.execute(sql`delete from erasure_clocks`)
  })
})

describe('GET /vaults/{vault}/owner-copies', () => {
  it('is read in pages', async () => {
    const all = await copiesOf()
    const first = await copiesOf('?limit=3')
    const rest = await copiesOf(`?limit=3&after=${first.cursor}`)
    expect([...first.owner_copies, ...rest.owner_copies]).toEqual(all.owner_copies)
    expect(rest.owner_copies).toHaveLength(1)
    expect(await copiesOf(`?after=${rest.cursor}`)).toEqual({ owner_copies: [], cursor: rest.cursor })
  })

  it('is for the operator of the vault and for admins', async () => {
    const path = `/vaults/${VAULT}/owner-copies`
    for (const [token, status, code] of [
      [tokens.own, 200],
      [tokens.any, 200],
      [admin, 200],
      [tokens.foreign, 403, 'TOKEN_BINDING'],
      [tokens.node, 403, 'TOKEN_ROLE'],
    ] as const)
      expect(await ask(relayer.url, path, { headers: bearer(token) })).toMatchObject({
        status,
        json: code === undefined ? { cursor: expect.any(Number) } : { code },
      })
    expect(await ask(relayer.url, path)).toMatchObject({ status: 401, json: { code: 'TOKEN_MISSING' } })
  })

  it.each([
    ['a wrong checksum', `/vaults/${VAULT.replace('0x8A', '0x8a')}/owner-copies`, 'VAULT_INVALID'],
    ['a limit of 0', `/vaults/${VAULT}/owner-copies?limit=0`, 'QUERY_INVALID'],
    ['a limit of 1001', `/vaults/${VAULT}/owner-copies?limit=1001`, 'QUERY_INVALID'],
    ['a cursor that is none', `/vaults/${VAULT}/owner-copies?after=-1`, 'QUERY_INVALID'],
  ])('refuses %s', async (_, path, code) => {
    expect(await ask(relayer.url, path, { headers: bearer(admin) })).toMatchObject({ status: 422, json: { code } })
  })
})

it('a relayer that erases copies first: the copy is all there is of the exit then', async () => {
  await db.execute(sql`delete from owner_copies`)
  await db.execute(sql`update validators set registered_at = now(), beacon_vault = withdrawal_address, beacon_index =
      (select validator_index from messages m where m.validator_id = validators.id), oracle_set_id = (select id from oracle_sets where is_current)
    where withdrawal_address is not null`)
  await registerOnChain()
  const eraserSettings = {
    ...settings(),
    EXIT_RETENTION: 'erase',
    OWNER_PUBLIC_KEYS: `${VAULT}:${hex(owner.publicKey)}`,
  }
  {
    await using _before = await world.startRelayer(eraserSettings)
    await eventually('all have begun their day', async () => {
      const { rows } = await db.execute(sql`select count(*) as begun from erasure_clocks`)
      return rows[0]?.['begun'] === 5 ? true : undefined
    })
  }
  await db.execute(sql`update erasure_clocks set held_since = held_since - interval '1 day'`)
  await using eraser = await world.startRelayer(eraserSettings)
  await eventually('they are erased', async () => {
    const { rows } =
      await db.execute(sql`select count(*) as left from messages m join validators v on v.id = m.validator_id
      where v.registered_at is not null and m.kind = 'exit' and m.state <> 'erased'`)
    return rows[0]?.['left'] === 0 ? true : undefined
  })
  const answer = await ask(eraser.url, `/vaults/${VAULT}/owner-copies`)
  const { owner_copies: copies } = answer.json as OwnerCopiesResponse
  expect(copies).toHaveLength(4)
  for (const copy of copies) {
    const { signature } = JSON.parse(openCopy(copy.ciphertext, owner.secretKey)) as { signature: string }
    const root = exitSigningRoot(world.network, { epoch: copy.epoch, validatorIndex: copy.validator_index })
    expect(engine.verify(fromHex(copy.public_key, 48), root, fromHex(signature, 96))).toBe(true)
  }
  const { rows } = await db.execute(sql`select count(*) as left from message_keys`)
  // The stranger's alone.
  expect(rows).toEqual([{ left: 1 }])
  expect((await ask(eraser.url, '/metrics')).text).toMatch(/dvt_relayer_exits_erased_total 5\n/)
  // What is gone cannot be copied again for a new key.
  await (await openService(nextOwner.publicKey)).run()
  expect((await copiesOf()).owner_copies).toEqual(copies)
})

/** Makes the deposits of the cluster's validators, and puts them into the finalized state at the indexes of their exits. */
async function registerOnChain(): Promise<void> {
  const contract = await deployDepositContract(world.anvil, toHex(world.network.depositContract))
  const { rows } =
    await db.execute(sql`select v.public_key, m.validator_index from messages m join validators v on v.id = m.validator_id
    where m.kind = 'exit' order by m.validator_index`)
  const indexes = new Map(rows.map((row) => [toHex(row['public_key'] as Buffer), Number(row['validator_index'])]))
  const withdrawalCredentials = credentials(fromHex(VAULT, 20))
  for (const { publicKey, secretKey } of cluster.validators) {
    const message = { publicKey, withdrawalCredentials, amountGwei: 32_000_000_000n }
    const signature = engine.sign(secretKey, depositSigningRoot(world.network, message))
    expect(await depositBySomebodyElse(world.anvil, contract, { ...message, signature })).toMatchObject({ ok: true })
    expect(world.beacon.addValidator({ publicKey, withdrawalCredentials })).toBe(indexes.get(toHex(publicKey)))
  }
  world.beacon.finalize()
  await world.anvil.mine(100)
}
