import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { modOrder, scalarBytes } from '@dvt-relayer/crypto/bls/scalar.ts'
import { createFastEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { describe, expect, it } from 'vitest'
import { createTasks } from './tasks.ts'

const engine = createBlstEngine()
const message = Buffer.alloc(32, 7)
/** A key share of 3 nodes, any of which are needed. */
const keyAt = (x: bigint) => scalarBytes(modOrder(11n + 5n * x + 3n * x * x))
const noise = (number: number) => engine.sign(scalarBytes(BigInt(number) + 777n), message)

describe('finish', () => {
  it('judges what came after the signature by what gave it, without a search', () => {
    let combinations = 0
    const tasks = createTasks(
      {
        ...engine,
        combineSignatures: (...args) => {
          combinations++
          return engine.combineSignatures(...args)
        },
      },
      createFastEcies(),
    )
    const right = [101, 102, 103].map((shareIndex) => ({
      shareIndex,
      signatures: [engine.sign(keyAt(BigInt(shareIndex)), message)],
    }))
    const invented = Array.from({ length: 64 }, (_, i) => ({
      shareIndex: i + 1,
      signatures: [noise(i), noise(i + 64)],
    }))
    const signature = engine.sign(keyAt(0n), message)
    const [finished] = tasks.finish(
      [
        {
          message,
          publicKey: engine.publicKeyOf(keyAt(0n)),
          threshold: 3,
          signature,
          candidates: [...right, ...invented],
          hints: [],
        },
      ],
      undefined,
    )
    expect(finished).toMatchObject({
      status: 'finished',
      signature,
      right: right.map(({ shareIndex, signatures: [share] }) => ({ shareIndex, signature: share })),
    })
    expect(finished).toHaveProperty('wrong.length', 128)
    expect(combinations).toBeLessThan(5)
  })
})
