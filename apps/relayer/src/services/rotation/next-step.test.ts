/** The decision of a rotation: as a table, over states of every kind, and over whole calls in which anything may come of each action. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RotationExit } from './exits.ts'
import type { Action, Approval, OpenRotation, RotationState } from './next-step.ts'
import { nextStep, STALE_SECONDS } from './next-step.ts'
import { describeStep, type Step, type Update } from './steps.ts'
import type { VaultView } from './updates.ts'

const NOW = 1_700_000_000
const HASH = Buffer.alloc(32, 7)

const viewOf = (more: Partial<VaultView> = {}): VaultView => ({
  latest: { number: 100, hash: `0x${'ab'.repeat(32)}`, parentHash: `0x${'aa'.repeat(32)}`, timestamp: NOW },
  finalHash: `0x${'00'.repeat(32)}`,
  latestNonce: 3,
  finalNonce: 3,
  needed: 4,
  sinceBlock: 50,
  ...more,
})
const exitOf = (validatorIndex: number, state: RotationExit['state'], isDone = false): RotationExit => ({
  publicKey: new Uint8Array(48).fill(validatorIndex),
  validatorIndex,
  threshold: 3,
  messageId: state === 'collecting' ? undefined : validatorIndex,
  state,
  isDone,
})
const contentOf = (messageId: number) => ({
  messageId,
  publicKey: Buffer.alloc(48, messageId),
  validatorIndex: messageId,
  publicKeyShares: Buffer.alloc(48),
  ciphertexts: Buffer.alloc(193),
})
const openOf = (row: Partial<OpenRotation['row']> = {}, more: Partial<OpenRotation> = {}): OpenRotation => ({
  row: {
    id: 1,
    oracleSetId: 9,
    nonce: 3,
    ipfsHash: null,
    transactionHash: null,
    transaction: null,
    deadline: null,
    ageSeconds: 10,
    ...row,
  },
  content: [contentOf(1), contentOf(2)],
  isSpent: false,
  ...more,
})
const stateOf = (more: Partial<RotationState> = {}): RotationState => ({
  goal: 'send',
  hasWallet: true,
  oracles: { setId: 9, count: 7, batchLimit: 2 },
  view: viewOf(),
  ...more,
})
const learntOf = (...exits: RotationExit[]): Partial<RotationState> => ({
  learnt: { isEnough: true, exits, leftOut: 1 },
})
/** Before a look. */
const { view: _, ...unseen } = stateOf()
const update: Update = { data: '0x00', deadline: NOW + 900, nonce: 3, ipfsHash: 'Qm', validators: [] }
const approved: Approval = { step: 'approved', update, rotationId: 1 }
const unapproved: Approval = { step: 'unapproved', approvals: 2, needed: 4, oracles: 7 }
const sentRow = { transactionHash: HASH, transaction: Buffer.alloc(9), deadline: NOW + 60 }
const rest = (step: Step): Action => ({ do: 'rest', step })
const [ready, kept, unsigned] = [exitOf(1, 'ready'), exitOf(2, 'kept'), exitOf(3, 'collecting')]

