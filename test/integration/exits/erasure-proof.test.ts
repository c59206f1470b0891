/** EXIT_RETENTION=erase: what has to hold for a day before an exit goes, each alone missing, and what a lie or a restart on the way does. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { findCopiesDue, storeOwnerCopies } from '@dvt-relayer/db/queries/messages/retention.ts'
import { storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { REGISTRY_CHECKPOINT } from '../../../apps/relayer/src/services/deposit-registry/position.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type Beacon, type StandInValidator, startBeacon } from '../../support/chain/beacon.ts'
import { makeOracles } from '../../support/chain/oracles.ts'
import { type MadeExit, type MadeOptions, openErasure } from '../../support/stages/erasure.ts'
import { credentials } from '../../support/stages/registered.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'

let world: VaultWorld
/** The second node, which has what the first has. */
let second: Beacon
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 2, threshold: 1 })
  second = await startBeacon({ network: world.network })
})
afterAll(async () => {
  await second?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})
beforeEach(() => {
  second?.setStep(undefined)
  second?.setStanding(undefined)
  second?.setGenesis(undefined)
  second?.fail(undefined)
})

type Stage = Awaited<ReturnType<typeof openErasure>>
const open = (): Promise<Stage> => openErasure(world, [world.beacon, second])

/** A third node in the place of the second: it has other validators. `count` made-up ones, and those that are given. */
async function nodeWith(count: number, validators: readonly StandInValidator[]): Promise<Beacon> {
  const beacon = await startBeacon({ network: world.network, validators: count })
  for (const validator of validators) beacon.addValidator(validator)
  beacon.finalize()
  return beacon
}

/** What is wrong: from the beginning, or about a validator that is there. */
interface Case {
  name: string
  /** What erasing says that it waits for. */
  reason: string | RegExp
  /** Whether it only waits: the day goes on. What is contradicted begins it anew. */
  isWait: boolean
  /** Makes it wrong; returns what rounds run with meanwhile, and what rights it. */
  spoil(stage: Stage, made: MadeExit): Promise<{ more?: Environment; right(): Promise<unknown> }>
}

const ofSecond = (spoil: () => void, right: () => void): Case['spoil'] => {
  return async () => {
    spoil()
    return { right: async () => right() }
  }
}
const ofOther = (
  count: (made: MadeExit) => number,
  validators: (made: MadeExit) => StandInValidator[],
): Case['spoil'] => {
  return async (_, made) => {
    const other = await nodeWith(count(made), validators(made))
    return {
      more: { CONSENSUS_ENDPOINT: `${world.beacon.url},${other.url}` },
      right: async () => other[Symbol.asyncDispose](),
    }
  }
}
const noted = (
  wrong: (made: MadeExit) => ReturnType<typeof sql>,
  right: (made: MadeExit, stage: Stage) => ReturnType<typeof sql>,
) =>
  (async (stage, made) => {
    await stage.query(sql`update validators set ${wrong(made)} where id = ${made.id}`)
    return { right: () => stage.query(sql`update validators set ${right(made, stage)} where id = ${made.id}`) }
  }) satisfies Case['spoil']

