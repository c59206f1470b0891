import { setImmediate } from 'node:timers/promises'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { expect, it } from 'vitest'
import type { Sealing } from '../../context.ts'
import { storeCandidates } from './candidates.ts'

it('candidates are sealed a few at a time, and others work in between', async () => {
  let sealed = 0
  const sealer = { partial: () => new Uint8Array([++sealed]), signature: () => undefined }
  const sealing = { sealerFor: async () => sealer } as unknown as Sealing
  const tx = { execute: () => Promise.reject(new Error('all are sealed')) } as unknown as Sql
  const [digest, signature] = [new Uint8Array(32), new Uint8Array(96)]
  const candidates = Array.from({ length: 1000 }, (_, messageId) => ({
    messageId,
    kind: 'exit' as const,
    digest,
    signature,
    isUntold: false,
    isAnother: false,
  }))
  let isOver = false
  const storing = storeCandidates(tx, sealing, 1, candidates).finally(() => {
    isOver = true
  })
  storing.catch(() => {})
  const steps: number[] = []
  while (!isOver) {
    const before = sealed
    await setImmediate()
    steps.push(sealed - before)
  }
  await expect(storing).rejects.toThrow('all are sealed')
  expect(sealed).toBe(1000)
  expect(Math.max(...steps)).toBeLessThanOrEqual(128)
})