describe('the next step of a rotation', () => {
  it.each<[string, RotationState, Action]>([
    ['without an oracle set, nothing', stateOf({ oracles: undefined }), rest({ step: 'no_oracle_set' })],
    ['at first, a look', unseen, { do: 'look' }],
    [
      'of what is sent, to wait for its end',
      stateOf({ open: openOf(), sent: { step: 'sent', transactionHash: HASH } }),
      rest({ step: 'sent', transactionHash: HASH }),
    ],
    [
      'of what became too dear, nothing',
      stateOf({ open: openOf(), sent: { step: 'too_dear' } }),
      rest({ step: 'too_dear' }),
    ],
    [
      'while an update is not final, to wait',
      stateOf({ view: viewOf({ latestNonce: 4 }) }),
      rest({ step: 'sent', transactionHash: undefined }),
    ],
    [
      'while ours is not final, to wait',
      stateOf({ view: viewOf({ latestNonce: 4 }), open: openOf(sentRow) }),
      rest({ step: 'sent', transactionHash: HASH }),
    ],
  ])('is %s', (_, state, action) => expect(nextStep(state)).toEqual(action))

  describe('with an open rotation', () => {
    const spent = openOf(sentRow, { isSpent: true })
    const late = openOf({ ...sentRow, deadline: NOW - 1 })
    it.each<[string, OpenRotation, string | undefined]>([
      ['whose nonce is used up', openOf({ nonce: 2 }), 'another update of the vault was final first'],
      ['for other oracles', openOf({ oracleSetId: 8 }), 'the oracles have changed'],
      ['without its exits', openOf({}, { content: undefined }), 'some of its exits are gone'],
      [
        'whose transaction came too late, for other oracles',
        openOf({ ...late.row, oracleSetId: 8 }),
        'the oracles have changed',
      ],
      [
        'whose transaction is spent, for other oracles',
        { ...spent, row: { ...spent.row, oracleSetId: 8 } },
        'the oracles have changed',
      ],
      ['that has all', openOf(), undefined],
      [
        'under way, whatever it lacks',
        openOf({ ...sentRow, nonce: 2, oracleSetId: 8 }, { content: undefined }),
        undefined,
      ],
      ['under way in the very second of its deadline', openOf({ ...sentRow, deadline: NOW, nonce: 2 }), undefined],
    ])('%s: given up or not', (_, open, reason) => {
      const action = nextStep(stateOf({ open }))
      if (reason === undefined) expect(action.do).not.toBe('give_up')
      else expect(action).toEqual({ do: 'give_up', row: open.row, reason })
    })

    const open = openOf()
    const stale = openOf({ ageSeconds: STALE_SECONDS + 1 })
    const under = openOf(sentRow)
    it.each<[string, Partial<RotationState>, Action]>([
      ['prepared, says so', { goal: 'prepare', open }, rest({ step: 'open', validators: 2 })],
      ['under way, is sent again', { open: under }, { do: 'send_again', row: under.row }],
      ['sent again once, waits', { open: under, isSentAgain: true }, rest({ step: 'sent', transactionHash: HASH })],
      [
        'under way, is not sent by who asks',
        { goal: 'approve', open: under },
        rest({ step: 'sent', transactionHash: HASH }),
      ],
      ['to be sent, asks for the price', { open }, { do: 'price' }],
      ['too dear, asks nobody', { open, isTooDear: true }, rest({ step: 'too_dear' })],
      [
        'cheap enough, asks the oracles',
        { open, isTooDear: false },
        { do: 'ask', row: open.row, content: open.content ?? [] },
      ],
      [
        'for calldata, asks no price',
        { goal: 'approve', open },
        { do: 'ask', row: open.row, content: open.content ?? [] },
      ],
      [
        'without a wallet, asks no price',
        { hasWallet: false, open },
        { do: 'ask', row: open.row, content: open.content ?? [] },
      ],
      ['not approved, waits', { goal: 'approve', open, approval: unapproved }, rest(unapproved)],
      ['refused, waits', { goal: 'approve', open, approval: { step: 'refused' } }, rest({ step: 'refused' })],
      [
        'without validity, waits',
        { goal: 'approve', open, approval: { step: 'no_validity' } },
        rest({ step: 'no_validity' }),
      ],
      [
        'not approved for too long, is given up',
        { goal: 'approve', open: stale, approval: unapproved },
        { do: 'give_up', row: stale.row, reason: 'it was not approved for too long' },
      ],
      [
        'not approved for just so long, waits',
        { goal: 'approve', open: openOf({ ageSeconds: STALE_SECONDS }), approval: unapproved },
        rest(unapproved),
      ],
      ['given up for that, says why', { goal: 'approve', open: undefined, approval: unapproved }, rest(unapproved)],
      [
        'approved for who asks, hands it out',
        { goal: 'approve', open, approval: approved },
        rest({ step: 'approved', update }),
      ],
      [
        'approved without a wallet, hands it out',
        { hasWallet: false, open, approval: approved },
        rest({ step: 'approved', update }),
      ],
      [
        'approved and cheap enough, is sent',
        { open, isTooDear: false, approval: approved },
        { do: 'send', row: { id: 1, transactionHash: null }, update },
      ],
      [
        'approved when the one before came too late, takes its place',
        { open: late, isTooDear: false, approval: approved },
        { do: 'send', row: { id: 1, transactionHash: HASH }, update },
      ],
      [
        'approved with another hash, is another rotation',
        { open: late, isTooDear: false, approval: { ...approved, rotationId: 2 } },
        { do: 'send', row: { id: 2, transactionHash: null }, update },
      ],
    ])('%s', (_, more, action) => expect(nextStep(stateOf(more))).toEqual(action))
  })

  describe('without an open rotation', () => {
    const collecting = (toSign: number, toSplit: number, count = 0): Action =>
      rest({ step: 'collecting', ready: count, toSign, toSplit, leftOut: 1 })
    const missing = [kept, unsigned]
    it.each<[string, Partial<RotationState>, Action]>([
      ['asks what is outdated', {}, { do: 'learn' }],
      [
        'learns nothing of too few',
        { learnt: { isEnough: false, answers: 3 } },
        rest({ step: 'unlearnt', answers: 3, needed: 4, oracles: 7 }),
      ],
      ['has nothing to do', learntOf(), rest({ step: 'nothing', leftOut: 1 })],
      ['pays once a day for a validator', learntOf(exitOf(1, 'ready', true)), rest({ step: 'nothing', leftOut: 2 })],
      [
        'prepares it again for who asks',
        { goal: 'approve', ...learntOf(exitOf(1, 'ready', true)) },
        { do: 'open', exits: [exitOf(1, 'ready', true)], nonce: 3 },
      ],
      ['collects what is missing', learntOf(ready, ...missing), { do: 'collect', missing }],
      ['collects the only one that is missing', learntOf(ready, unsigned), { do: 'collect', missing: [unsigned] }],
      ['looks how long that takes', { ...learntOf(ready, ...missing), isCollected: true }, { do: 'wait' }],
      [
        'waits a while',
        { ...learntOf(ready, ...missing), isCollected: true, isPatienceOver: false },
        collecting(1, 1, 1),
      ],
      [
        'tells what is to be signed from what is to be split',
        { ...learntOf(ready, kept, unsigned, exitOf(4, 'kept')), isCollected: true, isPatienceOver: false },
        collecting(1, 2, 1),
      ],
      [
        'goes on without the others then',
        { ...learntOf(ready, ...missing), isCollected: true, isPatienceOver: true },
        { do: 'open', exits: [ready], nonce: 3 },
      ],
      [
        'waits on where none is ready',
        { ...learntOf(...missing), isCollected: true, isPatienceOver: true },
        collecting(1, 1),
      ],
      ['opens what is ready', learntOf(ready), { do: 'open', exits: [ready], nonce: 3 }],
      [
        'opens a whole batch and collects the rest',
        { ...learntOf(...missing, ready, exitOf(4, 'ready')), isCollected: true },
        { do: 'open', exits: [ready, exitOf(4, 'ready')], nonce: 3 },
      ],
      ['collects for later batches first', learntOf(...missing, ready, exitOf(4, 'ready')), { do: 'collect', missing }],
      [
        'stops where what it opened is gone',
        { ...learntOf(ready), hasOpened: true },
        rest({ step: 'nothing', leftOut: 0 }),
      ],
    ])('%s', (_, more, action) => expect(nextStep(stateOf(more))).toEqual(action))
  })
})

