/** What is stored of a cluster lock: once, over another one on purpose alone, and with the deposits that it carries. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { importClusterLocks, readLock } from '../../../apps/relayer/src/services/clusters/locks.ts'
import { fixturePath } from '../../support/keys/fixtures.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { lockToJson } from '../../support/keys/lock-to-json.ts'
import { type ClusterOptions, makeLock, makeLockDeposit } from '../../support/keys/make-cluster.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { orderBeside } from '../../support/stores/import-order.ts'
import { engine, type KeyedValidator } from '../../support/world/nodes.ts'
import { recordingLogger } from '../sidecar/support.ts'

const network = networks.hoodi
const [VAULT, ELSEWHERE] = [new Uint8Array(20).fill(0x8a), new Uint8Array(20).fill(0x5c)]
const makeKeys = (count: number) => createTestKeys(count, { nodes: 4, threshold: 3 })
/** A deposit of 32 ETH to a vault, signed by a validator. */
const depositTo = (vault: Uint8Array, validator: KeyedValidator) =>
  makeLockDeposit(validator, { vault, type: '0x01', ether: 32n, genesisForkVersion: network.genesisForkVersion })

/** What is stored of a node by the key in its ENR. */
const nodeKeyOf = (enrKey: Uint8Array, position: number) => ({
  ...{ index: position + 1, key: Buffer.from(secp256k1.getPublicKey(enrKey)), isHashKnown: true },
})

