import { createTransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { expect, it } from 'vitest'
import type { Context } from '../../context.ts'
import { createRotationSender } from './transaction.ts'

const FINAL = `0x${'fa'.repeat(32)}`

it('is at its end by what the final block says that the vault was looked at in, whatever a node takes for final', async () => {
  const wallet = await createTransactionWallet(new Uint8Array(32).fill(1))
  const fees = { maxFeePerGas: 2n, maxPriorityFeePerGas: 1n }
  const call = { to: new Uint8Array(20).fill(2), data: '0x00' as const }
  const { raw } = await wallet.sign({ ...call, ...fees, chainId: 1, nonce: 5, gas: 21_000n })
  let atFinal = '0x5'
  const execution = {
    // A node that is ahead of the one which said what is final, or says what it likes.
    request: async (_method: string, [, block]: [string, unknown]) =>
      (block as { blockHash?: string }).blockHash === FINAL ? atFinal : '0x6',
  }
  const config = { network: {}, rotation: { maxFeeGwei: 1 } }
  const sender = createRotationSender({ config, chain: { execution } } as unknown as Context)
  const isSpent = () => sender.isSpent({ transaction: Buffer.from(raw) }, FINAL, new AbortController().signal)
  expect(await isSpent()).toBe(false)
  atFinal = '0x6'
  expect(await isSpent()).toBe(true)
})
