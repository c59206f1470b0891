import type { SignedMessage } from '@dvt-relayer/crypto/bls/bls.ts'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createSignatureCheck } from './signature-check.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

const triple = (byte: number): SignedMessage => ({
  ...{ publicKey: new Uint8Array(48), message: new Uint8Array(32), signature: new Uint8Array(96).fill(byte) },
})

/** An engine that takes signatures of an odd byte for right. */
function setUp() {
  const batches: number[] = []
  const check = createSignatureCheck({
    verifyBatch(triples) {
      batches.push(triples.length)
      return triples.map(({ signature }) => (signature[0] ?? 0) % 2 === 1)
    },
  })
  return { batches, check }
}

it('verifies together what comes in at about the same time, each with its own verdict', async () => {
  const { batches, check } = setUp()
  const verdicts = Promise.all([check(triple(1)), check(triple(2)), check(triple(3))])
  await vi.advanceTimersByTimeAsync(3)
  expect(batches).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(await verdicts).toEqual([true, false, true])
  await vi.advanceTimersByTimeAsync(1000)
  expect(batches).toEqual([3])
})

it('verifies a slice at a time, the first one as soon as it is full', async () => {
  const { batches, check } = setUp()
  const verdicts = Promise.all(Array.from({ length: 65 }, (_, index) => check(triple(index))))
  await vi.advanceTimersByTimeAsync(0)
  expect(batches).toEqual([32])
  await vi.advanceTimersByTimeAsync(1000)
  expect(batches).toEqual([32, 32, 1])
  expect(await verdicts).toEqual(Array.from({ length: 65 }, (_, index) => index % 2 === 1))
})

it('says to all of a slice what breaks it, and goes on', async () => {
  let isBroken = true
  const check = createSignatureCheck({
    verifyBatch(triples) {
      if (isBroken) throw new Error('sorry')
      return triples.map(() => true)
    },
  })
  const verdicts = Promise.allSettled([check(triple(1)), check(triple(3))])
  await vi.advanceTimersByTimeAsync(10)
  expect((await verdicts).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  isBroken = false
  const next = check(triple(1))
  await vi.advanceTimersByTimeAsync(10)
  expect(await next).toBe(true)
})