const CASES: Case[] = [
  {
    name: 'a node that is away',
    reason: /127\.0\.0\.1/,
    isWait: true,
    spoil: ofSecond(
      () => second.fail('down'),
      () => second.fail(undefined),
    ),
  },
  {
    name: 'a node that is syncing',
    reason: /is syncing/,
    isWait: true,
    spoil: ofSecond(
      () => second.setStep({ is_syncing: true, sync_distance: 9 }),
      () => second.setStep(undefined),
    ),
  },
  {
    name: 'a node that is optimistic',
    reason: /is_optimistic/,
    isWait: true,
    spoil: ofSecond(
      () => second.setStep({ is_optimistic: true }),
      () => second.setStep(undefined),
    ),
  },
  {
    name: 'a node without its execution node',
    reason: /el_offline/,
    isWait: true,
    spoil: ofSecond(
      () => second.setStep({ el_offline: true }),
      () => second.setStep(undefined),
    ),
  },
  {
    name: 'a node of another chain',
    reason: /is not on devnet/,
    isWait: true,
    spoil: ofSecond(
      () => second.setGenesis(randomBytes(32)),
      () => second.setGenesis(undefined),
    ),
  },
  {
    name: 'a state that is not finalized',
    reason: /is not finalized/,
    isWait: true,
    spoil: ofSecond(
      () => second.setStanding({ finalized: false }),
      () => second.setStanding(undefined),
    ),
  },
  {
    name: 'a node that does not say whether its state is finalized',
    reason: /does not say whether/,
    isWait: true,
    spoil: ofSecond(
      () => second.setStanding({}),
      () => second.setStanding(undefined),
    ),
  },
  {
    name: 'a node that does not have it',
    reason: /not in its finalized state/,
    isWait: false,
    spoil: ofOther(
      () => 100,
      () => [],
    ),
  },
  {
    name: 'a node that has it at another index',
    reason: /at another index/,
    isWait: false,
    spoil: ofOther(
      ({ index }) => index + 1,
      ({ publicKey }) => [{ publicKey, withdrawalCredentials: credentials(randomBytes(20)) }],
    ),
  },
  {
    name: 'a node that has it with other credentials',
    reason: /other withdrawal credentials than another/,
    isWait: false,
    spoil: ofOther(
      ({ index }) => index,
      ({ publicKey }) => [{ publicKey, withdrawalCredentials: credentials(randomBytes(20)) }],
    ),
  },
  {
    name: 'another index than was noted',
    reason: /at another index than was noted/,
    isWait: false,
    spoil: noted(
      () => sql`beacon_index = beacon_index + 1000`,
      () => sql`beacon_index = beacon_index - 1000`,
    ),
  },
  {
    name: 'another vault than was noted',
    reason: /another vault than was noted/,
    isWait: false,
    spoil: noted(
      () => sql`beacon_vault = ${randomBytes(20)}`,
      (_, { vault }) => sql`beacon_vault = ${vault}`,
    ),
  },
]

/** Makes two validators, of which the second is never touched: it is erased, so the rounds do their work. */
async function makeTwo(stage: Stage, options: MadeOptions = {}) {
  return { made: await stage.make(options), other: await stage.make() }
}

describe.skipIf(skipWithoutAnvil)('an exit of a registered validator', () => {
  it('is erased a day after everything has begun to hold, not before, and restarts keep the day', async () => {
    const stage = await open()
    const { made, other } = await makeTwo(stage)
    await stage.round()
    const since = await stage.heldSince(made)
    expect(since).toBeDefined()
    for (let restart = 0; restart < 3; restart++) await stage.round()
    expect(await stage.heldSince(made)).toBe(since)
    await stage.pass(23)
    await stage.round()
    expect([await stage.stateOf(made), await stage.stateOf(other)]).toEqual(['ready', 'ready'])
    await stage.pass(1)
    await stage.round()
    expect([await stage.stateOf(made), await stage.stateOf(other)]).toEqual(['erased', 'erased'])
    expect(stage.reasons()).toEqual([])
  })

  it.each(CASES)('stays with $name from the beginning', async ({ reason, spoil }) => {
    const stage = await open()
    const made = await stage.make()
    const { more, right } = await spoil(stage, made)
    await stage.round(more)
    expect(await stage.heldSince(made)).toBeUndefined()
    await stage.pass(48)
    await stage.round(more)
    expect(await stage.stateOf(made)).toBe('ready')
    expect(stage.reasons()).toEqual([expect.stringMatching(reason)])
    await right()
    await stage.round()
    await stage.pass(24)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })

  it.each(CASES)('stays with $name at the end of the day', async ({ reason, isWait, spoil }) => {
    const stage = await open()
    const made = await stage.make()
    await stage.round()
    await stage.pass(24)
    const { more, right } = await spoil(stage, made)
    await stage.round(more)
    expect(await stage.stateOf(made)).toBe('ready')
    expect(stage.reasons()).toEqual([expect.stringMatching(reason)])
    await right()
    await stage.round()
    // What only waited goes on; what was contradicted has its day before it.
    expect(await stage.stateOf(made)).toBe(isWait ? 'erased' : 'ready')
    await stage.pass(24)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })

  it('begins its day anew after a node has lied once', async () => {
    const stage = await open()
    const made = await stage.make()
    await stage.round()
    await stage.pass(23)
    await using liar = await nodeWith(100, [])
    await stage.round({ CONSENSUS_ENDPOINT: `${world.beacon.url},${liar.url}` })
    await stage.round()
    await stage.pass(23)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('ready')
    await stage.pass(1)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })

  it('counts what a node contradicts while another is away', async () => {
    const stage = await open()
    const made = await stage.make()
    await stage.round()
    await stage.pass(24)
    await using liar = await nodeWith(100, [])
    world.beacon.fail('down')
    await stage.round({ CONSENSUS_ENDPOINT: `${world.beacon.url},${liar.url}` })
    world.beacon.fail(undefined)
    expect(await stage.heldSince(made)).toBeUndefined()
    await stage.round()
    expect(await stage.stateOf(made)).toBe('ready')
  })

  it('begins its day anew when the shares on chain become those of another oracle set', async () => {
    const stage = await open()
    const made = await stage.make()
    await stage.round()
    await stage.pass(24)
    const set = await stage.adopt('b', 2)
    await stage.query(sql`update validators set oracle_set_id = ${set} where id = ${made.id}`)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('ready')
    await stage.pass(24)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })

  it('is erased of a validator that was switched from 0x01 to 0x02', async () => {
    const stage = await open()
    const made = await stage.make({ inState: credentials(stage.vault, 2) })
    await stage.round()
    await stage.pass(24)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })

  it('tells each cause once a day', async () => {
    const stage = await open()
    const made = await stage.make()
    second.fail('down')
    for (let round = 0; round < 3; round++) await stage.round()
    expect(stage.reasons()).toHaveLength(1)
    expect(await stage.stateOf(made)).toBe('ready')
  })
})

