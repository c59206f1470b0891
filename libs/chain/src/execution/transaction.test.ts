import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { TSchema } from 'typebox'
import { Check } from 'typebox/value'
import { parseTransaction, serializeTransaction } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import {
  chooseFees,
  countTransactions,
  createTransactionWallet,
  estimateGas,
  findReceipt,
  readBalance,
  readTransaction,
  sendRaw,
} from './transaction.ts'

const GWEI = 1_000_000_000n
const ADDRESS = `0x${'11'.repeat(20)}`
const HASH = `0x${'ab'.repeat(32)}`
const quantity = (value: bigint) => `0x${value.toString(16)}`

/** A node that gives these answers, by method; one that does not fit its schema fails. */
function nodeOf(answers: Readonly<Record<string, unknown>>) {
  const asked: [string, readonly unknown[]][] = []
  const node = {
    request: async (method: string, params: readonly unknown[], schema: TSchema) => {
      asked.push([method, params])
      if (!Check(schema, answers[method])) throw new TypeError('does not fit')
      return answers[method] as never
    },
  }
  return { node, asked }
}

describe('fees', () => {
  const choose = (
    { base = 10n * GWEI, tip = GWEI, before = [1n] as bigint[] },
    most: bigint,
    replaced?: { maxFeePerGas: bigint; maxPriorityFeePerGas: bigint },
  ) => {
    const baseFeePerGas = [...before, base].map(quantity)
    const { node } = nodeOf({ eth_feeHistory: { baseFeePerGas }, eth_maxPriorityFeePerGas: quantity(tip) })
    return chooseFees(node, most, replaced)
  }

  it('are twice the base fee of the next block, and the tip', async () => {
    const fees = { maxFeePerGas: 21n * GWEI, maxPriorityFeePerGas: GWEI }
    expect(await choose({}, 100n * GWEI)).toEqual(fees)
    expect(await choose({ before: [] }, 100n * GWEI)).toEqual(fees)
    expect(await choose({ tip: 1n }, 100n * GWEI)).toEqual({
      maxFeePerGas: 20_010_000_000n,
      maxPriorityFeePerGas: 10_000_000n,
    })
  })

  it('stay within the cap, and are none while the chain asks for more', async () => {
    expect(await choose({}, 12n * GWEI)).toEqual({ maxFeePerGas: 12n * GWEI, maxPriorityFeePerGas: GWEI })
    expect(await choose({}, 11n * GWEI)).toEqual({ maxFeePerGas: 11n * GWEI, maxPriorityFeePerGas: GWEI })
    expect(await choose({}, 11n * GWEI - 1n)).toBeUndefined()
  })

  it('of a transaction in place of another are an eighth more, rounded up, as far as the cap lets them', async () => {
    const replaced = { maxFeePerGas: 80n * GWEI, maxPriorityFeePerGas: 8n * GWEI }
    expect(await choose({}, 100n * GWEI, replaced)).toEqual({
      maxFeePerGas: 90n * GWEI + 1n,
      maxPriorityFeePerGas: 9n * GWEI + 1n,
    })
    expect(await choose({}, 16n * GWEI, replaced)).toEqual({
      maxFeePerGas: 16n * GWEI,
      maxPriorityFeePerGas: 6n * GWEI,
    })
    expect(await choose({}, 100n * GWEI, { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n })).toEqual({
      maxFeePerGas: 21n * GWEI,
      maxPriorityFeePerGas: GWEI,
    })
  })

  it('are read from an answer of one to eight blocks', async () => {
    const history = (length: number) => ({ before: Array.from({ length: length - 1 }, () => 1n) })
    expect(await choose(history(8), 100n * GWEI)).toMatchObject({ maxFeePerGas: 21n * GWEI })
    await expect(choose(history(9), 100n * GWEI)).rejects.toThrow('does not fit')
    const { node } = nodeOf({ eth_feeHistory: { baseFeePerGas: [] }, eth_maxPriorityFeePerGas: '0x1' })
    await expect(chooseFees(node, GWEI, undefined)).rejects.toThrow('does not fit')
  })
})

describe('a question about transactions', () => {
  it('says what it asks for', async () => {
    const { node, asked } = nodeOf({
      eth_getBalance: '0x7',
      eth_getTransactionCount: '0x5',
      eth_estimateGas: '0x64',
      eth_sendRawTransaction: HASH,
    })
    expect(await readBalance(node, ADDRESS)).toBe(7n)
    expect(await countTransactions(node, ADDRESS)).toBe(5)
    expect(await countTransactions(node, ADDRESS, undefined, HASH)).toBe(5)
    const to = fromHex(ADDRESS)
    // A quarter more than 100.
    expect(await estimateGas(node, ADDRESS, { to, data: '0x1234' })).toBe(125n)
    await sendRaw(node, Uint8Array.of(2, 3))
    expect(asked).toEqual([
      ['eth_getBalance', [ADDRESS, 'latest']],
      ['eth_getTransactionCount', [ADDRESS, 'latest']],
      ['eth_getTransactionCount', [ADDRESS, { blockHash: HASH, requireCanonical: true }]],
      ['eth_estimateGas', [{ from: ADDRESS, to: ADDRESS, data: '0x1234' }]],
      ['eth_sendRawTransaction', ['0x0203']],
    ])
  })

  it('for a receipt is answered once it is in a block, whatever became of it', async () => {
    const receipt = (answer: unknown) =>
      findReceipt(nodeOf({ eth_getTransactionReceipt: answer }).node, fromHex(HASH, 32))
    expect(await receipt({ status: '0x1', blockNumber: '0x10' })).toEqual({ ok: true, blockNumber: 16 })
    expect(await receipt({ status: '0x0', blockNumber: '0x10' })).toEqual({ ok: false, blockNumber: 16 })
    expect(await receipt(null)).toBeUndefined()
  })
})

describe('a signed transaction', () => {
  const wallet = createTransactionWallet(new Uint8Array(32).fill(7))
  const plan = { to: new Uint8Array(20).fill(0x77), data: '0x1234', chainId: 1, gas: 50_000n } as const
  const fees = { maxFeePerGas: 20n * GWEI, maxPriorityFeePerGas: GWEI }

  it('is read back from its bytes, whichever y its signature has', async () => {
    const parities = new Set<number | undefined>()
    for (let nonce = 0; nonce < 16; nonce++) {
      const { raw } = await wallet.sign({ ...plan, ...fees, nonce })
      expect(await readTransaction(raw)).toEqual({ from: wallet.address, nonce, ...fees })
      parities.add(parseTransaction(toHex(raw) as `0x02${string}`).yParity)
    }
    expect(parities.size).toBe(2)
  })

  it('is of nobody where it has no signature', async () => {
    const to = toHex(plan.to)
    const raw = serializeTransaction({ ...plan, ...fees, to, type: 'eip1559', nonce: 3 })
    expect(await readTransaction(fromHex(raw))).toEqual({ from: undefined, nonce: 3, ...fees })
  })
})
