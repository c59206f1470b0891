/** What explanations read of the tables: each validator, share index and node by its own rows, beside others that differ in one thing each. */

import { randomBytes } from 'node:crypto'
import { findExplained, findExplainedNodes, findExplainedShares, findMoment } from '@dvt-relayer/db/queries/explain.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const vaultOf = (byte: number) => Buffer.alloc(20, byte)
/** As the database has Unix seconds. */
const at = (seconds: number) => sql`to_timestamp(${seconds}::float8)`

async function openExplained() {
  const store = await openMessages()
  const { query } = store
  const idOf = async (statement: ReturnType<typeof sql>) => Number((await query<{ id: string }>(statement))[0]?.id)
  return {
    ...store,
    change: (validatorId: number, what: ReturnType<typeof sql>) =>
      query(sql`update validators set ${what} where id = ${validatorId}`),
    register: (validatorId: number, setId: number | null, vault: Buffer = vaultOf(1)) =>
      query(sql`
        update validators set registered_at = now(), beacon_index = 7, beacon_vault = ${vault}, oracle_set_id = ${setId}
        where id = ${validatorId}`),
    adopt: (cid: string, block: number, announcedAt: number, forceEpochs: number, isCurrent = false) =>
      idOf(sql`
        insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
        values (${cid}, 1, ${randomBytes(65)}, ${JSON.stringify({ untilForceExitEpochs: forceEpochs })}::jsonb, ${block},
                ${at(announcedAt)}, ${isCurrent}) returning id`),
    split: (messageId: number, setId: number, revision = 1) =>
      query(sql`
        insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (${messageId}, ${setId}, ${randomBytes(48)}, ${randomBytes(193)}, ${randomBytes(32)}, ${revision})`),
    rotate: async (vault: Buffer, setId: number, state: 'open' | 'done', messageId: number) => {
      const id = await idOf(sql`
        insert into rotations (vault, oracle_set_id, nonce, state, transaction_hash, transaction, deadline)
        values (${vault}, ${setId}, 1, ${state}, ${randomBytes(32)}, ${randomBytes(9)}, 8000) returning id`)
      await query(sql`insert into rotation_messages (rotation_id, place, message_id) values (${id}, 0, ${messageId})`)
    },
    addCluster: (name: string, threshold: number) =>
      idOf(sql`insert into clusters (name, threshold, source) values (${name}, ${threshold}, 'ssv') returning id`),
  }
}

