/** How many messages one requester may have made anew. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { expect, it } from 'vitest'
import { createMessageRate } from './message-rate.ts'

const limits = { keys: 1000, shares: 1, openExits: 20_000 }

it('is never met by an Operator that asks for all its keys at another index in every slot', () => {
  let nowMs = 0
  const rate = createMessageRate({ limits, network: networks.mainnet }, () => nowMs)
  // All that may be open, an exit and a deposit each, and all of it once more.
  for (let i = 0; i < 80; i++) rate.assert('operator', 1000)
  for (let slot = 0; slot < 10_000; slot++) {
    nowMs += networks.mainnet.secondsPerSlot * 1000
    rate.assert('operator', 2000)
  }
})

it('says when to ask again, to who asks for more', () => {
  let nowMs = 0
  const rate = createMessageRate({ limits, network: networks.mainnet }, () => nowMs)
  for (let i = 0; i < 80; i++) rate.assert('operator', 1000)
  const refusal = { code: 'RATE_LIMIT', retryAfterSeconds: expect.closeTo(6) }
  expect(() => rate.assert('operator', 1000)).toThrow(expect.objectContaining(refusal))
  rate.assert('operator', 0)
  rate.assert('another', 1000)
  rate.assert(null, 1000)
  nowMs += 6001
  rate.assert('operator', 1000)
})

it('counts messages also where each is asked for alone', () => {
  const rate = createMessageRate({ limits, network: networks.mainnet }, () => 0)
  for (let i = 0; i < 80; i++) rate.assert('operator', 1000)
  expect(() => rate.assert('operator', 1)).toThrow(expect.objectContaining({ code: 'RATE_LIMIT' }))
})
