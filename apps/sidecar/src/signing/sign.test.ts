import { setImmediate } from 'node:timers/promises'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { describe, expect, it } from 'vitest'
import type { ToSign } from '../keystores/keystore.ts'
import { createWorkList, type Listed, type WorkList } from '../lists/work-list.ts'
import { createDepositPolicy } from '../policy/deposit-policy.ts'
import { createPolicy } from '../policy/policy.ts'
import type { WantedDeposit } from '../policy/wanted.ts'
import { signBatch } from './sign.ts'

const share = (seed: number) => ({
  validatorPublicKey: `0x${String(seed).repeat(96)}`,
  shareIndex: 1,
  publicKeyShares: [],
  withdrawalAddress: undefined,
})
const DEPOSIT: WantedDeposit = { vault: `0x${'11'.repeat(20)}`, amountGwei: 32e9, validatorType: '0x01' }
const item = (seed: number, validatorIndex: number, deposit?: WantedDeposit): Listed => ({
  publicKey: share(seed).validatorPublicKey,
  wanted: { validatorIndex, deposit },
  isReady: false,
  shareIndexesReady: [],
  shareIndexesUnverified: [],
  shareIndexesRejected: [],
})
const signal = new AbortController().signal
const fail = () => {
  throw new Error('not expected')
}

/** Signs what is due with signatures that are the roots themselves; `onSign` is told before each, and may take its time. */
async function signDue(workList: WorkList, onSign: (made: number) => unknown = () => undefined) {
  const policy = createPolicy(networks.hoodi, createDepositPolicy(networks.hoodi, []), undefined)
  const told: unknown[] = []
  let made = 0
  const keystore = {
    async sign({ signingRoot }: ToSign) {
      await onSign(++made)
      return signingRoot
    },
  }
  const jobs = workList.take(0)
  for (const job of jobs)
    if (job.entry.state === 'taken') {
      workList.judged(job, 0)
      workList.bound(job)
    }
  const events = { signed: (counts: unknown) => void told.push(counts), notSigned: fail, loopFailed: fail }
  const { signed } = await signBatch({ keystore, policy, workList, events }, jobs, signal, fail)
  for (const job of jobs) workList.release(job)
  return { signed, told, made: () => made }
}

describe('signBatch', () => {
  it('signs the exit, and the deposit where one is wanted, once', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8, DEPOSIT)])
    const { signed, told, made } = await signDue(workList)
    expect(signed.map(({ signatures }) => Object.keys(signatures))).toEqual([['exit'], ['exit', 'deposit']])
    expect(told).toEqual([{ exit: 2, deposit: 1 }])
    expect(made()).toBe(3)
    const again = await signDue(workList)
    expect(again.signed.map(({ signatures }) => signatures)).toEqual(signed.map(({ signatures }) => signatures))
    expect([again.made(), again.told]).toEqual([0, []])
  })

  it.each([
    ['another index', [item(1, 9, DEPOSIT)]],
    ['another vault', [item(1, 7, { ...DEPOSIT, vault: `0x${'22'.repeat(20)}` })]],
  ])('hands out nothing for what was wanted before: %s while it signs', async (_, changed) => {
    const workList = createWorkList([share(1)], 1000)
    workList.applyList([item(1, 7, DEPOSIT)])
    const { signed } = await signDue(workList, (made) => {
      if (made === 2) workList.applyChanges(changed)
    })
    expect(signed).toEqual([])
    expect(workList.find(share(1))?.signatures).toBeUndefined()
  })

  it('signs nothing that has left the list before its turn', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8)])
    const { signed, made } = await signDue(workList, () => workList.applyList([item(1, 7)]))
    expect([signed.length, made()]).toEqual([1, 1])
  })

  it('posts no signature that is wanted no more when the others are made', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7), item(2, 8)])
    const { signed } = await signDue(workList, async (made) => {
      if (made === 1) return
      // The first one has its signature by now.
      await setImmediate()
      expect(workList.find(share(1))?.signatures).toBeDefined()
      workList.applyChanges([item(1, 9)])
    })
    expect(signed.map(({ wanted }) => wanted.validatorIndex)).toEqual([8])
  })

  it('posts no signature of an earlier round that is wanted no more', async () => {
    const workList = createWorkList([share(1), share(2)], 1000)
    workList.applyList([item(1, 7)])
    expect((await signDue(workList)).signed).toHaveLength(1)
    workList.applyList([item(1, 7), item(2, 8)])
    const { signed, made } = await signDue(workList, () => workList.applyChanges([item(1, 9)]))
    expect([signed.map(({ wanted }) => wanted.validatorIndex), made()]).toEqual([[8], 1])
  })
})
