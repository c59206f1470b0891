/** What is stored of the manager's signatures: who has one of today, what a vault has moved, and which records an old vault may still need. */

import { randomBytes } from 'node:crypto'
import {
  deleteManagerSignatures,
  insertManagerSignature,
  isRecorded,
  type ManagerAction,
  sumMoved,
} from '@dvt-relayer/db/queries/manager-signatures.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const DAY = 86_400
const vaultOf = (n: number) => Buffer.alloc(20, n)
const digestOf = (n: number) => Buffer.alloc(32, n)

interface Signature {
  action?: ManagerAction
  vault?: number
  requester?: string
  root?: number
  gwei?: number
  digest?: Buffer
  secondsAgo?: number
}
/** A record; of the same transaction each is as old as it says to the moment. */
async function add(tx: Sql, signature: Signature): Promise<void> {
  const { action = 'fund', vault = 1, requester = 'a', root = 1, gwei = 1, secondsAgo = 0 } = signature
  await tx.execute(sql`
    insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
    values (${action}, ${vaultOf(vault)}, ${requester}, ${Buffer.alloc(32, root)}, '', 1, ${gwei}, ${signature.digest ?? randomBytes(32)},
            now() - make_interval(secs => ${secondsAgo}::float8))`)
}

it('a signature is recorded for the requester who was given it today, once', async () => {
  const { db, query } = await openMessages()
  const record = {
    action: 'fund',
    vault: vaultOf(1),
    registryRoot: Buffer.alloc(32),
    validators: Buffer.alloc(8),
  } as const
  const more = { requester: 'a', validatorCount: 3, amountGwei: 2n ** 70n, digest: digestOf(1) }
  await db.transaction(async (tx) => {
    await add(tx, { digest: digestOf(1), secondsAgo: DAY })
    await add(tx, { digest: digestOf(1), requester: 'b' })
    await add(tx, { digest: digestOf(2) })
    expect(await isRecorded(tx, digestOf(1), 'a')).toBe(false)
    expect(await insertManagerSignature(tx, { ...record, ...more })).toBe('inserted')
    expect(await insertManagerSignature(tx, { ...record, ...more })).toBe('exists')
    expect(await isRecorded(tx, digestOf(1), 'a')).toBe(true)
  })
  expect(
    await query(
      sql`select validator_count as count, amount_gwei::text as gwei from manager_signatures where validator_count > 1`,
    ),
  ).toEqual([{ count: 3, gwei: String(2n ** 70n) }])
})

it('a vault has moved the most of each other signature of the time that counts, and nothing by registrations', async () => {
  const { db } = await openMessages()
  await db.transaction(async (tx) => {
    const sum = () => sumMoved(tx, vaultOf(1), digestOf(9), 100)
    expect(await sum()).toBe(0n)
    for (const [requester, gwei] of [
      ['a', 30],
      ['b', 31],
      ['c', 29],
    ] as const)
      await add(tx, { digest: digestOf(1), requester, gwei })
    await add(tx, { digest: digestOf(2), gwei: 200, action: 'withdraw', secondsAgo: 99 })
    await add(tx, { gwei: 1000, secondsAgo: 100 })
    await add(tx, { gwei: 1000, action: 'register' })
    await add(tx, { gwei: 1000, vault: 2 })
    await add(tx, { gwei: 1000, digest: digestOf(9) })
    expect(await sum()).toBe(231n)
  })
})

it('old records go but those that the vault may still take, the oldest first and so many at once', async () => {
  const { db } = await openMessages()
  const old = 600 * DAY
  const signed: [vault: number, action: ManagerAction, root: number, goes: boolean, days?: number][] = [
    // Under a nonce that is used up, though it was signed last.
    [1, 'fund', 2, false],
    [1, 'withdraw', 1, true],
    // Under the newest nonce of its vault, whatever that of others is.
    [2, 'fund', 1, false],
    [3, 'fund', 2, false],
    [3, 'fund', 2, false],
    // Registrations are of another root.
    [4, 'fund', 1, false],
    [4, 'register', 9, false],
    [5, 'register', 9, true, 700],
    [5, 'register', 4, false],
    [6, 'register', 9, false],
    [6, 'register', 9, false],
    // Not old enough.
    [7, 'fund', 1, false, 599],
    [7, 'fund', 2, false, 599],
    [8, 'fund', 1, false, 600],
    [8, 'fund', 2, false, 600],
  ]
  let left: unknown
  const pruned = db.transaction(async (tx) => {
    for (const [vault, action, root, , days = 601] of signed)
      await add(tx, { vault, action, root, secondsAgo: days * DAY })
    expect(await deleteManagerSignatures(tx, old, 1)).toBe(1)
    expect((await tx.execute(sql`select from manager_signatures where vault = ${vaultOf(5)}`)).rows).toHaveLength(1)
    expect(await deleteManagerSignatures(tx, old, 9)).toBe(1)
    expect(await deleteManagerSignatures(tx, old, 9)).toBe(0)
    const { rows } = await tx.execute(
      sql`select get_byte(vault, 0) as vault, get_byte(registry_root, 0) as root from manager_signatures order by id`,
    )
    left = rows
    // The same transaction may delete nothing else after it.
    await tx.execute(sql`delete from manager_signatures`)
  })
  await expect(pruned).rejects.toThrow('SQLSTATE 23001')
  expect(left).toEqual(signed.flatMap(([vault, , root, goes]) => (goes ? [] : [{ vault, root }])))
})
