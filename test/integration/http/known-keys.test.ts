/** Which keys nodes are known by, of locks and of SSV operators: whose each is, how long an answer is good, and what is read again. */

import { randomBytes } from 'node:crypto'
import type { ExecutionNode } from '@dvt-relayer/chain/execution/execution.ts'
import { emptySsvState, type SsvRegistration } from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { operatorKeyFingerprint, parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { findOperatorKeys, storeNodeKeys, storeOperatorKeys } from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it, vi } from 'vitest'
import { createNodeKeys } from '../../../apps/relayer/src/services/identity/node-keys.ts'
import {
  createOperatorKeyReader,
  createOperatorKeys,
} from '../../../apps/relayer/src/services/identity/operator-keys.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'
import { openMessages } from '../../support/stages/messages.ts'

/** A database with a clock; it can be away for who has the `fragile` one. */
async function openKeys() {
  const store = await openMessages()
  const clock = { at: 1_000_000, isAway: false }
  const execute: Database['execute'] = (statement) => {
    if (clock.isAway) throw new Error('away')
    return store.db.execute(statement)
  }
  /** A lock with a validator, and nodes of these keys. */
  const addLock = async (...keys: readonly Uint8Array[]) => {
    const lockHash = randomBytes(32)
    const { publicKey, id } = await store.addValidator()
    await store.query(sql`
      with made as (insert into clusters (lock_hash, name, threshold) values (${lockHash}, 'a', 2) returning id)
      update validators set cluster_id = made.id from made where validators.id = ${id}`)
    await storeNodeKeys(
      store.db,
      keys.map((key, position) => ({
        lockHash,
        shareIndex: position + 1,
        publicKey: Buffer.from(key),
        isHashKnown: true,
      })),
    )
    return { lockHash, publicKey }
  }
  return { ...store, clock, fragile: { ...store.db, execute }, now: () => clock.at, addLock }
}

describe('a node of a lock', () => {
  it('has the key that stands at its share index of this lock, and acts for the validators of it there alone', async () => {
    const { db, addLock, addValidator } = await openKeys()
    const [a, b, c] = [randomBytes(33), randomBytes(33), randomBytes(33)]
    const [one, other] = [await addLock(a, b), await addLock(c, a)]
    const keys = createNodeKeys({ db })
    expect(
      await Promise.all([one, other].flatMap(({ lockHash }) => [1, 2, 3].map((n) => keys.find(lockHash, n)))),
    ).toEqual([a, b, undefined, c, a, undefined])
    expect(await keys.find(randomBytes(32), 1)).toBeUndefined()
    const placesOf = async (key: Uint8Array) =>
      (await keys.placesOf(key)).map(({ lockHash, shareIndex }) => [lockHash, shareIndex])
    expect(await placesOf(a)).toEqual([
      [one.lockHash, 1],
      [other.lockHash, 2],
    ])
    expect(await placesOf(randomBytes(33))).toEqual([])
    expect(await keys.sizeOf(one.lockHash)).toMatchObject({ validators: 1, most: 2 })
    expect(await keys.sizeOf(randomBytes(32))).toBeUndefined()

    const locks = await keys.placesOf(a)
    const [stray, unknown] = [(await addValidator()).publicKey, randomBytes(48)]
    const asked = [one.publicKey, other.publicKey, stray, unknown]
    const foreign = async (shareIndex: number) => [...(await keys.findForeign({ locks }, shareIndex, asked))].toSorted()
    expect(await foreign(1)).toEqual([other.publicKey, stray].map(toHex).toSorted())
    expect(await foreign(2)).toEqual([one.publicKey, stray].map(toHex).toSorted())
  })

  it('is known ten seconds after its lock was imported, and what could not be read is read again', async () => {
    const { fragile, clock, now, addLock } = await openKeys()
    const keys = createNodeKeys({ db: fragile }, now)
    clock.isAway = true
    const asked = [keys.placesOf(randomBytes(33)), keys.placesOf(randomBytes(33)), keys.sizeOf(randomBytes(32))]
    for (const answer of asked) await expect(answer).rejects.toThrow('away')
    clock.isAway = false
    expect(await keys.sizeOf(randomBytes(32))).toBeUndefined()
    const key = randomBytes(33)
    expect(await keys.placesOf(key)).toEqual([])
    const { lockHash } = await addLock(key)
    const known = async () => [(await keys.placesOf(key)).length, (await keys.sizeOf(lockHash))?.validators]
    clock.at += 9_999
    expect(await known()).toEqual([0, undefined])
    clock.at += 1
    expect(await known()).toEqual([1, 1])
    // For as long nobody asks the database.
    clock.isAway = true
    clock.at += 9_999
    expect(await known()).toEqual([1, 1])
  })
})