describe.skipIf(skipWithoutAnvil)('its deposit', () => {
  it.each<[name: string, options: (stage: Stage) => MadeOptions, reason: RegExp]>([
    ['with other credentials', () => ({ deposited: credentials(randomBytes(20)) }), /its deposit .* other withdrawal/],
    ['of a later type', ({ vault }) => ({ deposited: credentials(vault, 2) }), /its deposit .* other withdrawal/],
    ['with a wrong signature', () => ({ signature: Buffer.from(`c0${'00'.repeat(95)}`, 'hex') }), /no validly signed/],
  ])('%s erases nothing', async (_, options, reason) => {
    const stage = await open()
    const { made, other } = await makeTwo(stage, options(stage))
    await stage.round()
    await stage.pass(48)
    await stage.round()
    expect([await stage.stateOf(made), await stage.stateOf(other)]).toEqual(['ready', 'erased'])
    expect(stage.reasons()).toEqual([expect.stringMatching(reason)])
  })

  it('is looked for in final blocks only', async () => {
    const stage = await open()
    const made = await stage.make()
    const head = Number(await world.anvil.rpc('eth_blockNumber'))
    await stage.query(sql`insert into deposit_blocks (validator_id, block_number) values (${made.id}, ${head + 1000})`)
    await stage.round()
    expect(await stage.heldSince(made)).toBeUndefined()
    expect(stage.reasons()).toEqual([expect.stringContaining('not final')])
  })

  it('is asked for again at the end of the day', async () => {
    const stage = await open()
    const made = await stage.make()
    await stage.round()
    await stage.pass(24)
    // As if the logs of the first look had been invented.
    await stage.query(sql`update deposit_blocks set block_number = block_number - 1 where validator_id = ${made.id}`)
    await stage.query(sql`update erasure_clocks set deposit_block = deposit_block - 1`)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('ready')
    expect(await stage.heldSince(made)).toBeUndefined()
    // What was found is searched again, without a person.
    await stage.round()
    await stage.pass(24)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })

  it.each([
    ['a final block far ahead', sql`jsonb_set(value, '{next_block}', '1000000000')`],
    ['deposits that were invented', sql`jsonb_set(value, '{next_deposit_index}', '1000000000')`],
  ])('is found after a node has told of %s', async (_, value) => {
    const stage = await open()
    const before = await stage.make()
    await stage.round()
    await stage.query(sql`update checkpoints set value = ${value} where name = 'erasure_deposits'`)
    const made = await stage.make()
    for (let round = 0; round < 2; round++) await stage.round()
    await stage.pass(24)
    await stage.round()
    expect([await stage.stateOf(before), await stage.stateOf(made)]).toEqual(['erased', 'erased'])
  })

  it('is found in the registry where one is followed, and nothing is searched', async () => {
    const stage = await open()
    const { made, other } = await makeTwo(stage)
    await storeCheckpoint(stage.db, REGISTRY_CHECKPOINT, {})
    await stage.deposited(made.publicKey, made.depositBlock)
    await stage.round()
    await stage.pass(24)
    await stage.round()
    expect([await stage.stateOf(made), await stage.stateOf(other)]).toEqual(['erased', 'ready'])
    expect(await stage.query(sql`select from checkpoints where name = 'erasure_deposits'`)).toEqual([])
    expect(stage.reasons()).toEqual([expect.stringMatching(/no validly signed/)])
  })

  it('is searched from before the first validator came here: one made earlier is not found, and its exit stays', async () => {
    const stage = await open()
    const early = await stage.make()
    await stage.query(sql`update validators set created_at = now() + interval '3 days'`)
    await stage.round()
    expect(
      stage.logged('no deposit registry is followed: what is to be erased must have a deposit from this block on'),
    ).toHaveLength(1)
    const late = await stage.make()
    await stage.round()
    await stage.pass(24)
    await stage.round()
    expect([await stage.stateOf(early), await stage.stateOf(late)]).toEqual(['ready', 'erased'])
  })

  it('is waited for while the execution node is away, and the day goes on', async () => {
    const stage = await open()
    const made = await stage.make()
    await stage.round()
    await stage.pass(24)
    const gone = { EXECUTION_ENDPOINT: 'http://127.0.0.1:9', EXECUTION_RETRY_TIMEOUT: '1' }
    await stage.round(gone)
    expect(await stage.stateOf(made)).toBe('ready')
    expect(stage.reasons().length).toBeGreaterThan(0)
    await stage.round()
    expect(await stage.stateOf(made)).toBe('erased')
  })
})

