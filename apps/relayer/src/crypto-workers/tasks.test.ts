import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { modOrder, scalarBytes } from '@dvt-relayer/crypto/bls/scalar.ts'
import { createFastEcies, decryptEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { describe, expect, it } from 'vitest'
import { createTasks, type FinishedMessage, isCrowded, mostAttempts } from './tasks.ts'

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
  const tasks = createTasks(engine, createFastEcies())

  it('goes on where its attempts are used up, and says nothing of the threshold before all was tried', () => {
    // Three pairs, none of which is a signature of a cluster that needs three.
    const exit = stated(2, 3)
    for (const attempts of [1, 2, 3])
      expect(tasks.finish([exit], undefined, attempts)).toEqual([
        { status: 'not_found', wrong: [], fitting: undefined, isUnfinished: true },
      ])
    expect(tasks.finish([exit], undefined, 4)).toEqual([{ status: 'not_found', wrong: [], fitting: 3 }])
  })

  it('of a crowd always goes on, and says what fits once it was searched as far as one search goes', () => {
    const crowd = stated(2, 15)
    const outcome = (attempts?: number) => tasks.finish([crowd], undefined, attempts)[0]
    expect(outcome(999)).toEqual({ status: 'not_found', wrong: [], fitting: undefined, isUnfinished: true })
    expect(outcome()).toEqual({ status: 'not_found', wrong: [], fitting: 3, isUnfinished: true })
  })

  it('of a crowd looks at the lowest share indexes, and at those seen last, each by themselves', () => {
    const lineAt = (x: number) => scalarBytes(modOrder(11n + 5n * BigInt(x)))
    const signed = (shareIndex: number) => ({ shareIndex, signatures: [engine.sign(lineAt(shareIndex), message)] })
    const noises = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({ shareIndex: from + i, signatures: [noise(from + i)] }))
    const crowdOf = (candidates: ReturnType<typeof noises>) => ({
      ...stated(2, 0),
      publicKey: engine.publicKeyOf(lineAt(0)),
      candidates,
    })
    const lowest = crowdOf([...noises(100, 40).reverse(), ...noises(2, 12), signed(14), signed(1)])
    const newest = crowdOf([signed(501), ...noises(1, 12), signed(502), ...noises(100, 40)])
    // All pairs of fourteen.
    for (const crowd of [lowest, newest])
      expect(tasks.finish([crowd], undefined, 91)).toMatchObject([
        { status: 'finished', signature: engine.sign(lineAt(0), message) },
      ])
  })

  it('counts as a crowd more share indexes than a cluster has, where nothing is known that judges them', () => {
    const [cluster, crowd] = [stated(3, 14), stated(3, 15)]
    const trusted = [{ shareIndex: 1, publicKeyShare: engine.publicKeyOf(keyAt(1n)), isVerified: false }]
    const signature = engine.sign(keyAt(0n), message)
    const all = [cluster, crowd, { ...crowd, trusted }, { ...crowd, signature }]
    expect(all.map(isCrowded)).toEqual([false, true, false, false])
    expect(all.map((exit) => mostAttempts(exit, 50))).toEqual([50, 150, 50, 50])
    expect(mostAttempts(crowd, 1000)).toBe(2200)
  })

  it('judges a single one that came after the signature, and leaves one alone that nothing came after', () => {
    const signature = engine.sign(keyAt(0n), message)
    const trusted = [{ shareIndex: 4, publicKeyShare: engine.publicKeyOf(keyAt(4n)), isVerified: false }]
    const none = { ...stated(3, 0), signature }
    const late = (share: Uint8Array) => ({ ...none, trusted, candidates: [{ shareIndex: 4, signatures: [share] }] })
    const [right, wrong] = [engine.sign(keyAt(4n), message), noise(4)]
    const finished = { status: 'finished', signature, right: [], wrong: [], fitting: undefined, shares: undefined }
    expect(tasks.finish([late(right), none, late(wrong)], undefined)).toEqual([
      { ...finished, right: [{ shareIndex: 4, signature: right }] },
      finished,
      { ...finished, wrong: [{ shareIndex: 4, signature: wrong }] },
    ])
  })

  it('asks one message of a batch alone whether its threshold is too high, and none of a lock’s or with a signature', () => {
    const trusted = [1, 2, 3, 4].map((index) => {
      return { shareIndex: index, publicKeyShare: engine.publicKeyOf(keyAt(BigInt(index))), isVerified: false }
    })
    const known = { ...stated(4, 4), signature: engine.sign(keyAt(0n), message) }
    const batch = [known, { ...stated(4, 4), trusted }, stated(5, 3), stated(4, 4), stated(4, 4)]
    expect(
      tasks.finish(batch, undefined).map(({ status, ...more }) => [status, 'fitting' in more && more.fitting]),
    ).toEqual([
      ['finished', undefined],
      ['finished', undefined],
      ['not_found', 3],
      ['finished', 3],
      ['finished', undefined],
    ])
  })

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

