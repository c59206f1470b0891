/** What is stored of clusters, their validators and their nodes' keys, and which of it is found for a lock, a vault, a key or an operator. */

import { randomBytes } from 'node:crypto'
import {
  findLockSizes,
  findNodeKeys,
  findOperatorKeys,
  findOutsideLocks,
  findOutsideOperator,
  storeNodeKeys,
  storeOperatorKeys,
} from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import {
  assignValidators,
  findClusterIds,
  findClustersOf,
  findCoverage,
  findDepositsOfLock,
  findExitsOfLock,
  findKeyShares,
  findOpenExits,
  findThresholds,
  insertCluster,
  lockClusterImport,
  lockCollecting,
  replaceKeyShares,
} from '@dvt-relayer/db/queries/clusters.ts'
import { findCovers, findSsvMembers, insertSsvCluster, leaveClusters } from '@dvt-relayer/db/queries/ssv-clusters.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const vaultOf = (n: number) => Buffer.alloc(20, n)
const hashOf = (n: number) => Buffer.alloc(32, n)
const shareOf = (n: number) => Buffer.alloc(48, n)
const UNKNOWN = new Uint8Array(48)

async function openClusters() {
  const store = await openMessages()
  const { query } = store
  return {
    ...store,
    /** A cluster of this number: of a lock with that hash, or without one. */
    addCluster: (id: number, source: 'lock' | 'list' | 'ssv' = 'lock', { threshold = 3, name = `c${id}` } = {}) =>
      query(sql`insert into clusters (id, name, threshold, source, lock_hash)
                values (${id}, ${name}, ${threshold}, ${source}, ${source === 'lock' ? hashOf(id) : null})`),
    /** A validator of a cluster, or of none. */
    async addMember(cluster: number | null, { place = 0, more = sql`created_at = now()` } = {}) {
      const validator = await store.addValidator()
      const at = cluster === null ? null : place
      await query(sql`update validators set cluster_id = ${cluster}, place = ${at}, ${more} where id = ${validator.id}`)
      return { ...validator, key: Buffer.from(validator.publicKey) }
    },
  }
}
const registered = (index: number) => sql`registered_at = now(), beacon_index = ${index}`

