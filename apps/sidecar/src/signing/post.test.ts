import type { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { describe, expect, it, vi } from 'vitest'
import type { SignedJob } from '../lists/work-entry.ts'
import { createWorkList } from '../lists/work-list.ts'
import type { WantedDeposit } from '../policy/wanted.ts'
import { postBatch } from './post.ts'

/** Far longer than a process under test lives: what rests so many intervals is told apart by rounding. */
const POLL_MS = 1e9
const DEPOSIT: WantedDeposit = { vault: `0x${'11'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' }
const PUBLIC_KEY_SHARES = [{ share_index: 3, public_key_share: `0x${'cc'.repeat(48)}` }]

/** Validators 0, 1 … of `GET /validators`; the odd ones are wanted without a deposit. */
function setUp(validators: number) {
  const shares = Array.from({ length: validators }, (_, index) => ({
    validatorPublicKey: `0x0${index}${'00'.repeat(47)}`,
    shareIndex: 3,
    publicKeyShares: PUBLIC_KEY_SHARES,
    withdrawalAddress: undefined,
  }))
  const workList = createWorkList(shares, POLL_MS)
  workList.applyList(
    shares.map(({ validatorPublicKey: publicKey }, index) => ({
      publicKey,
      wanted: { validatorIndex: index, deposit: index % 2 === 0 ? DEPOSIT : undefined },
      isReady: false,
      shareIndexesReady: [],
      shareIndexesUnverified: [],
      shareIndexesRejected: [],
    })),
  )
  const events = { signaturesPosted: vi.fn(), signaturesRejected: vi.fn(), rejectionSeen: vi.fn(), postFailed: vi.fn() }
  const post = vi.fn(async (): Promise<SharesResponse> => ({}))
  const stop = new AbortController()
  const parts = { relayer: { postSignatures: post }, workLists: { validators: workList }, events }
  return {
    ...{ workList, events, post, stop },
    /** Signs what is due, and posts it. */
    async posted() {
      const jobs = workList.take(performance.now() + 100 * POLL_MS).map((job): SignedJob => {
        const signatures = { exit: '0xe1', ...(job.wanted.deposit === undefined ? {} : { deposit: '0xd1' }) }
        if (job.entry.signatures === undefined) {
          workList.judged(job, 0)
          workList.bound(job)
          workList.signed(job, signatures, 0)
        }
        return { ...job, signatures }
      })
      return { jobs, outcome: await postBatch(parts as never, 'validators', 3, jobs, stop.signal) }
    },
  }
}
const restsOf = (jobs: readonly SignedJob[]) => jobs.map(({ entry }) => Math.round(entry.notBefore / POLL_MS))

describe('a post', () => {
  it('says what it is of, and counts what is posted for the first time', async () => {
    const { posted, post, events } = setUp(3)
    const { jobs, outcome } = await posted()
    expect(outcome).toBe('taken')
    expect(jobs.map(({ entry }) => entry.state)).toEqual(['kept', 'kept', 'kept'])
    const said = (index: number, deposit: string) => ({
      public_key: jobs[index]?.keyShare.validatorPublicKey,
      ...{ exit_signature: '0xe1', deposit_signature: deposit, public_key_shares: PUBLIC_KEY_SHARES },
    })
    const body = { share_index: 3, shares: [said(0, '0xd1'), said(1, ''), said(2, '0xd1')] }
    expect(post.mock.calls).toEqual([[body, expect.anything()]])
    await posted()
    expect(events.signaturesPosted.mock.calls).toEqual([
      ['validators', 3, { exit: 3, deposit: 2 }, 3],
      ['validators', 3, { exit: 3, deposit: 2 }, 0],
    ])
    expect([events.signaturesRejected.mock.calls, events.rejectionSeen.mock.calls]).toEqual([[], []])
  })

  it.each<[string, Error, string]>([
    ['an answer', new HttpError('HTTP_STATUS', 'relayer', 'sorry', { status: 500 }), 'refused'],
    ['no answer', new HttpError('HTTP_UNREACHABLE', 'relayer', 'sorry'), 'unreachable'],
    ['what is no answer of the relayer', Object.assign(new Error('sorry'), { code: 'HTTP_STATUS' }), 'unreachable'],
  ])('that fails with %s is told, and comes up again after an interval', async (_, error, expected) => {
    const { posted, post, events } = setUp(2)
    post.mockRejectedValue(error)
    const { jobs, outcome } = await posted()
    expect([outcome, restsOf(jobs)]).toEqual([expected, [1, 1]])
    expect(events.postFailed.mock.calls).toEqual([[error, 'validators', 3, 2]])
  })

  it.each([
    [2, 'too_large', [0, 0], []],
    [1, 'refused', [1], [[expect.any(HttpError), 'validators', 3, 1]]],
  ])('of %i that is too large is %s', async (validators, expected, rests, told) => {
    const { posted, post, events } = setUp(validators)
    post.mockRejectedValue(new HttpError('HTTP_STATUS', 'proxy', 'sorry', { status: 413 }))
    const { jobs, outcome } = await posted()
    expect([outcome, restsOf(jobs), events.postFailed.mock.calls]).toEqual([expected, rests, told])
  })

  it('that is given up is no fault', async () => {
    const { posted, post, events, stop } = setUp(1)
    stop.abort()
    post.mockRejectedValue(new HttpError('HTTP_ABORTED', 'relayer', 'stopped'))
    const { jobs, outcome } = await posted()
    expect([outcome, jobs[0]?.entry.state, events.postFailed.mock.calls]).toEqual(['unreachable', 'signed', []])
  })
})

describe('what the relayer rejects of a post', () => {
  it('rests for five intervals and is told once by each code; the others are taken', async () => {
    const { posted, post, events } = setUp(5)
    const failure = (index: number, code: string, kind?: 'exit' | 'deposit') => ({
      ...{ index, code, message: 'sorry' },
      ...(kind === undefined ? {} : { kind }),
    })
    post.mockResolvedValue({
      failures: [
        failure(0, 'SIGNATURE_INVALID', 'exit'),
        failure(1, 'a word of its own'),
        failure(2, 'SIGNATURE_INVALID', 'deposit'),
        failure(2, 'KEY_UNKNOWN'),
        failure(5, 'SIGNATURE_INVALID'),
      ],
    })
    const { jobs, outcome } = await posted()
    expect([outcome, restsOf(jobs)]).toEqual(['taken', [5, 5, 5, 0, 0]])
    expect(events.signaturesPosted.mock.calls).toEqual([['validators', 3, { exit: 2, deposit: 1 }, 2]])
    // A failure without a kind is of both, where there are both.
    expect(events.signaturesRejected.mock.calls).toEqual([[{ exit: 3, deposit: 1 }]])
    expect(events.rejectionSeen.mock.calls).toEqual([
      ['validators', 'SIGNATURE_INVALID', 3, [0, 2]],
      ['validators', 'OTHER', 3, [1]],
    ])
    events.rejectionSeen.mockClear()
    await posted()
    expect(events.rejectionSeen).not.toHaveBeenCalled()
    expect(events.signaturesRejected).toHaveBeenCalledTimes(2)
  })

  it.each([
    ['A', 'A'],
    ['A9_', 'A9_'],
    ['A'.repeat(40), 'A'.repeat(40)],
    ['A'.repeat(41), 'OTHER'],
    ['9A', 'OTHER'],
    ['a', 'OTHER'],
    ['', 'OTHER'],
  ])('of the code %j is told as %s', async (code, told) => {
    const { posted, post, events } = setUp(1)
    post.mockResolvedValue({ failures: [{ index: 0, code, message: 'sorry' }] } as SharesResponse)
    await posted()
    expect(events.rejectionSeen.mock.calls).toEqual([['validators', told, 3, [0]]])
  })
})