const arbitraryExit = fc
  .record({
    index: fc.integer({ min: 1, max: 200 }),
    state: fc.constantFrom('ready', 'kept', 'collecting' as const),
    isDone: fc.boolean(),
  })
  .map(({ index, state, isDone }) => exitOf(index, state as RotationExit['state'], isDone))
const arbitraryLearnt = fc.oneof(
  fc.record({ isEnough: fc.constant(false as const), answers: fc.nat(3) }),
  fc.record({
    isEnough: fc.constant(true as const),
    exits: fc.array(arbitraryExit, { maxLength: 6 }),
    leftOut: fc.nat(3),
  }),
)
const arbitraryOpen: fc.Arbitrary<OpenRotation | undefined> = fc.option(
  fc
    .record({
      id: fc.nat(3),
      oracleSetId: fc.constantFrom(8, 9),
      nonce: fc.nat(5),
      transactionHash: fc.constantFrom(null, HASH),
      deadline: fc.option(fc.integer({ min: NOW - 2, max: NOW + 2 })),
      ageSeconds: fc.constantFrom(10, STALE_SECONDS, STALE_SECONDS + 1),
      isSpent: fc.boolean(),
      isWhole: fc.boolean(),
    })
    .map(({ isSpent, isWhole, ...row }) => openOf(row, { isSpent, ...(isWhole ? {} : { content: undefined }) })),
  { nil: undefined },
)
const arbitraryApproval = fc.oneof(
  fc.constantFrom<Approval>(unapproved, { step: 'refused' }, { step: 'no_validity' }),
  fc.nat(3).map((rotationId): Approval => ({ ...approved, rotationId })),
)
const arbitrarySent: fc.Arbitrary<NonNullable<RotationState['sent']>> = fc.constantFrom(
  { step: 'too_dear' as const },
  { step: 'sent' as const, transactionHash: HASH },
)
const arbitraryView = fc
  .record({ finalNonce: fc.nat(4), newer: fc.constantFrom(0, 0, 0, 1) })
  .map(({ finalNonce, newer }) => viewOf({ finalNonce, latestNonce: finalNonce + newer }))
