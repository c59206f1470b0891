/** Exits and deposits for locked validators: which are kept, revived, replaced or made, whose they are, and how many may be live. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import {
  assignDeposits,
  assignExits,
  MANY_VAULTS,
  ROTATION_REQUESTER,
  requesterOfVault,
} from '../../../apps/relayer/src/services/exits/assign.ts'
import { countByRound } from '../../support/event-loop.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import { eventually } from '../../support/world/world.ts'

it('computes the signing roots of many in pieces: others have the event loop in between', async () => {
  const { db, query } = await openMessages()
  const rows = await query<{ id: string; public_key: Buffer }>(sql`
    insert into validators (public_key) select sha256(n::text::bytea) || substr(sha256(n::text::bytea), 1, 16)
    from generate_series(1, 300) n returning id, public_key`)
  const wanted = rows.map(({ id, public_key: key }, position) => ({
    validatorId: Number(id),
    publicKey: new Uint8Array(key),
    threshold: 3,
    requester: null,
    validatorIndex: 100 + position,
    vault: new Uint8Array(20).fill(1),
    amountGwei: 32_000_000_000,
    validatorType: '0x01' as const,
  }))
  const counted = countByRound()
  // Each root asks the network for its fork version.
  const network = {
    ...networks.hoodi,
    get capellaForkVersion() {
      counted.count()
      return networks.hoodi.capellaForkVersion
    },
    get genesisForkVersion() {
      counted.count()
      return networks.hoodi.genesisForkVersion
    },
  }
  const config = { network, limits: { openExits: 1000 }, validatorLifetimeSeconds: 3600 }
  for (const assign of [assignExits, assignDeposits]) {
    const before = counted.inRounds().length
    const done = await db.transaction((tx) => assign(tx, config as Parameters<typeof assign>[1], wanted, 100))
    expect(done.created).toBe(300)
    expect(counted.inRounds().slice(before)).toEqual([128, 128, 44])
  }
  counted.end()
  const roots = await query<{ signing_root: Buffer }>(sql`
    select signing_root from messages where kind = 'exit' order by validator_index`)
  const expected = wanted.map(({ validatorIndex }) =>
    exitSigningRoot(networks.hoodi, { epoch: networks.hoodi.capellaEpoch, validatorIndex }),
  )
  expect(roots.map(({ signing_root: root }) => new Uint8Array(root))).toEqual(expected)
})

const LIFETIME = 3600
const [ONE, OTHER] = [1, 2].map((byte) => requesterOfVault(Buffer.alloc(20, byte))) as [string, string]

/** A database, and exits of its validators assigned in a transaction of their own. */
async function openAssigning() {
  const store = await openMessages()
  const config = {
    network: networks.hoodi,
    limits: { openExits: 100 },
    validatorLifetimeSeconds: LIFETIME,
  } as Parameters<typeof assignExits>[1]
  type Of = { id: number; publicKey: Uint8Array }
  return {
    ...store,
    config,
    wantedOf: ({ id, publicKey }: Of, validatorIndex: number, requester: string | null = null) => ({
      ...{ validatorId: id, publicKey, threshold: 2, requester, validatorIndex },
    }),
    assign: (wanted: Parameters<typeof assignExits>[2], start = 0) =>
      store.db.transaction((tx) => assignExits(tx, config, wanted, start)),
    /** Says how long ago somebody asked for an exit last. */
    idle: (id: number, seconds: number) =>
      store.query(
        sql`update messages set requested_at = now() - make_interval(secs => ${seconds}::float8) where id = ${id}`,
      ),
    state: () =>
      store.query<{ validator: number; index: number; state: string; requester: string | null; asked: boolean }>(sql`
        select validator_id::int as validator, validator_index::int as index, state, requester,
               requested_at > now() - interval '1 minute' as asked
        from messages order by validator_id, id`),
  }
}

it('a live exit of a vault is moved to another index by nobody who asks for many vaults or none, until it has lapsed', async () => {
  const { assign, wantedOf, addValidator, addExit, idle, query, state } = await openAssigning()
  const START = 10
  const cases: {
    requester: string | null
    exit?: { index?: number; requester?: string | null; state?: string; idle?: number }
    wanted?: number
    isTaken?: true
  }[] = [
    { requester: MANY_VAULTS, isTaken: true },
    { requester: null, isTaken: true },
    { requester: null, exit: { index: START + 5 }, isTaken: true },
    { requester: null, exit: { state: 'collecting' }, isTaken: true },
    { requester: MANY_VAULTS, exit: { idle: LIFETIME / 2 }, isTaken: true },
    { requester: ONE },
    { requester: OTHER },
    { requester: MANY_VAULTS, exit: { index: START - 1 } },
    { requester: MANY_VAULTS, exit: { state: 'expired' } },
    { requester: MANY_VAULTS, exit: { idle: LIFETIME + 1 } },
    { requester: MANY_VAULTS, exit: { requester: 'operator' } },
    { requester: null, exit: { requester: MANY_VAULTS } },
    { requester: null, exit: { requester: null } },
    { requester: MANY_VAULTS, wanted: START },
  ]
  for (const { requester, exit = {}, wanted = START + 1, isTaken = false } of cases) {
    const validator = await addValidator()
    const of = { index: START, requester: ONE, state: 'ready', ...exit }
    await idle(await addExit(validator.id, of), exit.idle ?? 0)
    const other = await addValidator()
    const assigning = assign([wantedOf(other, 50), wantedOf(validator, wanted, requester)], START)
    const outcome = await assigning.catch(({ code, failures }) => ({ code, failures }))
    expect({ requester, exit, wanted, outcome }).toMatchObject({
      outcome: isTaken
        ? { code: 'EXIT_TAKEN', failures: [{ index: 1, code: 'EXIT_TAKEN' }] }
        : wanted === START
          ? { created: 1, superseded: 0 }
          : { created: 2, superseded: 1, revived: 0 },
    })
    if (isTaken) expect((await state()).map(({ index, state: is }) => [index, is])).toEqual([[of.index, of.state]])
    await query(sql`delete from messages`)
  }
})

