/** Signatures that only a crowd sends: a caller may send them, at its own cost. */

import { randomBytes } from 'node:crypto'
import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createSubmission } from '../../../apps/relayer/src/services/signatures/submit.ts'
import { openMessages } from '../../support/stages/messages.ts'

/** Fewer than a slice, so that a post of each once is one. */
const VALIDATORS = 100
/** Share indexes of a largest cluster and one more, by which a message is crowded. */
const CLUSTER = 14

/** A service of which only what waits in a crowd is looked at: every signature is a point, and nobody verifies. Waiting takes its time at once. */
async function openPosts() {
  const store = await openMessages()
  const validators = await Promise.all(
    Array.from({ length: VALIDATORS }, async () => {
      const validator = await store.addValidator()
      await store.addExit(validator.id)
      return validator
    }),
  )
  let now = 0
  let waits: number[] = []
  const parts = {
    config: { limits: { shares: 10_000 } },
    db: store.db,
    sealing: store.sealing,
    crypto: { areSignatures: async (signatures: readonly unknown[]) => signatures.map(() => true) },
    events: { partialsReceived() {} },
    announced() {},
    patienceMs: 1000,
    verification: { mayWait: () => true, finishLater: async () => {} },
  }
  const { submit } = createSubmission(
    parts as unknown as Parameters<typeof createSubmission>[0],
    () => now,
    async (ms) => {
      waits.push(ms)
      now += ms
    },
  )
  /** So many signatures for each validator, never seen before. Returns how long it waited. */
  async function post(name: string, shareIndex: number, times = 1): Promise<number[]> {
    waits = []
    const shares = Array.from({ length: times }, () => validators).flatMap((all) =>
      all.map(({ publicKey }) => ({ public_key: toHex(publicKey), exit_signature: toHex(randomBytes(96)) })),
    )
    await onAccountOf({ group: 'sidecar', name }, () => submit(shareIndex, shares))
    return waits
  }
  return { ...store, validators, post, pass: (ms: number) => (now += ms) }
}

it('wait where a message has more share indexes than a cluster, behind what the same caller has sent of them', async () => {
  const { post, pass } = await openPosts()
  for (let index = 1; index <= CLUSTER; index++) expect(await post('attacker', index)).toEqual([])
  // A thousand at once, two hundred a second: the eleventh hundred is owed, and whoever comes next waits for it.
  for (let more = 1; more <= 11; more++) expect(await post('attacker', CLUSTER + more)).toEqual([])
  expect(await post('attacker', 100)).toEqual([500])
  expect(await post('node', 101)).toEqual([])
  pass(10_000)
  expect(await post('attacker', 102)).toEqual([])
})

it('wait where a share index sends another than before; what is posted again does not', async () => {
  const { post, pass, query, validators } = await openPosts()
  const sent = async () => {
    const [row] = await query<{ count: string }>(sql`select count(*) from partial_signatures`)
    return Number(row?.count)
  }
  expect(await post('node', 1)).toEqual([])
  for (let more = 1; more <= 11; more++) expect(await post('node', 1)).toEqual([])
  expect(await post('node', 1)).toEqual([500])
  // At another share index it is the first.
  expect(await post('node', 2)).toEqual([])
  expect(await sent()).toBe((4 + 1) * validators.length)
  pass(60_000)
  // In slices: what is too much is refused within some seconds, and what came before that is there.
  await expect(post('node', 3, 40)).rejects.toMatchObject({ code: 'TOO_BUSY' })
  expect(await sent()).toBe((4 + 1 + 4) * validators.length)
})
