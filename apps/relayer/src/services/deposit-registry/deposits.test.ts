import type { ChainDeposit } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { expect, it } from 'vitest'
import { createDepositJudge } from './deposits.ts'

/** A deposit of a made-up key; its signature is right unless told. */
const depositOf = (key: number, isRight = true, more: Partial<ChainDeposit> = {}): ChainDeposit => ({
  blockNumber: key,
  logIndex: 0,
  publicKey: new Uint8Array(48).fill(key % 256).fill(key / 256, 0, 1),
  withdrawalCredentials: new Uint8Array(32).fill(1),
  amountGwei: 32_000_000_000n,
  signature: new Uint8Array(96).fill(isRight ? 1 : 0),
  depositIndex: key,
  ...more,
})
const keyOf = ({ publicKey }: ChainDeposit) => toHex(publicKey)

/** A judge, and how many signatures it had verified at each time. */
function startJudge() {
  const verified: number[] = []
  const judge = createDepositJudge({
    config: { network: networks.hoodi } as Parameters<typeof createDepositJudge>[0]['config'],
    crypto: {
      async verify(triples) {
        verified.push(triples.length)
        return triples.map(({ signature }) => signature[0] === 1)
      },
    },
  })
  return { judge, verified: () => verified.splice(0) }
}

it('the first validly signed deposit of a key makes its validator, and only those before it are wrong', async () => {
  const { judge } = startJudge()
  const [early, first, late, second] = [
    depositOf(1, false),
    depositOf(1, true, { depositIndex: 10 }),
    depositOf(1, false, { depositIndex: 11, amountGwei: 1n }),
    depositOf(1, true, { depositIndex: 12, amountGwei: 2n }),
  ]
  const other = depositOf(2, false)
  const known = depositOf(3)
  const { made, wrong } = await judge([early, first, other, late, second, known], new Set([keyOf(known)]))
  expect([...made]).toEqual([[keyOf(first), first]])
  expect(wrong).toEqual([early, other])
})

it('what was verified for the call before is not verified again, and what is not seen any more is', async () => {
  const { judge, verified } = startJudge()
  const [a, b, c] = [depositOf(1), depositOf(2, false), depositOf(3)]
  const none = new Set<string>()
  expect(await judge([], none)).toEqual({ made: new Map(), wrong: [] })
  expect(verified()).toEqual([])
  await judge([a, b], none)
  expect(verified()).toEqual([2])
  expect(await judge([a, b, c], none)).toMatchObject({
    made: new Map([a, c].map((one) => [keyOf(one), one])),
    wrong: [b],
  })
  expect(verified()).toEqual([1])
  // Of the same key, each alone another.
  for (const other of [
    { amountGwei: 1n },
    { withdrawalCredentials: new Uint8Array(32) },
    { signature: new Uint8Array(96).fill(1, 0, 1) },
  ]) {
    await judge([a, { ...a, ...other }, b, c], none)
    expect(verified()).toEqual([1])
  }
  await judge([c], none)
  await judge([a, c], none)
  expect(verified()).toEqual([0, 1])
})

it('many are verified in pieces, all of them, and the rest not where somebody has given up', async () => {
  const { judge, verified } = startJudge()
  const many = Array.from({ length: 512 }, (_, key) => depositOf(key))
  const { made } = await judge(many, new Set())
  expect(verified()).toEqual([256, 256])
  expect([...made.values()]).toEqual(many)
  await expect(judge(many, new Set(), AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up')
})
