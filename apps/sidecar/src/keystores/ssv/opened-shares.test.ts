import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createOpenedShares } from './opened-shares.ts'
import type { FoundShare } from './source.ts'

let counted: ReturnType<typeof countByRound>
beforeEach(() => {
  counted = countByRound()
})
afterEach(() => counted.end())

const shareOf = (n: number): FoundShare => ({
  operator: { id: 7, publicKey: undefined, name: 'operator 7' },
  keyShare: { shareIndex: 1, validatorPublicKey: `0x${n}`, publicKeyShares: [], withdrawalAddress: undefined },
  share: { encryptedKeyShare: randomBytes(256), publicKeyShare: randomBytes(48) } as never,
  origin: 'test',
})
const signal = new AbortController().signal

it('decrypts a few at a time, so that others have the event loop in between', async () => {
  const { open } = createOpenedShares(
    () => {
      counted.count()
      return new Uint8Array(32)
    },
    { decryptingShares() {}, sharesUndecipherable() {} },
  )
  const shares = Array.from({ length: 10 }, (_, n) => shareOf(n))
  expect(await open(shares, signal)).toHaveLength(10)
  expect(counted.inRounds()).toEqual([4, 4, 2])
})

it('decrypts each once, forgets what is wanted no more, and tells of those that are for another key', async () => {
  const secrets: Uint8Array[] = []
  const failed: number[] = []
  const opened = createOpenedShares(
    ({ keyShare }) => {
      if (keyShare.validatorPublicKey === '0x1') return undefined
      const secret = new Uint8Array(32).fill(1)
      secrets.push(secret)
      return secret
    },
    { decryptingShares() {}, sharesUndecipherable: (some) => failed.push(some.length) },
  )
  const shares = [shareOf(0), shareOf(1), shareOf(2)]
  for (let time = 0; time < 2; time++) {
    const held = await opened.open(shares, signal)
    expect(held.map(({ keyShare }) => keyShare.validatorPublicKey)).toEqual(['0x0', '0x2'])
  }
  expect([secrets.length, failed, opened.failedCount()]).toEqual([2, [1], 1])
  await opened.open(shares.slice(1), signal)
  expect(secrets.map(([first]) => first)).toEqual([0, 1])
  opened.wipe()
  expect(secrets.map(([first]) => first)).toEqual([0, 0])
})
