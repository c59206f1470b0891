import { describe, expect, it, vi } from 'vitest'
import type { Job } from '../lists/work-entry.ts'
import { createWorkList, type Listed } from '../lists/work-list.ts'
import type { Refusal } from '../metrics.ts'
import type { WantedDeposit } from '../policy/wanted.ts'
import { judge } from './judge.ts'
import { countRefused } from './refuse.ts'

/** Far longer than a process under test lives: what rests so many intervals is told apart by rounding. */
const POLL_MS = 1e9
const VAULT = `0x${'11'.repeat(20)}`
const DEPOSIT: WantedDeposit = { vault: VAULT, amountGwei: 32e9, validatorType: '0x01' }

const shares = [0, 1, 2, 3].map((seed) => ({
  validatorPublicKey: `0x0${seed}${'00'.repeat(47)}`,
  shareIndex: 1,
  publicKeyShares: [],
  withdrawalAddress: undefined,
}))
/** An item of the key share at this position. */
const item = (position: number, validatorIndex: number, deposit?: WantedDeposit): Listed => ({
  publicKey: shares[position]?.validatorPublicKey ?? '',
  wanted: { validatorIndex, deposit },
  isReady: false,
  shareIndexesReady: [],
  shareIndexesUnverified: [],
  shareIndexesRejected: [],
})

/** A sidecar that is to judge what `validators` or `exits` has due. */
function setUp({ consensus = false } = {}) {
  const workLists = { exits: createWorkList(shares, POLL_MS), validators: createWorkList(shares, POLL_MS) }
  const good = new Set(['consensus'])
  const stop = new AbortController()
  const stubs = {
    keystore: { isAway: false },
    policy: {
      judge: vi.fn(async (jobs: readonly Job[]): Promise<(Refusal | undefined)[]> => jobs.map(() => undefined)),
    },
    journal: {
      path: 'deposits.journal',
      bind: vi.fn(async (wanted: readonly object[]): Promise<(number | undefined)[]> => wanted.map(() => undefined)),
    },
    events: { policyUnavailable: vi.fn(), refused: vi.fn(), refusedNow: vi.fn() },
    health: { isGood: (check: string) => good.has(check), report: vi.fn() },
  }
  const parts = { ...stubs, workLists, config: { consensus: consensus ? {} : undefined } }
  return {
    ...{ ...stubs, workLists, good, stop },
    /** Takes what is due in a list, judges it, and says which may be signed, by their indexes. */
    async judged(list: 'exits' | 'validators' = 'validators') {
      const jobs = workLists[list].take(performance.now() + 100 * POLL_MS)
      const { willing, isJudged } = await judge(parts as never, workLists[list], jobs, stop.signal)
      return { jobs, isJudged, willing: willing.map(({ wanted }) => wanted.validatorIndex) }
    },
    countRefused: () => countRefused(parts as never),
  }
}
const statesOf = (jobs: readonly Job[]) => jobs.map(({ entry }) => entry.state)
const restsOf = (jobs: readonly Job[]) => jobs.map(({ entry }) => Math.round(entry.notBefore / POLL_MS))

/** Signs what is due in a list, so that it is due for another post. */
function signAll({ workLists }: ReturnType<typeof setUp>): void {
  for (const job of workLists.validators.take(0)) {
    workLists.validators.judged(job, 0)
    workLists.validators.bound(job)
    workLists.validators.signed(job, { exit: '0x11' }, 0)
    workLists.validators.release(job)
  }
}