it('of a validator is known what its own rows say, of the live message of each kind or else of the last', async () => {
  const { db, query, change, addValidator, addExit, addDeposit, addCluster, ...store } = await openExplained()
  const { register, adopt, split, rotate } = store
  const [first, second, current] = [
    await adopt('first', 10, 1000, 10),
    await adopt('second', 20, 2000, 3),
    await adopt('current', 20, 3000, 5, true),
  ]
  const validators = new Map<string, Uint8Array>()
  async function add(name: string): Promise<number> {
    const { id, publicKey } = await addValidator()
    validators.set(name, publicKey)
    return id
  }
  const clock = (id: number, index: number, set: number) =>
    query(sql`
      insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block, oracle_set_id, held_since)
      values (${id}, ${index}, ${randomBytes(32)}, 1, ${set}, ${at(6000)})`)

  const bare = await add('bare')
  const full = await add('full')
  await addCluster('other', 4)
  await change(
    full,
    sql`cluster_id = ${await addCluster('mine', 3)}, withdrawal_address = ${vaultOf(2)}, vault = ${vaultOf(3)},
                         reserved_at = now(), vault_asked_at = now()`,
  )
  await register(full, first)
  await query(sql`insert into deposit_bindings (validator_id, vault) values (${full}, ${vaultOf(4)})`)
  await query(sql`insert into registry_validators (public_key, block_number)
                  select public_key, 1 from validators where id = ${full}`)
  await clock(full, 7, first)
  for (const state of ['superseded', 'superseded', 'erased']) await addExit(full, { state })
  const exit = await addExit(full, { index: 7, state: 'ready' })
  await addExit(full, { index: 8, state: 'expired' })
  await addDeposit(full, { state: 'superseded' })
  await addDeposit(full, { state: 'expired' })
  const deposit = await addDeposit(full, { state: 'expired', vault: vaultOf(5), gwei: 9, type: '0x02', threshold: 2 })
  await query(sql`
    update messages set created_at = ${at(5000.9)}, requested_at = ${at(5001.9)}, ready_at = ${at(5002.9)}, failed_attempts = 3
    where id in (${exit}, ${deposit})`)
  await split(exit, current)
  await split(exit, first)
  await rotate(vaultOf(1), current, 'open', exit)

  const withdrawn = await add('with its vault by its lock')
  await change(withdrawn, sql`withdrawal_address = ${vaultOf(2)}`)
  const reserved = await add('reserved')
  await change(reserved, sql`vault = ${vaultOf(3)}, reserved_at = now(), vault_asked_at = now()`)
  await register(await add('under the current set'), current)
  await register(await add('under a set that is not known'), null)
  const exited = await add('exited')
  await register(exited, second)
  await change(exited, sql`exited_at = now()`)
  const seen = await add('deposited, as its block says')
  await query(sql`insert into deposit_blocks (validator_id, block_number) values (${seen}, 1)`)
  for (const [name, index, set] of [
    ['with a clock of another index', 8, first],
    ['with a clock of another set', 7, second],
  ] as const) {
    const id = await add(name)
    await register(id, first)
    await clock(id, index, set)
  }
  /** A registered validator with an exit of its own. */
  async function addRotated(name: string, vault: Buffer): Promise<number> {
    const id = await add(name)
    await register(id, current, vault)
    return addExit(id)
  }
  await rotate(vaultOf(11), current, 'done', await addRotated('of a rotation that is done', vaultOf(11)))
  await rotate(vaultOf(12), current, 'open', await addRotated('of a rotation of another vault', vaultOf(13)))
  await addRotated('left out of the rotation', vaultOf(14))
  await rotate(vaultOf(14), current, 'open', await addExit((await addValidator()).id))
  await split(await addExit(await add('split for the current set'), { state: 'ready' }), current)
  await split(await addExit(await add('split for another set'), { state: 'ready' }), first)
  for (const [name, revisions] of [
    ['split last for the exit before', [9, 5]],
    ['split for two exits at once', [5, 5]],
  ] as const) {
    const id = await add(name)
    await split(await addExit(id, { index: 6, state: 'superseded' }), current, revisions[0])
    await split(await addExit(id, { index: 7, state: 'ready' }), current, revisions[1])
  }
  const over = await add('with deposits that are over')
  await addDeposit(over, { state: 'superseded' })
  await addDeposit(over, { state: 'erased' })
  await addExit((await addValidator()).id)

  const find = async () => {
    const found = await findExplained(db, [...validators.values(), randomBytes(48)], 384)
    expect(found).toHaveLength(validators.size)
    return (name: string) => found.find(({ publicKey }) => publicKey.equals(validators.get(name) ?? randomBytes(48)))
  }
  const of = await find()
  const message = { createdAt: null, requestedAt: null, readyAt: null, id: null, state: null, threshold: null }
  const named = (kind: 'exit' | 'deposit', row: object) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [`${kind}${name[0]?.toUpperCase()}${name.slice(1)}`, value]),
    )
  const nothing = {
    ...{
      clusterName: null,
      clusterSource: null,
      clusterThreshold: null,
      vault: null,
      wantedVault: null,
      boundVault: null,
    },
    ...{
      isRegistered: false,
      hasExited: false,
      beaconIndex: null,
      beaconVault: null,
      isDeposited: false,
      isErased: false,
    },
    ...{ erasureHeldSince: null, chainSetCid: null, isOutdated: false, forceExitAt: null },
    ...{ ...named('exit', { ...message, failedAttempts: null, index: null }), superseded: 0 },
    ...named('deposit', { ...message, failedAttempts: null, amount: null, type: null, vault: null }),
    ...{ hasCurrentShares: false, hasOlderShares: false, newestSharesIndex: null },
    ...{ isInRotation: false, rotationDeadline: null },
  }
  expect(of('bare')).toEqual({ id: bare, publicKey: Buffer.from(validators.get('bare') ?? []), ...nothing })
  const times = { createdAt: 5000, requestedAt: 5001, readyAt: 5002, failedAttempts: 3 }
  expect(of('full')).toEqual({
    ...{ id: full, publicKey: Buffer.from(validators.get('full') ?? []) },
    ...{ clusterName: 'mine', clusterSource: 'ssv', clusterThreshold: 3 },
    ...{ vault: vaultOf(1), wantedVault: vaultOf(2), boundVault: vaultOf(4), isRegistered: true, hasExited: false },
    ...{ beaconIndex: 7, beaconVault: vaultOf(1), isDeposited: true, isErased: true, erasureHeldSince: 6000 },
    // By the config that followed its own.
    ...{ chainSetCid: 'first', isOutdated: true, forceExitAt: 2000 + 3 * 384 },
    ...named('exit', { ...times, id: exit, state: 'ready', threshold: 1, index: 7 }),
    ...named('deposit', {
      ...times,
      id: deposit,
      state: 'expired',
      threshold: 2,
      amount: 9,
      type: '0x02',
      vault: vaultOf(5),
    }),
    ...{ superseded: 2, hasCurrentShares: true, hasOlderShares: true, newestSharesIndex: 7 },
    ...{ isInRotation: true, rotationDeadline: 8000 },
  })
  const differ: Record<string, object> = {
    'with its vault by its lock': { vault: vaultOf(2), wantedVault: vaultOf(2) },
    reserved: { vault: vaultOf(3), wantedVault: vaultOf(3) },
    'under the current set': { isRegistered: true, isOutdated: false, chainSetCid: 'current', forceExitAt: null },
    'under a set that is not known': { isOutdated: true, chainSetCid: null, forceExitAt: null },
    // The config that followed stands in the same block.
    exited: { hasExited: true, isOutdated: false, forceExitAt: 3000 + 5 * 384 },
    'deposited, as its block says': { isDeposited: true },
    'with a clock of another index': { erasureHeldSince: null, isDeposited: false },
    'with a clock of another set': { erasureHeldSince: null },
    'of a rotation that is done': { isInRotation: false, rotationDeadline: null, isErased: false },
    'of a rotation of another vault': { isInRotation: false },
    'left out of the rotation': { isInRotation: false },
    'split for the current set': { hasCurrentShares: true, hasOlderShares: false },
    'split for another set': { hasCurrentShares: false, hasOlderShares: true },
    'split last for the exit before': { newestSharesIndex: 6, exitIndex: 7 },
    'split for two exits at once': { newestSharesIndex: 7, superseded: 1 },
    'with deposits that are over': { superseded: 0, isErased: false },
  }
  for (const [name, known] of Object.entries(differ)) expect([name, of(name)]).toMatchObject([name, known])

  await query(sql`update oracle_sets set is_current = false`)
  const ofNone = await find()
  expect(ofNone('full')).toMatchObject({ isOutdated: false, hasCurrentShares: false, hasOlderShares: true })
})

