import { afterAll, expect, it } from 'vitest'
import { countByRound } from '../../../../../../test/support/event-loop.ts'
import type { Bind } from '../../bind.ts'
import type { ApiContext } from '../../context.ts'
import { handInRoutes } from './hand-in.ts'

const counted = countByRound()
afterAll(() => counted.end())

it('reads what charon posts in pieces: others have the event loop in between', async () => {
  const handlers = new Map<string, (call: unknown) => Promise<unknown>>()
  const bind = (contract: { path: string }, handler: (call: unknown) => Promise<unknown>) =>
    void handlers.set(contract.path, handler)
  const refuse = () => Promise.reject(new Error('read'))
  const services = { partialExits: { assertSigned: refuse }, partialDeposits: { take: refuse } }
  handInRoutes(bind as unknown as Bind, { config: {}, services } as unknown as ApiContext)
  const key = () => {
    counted.count()
    return `0x${'11'.repeat(48)}`
  }
  const message = { epoch: '1', validator_index: '2' }
  const signature = `0x${'22'.repeat(96)}`
  const exits = Array.from({ length: 600 }, () => ({
    get public_key() {
      return key()
    },
    signed_exit_message: { message, signature },
  }))
  const deposits = Array.from({ length: 600 }, () => ({
    get pubkey() {
      return key()
    },
    withdrawal_credentials: `0x${'33'.repeat(32)}`,
    amount: '32000000000',
    signature,
  }))
  const params = { lock: `0x${'44'.repeat(32)}`, share: '1' }
  const [postExits, postDeposits] = [...handlers].flatMap(([path, handler]) =>
    path.includes('partial') ? [handler] : [],
  )
  await expect(postExits?.({ params, body: { share_idx: 1, partial_exits: exits, signature } })).rejects.toThrow()
  await expect(postDeposits?.({ params, body: { partial_deposit_data: deposits } })).rejects.toThrow('read')
  expect(Math.max(...counted.inRounds())).toBeLessThanOrEqual(256 + 88)
  expect(counted.inRounds().reduce((sum, count) => sum + count, 0)).toBe(1200)
})
