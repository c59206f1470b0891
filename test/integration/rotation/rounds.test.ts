/** A round over all vaults: which are carried on, which only wait for their end, what is told of them, and for how long each is left alone. */

import { randomBytes } from 'node:crypto'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import type { RotationLocks } from '../../../apps/relayer/src/services/rotation/locks.ts'
import { createRotationRounds } from '../../../apps/relayer/src/services/rotation/round.ts'
import type { Step } from '../../../apps/relayer/src/services/rotation/steps.ts'
import { openMessages } from '../../support/stages/messages.ts'

const [A, B, C] = [1, 2, 3].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer]
const UNAPPROVED: Step = { step: 'unapproved', approvals: 1, needed: 2, oracles: 3 }
const UNLEARNT: Step = { step: 'unlearnt', answers: 1, needed: 2, oracles: 3 }
const SENT: Step = { step: 'sent', transactionHash: undefined }
const COLLECTING: Step = { step: 'collecting', ready: 0, toSign: 1, toSplit: 0, leftOut: 0 }

/** Rounds over vaults with a registered validator each, and over those with an open rotation; the clock is the test's. */
async function setUp(more: { vaults?: Uint8Array[]; enabled?: boolean; registered?: Buffer[]; open?: Buffer[] } = {}) {
  const { db, query, addValidator } = await openMessages()
  await query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select x, x::text, 1, ${randomBytes(65)}, '{}', x, now(), x = 1 from generate_series(1, 2) x`)
  for (const vault of more.registered ?? [A]) {
    const { id } = await addValidator()
    await query(
      sql`update validators set registered_at = now(), beacon_index = ${id}, beacon_vault = ${vault}, oracle_set_id = 1 where id = ${id}`,
    )
  }
  for (const vault of more.open ?? [])
    await query(sql`insert into rotations (vault, oracle_set_id, nonce, state) values (${vault}, 1, 0, 'open')`)
  const clock = { at: 1_000_000 }
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock.at)
  onTestFinished(() => now.mockRestore())
  const done: [string, Buffer][] = []
  const answers = new Map<string, Step | Error>()
  const taken = new Set<string>()
  const onAdvance: (() => void)[] = []
  const locks = {
    tryVault: async (vault: Buffer, work: () => Promise<unknown>) =>
      taken.has(vault.toString('hex')) ? { isOurs: false, holder: 'b' } : { isOurs: true, value: await work() },
  } as unknown as RotationLocks
  const rounds = createRotationRounds(
    { db, config: { rotation: { enabled: more.enabled ?? true }, vaults: more.vaults } } as unknown as Context,
    locks,
    {
      advance: async (vault) => {
        done.push(['advance', vault as Buffer])
        for (const happens of onAdvance) happens()
        const answer = answers.get(Buffer.from(vault).toString('hex')) ?? SENT
        if (answer instanceof Error) throw answer
        return answer
      },
      finish: async (vault) => void done.push(['finish', vault as Buffer]),
    },
  )
  const run = (signal = new AbortController().signal) => rounds.run(signal)
  const answer = (vault: Buffer, with_: Step | Error) => answers.set(vault.toString('hex'), with_)
  return {
    ...{ query, rounds, run, answer, taken, onAdvance, clock },
    /** What was done since the last time. */
    takeDone: () => done.splice(0),
  }
}

it('carries on vaults of ours, and of all others ends what was begun', async () => {
  const world = await setUp({ vaults: [A, C], registered: [A, B, C], open: [B, C] })
  expect(await world.run()).toBeUndefined()
  expect(world.takeDone()).toEqual([
    ['advance', A],
    ['advance', C],
    ['finish', B],
  ])
})

it('carries on every vault where none is named, and with ROTATION off none', async () => {
  const every = await setUp({ registered: [A, B], open: [C] })
  await every.run()
  expect(every.takeDone()).toEqual([
    ['advance', A],
    ['advance', B],
    ['finish', C],
  ])
  const off = await setUp({ enabled: false, registered: [A, B], open: [A] })
  await off.run()
  expect(off.takeDone()).toEqual([['finish', A]])
})

it('tells what is wrong with each, goes on with the others, and whether exits are collected', async () => {
  const world = await setUp({ registered: [A, B, C] })
  world.answer(A, new Error('away'))
  world.answer(B, COLLECTING)
  world.answer(C, { step: 'too_dear' })
  expect(world.rounds.isCollecting).toBe(false)
  const wrong = `${checksumAddress(A)}: away; ${checksumAddress(C)}: the chain asks for more than ROTATION_MAX_FEE_GWEI; nothing is sent until it is cheaper`
  expect(await world.run()).toBe(wrong)
  expect(world.rounds.isCollecting).toBe(true)
  // None of these is left alone: a fee falls within a block.
  world.takeDone()
  world.answer(B, SENT)
  expect(await world.run()).toBe(wrong)
  expect(world.takeDone()).toHaveLength(3)
  expect(world.rounds.isCollecting).toBe(false)
  // What another process is at is no trouble.
  for (const vault of [A, C]) world.taken.add(vault.toString('hex'))
  expect(await world.run()).toBeUndefined()
  expect(world.takeDone()).toEqual([['advance', B]])
})

it('ends when the process stops, whatever failed by that', async () => {
  const world = await setUp({ registered: [A, B] })
  const stop = new AbortController()
  stop.abort(new Error('stopped'))
  await expect(world.run(stop.signal)).rejects.toThrow('stopped')
  expect(world.takeDone()).toEqual([])
  const failed = new Error('cut off')
  const later = new AbortController()
  world.answer(A, failed)
  world.onAdvance.push(() => later.abort())
  const running = world.run(later.signal)
  await expect(running).rejects.toBe(failed)
  expect(world.takeDone()).toEqual([['advance', A]])
})

it.each([
  ['that do not approve, for twice as long each time up to two minutes', UNAPPROVED, [6, 12, 24, 48, 96, 120, 120]],
  ['that cannot be asked, for twice as long each time up to a minute', UNLEARNT, [6, 12, 24, 48, 60, 60]],
])('leaves oracles alone %s, and tells why meanwhile', async (_what, step, rests) => {
  const world = await setUp()
  world.answer(A, step)
  const problem = await world.run()
  expect(problem).toContain(`${checksumAddress(A)}: 1 of 3 oracles`)
  world.takeDone()
  for (const seconds of rests) {
    world.clock.at += 1000 * seconds - 1
    expect(await world.run()).toBe(problem)
    expect([seconds, world.takeDone()]).toEqual([seconds, []])
    world.clock.at += 1
    expect(await world.run()).toBe(problem)
    expect([seconds, world.takeDone()]).toEqual([seconds, [['advance', A]]])
  }
  // Other oracles are asked at once, and the first rest under them is short again.
  await world.query(sql`update oracle_sets set is_current = false`)
  await world.query(sql`update oracle_sets set is_current = true where id = 2`)
  await world.run()
  expect(world.takeDone()).toHaveLength(1)
  world.clock.at += 6000
  world.answer(A, SENT)
  expect(await world.run()).toBeUndefined()
  expect(world.takeDone()).toHaveLength(1)
  // So it is after what went well.
  world.answer(A, step)
  await world.run()
  world.clock.at += 6000
  await world.run()
  expect(world.takeDone()).toHaveLength(2)
})