it('of a share index is known the best that it has sent for each message, and when that last came', async () => {
  const { db, query, addValidator, addExit, addDeposit, trust } = await openExplained()
  const [a, b, other] = [await addValidator(), await addValidator(), await addValidator()]
  for (const [{ id }, index] of [
    [a, 1],
    [a, 2],
    [b, 1],
    [other, 5],
  ] as const)
    await trust(id, index, randomBytes(48))
  const [exitA, depositA, exitB] = [await addExit(a.id), await addDeposit(a.id), await addExit(b.id)]
  const unnamed = await addExit(other.id)
  for (const [messageId, index, state, seenAt] of [
    [exitA, 1, 'unverified', 300],
    [exitA, 1, 'verified', 100],
    [exitA, 1, 'rejected', 900],
    [exitA, 2, 'rejected', 50],
    [exitA, 2, 'unverified', 40],
    [exitA, 3, 'rejected', 10],
    [exitA, 3, 'rejected', 20],
    [exitA, 4, 'unverified', 30],
    [exitA, 4, 'unverified', 10],
    // When it came is not known.
    [depositA, 2, 'verified', 0],
    [exitB, 1, 'unverified', 60],
    [unnamed, 6, 'unverified', 70],
  ] as const)
    await query(sql`
      insert into partial_signatures (message_id, share_index, digest, sealed, state, seen_at)
      values (${messageId}, ${index}, ${randomBytes(32)}, ${state === 'rejected' ? null : randomBytes(9)}, ${state}, ${at(seenAt)})`)
  const none = { exitState: null, exitAt: null, depositState: null, depositAt: null }
  expect(await findExplainedShares(db, [b.id, a.id], [exitA, depositA, exitB])).toEqual([
    { ...none, validatorId: a.id, shareIndex: 1, isTrusted: true, exitState: 'verified', exitAt: 100 },
    {
      ...{ ...none, validatorId: a.id, shareIndex: 2, isTrusted: true, exitState: 'unverified', exitAt: 40 },
      depositState: 'verified',
    },
    { ...none, validatorId: a.id, shareIndex: 3, isTrusted: false, exitState: 'rejected', exitAt: 20 },
    { ...none, validatorId: a.id, shareIndex: 4, isTrusted: false, exitState: 'unverified', exitAt: 30 },
    { ...none, validatorId: b.id, shareIndex: 1, isTrusted: true, exitState: 'unverified', exitAt: 60 },
  ])
})

