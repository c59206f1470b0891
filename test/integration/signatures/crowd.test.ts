/** Signatures of no use: a caller may send them, at its own cost. */

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

/** A service of which only what waits in a crowd is looked at: every signature is a point. Waiting takes its time at once. */
async function openPosts() {
  const store = await openMessages()
  const validators = await Promise.all(
    Array.from({ length: VALIDATORS }, async () => {
      const validator = await store.addValidator()
      await store.addExit(validator.id)
      return validator
    }),
  )
  const finished: number[] = []
  let [now, announced, keepingMs] = [0, 0, 0]
  let waits: number[] = []
  const steps: string[] = []
  let onKeep = async () => {}
  /** Of what can be verified all is wrong. */
  const verifyPosted = async (_: number, posted: unknown[], onWrong: (wrong: unknown[]) => void) => onWrong(posted)
  const parts = {
    config: { limits: { shares: 10_000 } },
    db: store.db,
    sealing: store.sealing,
    crypto: {
      areSignatures: async (signatures: readonly unknown[]) => {
        if (signatures.length > 0) {
          steps.push('keeps')
          now += keepingMs
          await onKeep()
        }
        return signatures.map(() => true)
      },
    },
    events: { partialsReceived() {} },
    announced: () => void announced++,
    patienceMs: 1000,
    verification: {
      mayWait: () => true,
      finishLater: async (ids: number[]) => void finished.push(...ids),
      verifyPosted,
    },
  }
  const { submit } = createSubmission(
    parts as unknown as Parameters<typeof createSubmission>[0],
    () => now,
    async (ms) => {
      steps.push(`rests ${ms}`)
      waits.push(ms)
      now += ms
    },
  )
  /** A signature for each, never seen before. Returns how long it waited. */
  async function post(name: string, shareIndex: number, of: readonly { publicKey: Uint8Array }[] = validators) {
    waits = []
    const shares = of.map(({ publicKey }) => ({
      public_key: toHex(publicKey),
      exit_signature: toHex(randomBytes(96)),
    }))
    await onAccountOf({ group: 'sidecar', name }, () => submit(shareIndex, shares))
    return waits
  }
  return {
    ...store,
    validators,
    finished,
    post,
    waited: () => waits,
    steps,
    keepFor: (ms: number, then = onKeep) => {
      keepingMs = ms
      onKeep = then
    },
    announced: () => announced,
    pass: (ms: number) => (now += ms),
  }
}

const sent = async ({ query }: Pick<Awaited<ReturnType<typeof openPosts>>, 'query'>, shareIndex: number) => {
  const [row] = await query<{ count: string }>(
    sql`select count(*) from partial_signatures where share_index = ${shareIndex}`,
  )
  return Number(row?.count)
}

it('at more share indexes than a cluster has wait behind what the same caller has sent there', async () => {
  const { post, pass } = await openPosts()
  for (let index = 1; index <= CLUSTER; index++) expect(await post('attacker', index)).toEqual([])
  // A thousand at once, fifty a second: the eleventh hundred is owed, and whoever comes next waits for it.
  for (let more = 1; more <= 11; more++) expect(await post('attacker', CLUSTER + more)).toEqual([])
  expect(await post('attacker', 100)).toEqual([2000])
  // At those that it had first it goes on, and so does another caller at any.
  for (let time = 0; time < 3; time++) expect(await post('attacker', CLUSTER)).toEqual([])
  expect(await post('node', 100)).toEqual([])
  pass(10_000)
  expect(await post('attacker', 102)).toEqual([])
  // What has been its own for long and is used no more makes room for others.
  pass(600_000)
  for (let time = 0; time < 12; time++) expect(await post('attacker', 103)).toEqual([])
})

it('at one share index wait where each pushes away another: four of a validator have room', async () => {
  const { post } = await openPosts()
  for (let time = 1; time <= 4 + 11; time++) expect(await post('attacker', 1)).toEqual([])
  expect(await post('attacker', 1)).toEqual([2000])
  // Of what is its own alone the same caller waits for nothing, nor does another one whose share index that is.
  expect(await post('attacker', 2)).toEqual([])
  expect(await post('node', 1)).toEqual([])
})

