import { afterEach, expect, it } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createSubmission } from './submit.ts'

const counted = countByRound()
afterEach(() => counted.end())

it('reads the items of a long post in pieces: others have the event loop in between', async () => {
  const parts = {
    config: { limits: { shares: 1000 } },
    sealing: {
      digest() {
        counted.count()
        return new Uint8Array(32)
      },
    },
    // What comes after the reading is not looked at.
    db: { execute: () => Promise.reject(new Error('no database here')) },
  }
  const { submit } = createSubmission(parts as unknown as Parameters<typeof createSubmission>[0])
  const shares = Array.from({ length: 256 }, () => {
    return { public_key: `0x${'11'.repeat(48)}`, exit_signature: `0x${'22'.repeat(96)}` }
  })
  await expect(submit(1, shares)).rejects.toThrow('no database here')
  expect(counted.inRounds()).toEqual([64, 64, 64, 64])
})