const arbitraryStart = fc.record({
  goal: fc.constantFrom('prepare' as const, 'approve' as const, 'send' as const),
  hasWallet: fc.boolean(),
  oracles: fc.option(
    fc.record({ setId: fc.constant(9), count: fc.constant(7), batchLimit: fc.integer({ min: 1, max: 3 }) }),
    {
      nil: undefined,
      freq: 9,
    },
  ),
})
/** Any state, whether or not a call can come to it. */
const arbitraryState = fc
  .tuple(
    arbitraryStart,
    fc.record(
      {
        view: arbitraryView,
        open: arbitraryOpen,
        learnt: arbitraryLearnt,
        isCollected: fc.boolean(),
        isPatienceOver: fc.boolean(),
        hasOpened: fc.boolean(),
        isSentAgain: fc.boolean(),
        isTooDear: fc.boolean(),
        approval: arbitraryApproval,
        sent: arbitrarySent,
      },
      { requiredKeys: [] },
    ),
  )
  .map(([start, more]): RotationState => ({ ...start, ...more }))

/** Said here once more, in other words than the code's. */
function mayStillBeMined({ open, view }: RotationState): boolean {
  if (open === undefined || open.row.deadline === null || open.isSpent) return false
  return !((view?.latest.timestamp ?? 0) > open.row.deadline)
}

/** What must hold of an action whatever is known. */
function assertSafe(state: RotationState, action: Action): void {
  const { goal, hasWallet, open, view, oracles } = state
  if (action.do === 'send') {
    expect([goal, hasWallet, state.isTooDear, state.sent]).toEqual(['send', true, false, undefined])
    expect(state.approval).toMatchObject({ step: 'approved', update: action.update })
    // Never a second transaction while one may still be mined.
    expect(mayStillBeMined(state)).toBe(false)
    expect(view?.latestNonce).toBe(view?.finalNonce)
    // Nothing for oracles or a nonce that do not count any more, and only in the place of what was there.
    expect(open?.row.oracleSetId).toBe(oracles?.setId)
    expect(open?.row.nonce).toBeGreaterThanOrEqual(view?.finalNonce ?? Number.NaN)
    expect([null, open?.row.transactionHash]).toContain(action.row.transactionHash)
  }
  if (action.do === 'send_again') {
    expect(goal).toBe('send')
    expect(mayStillBeMined(state)).toBe(true)
    expect(action.row).toBe(open?.row)
  }
  if (action.do === 'give_up') expect(mayStillBeMined(state)).toBe(false)
  if (action.do === 'open') {
    expect(open).toBeUndefined()
    expect(action.exits.length).toBeGreaterThan(0)
    expect(action.exits.length).toBeLessThanOrEqual(oracles?.batchLimit ?? 0)
    expect(action.exits.filter((exit) => exit.state !== 'ready' || (goal === 'send' && exit.isDone))).toEqual([])
  }
  if (goal === 'prepare') expect(['price', 'ask', 'send_again', 'send']).not.toContain(action.do)
  if (goal !== 'send') expect(['price', 'send_again', 'send']).not.toContain(action.do)
  if (action.do === 'ask') expect(mayStillBeMined(state)).toBe(false)
  if (action.do === 'rest') expect(describeStep(action.step)).not.toBe('')
}

