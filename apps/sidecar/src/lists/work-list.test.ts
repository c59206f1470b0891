import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { WantedDeposit } from '../policy/wanted.ts'
import type { Entry, Job, Signatures } from './work-entry.ts'
import { createWorkList, type Listed, type WorkList } from './work-list.ts'

const POLL_MS = 2000
const A = `0x${'aa'.repeat(48)}`
const B = `0x${'bb'.repeat(48)}`
const share = (validatorPublicKey: string, shareIndex = 2) => ({
  validatorPublicKey,
  shareIndex,
  publicKeyShares: [],
  withdrawalAddress: undefined,
})

function item(publicKey: string, validatorIndex: number, more: Partial<Listed> = {}): Listed {
  return {
    publicKey,
    wanted: { validatorIndex, deposit: undefined },
    isReady: false,
    shareIndexesReady: [],
    shareIndexesUnverified: [],
    shareIndexesRejected: [],
    ...more,
  }
}
const indexesOf = (entries: readonly Entry[]) => entries.map(({ wanted }) => wanted?.validatorIndex)

/** Lets a job that was taken be signed. */
function allow(workList: WorkList, job: Job, now: number): void {
  if (job.entry.state !== 'taken') return
  workList.judged(job, now)
  workList.bound(job)
}

/** Takes what is due and signs it. */
function sign(workList: WorkList, now: number, signatures: Signatures = { exit: '0x11' }): Job[] {
  const jobs = workList.take(now)
  for (const job of jobs) {
    allow(workList, job, now)
    if (job.entry.state === 'bound') workList.signed(job, signatures, now)
  }
  return jobs
}

/** Takes what is due, signs it and posts it. */
function post(workList: WorkList, now: number, postedAt = now): void {
  for (const job of sign(workList, now)) workList.posted(job, postedAt)
}

describe('news', () => {
  it('are a key that is wanted for the first time, and a post that is settled', () => {
    const workList = createWorkList([share(A), share(B)], POLL_MS)
    expect(workList.takeNews()).toBe(false)
    workList.applyList([item(A, 7)])
    expect([workList.takeNews(), workList.takeNews()]).toEqual([true, false])
    workList.applyChanges([item(B, 8), item(A, 7)])
    expect(workList.takeNews()).toBe(true)
    workList.applyChanges([item(A, 7, { shareIndexesReady: [5] })])
    expect(workList.takeNews()).toBe(false)
    post(workList, 0)
    workList.applyChanges([item(A, 7, { shareIndexesReady: [2, 5] })])
    expect(workList.takeNews()).toBe(true)
    workList.applyChanges([item(B, 8, { isReady: true })])
    expect(workList.takeNews()).toBe(true)
  })

  it('do not come for ever from a relayer that changes its mind', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    workList.applyList([item(A, 7)])
    post(workList, 0)
    workList.applyList([item(A, 7, { isReady: true })])
    expect(workList.takeNews()).toBe(true)
    for (let index = 8; index < 20; index++) {
      workList.applyList([])
      workList.applyList([item(A, index)])
      workList.applyChanges([item(A, index, { isReady: true })])
      workList.applyChanges([item(A, 7, { isReady: index % 2 === 0 })])
    }
    expect(workList.takeNews()).toBe(false)
  })
})