it('an exit is made where there is none, kept, revived or replaced, and each that has changed is to be announced', async () => {
  const { assign, wantedOf, addValidator, addExit, idle, state } = await openAssigning()
  const [none, live, ended, moved, expired] = [
    await addValidator(),
    await addValidator(),
    await addValidator(),
    await addValidator(),
    await addValidator(),
  ]
  const exits = [
    await addExit(live.id, { index: 11, requester: OTHER }),
    await addExit(ended.id, { index: 12, state: 'expired' }),
    await addExit(moved.id, { index: 1, state: 'ready' }),
    await addExit(expired.id, { index: 2, state: 'expired' }),
  ] as const
  for (const exit of exits) await idle(exit, 1000)
  const wanted = [none, live, ended, moved, expired].map((of, position) => wantedOf(of, 10 + position, ONE))
  const { changed, ...counts } = await assign(wanted, 10)
  expect(counts).toEqual({ created: 3, superseded: 2, revived: 1 })
  const row = (of: { id: number }, index: number, is: string, requester: string | null = ONE) => ({
    ...{ validator: of.id, index, state: is, requester, asked: true },
  })
  expect(await state()).toEqual([
    row(none, 10, 'collecting'),
    row(live, 11, 'collecting'),
    row(ended, 12, 'collecting'),
    row(moved, 1, 'superseded', null),
    row(moved, 13, 'collecting'),
    row(expired, 2, 'superseded', null),
    row(expired, 14, 'collecting'),
  ])
  const made = [1, 2, 3].map((n) => exits[3] + n)
  expect(changed.sort((a, b) => a - b)).toEqual([...exits.slice(1), ...made])
  // All of them once more: polls.
  expect(await assign(wanted, 10)).toEqual({ created: 0, superseded: 0, revived: 0, changed: [] })
})

it('as many exits of a requester may be live as are allowed, and a poll is no more of them', async () => {
  const { assign, wantedOf, addValidator, addExit, config, query } = await openAssigning()
  const validators = [await addValidator(), await addValidator(), await addValidator()] as const
  const [a, b, c] = validators.map((of, position) => wantedOf(of, 10 + position, ONE)) as [
    ReturnType<typeof wantedOf>,
    ReturnType<typeof wantedOf>,
    ReturnType<typeof wantedOf>,
  ]
  const refusal = { code: 'TOO_MANY_EXITS' }
  config.limits.openExits = 2
  expect(await assign([a, b])).toMatchObject({ created: 2 })
  await expect(assign([c])).rejects.toMatchObject(refusal)
  const ended = await addExit(validators[2].id, { index: 12, state: 'expired', requester: ONE })
  await expect(assign([c])).rejects.toMatchObject(refusal)
  await expect(assign([a, c])).rejects.toMatchObject(refusal)
  await query(sql`delete from messages where id = ${ended}`)
  // Another one's are not counted with them, nor those of a rotation.
  expect(await assign([{ ...c, requester: ROTATION_REQUESTER }])).toMatchObject({ created: 1 })
  config.limits.openExits = 0
  expect(await assign([a, b])).toMatchObject({ created: 0, revived: 0 })
  const rotated = wantedOf(await addValidator(), 20, ROTATION_REQUESTER)
  expect(await assign([rotated])).toMatchObject({ created: 1 })
  await expect(assign([{ ...rotated, requester: null, validatorIndex: 21 }])).rejects.toMatchObject(refusal)
})

it('two that are to have the same exits never wait for each other: all are locked in their order before one is changed', async () => {
  const { db, assign, wantedOf, addValidator, addExit, query } = await openAssigning()
  const [first, second] = [await addValidator(), await addValidator()]
  const [kept, replaced] = [await addExit(first.id, { index: 10 }), await addExit(second.id, { index: 11 })]
  const assigning = await db.transaction(async (tx) => {
    await tx.execute(sql`select from messages where id = ${kept} for update`)
    const done = assign([wantedOf(first, 10), wantedOf(second, 12)])
    await eventually('it waits', async () =>
      (await query(sql`select from pg_stat_activity where ${sql.raw(WAITS_FOR_ROW)}`)).length > 0 ? true : undefined,
    )
    const { rowCount } = await tx.execute(sql`select from messages where id = ${replaced} for update skip locked`)
    expect(rowCount).toBe(1)
    return { done }
  })
  expect(await assigning.done).toMatchObject({ created: 1, superseded: 1 })
})