it('imports of clusters are one at a time, to the end of their transactions', async () => {
  const { db } = await openClusters()
  const held = () =>
    db.transaction(async (tx) => {
      await lockClusterImport(tx)
      return (
        await tx.execute(
          sql`select classid, objid, mode, granted from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
        )
      ).rows
    })
  const first = await held()
  expect(first).toMatchObject([{ mode: 'ExclusiveLock', granted: true }])
  expect(await held()).toEqual(first)
})

it('a lock is known by its validators, as are others that hold some of them', async () => {
  const { db, addCluster, addMember } = await openClusters()
  for (const id of [1, 2, 3]) await addCluster(id)
  await addCluster(4, 'ssv')
  const [a, b, , d] = [await addMember(1), await addMember(2), await addMember(3), await addMember(4)]
  const find = (lock: number, ...keys: Uint8Array[]) => findClustersOf(db, hashOf(lock), keys)
  expect(await find(1, a.key)).toEqual({ isImported: true, otherLockHashes: [] })
  expect(await find(1, a.key, b.key, d.key)).toEqual({ isImported: true, otherLockHashes: [hashOf(2)] })
  expect(await find(9, b.key)).toEqual({ isImported: false, otherLockHashes: [hashOf(2)] })
  expect(await find(9, d.key, UNKNOWN)).toEqual({ isImported: false, otherLockHashes: [] })
})

it('thresholds and ids are those of locks and of the SSV contract, in order', async () => {
  const { db, addCluster } = await openClusters()
  await addCluster(1, 'lock', { threshold: 5 })
  await addCluster(2, 'ssv', { threshold: 3 })
  await addCluster(3, 'list', { threshold: 9 })
  await addCluster(4, 'lock', { threshold: 3 })
  await addCluster(5, 'ssv', { threshold: 7 })
  expect(await findThresholds(db)).toEqual([3, 5, 7])
  expect(await findClusterIds(db, 'ssv')).toEqual([2, 5])
  expect(await findClusterIds(db, [hashOf(4), hashOf(1), hashOf(2)])).toEqual([1, 4])
})

it('a lock that is imported again is the same cluster, and has the validators and shares that it names last', async () => {
  const { db, query, trust, addMember } = await openClusters()
  const lock = { lockHash: hashOf(7), name: 'ours', threshold: 3 }
  const id = await insertCluster(db, lock)
  expect(await insertCluster(db, lock)).toBe(id)
  const other = await insertCluster(db, { ...lock, lockHash: hashOf(8) })
  expect(other).not.toBe(id)
  const [known, bystander] = [await addMember(other, { place: 4 }), await addMember(other)]
  const [high, low] = [new Uint8Array(48).fill(0xff), new Uint8Array(48).fill(1)]
  const ids = await assignValidators(db, id, [
    { publicKey: high, position: 0, withdrawalAddress: vaultOf(1) },
    { publicKey: known.publicKey, position: 1, withdrawalAddress: undefined },
    { publicKey: low, position: 2, withdrawalAddress: undefined },
  ])
  expect(ids[1]).toBe(known.id)
  expect(
    await query(
      sql`select id::int, cluster_id::int as cluster, place, withdrawal_address as vault from validators where id <> ${bystander.id} order by place`,
    ),
  ).toEqual(
    ids.map((validator, place) => ({ id: validator, cluster: id, place, vault: place === 0 ? vaultOf(1) : null })),
  )

  for (const one of [known, bystander]) for (const index of [1, 9]) await trust(one.id, index, shareOf(9))
  await replaceKeyShares(
    db,
    [known.id],
    [2, 1].map((shareIndex) => ({ validatorId: known.id, shareIndex, publicKeyShare: shareOf(shareIndex) })),
    'lock',
  )
  expect(await findKeyShares(db, known.publicKey)).toEqual(
    [1, 2].map((shareIndex) => ({ shareIndex, publicKeyShare: shareOf(shareIndex) })),
  )
  expect(await query(sql`select distinct source from key_shares where validator_id = ${known.id}`)).toEqual([
    { source: 'lock' },
  ])
  expect(await findKeyShares(db, bystander.publicKey)).toHaveLength(2)
})

it('messages that new shares are for are those that may still get a signature', async () => {
  const { db, query, addMember, addExit } = await openClusters()
  const { id } = await addMember(null)
  const expired = await addExit(id, { state: 'expired' })
  await query(sql`update messages set signature = 'x' where id = ${await addExit(id, { state: 'expired' })}`)
  await addExit(id, { state: 'superseded' })
  const collecting = await addExit(id)
  await addExit((await addMember(null)).id)
  expect(await db.transaction((tx) => lockCollecting(tx, [id]))).toEqual([expired, collecting])
})

it('clusters have their validators counted, of all vaults or of some, and the share indexes of the first of them', async () => {
  const { db, query, addCluster, addMember, trust } = await openClusters()
  await addCluster(1)
  await addCluster(2, 'ssv', { threshold: 5 })
  await addCluster(3)
  const second = await addMember(1, { place: 1, more: sql`withdrawal_address = ${vaultOf(1)}` })
  const first = await addMember(1, { more: sql`withdrawal_address = ${vaultOf(2)}, beacon_vault = ${vaultOf(1)}` })
  await trust(second.id, 7, shareOf(1))
  for (const index of [10, 9]) await trust(first.id, index, shareOf(1))
  const reserved = await addMember(2, { more: sql`withdrawal_address = ${vaultOf(1)}` })
  await query(
    sql`update validators set vault = ${vaultOf(3)}, reserved_at = now(), vault_asked_at = now() where id = ${reserved.id}`,
  )
  await addMember(null, { more: sql`withdrawal_address = ${vaultOf(1)}` })
  const one = { lockHash: hashOf(1), name: 'c1', source: 'lock', threshold: 3, validators: 2, shareIndexes: '9,10' }
  const two = { lockHash: null, name: 'c2', source: 'ssv', threshold: 5, validators: 1, shareIndexes: '' }
  expect(await findCoverage(db, undefined, 9)).toEqual([one, two])
  expect(await findCoverage(db, undefined, 1)).toEqual([one])
  expect(await findCoverage(db, [vaultOf(1)], 9)).toEqual([one])
  expect(await findCoverage(db, [vaultOf(2)], 9)).toEqual([])
  expect(await findCoverage(db, [vaultOf(2), vaultOf(3)], 9)).toEqual([two])
})

it('of keys that somebody names, those of the lock have their live exit and the deposit that is taken', async () => {
  const { db, query, addCluster, addMember, addExit, addDeposit, trust } = await openClusters()
  await addCluster(1)
  await addCluster(2)
  await addCluster(3, 'ssv')
  const [foreign, bare, live, gone] = [
    await addMember(2),
    await addMember(1, { place: 1, more: registered(1) }),
    await addMember(1, { place: 2 }),
    await addMember(1, { place: 3 }),
  ]
  for (const { id } of [foreign, live]) {
    await addExit(id, { index: 40 + id, state: 'superseded' })
    await addExit(id, { index: 30 + id, state: 'ready' })
    await query(sql`update messages set epoch = 256 where validator_id = ${id}`)
  }
  await addExit(gone.id, { state: 'expired' })
  const asked = { vault: vaultOf(1), gwei: 5, type: '0x02' as const }
  await addDeposit(live.id, { ...asked, gwei: 4, state: 'superseded' })
  await addDeposit(live.id, asked)
  await addDeposit(gone.id, { ...asked, state: 'expired' })
  await trust(live.id, 3, shareOf(3))
  await trust(live.id, 4, shareOf(4))
  await trust(gone.id, 4, shareOf(4))
  const keys = [UNKNOWN, foreign.key, gone.key, live.key, bare.key]
  const none = { validatorIndex: null, epoch: null, isRegistered: false }
  expect(await findExitsOfLock(db, hashOf(1), keys)).toEqual([
    { position: 2, ...none },
    { position: 3, validatorIndex: 30 + live.id, epoch: 256, isRegistered: false },
    { position: 4, ...none, isRegistered: true },
  ])
  const roots = await query<{ id: number; root: Buffer }>(
    sql`select validator_id::int as id, signing_root as root from messages where kind = 'deposit' and state <> 'superseded'`,
  )
  const depositOf = ({ id }: { id: number }) => ({
    ...{ vault: vaultOf(1), amountGwei: 5, validatorType: '0x02' },
    signingRoot: roots.find((row) => row.id === id)?.root,
  })
  const nothing = { vault: null, amountGwei: null, validatorType: null, signingRoot: null, publicKeyShare: null }
  expect(await findDepositsOfLock(db, hashOf(1), 3, keys)).toEqual([
    { position: 2, ...depositOf(gone), publicKeyShare: null },
    { position: 3, ...depositOf(live), publicKeyShare: shareOf(3) },
    { position: 4, ...nothing },
  ])

  // Of any lock, without those that are on the chain.
  const [onChain, ofSsv, ofNone, notAsked] = [
    await addMember(1, { more: registered(2) }),
    await addMember(3),
    await addMember(null),
    await addMember(1),
  ]
  for (const { id } of [onChain, ofSsv, ofNone, notAsked]) await addExit(id, { index: 7 })
  expect(await findOpenExits(db, [...keys, onChain.key, ofSsv.key, ofNone.key])).toEqual([
    { publicKey: foreign.key, validatorIndex: 30 + foreign.id },
    { publicKey: live.key, validatorIndex: 30 + live.id },
  ])
})

it('an SSV cluster is found by its name among those of the contract, and its validators with what covers them', async () => {
  const { db, query, addCluster, addMember, trust } = await openClusters()
  await addCluster(11, 'lock', { name: 'owner:1,2' })
  await addCluster(12, 'ssv', { name: 'owner:3,4' })
  const id = await insertSsvCluster(db, { name: 'owner:1,2', threshold: 5 })
  expect([11, 12]).not.toContain(id)
  expect(await insertSsvCluster(db, { name: 'owner:1,2', threshold: 5 })).toBe(id)
  expect(await query(sql`select name, threshold, source from clusters where id = ${id}`)).toEqual([
    { name: 'owner:1,2', threshold: 5, source: 'ssv' },
  ])
  const [ofLock, member, alone, notAsked] = [
    await addMember(11),
    await addMember(id, { place: 6 }),
    await addMember(null),
    await addMember(12),
  ]
  await trust(member.id, 300, shareOf(2))
  await trust(member.id, 5, shareOf(1))
  const shares = Buffer.concat(
    [5, 300].flatMap((index, i) => [Buffer.from(index.toString(16).padStart(16, '0'), 'hex'), shareOf(i + 1)]),
  )
  const covers = await findCovers(db, [UNKNOWN, ofLock.key, member.key, alone.key])
  expect(covers.toSorted((a, b) => a.id - b.id)).toEqual([
    {
      ...{ id: ofLock.id, publicKey: ofLock.key, position: 0, source: 'lock', name: 'owner:1,2' },
      ...{ lockHash: hashOf(11), threshold: 3, shares: Buffer.alloc(0) },
    },
    {
      ...{ id: member.id, publicKey: member.key, position: 6, source: 'ssv', name: 'owner:1,2' },
      ...{ lockHash: null, threshold: 5, shares },
    },
    {
      ...{ id: alone.id, publicKey: alone.key, position: null, source: null, name: null },
      ...{ lockHash: null, threshold: null, shares: Buffer.alloc(0) },
    },
  ])
  const members = async () => (await findSsvMembers(db)).toSorted((a, b) => a.id - b.id)
  const others = { id: notAsked.id, publicKey: notAsked.key, name: 'owner:3,4', position: 0 }
  expect(await members()).toEqual([{ id: member.id, publicKey: member.key, name: 'owner:1,2', position: 6 }, others])
  await leaveClusters(db, [member.id, alone.id])
  expect(await members()).toEqual([others])
  expect(await query(sql`select cluster_id, place from validators where id = ${member.id}`)).toEqual([
    { cluster_id: null, place: null },
  ])
})

it('nodes have the keys of their lock as it was read first, while any validator belongs to it', async () => {
  const { db, query, addCluster, addMember } = await openClusters()
  for (const id of [2, 1, 3]) await addCluster(id)
  await addCluster(4, 'ssv')
  for (const cluster of [1, 2, 4]) for (const place of [0, 1]) await addMember(cluster, { place })
  const node = (lock: number, shareIndex: number, isHashKnown = true, fill = 10 * lock + shareIndex) => ({
    ...{ lockHash: hashOf(lock), shareIndex, publicKey: Buffer.alloc(33, fill), isHashKnown },
  })
  await storeNodeKeys(db, [node(2, 2), node(2, 1, false), node(1, 1), node(3, 1), node(9, 1)])
  await storeNodeKeys(db, [node(2, 2, false, 99)])
  await query(
    sql`insert into node_keys (cluster_id, share_index, public_key, is_hash_known) values (4, 1, ${randomBytes(33)}, true)`,
  )
  expect(await findNodeKeys(db)).toEqual([node(1, 1), node(2, 1, false), node(2, 2)])
  const sizes = (await findLockSizes(db)).map(({ lockHash, validators, most }) => [lockHash[0], validators, most])
  expect(sizes.toSorted()).toEqual([
    [1, 2, 2],
    [2, 2, 2],
    [3, 0, 0],
  ])
})

it('operators have the key that was read last', async () => {
  const { db } = await openClusters()
  await storeOperatorKeys(db, [])
  const keys = [70_001, 5].map((operatorId) => ({ operatorId, publicKey: randomBytes(294) }))
  await storeOperatorKeys(db, keys)
  expect(await findOperatorKeys(db)).toEqual(keys.toReversed())
  const anew = { operatorId: 5, publicKey: randomBytes(294) }
  await storeOperatorKeys(db, [anew])
  expect(await findOperatorKeys(db)).toEqual([anew, keys[0]])
})

it('a node speaks for no validator outside its locks, and an operator for none that is not registered with it', async () => {
  const { db, addCluster, addMember, trust } = await openClusters()
  for (const id of [1, 2]) await addCluster(id)
  await addCluster(3, 'ssv')
  const [own, other, ofSsv, withOther, ofNone, notAsked] = [
    await addMember(1),
    await addMember(2),
    await addMember(3),
    await addMember(3, { place: 1 }),
    await addMember(null),
    await addMember(2, { place: 1 }),
  ]
  for (const { id } of [own, ofSsv, ofNone]) await trust(id, 7, shareOf(7))
  for (const { id } of [ofSsv, withOther, notAsked]) await trust(id, 8, shareOf(8))
  const asked = [UNKNOWN, own.key, other.key, ofSsv.key, withOther.key, ofNone.key]
  const outside = async (found: Promise<{ publicKey: Buffer }[]>) =>
    new Set((await found).map(({ publicKey }) => publicKey.toString('hex')))
  const keysOf = (...of: { key: Buffer }[]) => new Set(of.map(({ key }) => key.toString('hex')))
  expect(await outside(findOutsideLocks(db, asked, [hashOf(1), hashOf(9)]))).toEqual(
    keysOf(other, ofSsv, withOther, ofNone),
  )
  expect(await outside(findOutsideOperator(db, asked, 7))).toEqual(keysOf(own, other, withOther, ofNone))
})