describe('work list', () => {
  it('takes other key shares over: it keeps what it knows of those that stay', () => {
    const [a, b] = [share(A), share(B)]
    const workList = createWorkList([a, b], POLL_MS)
    workList.applyList([item(A, 7), item(B, 8)])
    const [first, second] = workList.due(0)
    if (first === undefined || second === undefined) throw new Error('nothing is due')
    const [job, other] = sign(workList, 0)
    if (job === undefined || other === undefined) throw new Error('nothing was taken')
    workList.posted(job, 100)
    const again = share(B)
    workList.setKeyShares([share(B, 5), a, again])
    // What was split anew is another key share, and the job of the old one learns that nothing is wanted of it.
    expect(workList.due(0)).toEqual([])
    expect([second.wanted, second.listing, second.state, workList.isCurrent(other)]).toEqual([
      undefined,
      'unlisted',
      'idle',
      false,
    ])
    expect(workList.due(100 + POLL_MS)).toEqual([first])
    expect(workList.find(a)).toBe(first)
    workList.applyList([item(A, 7), item(B, 8)])
    expect(workList.due(0).map(({ keyShare }) => keyShare.shareIndex)).toEqual([5, 2])
    expect(workList.find(again)?.keyShare).toBe(again)
    workList.setKeyShares([])
    workList.applyList([item(A, 9)])
    expect([workList.due(1e9), workList.openCount(), workList.nextDueAt()]).toEqual([[], 0, Number.POSITIVE_INFINITY])
  })

  it('is due for a whole list until one begins, and again where a key share came', () => {
    const [a, b] = [share(A), share(B)]
    const workList = createWorkList([a], POLL_MS)
    expect(workList.isListDue()).toBe(true)
    workList.startList()
    expect(workList.isListDue()).toBe(false)
    workList.setKeyShares([a])
    expect(workList.isListDue()).toBe(false)
    workList.setKeyShares([a, b])
    expect(workList.isListDue()).toBe(true)
    workList.setKeyShares([b])
    expect(workList.isListDue()).toBe(true)
    workList.applyList([])
    workList.setKeyShares([])
    expect(workList.isListDue()).toBe(false)
  })

  it('owes what is listed, held, and not ready', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    expect(workList.nextDueAt()).toBe(Number.POSITIVE_INFINITY)
    workList.applyList([item(A, 7), item(B, 8)])
    expect(indexesOf(workList.due(0))).toEqual([7])
    workList.applyChanges([item(A, 7, { shareIndexesReady: [1, 3] })])
    expect(workList.openCount()).toBe(1)
    workList.applyChanges([item(A, 7, { shareIndexesReady: [1, 2] })])
    expect(workList.openCount()).toBe(0)
    expect(workList.due(1e9)).toEqual([])
  })

  it('owes nothing for an exit that is ready or has left the list', () => {
    const workList = createWorkList([share(A), share(B)], POLL_MS)
    workList.applyList([item(A, 7, { isReady: true }), item(B, 8)])
    workList.applyList([])
    expect(workList.due(1e9)).toEqual([])
  })

  it('owes every share index that is held here', () => {
    const workList = createWorkList([share(A, 1), share(A, 4)], POLL_MS)
    workList.applyList([item(A, 7, { shareIndexesReady: [1] })])
    expect(workList.due(0).map(({ keyShare }) => keyShare.shareIndex)).toEqual([4])
  })

  it('posts again after one poll interval, and after five what the relayer has but cannot use', () => {
    const workList = createWorkList([share(A), share(B)], POLL_MS)
    workList.applyList([item(A, 7), item(B, 8, { shareIndexesUnverified: [2] })])
    post(workList, 0, 100)
    expect(workList.due(100 + POLL_MS - 1)).toEqual([])
    expect(workList.due(100 + POLL_MS).length).toBe(1)
    expect(workList.due(100 + 5 * POLL_MS).length).toBe(2)
    expect(workList.nextDueAt()).toBe(100 + POLL_MS)
  })

  it('waits for the answer to a post, but not where the index has changed meanwhile', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    workList.applyList([item(A, 7)])
    const [job] = workList.take(0)
    if (job === undefined) throw new Error('nothing due')
    expect(workList.nextDueAt()).toBe(Number.POSITIVE_INFINITY)
    expect(workList.take(1e9)).toEqual([])
    workList.applyList([item(A, 8)])
    expect(workList.due(0).length).toBe(1)
    expect(workList.isCurrent(job)).toBe(false)
  })

  it('keeps the signature while the index stays, forgets it when the index changes', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    workList.applyList([item(A, 7)])
    const [entry] = workList.due(0)
    if (entry === undefined) throw new Error('nothing due')
    post(workList, 50, 60)
    workList.applyList([])
    workList.applyList([item(A, 7)])
    expect(entry.signatures).toEqual({ exit: '0x11' })
    workList.applyChanges([item(A, 9)])
    expect([entry.signatures, entry.postedAt, entry.wanted?.validatorIndex]).toEqual([undefined, undefined, 9])
    expect(workList.nextDueAt()).toBe(50 + POLL_MS)
  })

  it('forgets both signatures when index, vault, amount or type changes, and keeps them otherwise', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    const deposit: WantedDeposit = { vault: `0x${'11'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' }
    const list = (validatorIndex: number, changed: Partial<WantedDeposit> = {}) =>
      workList.applyList([item(A, 7, { wanted: { validatorIndex, deposit: { ...deposit, ...changed } } })])
    const entry = workList.find(share(A))
    let now = 0
    const signBoth = () => {
      now += 10 * POLL_MS
      for (const job of sign(workList, now, { exit: '0x11', deposit: '0x22' })) workList.release(job)
      expect(entry?.signatures).toEqual({ exit: '0x11', deposit: '0x22' })
    }
    list(7)
    signBoth()
    list(7)
    expect(entry?.signatures).toEqual({ exit: '0x11', deposit: '0x22' })
    const changes: (Partial<WantedDeposit> & { index?: number })[] = [
      { index: 8 },
      { vault: `0x${'22'.repeat(20)}` },
      { amountGwei: 33e9 },
      { validatorType: '0x02' },
    ]
    for (const { index = 7, ...changed } of changes) {
      list(7)
      signBoth()
      list(index, changed)
      expect(entry?.signatures).toBeUndefined()
    }
    list(7)
    signBoth()
    workList.applyList([item(A, 7)])
    expect(entry?.signatures).toBeUndefined()
  })

  it('holds back what somebody else serves', () => {
    const workList = createWorkList([share(A), share(B)], POLL_MS)
    workList.applyList([item(A, 7), item(B, 8)])
    const isHeldBack = ({ keyShare }: Entry) => keyShare.validatorPublicKey === A
    expect(indexesOf(workList.due(0, isHeldBack))).toEqual([8])
    expect(workList.take(0, isHeldBack).map(({ wanted }) => wanted.validatorIndex)).toEqual([8])
    expect(workList.nextDueAt(isHeldBack)).toBe(Number.POSITIVE_INFINITY)
    expect(workList.nextDueAt()).toBe(0)
  })

  it('tells once that the relayer lists a posted signature as wrong', () => {
    const workList = createWorkList([share(A), share(B)], POLL_MS)
    const wrong = { shareIndexesRejected: [2] }
    workList.applyList([item(A, 7, wrong), item(B, 8, wrong)])
    expect(workList.takeRejections().size).toBe(0)
    for (const job of sign(workList, 0))
      if (job.wanted.validatorIndex === 7) workList.posted(job, 0)
      else workList.release(job)
    workList.applyList([item(A, 7, wrong), item(B, 8, wrong)])
    expect([...workList.takeRejections()]).toEqual([[2, [7]]])
    expect(workList.takeRejections().size).toBe(0)
  })

  it('takes the first of two items for one key', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    expect(workList.applyList([item(A, 7), item(A, 8), item(B, 1), item(B, 1)])).toBe(1)
    expect(indexesOf(workList.due(0))).toEqual([7])
  })

  it('signs a key at most once in a poll interval, whatever is listed', () => {
    const step = fc.record({ index: fc.nat(3), passed: fc.integer({ min: 1, max: POLL_MS }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const workList = createWorkList([share(A)], POLL_MS)
        const signedAt: number[] = []
        let now = 0
        for (const { index, passed } of steps) {
          now += passed
          workList.applyList([item(A, index)])
          for (const job of workList.take(now)) {
            if (job.entry.state === 'taken') {
              signedAt.push(now)
              allow(workList, job, now)
              workList.signed(job, { exit: '0x11' }, now)
            }
            workList.release(job)
          }
        }
        for (const [position, at] of signedAt.entries())
          if (position > 0) expect(at - (signedAt[position - 1] ?? 0)).toBeGreaterThanOrEqual(POLL_MS)
      }),
    )
  })

  it('ends a job in each way with a rest of its own, and tells each reason once', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    workList.applyList([item(A, 7)])
    const take = (now: number) => {
      const [job] = workList.take(now)
      if (job === undefined) throw new Error('nothing due')
      return job
    }
    expect(workList.refused(take(0), 'index_taken', 10)).toBe(true)
    expect(workList.nextDueAt()).toBe(10 + 5 * POLL_MS)
    let now = 10 + 5 * POLL_MS
    expect(workList.refused(take(now), 'index_taken', now)).toBe(false)
    now += 5 * POLL_MS
    const failing = take(now)
    allow(workList, failing, now)
    expect(workList.notSigned(failing, now, 15, 'SIGNER_REFUSED')).toBe(true)
    expect([failing.entry.state, workList.nextDueAt()]).toEqual(['idle', now + 15 * POLL_MS])
    now += 15 * POLL_MS
    const deferred = take(now)
    expect(workList.defer(deferred, now, 1)).toBe(false)
    expect(workList.nextDueAt()).toBe(now + POLL_MS)
    now += POLL_MS
    const [rejected] = sign(workList, now)
    if (rejected === undefined) throw new Error('nothing due')
    expect(workList.rejected(rejected, 'SIGNATURE_INVALID', now)).toBe(true)
    expect([rejected.entry.state, rejected.entry.postedAt]).toEqual(['kept', now])
    expect(workList.nextDueAt()).toBe(now + 5 * POLL_MS)
    now += 5 * POLL_MS
    // What is signed is not judged again.
    const again = take(now)
    expect([again.entry.state, again.entry.signatures]).toEqual(['signed', { exit: '0x11' }])
    workList.release(again)
    expect(workList.nextDueAt()).toBe(now)
  })

  it('knows what is refused now: until it is allowed, something else is wanted, or nothing is', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    const refusals = () => workList.refusedNow().map(({ refusal }) => refusal)
    let now = 0
    const take = () => {
      now += 5 * POLL_MS
      const [job] = workList.take(now)
      if (job === undefined) throw new Error('nothing due')
      return job
    }
    workList.applyList([item(A, 7)])
    workList.refused(take(), 'index_taken', now)
    expect(refusals()).toEqual(['index_taken'])
    workList.defer(take(), now, 1)
    expect(refusals()).toEqual(['index_taken'])
    workList.refused(take(), 'index_impossible', now)
    expect(refusals()).toEqual(['index_impossible'])
    workList.applyList([])
    expect(refusals()).toEqual([])
    workList.applyList([item(A, 7)])
    expect(refusals()).toEqual(['index_impossible'])
    workList.applyList([item(A, 8)])
    expect(refusals()).toEqual([])
    workList.refused(take(), 'index_taken', now)
    const job = take()
    allow(workList, job, now)
    expect(refusals()).toEqual([])
    workList.notSigned(job, now, 1)
    expect(refusals()).toEqual([])
  })

  it('throws at a step that cannot follow, and takes no word from a job that has ended', () => {
    const workList = createWorkList([share(A)], POLL_MS)
    workList.applyList([item(A, 7)])
    const [job] = workList.take(0)
    if (job === undefined) throw new Error('nothing due')
    expect(() => workList.bound(job)).toThrow(/bound, while the entry is taken/)
    expect(() => workList.signed(job, { exit: '0x11' }, 0)).toThrow(/while the entry is taken/)
    expect(() => workList.posted(job, 0)).toThrow(/while the entry is taken/)
    workList.judged(job, 0)
    expect(() => workList.signed(job, { exit: '0x11' }, 0)).toThrow(/while the entry is judged/)
    expect(() => workList.rejected(job, 'X', 0)).toThrow(/while the entry is judged/)
    workList.bound(job)
    expect(() => workList.refused(job, 'X', 0)).toThrow(/while the entry is bound/)
    expect(workList.signed(job, { exit: '0x11' }, 0)).toBe(true)
    expect(() => workList.judged(job, 0)).toThrow(/while the entry is signed/)
    workList.posted(job, 0)
    workList.posted(job, 99)
    workList.judged(job, 99)
    expect([job.entry.state, job.entry.postedAt]).toEqual(['kept', 0])
    expect([
      workList.rejected(job, 'X', 99),
      workList.signed(job, { exit: '0x22' }, 0),
      workList.refused(job, 'X', 99),
      workList.notSigned(job, 99, 1, 'X'),
      workList.defer(job, 99, 1, 'X'),
    ]).toEqual([false, false, false, false, false])
    expect(job.entry.signatures).toEqual({ exit: '0x11' })
  })

  it('counts as posted what the other list has posted, of the same index only', () => {
    const workList = createWorkList([share(A), share(B)], POLL_MS)
    workList.applyList([item(A, 7), item(B, 8)])
    const [job] = workList.take(0, ({ keyShare }) => keyShare.validatorPublicKey === B)
    if (job === undefined) throw new Error('nothing due')
    workList.postedByOther(share(A), 7, '0x11', 100)
    expect([workList.isCurrent(job), job.entry.state, job.entry.signatures]).toEqual([false, 'kept', { exit: '0x11' }])
    workList.postedByOther(share(B), 9, '0x11', 100)
    workList.postedByOther(share(B, 3), 8, '0x11', 100)
    expect(indexesOf(workList.due(0))).toEqual([8])
    expect(workList.find(share(B))?.signatures).toBeUndefined()
    expect(indexesOf(workList.due(100 + POLL_MS))).toEqual([7, 8])
  })
})

/** What is known of a key share when nothing but the words of the specification is used. */
interface Model {
  /** What is wanted; undefined before it was ever listed. */
  index: number | undefined
  isOpen: boolean
  /** The job that is at it. */
  job: Job | undefined
  step: 'taken' | 'judged' | 'bound' | 'signed' | undefined
  /** What the signature is for. */
  signedFor: number | undefined
}

const STEPS = ['take', 'judge', 'bind', 'sign', 'post', 'reject', 'refuse', 'fail', 'defer', 'release'] as const
const action = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant('list' as const),
      index: fc.nat(2),
      isReady: fc.boolean(),
      isFull: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('unlist' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('renew keys' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('other posts' as const), index: fc.nat(2) }) },
  { weight: 15, arbitrary: fc.record({ what: fc.constant('advance' as const) }) },
  { weight: 10, arbitrary: fc.record({ what: fc.constantFrom(...STEPS), old: fc.boolean() }) },
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

/** The step each verb may follow. */
const MAY: Readonly<Record<(typeof STEPS)[number], readonly Model['step'][]>> = {
  take: [],
  judge: ['taken'],
  bind: ['judged'],
  sign: ['bound'],
  post: ['signed'],
  reject: ['signed'],
  refuse: ['taken', 'judged'],
  fail: ['bound'],
  defer: ['taken', 'judged', 'bound', 'signed'],
  release: ['taken', 'judged', 'bound', 'signed'],
}

/** The step that brings what is wanted to its post. */
const NEXT = { taken: 'judge', judged: 'bind', bound: 'sign', signed: 'post' } as const

/** Runs actions on a work list of one key share and on the model, and compares them after each. */
function runModel(actions: readonly Action[]): void {
  let keyShare = share(A)
  const workList = createWorkList([keyShare], POLL_MS)
  const model: Model = { index: undefined, isOpen: false, job: undefined, step: undefined, signedFor: undefined }
  const ended: Job[] = []
  let now = 0

  const end = () => {
    if (model.job !== undefined) ended.push(model.job)
    model.job = undefined
    model.step = undefined
  }
  const want = (index: number | undefined) => {
    if (index === model.index) return
    end()
    Object.assign(model, { index, signedFor: undefined })
  }

  function step(what: (typeof STEPS)[number], job: Job): void {
    const signatures = { exit: `0x${job.wanted.validatorIndex}` }
    if (what === 'judge') workList.judged(job, now)
    if (what === 'bind') workList.bound(job)
    if (what === 'sign') workList.signed(job, signatures, now)
    if (what === 'post') workList.posted(job, now)
    if (what === 'reject') workList.rejected(job, 'WRONG', now)
    if (what === 'refuse') workList.refused(job, 'index_taken', now)
    if (what === 'fail') workList.notSigned(job, now, 15, 'SIGNER_AWAY')
    if (what === 'defer') workList.defer(job, now, 1)
    if (what === 'release') workList.release(job)
  }

  function follow(what: (typeof STEPS)[number], isOld: boolean): void {
    if (what === 'take') {
      const isDue = workList.nextDueAt() <= now
      const [job] = workList.take(now)
      expect(job !== undefined).toBe(isDue)
      // Nobody else is at it, and it is of use.
      if (job !== undefined) expect([model.job, model.isOpen]).toEqual([undefined, true])
      if (job !== undefined) Object.assign(model, { job, step: model.signedFor === undefined ? 'taken' : 'signed' })
      return
    }
    const job = isOld ? ended.at(-1) : model.job
    if (job === undefined) return
    // A job that has ended has nothing to say, and a step that may not follow throws.
    const isAllowed = isOld || MAY[what].includes(model.step)
    if (isAllowed) step(what, job)
    else expect(() => step(what, job)).toThrow('work list:')
    if (isOld || !isAllowed) return
    if (what === 'judge') model.step = 'judged'
    else if (what === 'bind') model.step = 'bound'
    else if (what === 'sign') Object.assign(model, { step: 'signed', signedFor: model.index })
    else end()
  }

  for (const one of actions) {
    now += 3 * POLL_MS
    const before = workList.find(keyShare)
    if (one.what === 'list') {
      const items = [item(A, one.index, { isReady: one.isReady })]
      if (one.isFull) workList.applyList(items)
      else workList.applyChanges(items)
      want(one.index)
      model.isOpen = !one.isReady
    } else if (one.what === 'unlist') {
      workList.applyList([])
      model.isOpen = false
    } else if (one.what === 'renew keys') {
      keyShare = share(A)
      workList.setKeyShares([keyShare])
      want(undefined)
      model.isOpen = false
      expect([before?.listing, before?.signatures, before?.wanted]).toEqual(['unlisted', undefined, undefined])
    } else if (one.what === 'other posts') {
      workList.postedByOther(keyShare, one.index, `0x${one.index}`, now)
      if (one.index === model.index) {
        end()
        model.signedFor = model.index
      }
    } else if (one.what === 'advance') follow(model.step === undefined ? 'take' : NEXT[model.step], false)
    else follow(one.what, one.old)
    compare(workList, keyShare, model, ended)
  }
}

function compare(workList: WorkList, keyShare: ReturnType<typeof share>, model: Model, ended: readonly Job[]): void {
  const entry = workList.find(keyShare)
  expect(entry?.wanted?.validatorIndex).toBe(model.index)
  expect(entry?.state).toBe(model.step ?? (model.signedFor === undefined ? 'idle' : 'kept'))
  // A changed message never keeps an old signature.
  expect(entry?.signatures?.exit).toBe(model.signedFor === undefined ? undefined : `0x${model.signedFor}`)
  if (model.signedFor !== undefined) expect(model.signedFor).toBe(model.index)
  // Nothing is posted that was not signed.
  if (entry?.postedAt !== undefined) expect(entry.signatures).toBeDefined()
  expect(ended.some(workList.isCurrent)).toBe(false)
  if (model.job !== undefined) expect(workList.isCurrent(model.job)).toBe(true)
  // Whatever became of it, what is wanted and in nobody's hand comes back.
  const isComing = model.isOpen && model.step === undefined
  expect(workList.nextDueAt() < Number.POSITIVE_INFINITY).toBe(isComing)
  expect([workList.due(1e9).length, workList.openCount()]).toEqual([isComing ? 1 : 0, model.isOpen ? 1 : 0])
}

describe('any sequence of verbs', () => {
  it('does what the model does: no step is left out, no signature outlives its message, nothing is lost', () => {
    fc.assert(fc.property(fc.array(action, { maxLength: 120, size: 'max' }), runModel), { numRuns: 150 })
  })

  it.each(STEPS)('at every state, %s is taken where it may follow and throws where it may not', (what) => {
    const order = ['take', 'judge', 'bind', 'sign', 'post', 'take'] as const
    for (let length = 0; length <= order.length; length++)
      for (const old of [false, true])
        runModel([
          { what: 'list', index: 1, isReady: false, isFull: true },
          ...order.slice(0, length).map((step) => ({ what: step, old: false })),
          { what, old },
        ])
  })

  it('gets through to a post, again and again, under a relayer that changes its mind', () => {
    const order = ['take', 'judge', 'bind', 'sign', 'post'] as const
    const steps = fc.array(fc.tuple(fc.nat(4), fc.nat(2)), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(steps, (changes) => {
        const actions = changes.flatMap(([length, index]): Action[] => [
          { what: 'list', index, isReady: false, isFull: true },
          ...order.slice(0, length + 1).map((what) => ({ what, old: false })),
        ])
        runModel([...actions, { what: 'list', index: 3, isReady: false, isFull: true }])
      }),
    )
  })
})