describe.skipIf(skipWithoutAnvil)('a copy for the owner of a vault that the chain alone names', () => {
  const owner = makeOracles(1)[0]?.publicKey ?? new Uint8Array()

  it.each([['keep'], ['erase']])('is made once all that erasing wants holds (%s)', async (retention) => {
    const stage = await open()
    const made = await stage.make()
    const owners = [{ vault: stage.vault, publicKey: owner }]
    const due = () => findCopiesDue(stage.db, owners, 0, 9)
    const more = {
      EXIT_RETENTION: retention,
      OWNER_PUBLIC_KEYS: `${checksumAddress(stage.vault)}:${toHex(owner)}`,
    }
    second.setStep({ is_syncing: true })
    await stage.round(more)
    expect(await due()).toEqual([])
    expect(
      stage.logged(`exits are not ${retention === 'keep' ? 'copied for their owners' : 'erased'} yet`),
    ).toMatchObject([{ reason: expect.stringContaining('is syncing') }])
    second.setStep(undefined)
    await stage.round(more)
    expect(await due()).toEqual([made.messageId])
    // It is not erased before it is copied.
    await stage.pass(48)
    await stage.round(more)
    expect(await stage.stateOf(made)).toBe('ready')
    await storeOwnerCopies(stage.db, [
      { messageId: made.messageId, vault: stage.vault, ownerPublicKey: owner, ciphertext: Buffer.alloc(9) },
    ])
    await stage.round(more)
    expect(await stage.stateOf(made)).toBe(retention === 'keep' ? 'ready' : 'erased')
  })

  it('needs no look at the chain where exits are kept and nobody gets any', async () => {
    const stage = await open()
    const made = await stage.make()
    second.requests.length = 0
    await stage.round({ EXIT_RETENTION: 'keep' })
    expect(await stage.heldSince(made)).toBeUndefined()
    expect(second.requests).toEqual([])
  })
})
