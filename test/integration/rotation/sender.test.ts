/** The transaction of a rotation: its nonce and fees beside others that are stored, and when it is signed, stored, sent, and said to be sent. */

import { randomBytes } from 'node:crypto'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { createTransactionWallet, readTransaction } from '@dvt-relayer/chain/execution/transaction.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import type { RotationRow } from '@dvt-relayer/db/queries/rotations.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { createRotationSender, openRotationWallet } from '../../../apps/relayer/src/services/rotation/transaction.ts'
import { openMessages } from '../../support/stages/messages.ts'

const GWEI = 1_000_000_000n
const NOW = 1_800_000_000
const DEADLINE = NOW + 900
const { signal } = new AbortController()
const [wallet, stranger] = [1, 2].map((byte) => createTransactionWallet(new Uint8Array(32).fill(byte))) as [
  ReturnType<typeof createTransactionWallet>,
  ReturnType<typeof createTransactionWallet>,
]

/** A database with rotations, and an execution node that answers from a table and keeps what is sent. */
async function setUp() {
  const { db, query } = await openMessages()
  await query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values (1, 'a', 1, ${randomBytes(65)}, '{}', 1, now(), true)`)
  const answers: Record<string, unknown> = {
    ...{ eth_estimateGas: '0x186a0', eth_getTransactionCount: '0x5' },
    ...{
      eth_feeHistory: { baseFeePerGas: ['0x0', toHexQuantity(GWEI)] },
      eth_maxPriorityFeePerGas: toHexQuantity(GWEI),
    },
  }
  const sent: unknown[] = []
  const told: unknown[][] = []
  const execution = {
    request: async (method: string, [raw]: unknown[]) => {
      if (method !== 'eth_sendRawTransaction') return answers[method]
      sent.push(raw)
      if (answers[method] instanceof Error) throw answers[method]
      return `0x${'00'.repeat(32)}`
    },
  }
  const sender = createRotationSender({
    ...{ db, chain: { execution } },
    config: { network: networks.hoodi, rotation: { maxFeeGwei: 20 } },
    events: {
      rotationSent: (...of: unknown[]) => told.push(['sent', ...of]),
      rotationNotTaken: (...of: unknown[]) => told.push(['not taken', ...of]),
    },
  } as unknown as Context)
  const sign = (nonce: number, gwei: bigint, by = wallet) =>
    by.sign({
      ...{ to: new Uint8Array(20), data: '0x' as const, chainId: 1, nonce, gas: 100_000n },
      ...{ maxFeePerGas: gwei * GWEI, maxPriorityFeePerGas: GWEI },
    })
  let vaults = 0
  /** A rotation of another vault, with a transaction where one is given. */
  async function add(state: string, transaction?: Awaited<ReturnType<typeof sign>>, deadline = DEADLINE) {
    const [row] = await query<{ id: number }>(sql`
      insert into rotations (vault, oracle_set_id, nonce, state, transaction_hash, transaction, deadline)
      values (${Buffer.alloc(20, ++vaults)}, 1, 0, ${state}, ${transaction ? Buffer.from(transaction.hash) : null},
              ${transaction ? Buffer.from(transaction.raw) : null}, ${transaction ? deadline : null}) returning id::int`)
    return row?.id ?? 0
  }
  const vault = new Uint8Array(20).fill(0xaa)
  const send = (id: number, transactionHash: Buffer | null = null) =>
    sender.send(wallet, { id, transactionHash }, { vault, data: '0xabcdef', deadline: DEADLINE, now: NOW }, signal)
  const stored = async (id: number) =>
    (
      await query<{ hash: Buffer | null; raw: Buffer | null; deadline: number | null }>(
        sql`select transaction_hash as hash, transaction as raw, deadline::int from rotations where id = ${id}`,
      )
    )[0]
  return { sender, answers, sent, told, sign, add, send, stored, vault }
}
const toHexQuantity = (value: bigint) => `0x${value.toString(16)}`

it('has the first nonce that no other vault waits under, and more fees than what may still wait under it', async () => {
  const { sign, add, send, stored, sent, told, vault } = await setUp()
  await add('open', await sign(5, 15n), NOW)
  // Under the next nonce: by another wallet, given up, too late, and its own of before.
  await add('open', await sign(6, 16n, stranger))
  await add('void', await sign(6, 6n))
  await add('open', await sign(6, 8n), NOW - 1)
  const before = await sign(6, 7n)
  const id = await add('open', before)
  expect(await send(id, Buffer.from(before.hash))).toBe('sent')
  const { hash, raw, deadline } = (await stored(id)) ?? {}
  expect(deadline).toBe(DEADLINE)
  expect(await readTransaction(raw ?? new Uint8Array())).toEqual({
    ...{ from: wallet.address, nonce: 6, maxFeePerGas: 9n * GWEI + 1n, maxPriorityFeePerGas: (9n * GWEI) / 8n + 1n },
  })
  expect(sent).toEqual([toHex(raw ?? new Uint8Array())])
  expect(told).toEqual([['sent', vault, new Uint8Array(hash ?? []), wallet.address]])
})

it('has the next nonce of the wallet where nothing waits, and the fees that the chain asks for', async () => {
  const { add, send, stored } = await setUp()
  const id = await add('open')
  expect(await send(id)).toBe('sent')
  expect(await readTransaction((await stored(id))?.raw ?? new Uint8Array())).toMatchObject({
    ...{ nonce: 5, maxFeePerGas: 3n * GWEI, maxPriorityFeePerGas: GWEI },
  })
})

it('is not signed while it is too dear, and not sent where another process was faster', async () => {
  const { sender, add, send, stored, sent, told, answers, sign } = await setUp()
  const id = await add('open')
  expect(await sender.isTooDear(signal)).toBe(false)
  answers['eth_feeHistory'] = { baseFeePerGas: [toHexQuantity(20n * GWEI)] }
  expect(await sender.isTooDear(signal)).toBe(true)
  expect(await send(id)).toBe('too_dear')
  answers['eth_feeHistory'] = { baseFeePerGas: [toHexQuantity(GWEI)] }
  const faster = await sign(9, 3n)
  const taken = await add('open', faster)
  expect(await send(taken)).toBe('overtaken')
  expect([(await stored(id))?.raw, (await stored(taken))?.raw]).toEqual([null, Buffer.from(faster.raw)])
  expect([sent, told]).toEqual([[], []])
})

it('stays sent where the node refuses it or is away, which is said of a new one alone; whatever else fails is thrown', async () => {
  const { sender, add, send, stored, sent, told, answers, vault } = await setUp()
  for (const error of [
    new ChainError('EXECUTION_REFUSED', 'already known'),
    new HttpError('HTTP_UNREACHABLE', 'node.example', 'away'),
  ] as const) {
    answers['eth_sendRawTransaction'] = error
    const id = await add('open')
    expect(await send(id)).toBe('sent')
    expect(told.splice(0).map(([what, , of]) => [what, what === 'sent' ? undefined : of])).toEqual([
      ['sent', undefined],
      ['not taken', error],
    ])
    const row = { transaction: (await stored(id))?.raw ?? null } as RotationRow
    await sender.again(row, vault, signal)
    const raw = toHex(row.transaction ?? new Uint8Array())
    expect([sent.splice(0), told]).toEqual([[raw, raw], []])
  }
  for (const error of [new ChainError('EXECUTION_INVALID', 'no JSON'), new TypeError('a mistake of ours')]) {
    answers['eth_sendRawTransaction'] = error
    await expect(send(await add('open'))).rejects.toBe(error)
  }
  expect(told.map(([what]) => what)).toEqual(['sent', 'sent'])
})

it('that was never signed is neither sent again nor at its end', async () => {
  const { sender, sent, vault } = await setUp()
  await sender.again({ transaction: null } as RotationRow, vault, signal)
  expect(await sender.isSpent({ transaction: null }, `0x${'00'.repeat(32)}`, signal)).toBe(false)
  expect(sent).toEqual([])
  expect(await openRotationWallet({ rotation: { enabled: true, wallet: undefined, maxFeeGwei: 1 } })).toBeUndefined()
})
