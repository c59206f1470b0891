/** Transactions of a wallet of our own on a real EVM node: signed, stored, read back, sent twice, replaced, within the cap. */

import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import {
  chooseFees,
  countTransactions,
  createTransactionWallet,
  estimateGas,
  findReceipt,
  readTransaction,
  sendRaw,
} from '@dvt-relayer/chain/execution/transaction.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { parseTransaction } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Anvil, skipWithoutAnvil, startAnvil } from '../../../support/chain/anvil.ts'

const network = networks.hoodi
const GWEI = 1_000_000_000n
const to = new Uint8Array(20).fill(0x77)

describe.skipIf(skipWithoutAnvil)('a transaction', () => {
  let anvil: Anvil
  const privateKey = generatePrivateKey()
  const wallet = createTransactionWallet(fromHex(privateKey, 32))
  const node = () => createExecutionClient({ endpoints: [anvil.url], timeoutMs: 60_000, retryTimeoutMs: 0, network })
  const plan = { to, data: '0x1234', chainId: network.chainId, nonce: 0, gas: 50_000n } as const
  const fees = { maxFeePerGas: 20n * GWEI, maxPriorityFeePerGas: GWEI }

  beforeAll(async () => {
    anvil = await startAnvil({ chainId: network.chainId })
    await anvil.rpc('anvil_setBalance', wallet.address, '0x8ac7230489e80000')
  })
  afterAll(() => anvil[Symbol.asyncDispose]())

  it('is of its wallet, and is read back from its bytes', async () => {
    expect(wallet.address).toBe(privateKeyToAddress(privateKey))
    const { raw } = await wallet.sign({ ...plan, ...fees, nonce: 5 })
    expect(await readTransaction(raw)).toEqual({ from: wallet.address, nonce: 5, ...fees })
    expect(parseTransaction(toHex(raw) as `0x02${string}`)).toMatchObject({
      to: toHex(to),
      data: '0x1234',
      chainId: network.chainId,
      type: 'eip1559',
      gas: 50_000n,
    })
    expect(JSON.stringify(wallet)).not.toContain(privateKey.slice(2, 20))
    expect(() => createTransactionWallet(new Uint8Array(32))).toThrow(
      expect.objectContaining({ code: 'SCALAR_INVALID' }),
    )
  })

  it('takes the place of one that waits for an eighth more, and is mined once however often it is sent', async () => {
    await anvil.rpc('evm_setAutomine', false)
    expect(await countTransactions(node(), wallet.address)).toBe(0)
    const gas = await estimateGas(node(), wallet.address, { to, data: '0x1234' })
    expect(gas).toBeGreaterThan(21_000n)
    const first = await chooseFees(node(), 100n * GWEI, undefined)
    const one = await wallet.sign({ ...plan, gas, ...(first ?? fees) })
    await sendRaw(node(), one.raw)
    await expect(sendRaw(node(), one.raw)).rejects.toMatchObject({ code: 'EXECUTION_REFUSED' })
    expect(await findReceipt(node(), one.hash)).toBeUndefined()

    const next = await chooseFees(node(), 100n * GWEI, first)
    expect(next?.maxFeePerGas).toBeGreaterThan(((first?.maxFeePerGas ?? 0n) * 9n) / 8n)
    expect(next?.maxPriorityFeePerGas).toBeGreaterThan(((first?.maxPriorityFeePerGas ?? 0n) * 9n) / 8n)
    const two = await wallet.sign({ ...plan, gas, ...(next ?? fees), data: '0x5678' })
    await sendRaw(node(), two.raw)
    await anvil.mine(1)
    expect(await findReceipt(node(), two.hash)).toMatchObject({ ok: true })
    expect(await findReceipt(node(), one.hash)).toBeUndefined()
    expect(await countTransactions(node(), wallet.address)).toBe(1)
  })

  it('waits while the chain asks for more than the cap', async () => {
    await anvil.rpc('anvil_setNextBlockBaseFeePerGas', `0x${(40n * GWEI).toString(16)}`)
    await anvil.mine(1)
    const cheap = await chooseFees(node(), 1000n * GWEI, undefined)
    const base = ((cheap?.maxFeePerGas ?? 0n) - (cheap?.maxPriorityFeePerGas ?? 0n)) / 2n
    expect(base).toBeGreaterThan(30n * GWEI)
    expect(await chooseFees(node(), base, undefined)).toBeUndefined()
    // Within the cap, if not with room for a rise.
    const most = base + (cheap?.maxPriorityFeePerGas ?? 0n)
    expect(await chooseFees(node(), most, undefined)).toMatchObject({ maxFeePerGas: most })
    // One at the cap that no node has any more must not end everything.
    expect(await chooseFees(node(), most, { maxFeePerGas: most, maxPriorityFeePerGas: most })).toEqual({
      maxFeePerGas: most,
      maxPriorityFeePerGas: most - base,
    })
  })
})