it('are kept one post of a caller after the other, with a rest of three times as long as that took', async () => {
  const { post, steps, keepFor } = await openPosts()
  for (let index = 1; index <= CLUSTER; index++) await post('attacker', index)
  steps.length = 0
  keepFor(20)
  await Promise.all([1, 2].map((more) => post('attacker', CLUSTER + more)))
  expect(steps).toEqual(['keeps', 'rests 60', 'keeps', 'rests 60'])
  // No longer than a post may wait, however slow the database is.
  keepFor(4000)
  expect(await post('attacker', CLUSTER + 3)).toEqual([1000])
  keepFor(20)
  expect(await post('attacker', 1)).toEqual([])
  for (let index = 1; index <= CLUSTER; index++) expect(await post('node', index)).toEqual([])
  // Two callers are at it at once: neither waits for the other.
  const bothKeep = Promise.withResolvers<void>()
  steps.length = 0
  keepFor(0, () => {
    if (steps.length === 2) bothKeep.resolve()
    return bothKeep.promise
  })
  await Promise.all(['attacker', 'node'].map((name) => post(name, 100)))
  expect(steps).toEqual(['keeps', 'keeps'])
})

it('at a share index that lists show already are told to nobody', async () => {
  const { post, trust, query, announced, validators } = await openPosts()
  const revisions = () => query(sql`select id, revision from messages order by id`)
  await post('attacker', 1)
  const [before, times] = [await revisions(), announced()]
  expect(times).toBeGreaterThan(0)
  for (let time = 0; time < 3; time++) await post('attacker', 1)
  expect([await revisions(), announced()]).toEqual([before, times])
  await post('attacker', 2)
  expect(await revisions()).not.toEqual(before)
  // Under a trusted public key share nobody may have been told of the one before.
  const [first] = validators
  if (first === undefined) throw new Error('no validator')
  await trust(first.id, 1, randomBytes(48))
  const untold = await revisions()
  await post('node', 1, [first]).catch(() => {})
  expect(await revisions()).not.toEqual(untold)
})

it('that are refused keep their place for a while, and are told so at the end of the time they had', async () => {
  const { post, waited, validators } = await openPosts()
  for (let time = 1; time <= 4 + 10; time++) await post('attacker', 1)
  const many = Array.from({ length: 5 }, () => validators).flat()
  await expect(post('attacker', 1, many)).rejects.toMatchObject({ code: 'TOO_BUSY' })
  expect(waited()).toEqual([500, 4500])
})

it('that are too many for some seconds are refused, and of the others of the post nothing is lost', async () => {
  const stage = await openPosts()
  const { post, trust, validators, finished } = stage
  const [trusted, ...others] = validators
  if (trusted === undefined) throw new Error('no validator')
  await trust(trusted.id, 100, randomBytes(48))
  for (let index = 1; index <= CLUSTER; index++) await post('node', index)
  finished.length = 0
  const many = Array.from({ length: 40 }, () => others).flat()
  await expect(post('node', 100, [...many, trusted])).rejects.toMatchObject({ code: 'TOO_BUSY' })
  expect(await sent(stage, 100)).toBe(4 * others.length + 1)
  // What was taken goes on.
  expect(finished.length).toBeGreaterThanOrEqual(others.length)
})

it('that were wrong are waited for by what the same caller posts next', async () => {
  const { post, trust, validators, pass } = await openPosts()
  const [first, ...trusted] = validators
  if (first === undefined) throw new Error('no validator')
  for (const { id } of trusted) await trust(id, 1, randomBytes(48))
  const wrong = { code: 'SHARES_WRONG' }
  for (let time = 0; time < 11; time++) await expect(post('node', 1, trusted)).rejects.toMatchObject(wrong)
  expect(await post('node', 2, [first])).toEqual([20 * (11 * trusted.length - 1000)])
  expect(await post('other', 2, [first])).toEqual([])
  // However many are wrong, it is some seconds: who had the wrong keys goes on with the right ones soon.
  for (let time = 0; time < 25; time++) await post('node', 1, trusted).catch(() => {})
  pass(6_000)
  expect(await post('node', 2, [first])).toEqual([])
})