it('of a node is known what its newest request says, and whether another’s may be taken for its own', async () => {
  const { db, query, addValidator, addCluster, change, trust } = await openExplained()
  /** The first validator of a cluster has these share indexes, and a second one another. */
  async function addClusterOf(name: string, indexes: readonly number[]) {
    const cluster = await addCluster(name, 1)
    const [second, first] = [await addValidator(), await addValidator()]
    await change(first.id, sql`cluster_id = ${cluster}, place = 0`)
    await change(second.id, sql`cluster_id = ${cluster}, place = 1`)
    for (const index of indexes) await trust(first.id, index, randomBytes(48))
    await trust(second.id, 4, randomBytes(48))
  }
  await addClusterOf('one', [1, 2, 3])
  await addClusterOf('two', [2, 3])
  await addClusterOf('three', [5])
  const see = (token: string, index: number, seenAt: number, columns: string, values: string) =>
    query(sql`
      insert into nodes_seen (token_name, share_index, seen_at, ${sql.raw(columns)})
      values (${token}, ${index}, ${at(seenAt)}, ${sql.raw(values)})`)
  const SAID =
    'listed_at, posted_at, refused_at, refusal_code, online_since, software, version, clock_difference_seconds'
  const time = (seconds: number) => `to_timestamp(${seconds})`
  await see('token', 1, 600, SAID, `${time(300)}, ${time(600)}, ${time(200)}, 'A', ${time(50)}, 's1', 'v1', 1`)
  await see('operator:1', 1, 500, SAID, `${time(500)}, null, ${time(400)}, 'B', ${time(60)}, 's2', 'v2', 2`)
  await see('node:0x1', 1, 100, 'listed_at, software, version', `${time(100)}, 's3', 'v3'`)
  await see('gone', 2, 700, 'listed_at, gone_at', `${time(700)}, ${time(701)}`)
  for (const token of ['mine', 'theirs']) {
    await see(token, 3, 800, 'posted_at', time(800))
    await see(token, 4, 900, 'posted_at', time(900))
  }
  const none = {
    ...{ onlineSince: null, postedAt: null, refusedAt: null, refusalCode: null, software: null, version: null },
    ...{ clockDifferenceSeconds: null, cameBy: 'token', isShared: false },
  }
  const first = {
    ...{ shareIndex: 1, seenAt: 600, presentAt: 600, onlineSince: 60, postedAt: 600, refusedAt: 400, refusalCode: 'B' },
    ...{ software: 's1', version: 'v1', clockDifferenceSeconds: 1, cameBy: 'token', isShared: false },
  }
  const third = { ...none, shareIndex: 3, seenAt: 800, presentAt: 800, postedAt: 800, isShared: true }
  const byIndex = (one: { shareIndex: number }, two: { shareIndex: number }) => one.shareIndex - two.shareIndex
  expect((await findExplainedNodes(db)).toSorted(byIndex)).toEqual([
    first,
    { ...none, shareIndex: 2, seenAt: 700, presentAt: null },
    third,
    { ...none, shareIndex: 4, seenAt: 900, presentAt: 900, postedAt: 900 },
  ])
  expect((await findExplainedNodes(db, [3, 1, 9])).toSorted(byIndex)).toEqual([first, third])
  expect(await findExplainedNodes(db, [])).toEqual([])
})

it('the moment has the oracle set in force, where there is one', async () => {
  const { db, adopt, query } = await openExplained()
  await adopt('before', 1, 1000, 1)
  expect((await findMoment(db)).currentSetCid).toBeNull()
  await adopt('now', 2, 2000, 1, true)
  const { now, currentSetCid } = await findMoment(db)
  const [later] = await query<{ now: string }>(sql`select ceil(extract(epoch from now())) as now`)
  expect(currentSetCid).toBe('now')
  expect(now).toBeLessThanOrEqual(Number(later?.now))
  expect(now).toBeGreaterThan(Number(later?.now) - 300)
})
