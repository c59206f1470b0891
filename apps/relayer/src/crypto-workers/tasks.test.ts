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

/** Shares 1 … n of a cluster that needs three, with another threshold stated. */
const stated = (threshold: number, nodes: number, more: { shareIndex: number; signatures: Uint8Array[] }[] = []) => ({
  message,
  publicKey: engine.publicKeyOf(keyAt(0n)),
  threshold,
  signature: undefined,
  candidates: [
    ...Array.from({ length: nodes }, (_, node) => ({
      shareIndex: node + 1,
      signatures: [engine.sign(keyAt(BigInt(node + 1)), message)],
    })),
    ...more,
  ],
  hints: [],
})

describe('a threshold that is not the cluster’s', () => {
  const tasks = createTasks(engine, createFastEcies())
  const outcomeOf = (exit: ReturnType<typeof stated>) => tasks.finish([exit], undefined)[0]

  it('and too low is named where the shares say so, and nothing is accepted by it', () => {
    const outcome = outcomeOf(stated(2, 3))
    expect(outcome).toEqual({ status: 'not_found', wrong: [], fitting: 3 })
    expect(outcomeOf(stated(2, 2))).toMatchObject({ status: 'not_found', fitting: undefined })
    expect(
      outcomeOf(
        stated(
          2,
          0,
          [1, 2, 3].map((shareIndex) => ({ shareIndex, signatures: [noise(shareIndex)] })),
        ),
      ),
    ).toMatchObject({ status: 'not_found', fitting: undefined })
  })

  it('and too high is named with the signature it gives all the same', () => {
    expect(outcomeOf(stated(4, 4))).toMatchObject({
      status: 'finished',
      signature: engine.sign(keyAt(0n), message),
      fitting: 3,
    })
  })

  it('is told of no cluster whose threshold is right, whoever posts beside it', () => {
    expect(outcomeOf(stated(3, 4))).toMatchObject({ status: 'finished', fitting: undefined })
    const stranger = { shareIndex: 9, signatures: [noise(9)] }
    expect(outcomeOf(stated(3, 3, [stranger]))).toMatchObject({ status: 'finished', fitting: undefined })
    expect(outcomeOf(stated(3, 2, [stranger]))).toMatchObject({ status: 'not_found', fitting: undefined })
  })

  it('costs few attempts, however many share indexes there are', () => {
    let combinations = 0
    const counting = createTasks(
      {
        ...engine,
        combineSignatures: (...args) => {
          combinations++
          return engine.combineSignatures(...args)
        },
      },
      createFastEcies(),
    )
    const count = (exit: ReturnType<typeof stated>) => {
      combinations = 0
      counting.finish([exit], undefined)
      return combinations
    }
    const noises = (nodes: number) =>
      Array.from({ length: nodes }, (_, i) => ({ shareIndex: i + 1, signatures: [noise(i)] }))
    // Every pair of 14, and then 11 sizes at most.
    expect(count({ ...stated(2, 0), candidates: noises(14) })).toBeLessThanOrEqual((14 * 13) / 2 + 11)
  })
})

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