const { operators } = readFixtureJson('ssv/expected.json') as { operators: { public_key: string }[] }
const spelled = operators.map(({ public_key: text }) => text)
const [first, second, third] = spelled.map((text) => parseOperatorPublicKey(text)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

/** `OperatorAdded` of an operator with the key at this place of the fixture, whose spelling is ABI-encoded once more. */
function addedLog(operatorId: number, place: number) {
  const text = Buffer.from(spelled[place] ?? '')
  const word = (number: number) => number.toString(16).padStart(64, '0')
  const padded = Buffer.concat([text, Buffer.alloc(-text.length & 31)]).toString('hex')
  const args = { operatorId: BigInt(operatorId), publicKey: `0x${word(32)}${word(text.length)}${padded}` }
  return { blockNumber: 1, logIndex: operatorId, args }
}

describe('the key of an operator', () => {
  it('is known ten seconds after another process has read it, and what could not be read is read again', async () => {
    const { db, fragile, clock, now } = await openKeys()
    const keys = createOperatorKeys({ db: fragile }, now)
    clock.isAway = true
    for (const answer of [keys.find(1), keys.find(2)]) await expect(answer).rejects.toThrow('away')
    clock.isAway = false
    await storeOperatorKeys(db, [{ operatorId: 1, publicKey: first }])
    expect(await Promise.all([keys.find(1), keys.find(2)])).toEqual([Buffer.from(first), undefined])
    await storeOperatorKeys(db, [{ operatorId: 2, publicKey: second }])
    clock.at += 9_999
    expect(await keys.find(2)).toBeUndefined()
    clock.at += 1
    expect(await keys.find(2)).toEqual(Buffer.from(second))
    clock.isAway = true
    clock.at += 9_999
    expect(await keys.find(2)).toEqual(Buffer.from(second))
  })

  it('is asked of a node once it is missing, up to the last block that was followed, and after an hour again', async () => {
    const { db, query } = await openKeys()
    const contract = { address: randomBytes(20), block: 7 }
    await storeOperatorKeys(db, [{ operatorId: 1, publicKey: first }])
    const shown = [addedLog(2, 1)]
    const asked: unknown[] = []
    const node = {
      async *scanLogs({ topics, fromBlock, toBlock }: { topics: string[][]; fromBlock: number; toBlock: number }) {
        asked.push({ of: topics[0]?.map(Number), fromBlock, toBlock })
        yield { fromBlock, toBlock, logs: shown, undecodable: 0 }
      },
    } as unknown as ExecutionNode
    // The registrations have operators 1 to 4; of the fourth no event was read, and the fifth has no validator.
    const share = (operatorId: number) => ({ operatorId })
    const registration = { data: { shares: [1, 2, 3, 4].map(share) } } as unknown as SsvRegistration
    const fingerprints = [first, second, third].map((key, n) => [n + 1, operatorKeyFingerprint(key)] as const)
    const state = {
      ...emptySsvState({ contract }),
      nextBlock: 1001,
      operators: new Map([...fingerprints, [5, operatorKeyFingerprint(third)] as const]),
      live: new Map([['one', registration]]),
    }
    let at = 5_000_000
    using _clock = vi.spyOn(performance, 'now').mockImplementation(() => at)
    const read = createOperatorKeyReader({ db }, { contract })
    const round = async (now: number) => {
      at = now
      await read(node, state, AbortSignal.abort())
      const stored = (await findOperatorKeys(db)).map(({ operatorId }) => operatorId)
      return { asked: asked.splice(0), stored }
    }
    const upTo = { fromBlock: 7, toBlock: 1000 }
    expect(await round(5_000_000)).toEqual({ asked: [{ of: [2, 3], ...upTo }], stored: [1, 2] })
    expect(await round(5_000_000 + 3_599_999)).toEqual({ asked: [], stored: [1, 2] })
    shown.splice(0, 1, addedLog(3, 2))
    expect(await round(5_000_000 + 3_600_000)).toEqual({ asked: [{ of: [3], ...upTo }], stored: [1, 2, 3] })
    expect(await round(5_000_000 + 9_000_000)).toEqual({ asked: [], stored: [1, 2, 3] })
    expect(await query(sql`select from operator_keys`)).toHaveLength(3)
  })
})
