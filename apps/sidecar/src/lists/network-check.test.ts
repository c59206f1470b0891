import { networks } from '@dvt-relayer/chain/networks.ts'
import { afterEach, expect, it, vi } from 'vitest'
import { createNetworkCheck } from './network-check.ts'

afterEach(() => vi.restoreAllMocks())

/** A check of a relayer that says these networks one after the other, at a clock of the test's. */
function setUp(...said: (string | Error)[]) {
  let now = 1000
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const getInfo = vi.fn(async () => {
    const network = said.shift() ?? 'hoodi'
    if (network instanceof Error) throw network
    return { network } as never
  })
  const report = vi.fn()
  const introduce = vi.fn(async () => {})
  const parts = {
    config: { network: networks.hoodi, relayer: { healIntervalMs: 15_000 } as never },
    relayer: { getInfo },
    health: { report },
  }
  const check = createNetworkCheck(parts, introduce, new AbortController().signal)
  const pass = (ms: number) => {
    now += ms
  }
  return { check, getInfo, report, introduce, pass }
}

it('asks once for all who ask, and again after the heal interval', async () => {
  const { check, getInfo, report, introduce, pass } = setUp()
  expect(await Promise.all([check.isOurs(), check.isOurs()])).toEqual([true, true])
  pass(14_999)
  expect([await check.isOurs(), getInfo.mock.calls.length]).toEqual([true, 1])
  pass(1)
  expect([await check.isOurs(), getInfo.mock.calls.length]).toEqual([true, 2])
  expect(report.mock.calls).toEqual([
    ['network', undefined],
    ['network', undefined],
  ])
  expect(introduce).toHaveBeenCalledTimes(1)
})

it('takes no word of another network, asks each time, and is introduced again when it is ours', async () => {
  const { check, getInfo, report, introduce } = setUp('hoodi', 'mainnet', 'no word <b>', 'hoodi', 'hoodi')
  await check.isOurs()
  check.forget()
  expect([await check.isOurs(), await check.isOurs()]).toEqual([false, false])
  expect(introduce).toHaveBeenCalledTimes(1)
  expect([await check.isOurs(), await check.isOurs(), getInfo.mock.calls.length]).toEqual([true, true, 4])
  expect(introduce).toHaveBeenCalledTimes(2)
  expect(report.mock.calls.map(([, problem]) => problem)).toEqual([
    undefined,
    "the relayer's network is mainnet, ours is hoodi",
    "the relayer's network is of an unknown name, ours is hoodi",
    undefined,
  ])
})

it('says what a question fails with, and asks again', async () => {
  const { check, getInfo } = setUp(new Error('sorry'), 'hoodi')
  await expect(check.isOurs()).rejects.toThrow('sorry')
  expect([await check.isOurs(), getInfo.mock.calls.length]).toEqual([true, 2])
})

it('that is to forget asks at once, and is introduced once more', async () => {
  const { check, getInfo, introduce } = setUp()
  await check.isOurs()
  check.forget()
  await check.isOurs()
  expect([getInfo.mock.calls.length, introduce.mock.calls.length]).toEqual([2, 2])
})