describe('under trusted public key shares', () => {
  const tasks = createTasks(engine, createFastEcies())
  const trustedAt = (shareIndex: number, isVerified = false) => ({
    shareIndex,
    publicKeyShare: engine.publicKeyOf(keyAt(BigInt(shareIndex))),
    isVerified,
  })
  const shareAt = (shareIndex: number) => engine.sign(keyAt(BigInt(shareIndex)), message)
  const right = (...indexes: number[]) => indexes.map((shareIndex) => ({ shareIndex, signature: shareAt(shareIndex) }))

  it('what nobody verified is verified with the full signature, and the threshold is not doubted', () => {
    const [finished] = tasks.finish(
      [{ ...stated(3, 4), trusted: [1, 2, 3, 4].map((index) => trustedAt(index)) }],
      undefined,
    )
    expect(finished).toMatchObject({ status: 'finished', right: right(1, 2, 3, 4), wrong: [], fitting: undefined })
  })

  it('too few say which are right and which are wrong', () => {
    const wrong = { shareIndex: 3, signatures: [noise(3)] }
    const exit = { ...stated(3, 2, [wrong]), trusted: [1, 2, 3].map((index) => trustedAt(index)) }
    expect(tasks.finish([exit], undefined)).toEqual([
      { status: 'not_found', right: right(1, 2), wrong: [{ shareIndex: 3, signature: noise(3) }] },
    ])
  })

  it('what came late is judged by the signature that is there', () => {
    const wrong = { shareIndex: 5, signatures: [noise(5)] }
    const exit = {
      ...stated(3, 4, [wrong]),
      signature: engine.sign(keyAt(0n), message),
      trusted: [1, 2, 3, 4, 5].map((index) => trustedAt(index, index <= 3)),
    }
    expect(tasks.finish([exit], undefined)).toMatchObject([
      { status: 'finished', right: right(1, 2, 3, 4), wrong: [{ shareIndex: 5, signature: noise(5) }] },
    ])
  })

  it('more share indexes than usual are no crowd, and nothing is searched', () => {
    const noises = Array.from({ length: 17 }, (_, i) => ({ shareIndex: i + 4, signatures: [noise(i)] }))
    const exit = { ...stated(3, 3, noises), trusted: Array.from({ length: 20 }, (_, i) => trustedAt(i + 1)) }
    expect(tasks.finish([exit], undefined)).toMatchObject([{ status: 'finished', right: right(1, 2, 3) }])
    const short = { ...exit, candidates: exit.candidates.slice(1) }
    expect(tasks.finish([short], undefined)).toMatchObject([{ status: 'not_found', right: right(2, 3) }])
  })
})