/** A database into which locks are imported. */
async function openLocks() {
  const database = await openMessages()
  const dir = await mkdtemp(join(tmpdir(), 'dvt-locks-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const { query } = database
  return {
    ...database,
    /** A lock of these validators in a file. */
    async write(name: string, validators: readonly KeyedValidator[], deposits: ClusterOptions['deposits'] = () => []) {
      const enrKeys = Array.from({ length: 4 }, () => secp256k1.utils.randomSecretKey())
      const options = {
        ...{ dir, nodes: 4, threshold: 3, validators: validators.length, network, name, deposits },
        ...{ withdrawalAddress: VAULT, feeRecipient: new Uint8Array(20).fill(1) },
      }
      const lock = makeLock(engine, validators, enrKeys, options)
      const file = join(dir, `${name}.json`)
      await writeFile(file, JSON.stringify(lockToJson(lock)))
      return { file, hash: lock.lockHash, nodeKeys: enrKeys.map(nodeKeyOf) }
    },
    /** Imports locks, as a process with these settings does; what it said, or why it did not. */
    async take(lockFiles: string[], { lockHashes = [] as Uint8Array[], replaces = [] as Uint8Array[] } = {}) {
      const { logger, text } = recordingLogger()
      const needs = { config: { network, clusters: { lockFiles, lockHashes, replaces } }, db: database.db, logger }
      const failed = await importClusterLocks(
        needs as unknown as Parameters<typeof importClusterLocks>[0],
        engine,
      ).then(
        () => undefined,
        ({ code }: { code: string }) => code,
      )
      const said = text.map((line) => {
        const { level: _, time: _time, pid: _pid, hostname: _host, ...rest } = JSON.parse(line)
        return rest as Record<string, unknown>
      })
      return { failed, said }
    },
    members: () =>
      query(sql`select v.public_key as key, c.name, v.place, v.withdrawal_address as vault
                from validators v join clusters c on c.id = v.cluster_id order by c.id, v.place`),
    sharesOf: (publicKey: Uint8Array) =>
      query(sql`select k.share_index::int as index, k.public_key_share as share, k.source from key_shares k
                join validators v on v.id = k.validator_id where v.public_key = ${Buffer.from(publicKey)} order by 1`),
    nodeKeys: () =>
      query(sql`select n.share_index::int as index, n.public_key as key, n.is_hash_known as "isHashKnown" from node_keys n
                join clusters c on c.id = n.cluster_id order by c.id, n.share_index`),
    given: () =>
      query(sql`select v.public_key as key, l.vault, b.vault as bound from lock_deposits l join validators v on v.id = l.validator_id
                left join deposit_bindings b on b.validator_id = v.id order by v.place`),
  }
}
const sharesOf = ({ shares }: KeyedValidator) =>
  shares.map(({ index, publicKey }) => ({ index: Number(index), share: Buffer.from(publicKey), source: 'lock' }))

it('a lock is stored with its nodes, its shares and its deposits, and what was asked for before is judged anew: once', async () => {
  const locks = await openLocks()
  const { query, addExit, addDeposit, message } = locks
  const [one, two] = makeKeys(2) as [KeyedValidator, KeyedValidator]
  const [{ id = 0 } = {}] = await query<{ id: number }>(
    sql`insert into validators (public_key) values (${Buffer.from(two.publicKey)}) returning id::int`,
  )
  const [exit, deposit] = [await addExit(id), await addDeposit(id, { vault: VAULT, state: 'ready' })]
  await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                  values (${exit}, 2, ${randomBytes(32)}, ${randomBytes(96)}, 'verified')`)
  const { file, hash, nodeKeys } = await locks.write('ours', [one, two], (validator, position) =>
    position === 1 ? [depositTo(VAULT, validator)] : [],
  )
  expect(await locks.take([file])).toEqual({
    failed: undefined,
    said: [
      {
        ...{
          file,
          lock_hash: toHex(hash).slice(0, 18),
          validators: 2,
          threshold: 3,
          deposits: 1,
          rejudged_messages: 1,
        },
        msg: 'cluster lock imported',
      },
    ],
  })
  expect(await locks.members()).toEqual(
    [one, two].map(({ publicKey }, place) => ({
      ...{ key: Buffer.from(publicKey), name: 'ours', place, vault: Buffer.from(VAULT) },
    })),
  )
  for (const validator of [one, two]) expect(await locks.sharesOf(validator.publicKey)).toEqual(sharesOf(validator))
  expect(await locks.nodeKeys()).toEqual(nodeKeys)
  const given = [{ key: Buffer.from(two.publicKey), vault: Buffer.from(VAULT), bound: Buffer.from(VAULT) }]
  expect(await locks.given()).toEqual(given)
  expect(await query(sql`select state from partial_signatures`)).toEqual([{ state: 'unverified' }])
  expect(await query(sql`select threshold from messages where id = ${exit}`)).toEqual([{ threshold: 3 }])
  const revisions = async () => [(await message(exit)).revision, (await message(deposit)).revision]
  const after = await revisions()
  expect(after.filter((revision) => revision > 0)).toHaveLength(2)

  expect(await locks.take([file])).toEqual({ failed: undefined, said: [] })
  expect(await revisions()).toEqual(after)

  // As a version has left it that read no deposits and knew no nodes.
  await query(sql`update clusters set deposits_read_at = null`)
  for (const table of ['lock_deposits', 'deposit_bindings', 'node_keys'])
    await query(sql`delete from ${sql.identifier(table)}`)
  expect(await locks.take([file])).toEqual({
    failed: undefined,
    said: [{ file, deposits: 1, msg: 'deposits of an imported lock read' }],
  })
  expect(await locks.given()).toEqual(given)
  expect(await locks.nodeKeys()).toEqual(nodeKeys)
  const [exitRevision = 0, depositRevision = 0] = await revisions()
  expect([exitRevision, depositRevision > (after[1] ?? 0)]).toEqual([after[0], true])
  expect(await locks.take([file])).toEqual({ failed: undefined, said: [] })
})

it('a lock takes validators from those alone that it is said to replace, and they may be taken back', async () => {
  const locks = await openLocks()
  const [one, two] = makeKeys(2) as [KeyedValidator, KeyedValidator]
  const [anew] = createTestKeys(1, { nodes: 4, threshold: 3, secretKey: two.secretKey }) as [KeyedValidator]
  const first = await locks.write('first', [one, two], (validator) => [depositTo(VAULT, validator)])
  const second = await locks.write('second', [anew])
  const other = randomBytes(32)
  const membersAre = async (...names: string[]) =>
    expect((await locks.members()).map((member) => (member as { name: string }).name)).toEqual(names)
  expect(await locks.take([first.file])).toMatchObject({ failed: undefined, said: [{ deposits: 2 }] })
  for (const replaces of [[], [other]])
    expect(await locks.take([second.file], { replaces })).toEqual({ failed: 'CLUSTER_LOCK_REPLACES', said: [] })
  await membersAre('first', 'first')
  expect(await locks.sharesOf(two.publicKey)).toEqual(sharesOf(two))
  expect((await locks.take([second.file], { replaces: [other, first.hash] })).failed).toBeUndefined()
  await membersAre('first', 'second')
  expect(await locks.sharesOf(two.publicKey)).toEqual(sharesOf(anew))
  // The one that was replaced in part is refused in its turn, and taken back on purpose: its deposits were read before.
  expect((await locks.take([first.file])).failed).toBe('CLUSTER_LOCK_REPLACES')
  expect(await locks.take([first.file], { replaces: [second.hash] })).toMatchObject({
    failed: undefined,
    said: [{ msg: 'cluster lock imported', deposits: 0 }],
  })
  await membersAre('first', 'first')

  const third = await locks.write('third', makeKeys(1))
  expect(await orderBeside(locks, () => locks.take([third.file]))).toEqual(['first', 'second'])
})

it('deposits of a lock that are wrong, or go elsewhere, are said, and the lock is taken', async () => {
  const locks = await openLocks()
  const keys = makeKeys(3) as [KeyedValidator, KeyedValidator, KeyedValidator]
  const [right, , moved] = keys
  const { file } = await locks.write('odd', keys, (validator, position) => {
    const deposit = depositTo(position === 2 ? ELSEWHERE : VAULT, validator)
    return [position === 1 ? { ...deposit, signature: depositTo(VAULT, right).signature } : deposit]
  })
  expect(await locks.take([file])).toEqual({
    failed: undefined,
    said: [
      {
        ...{ file, wrong: 1, first: 'distributed_validators[1].partial_deposit_data[0]' },
        msg: "deposit signatures of the lock do not verify under the validator's key and are ignored: the nodes sign these deposits",
      },
      {
        ...{ file, deposits: 1, first: 2 },
        msg: 'deposits of the lock go to another address than the withdrawal address it names: no vault gets these keys',
      },
      expect.objectContaining({ msg: 'cluster lock imported', deposits: 2, validators: 3 }),
    ],
  })
  expect(await locks.given()).toEqual(
    [right, moved].map(({ publicKey }, i) => {
      const vault = Buffer.from(i === 0 ? VAULT : ELSEWHERE)
      return { key: Buffer.from(publicKey), vault, bound: vault }
    }),
  )
})

it('a lock may be pinned by its hash where that is recomputed', async () => {
  const read = (name: string, lockHashes: Uint8Array[]) => {
    const clusters = { lockHashes } as unknown as Parameters<typeof readLock>[0]['clusters']
    return readLock({ network, clusters }, engine, fixturePath(name)).lock
  }
  const [older, newer] = ['obol/locks/lock-v1.4.0.json', 'obol/locks/lock-v1.5.0.json']
  const [{ lockHash: ofOlder }, { lockHash }] = [read(older, []), read(newer, [])]
  expect(read(newer, [new Uint8Array(32), lockHash]).lockHash).toEqual(lockHash)
  expect(() => read(newer, [new Uint8Array(32)])).toThrow(
    `its lock_hash ${toHex(lockHash)} is not one of CLUSTER_LOCK_HASHES`,
  )
  expect(() => read(older, [ofOlder])).toThrow('a lock of v1.4.0 cannot be pinned')
})
