import { afterEach, beforeEach, expect, it } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createSubmission } from './submit.ts'

let counted: ReturnType<typeof countByRound>
beforeEach(() => {
  counted = countByRound()
})
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

/** Rows of messages that nobody has public key shares of, as PostgreSQL sends them: two for each validator. */
function matched(validators: number) {
  const oids = { position: 23, message_id: 20, validator_id: 20, state: 25, signing_root: 17, public_key_share: 17 }
  const more = { has_key_shares: 16, same: 25, has_verified: 16, others: 20, seen_seconds: 701 }
  return {
    fields: Object.entries({ ...oids, ...more }).map(([name, dataTypeID]) => ({ name, dataTypeID })),
    rows: Array.from({ length: 2 * validators }, (_, position) => ({
      ...{ position, message_id: position + 1, validator_id: position >> 1, state: 'collecting' },
      ...{ signing_root: Buffer.alloc(32), public_key_share: null, has_key_shares: false },
      ...{ same: null, has_verified: false, others: '0', seen_seconds: null },
    })),
  }
}

it('packs what pairs say of public key shares once for each validator, and in pieces', async () => {
  const answers = [matched(256)]
  const parts = {
    config: { limits: { shares: 1000 } },
    sealing: { digest: () => new Uint8Array(32) },
    crypto: { areSignatures: async (all: readonly unknown[]) => all.map(() => true) },
    verification: { mayWait: () => false },
    announced: () => {},
    // What is stored is not looked at.
    db: {
      transaction: async () => {},
      execute: async () => answers.shift() ?? Promise.reject(new Error('no more answers')),
    },
  }
  const { submit } = createSubmission(parts as unknown as Parameters<typeof createSubmission>[0])
  const shares = Array.from({ length: 256 }, () => ({
    public_key: `0x${'11'.repeat(48)}`,
    exit_signature: `0x${'22'.repeat(96)}`,
    deposit_signature: `0x${'33'.repeat(96)}`,
    public_key_shares: [
      {
        share_index: 1,
        get public_key_share() {
          counted.count()
          return `0x${'44'.repeat(48)}`
        },
      },
    ],
  }))
  await expect(submit(1, shares)).rejects.toThrow('no more answers')
  expect(counted.inRounds()).toEqual(Array.from({ length: 16 }, () => 16))
})