describe('judging', () => {
  it('asks nobody about what is signed already, also while nothing can be judged', async () => {
    const set = setUp({ consensus: true })
    set.workLists.validators.applyList([item(0, 7, DEPOSIT)])
    signAll(set)
    set.keystore.isAway = true
    set.good.clear()
    expect(await set.judged()).toMatchObject({ willing: [7], isJudged: true })
    expect([set.policy.judge.mock.calls, set.journal.bind.mock.calls]).toEqual([[], []])
  })

  it.each([
    ['what holds the keys is away', 'keys'],
    ['the consensus node is away', 'node'],
    ['the consensus node fails when it is asked', 'question'],
  ])('lets what is signed go on while %s, and binds nobody', async (_, trouble) => {
    const set = setUp({ consensus: true })
    set.workLists.validators.applyList([item(0, 7, DEPOSIT)])
    signAll(set)
    set.workLists.validators.applyChanges([item(1, 8, DEPOSIT), item(2, 9)])
    if (trouble === 'keys') set.keystore.isAway = true
    if (trouble === 'node') set.good.clear()
    set.policy.judge.mockRejectedValue(new Error('sorry'))
    const { jobs, ...outcome } = await set.judged()
    expect(outcome).toEqual({ willing: [7], isJudged: false })
    expect(statesOf(jobs)).toEqual(['signed', 'taken', 'taken'])
    expect(set.journal.bind).not.toHaveBeenCalled()
    expect(set.policy.judge).toHaveBeenCalledTimes(trouble === 'question' ? 1 : 0)
    // What is known to be wrong keeps the words of the check that found it.
    expect(set.health.report.mock.calls).toEqual(trouble === 'question' ? [['consensus', 'sorry']] : [])
    expect(set.events.policyUnavailable.mock.calls).toEqual(trouble === 'keys' ? [] : [[2]])
  })

  it('without a consensus node needs none', async () => {
    const set = setUp()
    set.good.clear()
    set.workLists.validators.applyList([item(0, 7)])
    expect(await set.judged()).toMatchObject({ willing: [7], isJudged: true })
  })

  it('that is given up blames nobody', async () => {
    const set = setUp({ consensus: true })
    set.workLists.validators.applyList([item(0, 7)])
    set.policy.judge.mockReturnValue(new Promise(() => {}))
    set.stop.abort()
    expect(await set.judged()).toMatchObject({ willing: [], isJudged: false })
    expect([set.health.report.mock.calls, set.events.policyUnavailable.mock.calls]).toEqual([[], []])
  })

  it('lets go what the policy allows, and ends the rest for five intervals, each reason told once', async () => {
    const set = setUp()
    set.workLists.validators.applyList([item(0, 7), item(1, 8), item(2, 9), item(3, 10)])
    const verdicts = ['index_taken', undefined, 'index_impossible', 'index_taken'] as const
    set.policy.judge.mockResolvedValue([...verdicts])
    const { jobs, willing } = await set.judged()
    expect([willing, statesOf(jobs)]).toEqual([[8], ['idle', 'bound', 'idle', 'idle']])
    expect(restsOf(jobs)).toEqual([5, 0, 5, 5])
    expect(set.events.refused.mock.calls).toEqual([
      ['index_taken', [7, 10], {}],
      ['index_impossible', [9], {}],
    ])
    const counts = set.events.refusedNow.mock.lastCall?.[0] as Map<string, number>
    expect([...counts].filter(([, count]) => count > 0)).toEqual([
      ['index_taken', 2],
      ['index_impossible', 1],
    ])
    set.policy.judge.mockResolvedValue(['index_taken', 'index_taken', 'index_taken'])
    set.events.refused.mockClear()
    await set.judged()
    expect(set.events.refused.mock.calls).toEqual([['index_taken', [9], {}]])
  })

  it('says nothing of refusals where there are none', async () => {
    const set = setUp()
    set.workLists.validators.applyList([item(0, 7)])
    await set.judged()
    expect([set.events.refused.mock.calls, set.events.refusedNow.mock.calls]).toEqual([[], []])
  })
})