describe('a batch for an oracle set', () => {
  const ecies = createFastEcies()
  const oracles = Array.from({ length: 4 }, () => secp256k1.keygen())
  const oracleSet = {
    threshold: 3,
    publicKeys: oracles.map(({ publicKey }) => secp256k1.Point.fromBytes(publicKey).toBytes(false)),
  }
  const exits = Array.from({ length: 4 }, (_, number) => {
    const root = Buffer.alloc(32, 40 + number)
    const exit = stated(3, 0)
    const candidates = [1, 2, 3].map((shareIndex) => ({
      shareIndex,
      signatures: [engine.sign(keyAt(BigInt(shareIndex)), root)],
    }))
    return { ...exit, message: root, candidates }
  })
  const ciphertextsOf = (finished: FinishedMessage | undefined) => {
    const { ciphertexts = new Uint8Array() } = (finished?.status === 'finished' && finished.shares) || {}
    return oracles.map((_, oracle) => Uint8Array.from(ciphertexts.subarray(oracle * 193, (oracle + 1) * 193)))
  }
  const ephemeral = (ciphertext: Uint8Array | undefined) =>
    Buffer.from(ciphertext?.subarray(0, 65) ?? []).toString('hex')

  it('has one ephemeral key an oracle and batch, and shares of its own for each exit', () => {
    const tasks = createTasks(engine, ecies)
    const batches = [tasks.finish(exits, oracleSet), tasks.finish(exits, oracleSet)].map((batch) =>
      batch.map(ciphertextsOf),
    )
    const keys = batches.map((batch) =>
      oracles.map((_, oracle) => new Set(batch.map((ciphertexts) => ephemeral(ciphertexts[oracle])))),
    )
    expect(keys.flat().every(({ size }) => size === 1)).toBe(true)
    expect(new Set(keys.flat().flatMap((set) => [...set])).size).toBe(2 * oracles.length)
    const opened = batches.flatMap((batch) =>
      batch.map((ciphertexts) =>
        oracles.map(({ secretKey }, oracle) => decryptEcies(secretKey, ciphertexts[oracle] ?? new Uint8Array())),
      ),
    )
    expect(new Set(opened.flat().map((share) => Buffer.from(share).toString('hex'))).size).toBe(opened.flat().length)
    for (const [i, shares] of opened.entries()) {
      const chosen = [0, 1, 3].map((oracle) => ({
        index: BigInt(oracle + 1),
        point: shares[oracle] ?? new Uint8Array(),
      }))
      expect(engine.interpolateSignatures(chosen)).toEqual(engine.sign(keyAt(0n), exits[i % 4]?.message ?? message))
    }
  })

  it('splits what has its signature already, and leaves alone what has none', () => {
    const tasks = createTasks(engine, ecies)
    const [first = stated(3, 0), ...others] = exits
    const signature = engine.sign(keyAt(0n), first.message)
    const short = { ...first, candidates: first.candidates.slice(1) }
    const [ready, open, ...rest] = tasks.finish([{ ...first, signature, candidates: [] }, short, ...others], oracleSet)
    expect(open).toMatchObject({ status: 'not_found' })
    expect(open).not.toHaveProperty('shares')
    for (const one of [ready, ...rest]) {
      expect(one).toMatchObject({ status: 'finished' })
      expect(one?.status === 'finished' && one.shares?.ciphertexts.length).toBe(oracles.length * 193)
      expect(one?.status === 'finished' && one.shares?.publicKeyShares.length).toBe(oracles.length * 48)
    }
    expect(tasks.finish([short], oracleSet)).toMatchObject([{ status: 'not_found' }])
    expect(tasks.finish([first], oracleSet)).toMatchObject([{ status: 'finished', shares: expect.anything() }])
  })

  it('keeps the others where the split of one is faulty, and encrypts nothing of that', () => {
    const faulty = exits[1]?.message
    let encrypted = 0
    const tasks = createTasks(
      {
        ...engine,
        sign: (secret, root) => engine.sign(secret, root === faulty ? Buffer.alloc(32, 99) : root),
      },
      {
        ...ecies,
        encryptMany: (recipient, datas) => {
          encrypted += datas.length
          return ecies.encryptMany(recipient, datas)
        },
      },
    )
    const finished = tasks.finish(exits, oracleSet)
    expect(finished.map(({ status }) => status)).toEqual(['finished', 'failed', 'finished', 'finished'])
    expect(encrypted).toBe(3 * oracles.length)
  })
})
