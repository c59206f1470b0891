import type { Database } from '@dvt-relayer/db/connect.ts'
import { expect, it, onTestFinished, vi } from 'vitest'
import { createRotationLocks } from './locks.ts'

const vaultOf = (byte: number) => new Uint8Array(20).fill(byte)
const HERE = { isOurs: false, holder: 'this one' }
/** More than anybody tries within the patience of these locks. */
const TRIES = 100

/** Locks over a database where another process has some of its own time; the clock is the test's. */
function setUp() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  let reads = 0
  // It goes on by being read, so that nobody who only reads it goes on for ever.
  const now = vi.spyOn(performance, 'now').mockImplementation(() => Date.now() + ++reads / 100)
  onTestFinished(() => {
    now.mockRestore()
    vi.useRealTimers()
  })
  const world = { tries: 0, isTaken: false }
  const answer = (name: string, dataTypeID: number, value: unknown) => ({
    fields: [{ name, dataTypeID }],
    rows: [{ [name]: value }],
  })
  const onOneConnection = (work: (own: unknown) => Promise<unknown>) => {
    if (++world.tries > TRIES) throw new Error('tried for too long')
    const answers = [answer('locked', 16, !world.isTaken), answer('who', 25, 'another machine')]
    return work({ execute: async () => answers.shift() })
  }
  const locks = createRotationLocks({ onOneConnection } as unknown as Database)
  const ends: (() => void)[] = []
  const work = () => new Promise<string>((resolve) => ends.push(() => resolve('done')))
  /** What becomes of it, within a minute. */
  const outcome = async (running: Promise<unknown>) => {
    const settled = running.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    )
    await vi.advanceTimersByTimeAsync(60_000)
    return Promise.race([settled, Promise.resolve('still waits')])
  }
  return { world, locks, ends, work, outcome }
}

it('one at a time is at a vault, whatever became of the one before, and who comes meanwhile needs no connection', async () => {
  const { world, locks, ends, work } = setUp()
  const first = locks.tryVault(vaultOf(1), work)
  expect(await locks.tryVault(vaultOf(1), work)).toEqual(HERE)
  await vi.advanceTimersByTimeAsync(1)
  expect([world.tries, ends.length]).toEqual([1, 1])
  ends[0]?.()
  expect(await first).toEqual({ isOurs: true, value: 'done' })
  const failed = new Error('failed')
  await expect(locks.tryVault(vaultOf(1), () => Promise.reject(failed))).rejects.toBe(failed)
  expect(await locks.tryVault(vaultOf(1), async () => 'again')).toEqual({ isOurs: true, value: 'again' })
  world.isTaken = true
  expect(await locks.tryVault(vaultOf(1), work)).toEqual({ isOurs: false, holder: 'another machine' })
})

it('four vaults are worked at at once, the fifth waits for one of them, and the wallet for none', async () => {
  const { world, locks, ends, work, outcome } = setUp()
  const four = [1, 2, 3, 4].map((byte) => locks.holdVault(vaultOf(byte), work))
  const fifth = vi.fn(async () => 'fifth')
  const waiting = locks.holdVault(vaultOf(5), fifth)
  await vi.advanceTimersByTimeAsync(1_000)
  expect([ends.length, fifth.mock.calls.length, world.tries]).toEqual([4, 0, 4])
  expect(await locks.holdWallet(async () => 'wallet')).toBe('wallet')
  ends[2]?.()
  expect(await outcome(waiting)).toEqual({ value: 'fifth' })
  const last = locks.holdVault(vaultOf(6), work)
  expect(await outcome(locks.holdVault(vaultOf(7), fifth))).toMatchObject({
    error: { code: 'ROTATION_BUSY', message: 'another process is at it (this one); ask again' },
  })
  expect(fifth).toHaveBeenCalledTimes(1)
  for (const end of ends) end()
  expect(await Promise.all([...four, last])).toEqual(Array(5).fill('done'))
})

it('who asks waits for another process for some seconds, and not for ever', async () => {
  const { world, locks, ends, work, outcome } = setUp()
  world.isTaken = true
  const begun = performance.now()
  const over = locks.holdVault(vaultOf(1), work).catch(() => performance.now() - begun)
  const busy = { error: { code: 'ROTATION_BUSY', message: 'another process is at it (another machine); ask again' } }
  expect(await outcome(locks.holdWallet(work))).toMatchObject(busy)
  expect(await over).toBeGreaterThanOrEqual(8_000)
  expect(await over).toBeLessThan(9_000)
  expect([ends, world.tries > 2]).toEqual([[], true])
  world.tries = 0
  const late = locks.holdWallet(async () => 'at last')
  await vi.advanceTimersByTimeAsync(7_000)
  world.isTaken = false
  expect(await outcome(late)).toEqual({ value: 'at last' })
})