describe('a deposit', () => {
  it('is bound in one write with the others, before it may be signed; an exit needs no journal', async () => {
    const set = setUp()
    set.workLists.validators.applyList([item(0, 7, DEPOSIT), item(1, 8), item(2, 9, DEPOSIT)])
    const states: string[][] = []
    let jobs: Job[] = []
    set.policy.judge.mockImplementation(async (fresh) => {
      jobs = [...fresh]
      return fresh.map(() => undefined)
    })
    set.journal.bind.mockImplementation(async (wanted) => {
      states.push(statesOf(jobs))
      return wanted.map(() => undefined)
    })
    expect((await set.judged()).willing).toEqual([7, 8, 9])
    expect(states).toEqual([['judged', 'judged', 'judged']])
    expect(set.journal.bind.mock.calls).toEqual([
      [[0, 2].map((position) => ({ publicKey: shares[position]?.validatorPublicKey, vault: VAULT }))],
    ])
    set.journal.bind.mockClear()
    set.workLists.validators.applyList([item(3, 10)])
    expect((await set.judged()).willing).toEqual([10])
    expect(set.journal.bind).not.toHaveBeenCalled()
  })

  it('of a validator that is bound to another vault is refused with the line, the others are signed', async () => {
    const set = setUp()
    const other = { ...DEPOSIT, vault: `0x${'22'.repeat(20)}` }
    set.workLists.validators.applyList([item(0, 7, other), item(1, 8, DEPOSIT), item(2, 9, other), item(3, 10)])
    set.journal.bind.mockResolvedValue([4, undefined, 4])
    const { jobs, willing } = await set.judged()
    expect([willing, statesOf(jobs)]).toEqual([
      [8, 10],
      ['idle', 'bound', 'idle', 'bound'],
    ])
    expect(set.events.refused.mock.calls).toEqual([
      ['vault_changed', [7, 9], { vaults: [other.vault], journal: 'deposits.journal', journalLines: [4] }],
    ])
  })

  it('that no journal takes waits for five intervals, and the exits go on', async () => {
    const set = setUp()
    set.workLists.validators.applyList([item(0, 7, DEPOSIT), item(1, 8)])
    set.journal.bind.mockRejectedValue(new Error('disk full'))
    const { jobs, ...outcome } = await set.judged()
    expect(outcome).toEqual({ willing: [8], isJudged: true })
    expect([statesOf(jobs), restsOf(jobs)]).toEqual([
      ['idle', 'bound'],
      [5, 0],
    ])
    expect(set.health.report.mock.calls).toEqual([['journal', 'disk full']])
  })

  it('whose journal is given up on is nobody’s fault', async () => {
    const set = setUp()
    set.workLists.validators.applyList([item(0, 7, DEPOSIT)])
    set.journal.bind.mockImplementation(() => {
      set.stop.abort()
      return new Promise(() => {})
    })
    expect((await set.judged()).willing).toEqual([])
    expect(set.health.report).not.toHaveBeenCalled()
  })
})

describe('a refusal', () => {
  it.each<[string, Refusal, Listed[], boolean]>([
    ['of an exit that the other list has too is told there', 'index_taken', [item(0, 7)], false],
    ['of an exit that the other list has of another index is told', 'index_taken', [item(0, 8)], true],
    ['of an exit that the other list has no more is told', 'index_taken', [], true],
    ['of a deposit is told, whatever the other list has', 'vault_not_allowed', [item(0, 7)], true],
  ])('%s', async (_, reason, exits, isTold) => {
    const set = setUp()
    set.workLists.exits.applyList([item(0, 7)])
    set.workLists.exits.applyList(exits)
    set.workLists.validators.applyList([item(0, 7, DEPOSIT)])
    set.policy.judge.mockResolvedValue([reason])
    await set.judged()
    expect(set.events.refused.mock.calls).toEqual(isTold ? [[reason, [7], { vaults: [VAULT] }]] : [])
  })

  it('of an exit is told by its own list', async () => {
    const set = setUp()
    set.workLists.exits.applyList([item(0, 7)])
    set.policy.judge.mockResolvedValue(['index_taken'])
    await set.judged('exits')
    expect(set.events.refused.mock.calls).toEqual([['index_taken', [7], {}]])
  })

  it('counts each key share once, in whichever list, until it is wanted no more', async () => {
    const set = setUp()
    set.workLists.exits.applyList([item(0, 7), item(1, 8)])
    set.workLists.validators.applyList([item(0, 7, DEPOSIT)])
    set.policy.judge.mockImplementation(async (jobs) => jobs.map(() => 'index_taken'))
    await set.judged('exits')
    await set.judged('validators')
    const count = () =>
      (set.events.refusedNow.mock.lastCall?.[0] as Map<string, number> | undefined)?.get('index_taken')
    expect(count()).toBe(2)
    set.workLists.exits.applyList([])
    set.countRefused()
    expect(count()).toBe(1)
  })
})