describe('whatever is known', () => {
  it('nothing is sent unless it is approved, paid for and alone, and nothing under way is given up', () => {
    fc.assert(
      fc.property(arbitraryState, (state) => assertSafe(state, nextStep(state))),
      { numRuns: 2_000 },
    )
  })

  it('the same state leads to the same action, and stays as it was', () => {
    fc.assert(
      fc.property(arbitraryState, (state) => {
        const before = JSON.stringify(state)
        expect(nextStep(state)).toEqual(nextStep(state))
        expect(JSON.stringify(state)).toBe(before)
      }),
      { numRuns: 300 },
    )
  })
})

/** What may come of the actions of one call. */
const arbitraryWorld = fc.record({
  view: arbitraryView,
  first: arbitraryOpen,
  second: arbitraryOpen,
  learnt: arbitraryLearnt,
  isPatienceOver: fc.boolean(),
  isTooDear: fc.boolean(),
  approval: arbitraryApproval,
  sent: arbitrarySent,
})
type World = typeof arbitraryWorld extends fc.Arbitrary<infer T> ? T : never

function comesOf(action: Exclude<Action, { do: 'rest' }>, world: World): Partial<RotationState> {
  switch (action.do) {
    case 'look':
      return { view: world.view, open: world.first }
    case 'give_up':
      return { open: undefined }
    case 'learn':
      return { learnt: world.learnt }
    case 'collect':
      return { isCollected: true }
    case 'wait':
      return { isPatienceOver: world.isPatienceOver }
    case 'open':
      return { hasOpened: true, open: world.second }
    case 'send_again':
      return { isSentAgain: true }
    case 'price':
      return { isTooDear: world.isTooDear }
    case 'ask':
      return { approval: world.approval }
    case 'send':
      return { sent: world.sent }
  }
}

/** Every state of a call with the action that follows from it, to its rest. */
function* callIn(world: World, start: RotationState): Generator<[RotationState, Action]> {
  let state = start
  for (;;) {
    const action = nextStep(state)
    yield [state, action]
    if (action.do === 'rest') return
    state = { ...state, ...comesOf(action, world) }
  }
}

describe('a call', () => {
  it('comes to rest, does nothing twice, and is safe at every step', () => {
    fc.assert(
      fc.property(arbitraryStart, arbitraryWorld, (start, world) => {
        const done: string[] = []
        for (const [state, action] of callIn(world, start)) {
          assertSafe(state, action)
          done.push(action.do)
          expect(done.length).toBeLessThan(20)
        }
        // What was there and what was opened since may both have to be given up.
        const once = done.filter((name) => name !== 'give_up')
        expect(new Set(once).size).toBe(once.length)
        expect(done.length - once.length).toBeLessThanOrEqual(2)
        if (done.includes('send')) expect(done).not.toContain('send_again')
        if (done.includes('send')) expect(done.indexOf('price')).toBeLessThan(done.indexOf('ask'))
      }),
      { numRuns: 2_000 },
    )
  })

  it('may come to every action and every step', () => {
    const seen = new Set<string>()
    for (const [start, world] of fc.sample(fc.tuple(arbitraryStart, arbitraryWorld), { numRuns: 5_000, seed: 1 }))
      for (const [, action] of callIn(world, start))
        seen.add(action.do === 'rest' ? `rest: ${action.step.step}` : action.do)
    const actions = ['look', 'give_up', 'learn', 'collect', 'wait', 'open', 'send_again', 'price', 'ask', 'send']
    const steps = ['no_oracle_set', 'unlearnt', 'nothing', 'collecting', 'open', 'no_validity', 'unapproved', 'refused']
    const rests = [...steps, 'too_dear', 'approved', 'sent'].map((step) => `rest: ${step}`)
    expect([...seen].sort()).toEqual([...actions, ...rests].sort())
  })
})
