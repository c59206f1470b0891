import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import type { BlsEngine } from '../bls/bls.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { createNobleEngine } from '../bls/noble.ts'
import { GROUP_ORDER, modOrder, scalarBytes } from '../bls/scalar.ts'
import {
  ATTEMPTS_9_OF_13,
  type RecoverRequest,
  type RecoverResult,
  recoverSignature,
  recoverSignatures,
} from './recover.ts'
import { subsetsToTry } from './subsets.ts'

interface Share {
  share_index: string
  public_key: string
  partial_signature: string
}
interface NegativeCase {
  name: string
  threshold: string
  message_root: string
  public_key: string
  shares: { share_index: string; partial_signature: string }[]
  expected: string
  bad_share_indexes: string[]
  signature?: string
}
const vectors = readFixtureJson('vectors/threshold.json') as {
  cases: {
    name: string
    threshold: string
    message_root: string
    public_key: string
    signature: string
    shares: Share[]
  }[]
  negative_cases: NegativeCase[]
  bad_signatures: { name: string; bytes: string }[]
}

const blst = createBlstEngine()
/** A point of the curve that is none of the group. */
const outside = fromHex(vectors.bad_signatures.find(({ name }) => name === 'not_in_the_subgroup')?.bytes ?? '')
const noble = createNobleEngine()
const message = Buffer.alloc(32, 9)

function candidatesOf(shares: readonly { share_index: string; partial_signature: string }[]) {
  const candidates = new Map<bigint, Uint8Array[]>()
  for (const { share_index, partial_signature } of shares) {
    const index = BigInt(share_index)
    candidates.set(index, [...(candidates.get(index) ?? []), fromHex(partial_signature)])
  }
  return candidates
}

/** A cluster of any shape. */
function makeCluster(threshold: number, indexes: readonly bigint[], seed = 1n) {
  const coefficients = Array.from({ length: threshold }, (_, i) => modOrder((seed + BigInt(i)) ** 31n + 12345n))
  const at = (x: bigint) =>
    scalarBytes(coefficients.reduceRight((sum, coefficient) => modOrder(sum * x + coefficient), 0n))
  const right = new Map(indexes.map((index) => [index, blst.sign(at(index), message)]))
  return {
    request: {
      message,
      publicKey: blst.publicKeyOf(at(0n)),
      threshold,
      candidates: new Map([...right].map(([index, signature]) => [index, [signature]])),
      maxAttempts: 1000,
    } satisfies RecoverRequest,
    right,
    keys: new Map(indexes.map((index) => [index, blst.publicKeyOf(at(index))])),
    signature: blst.sign(at(0n), message),
  }
}
const upTo = (n: number) => Array.from({ length: n }, (_, i) => BigInt(i + 1))
const noise = (number: number | bigint) => blst.sign(scalarBytes(BigInt(number) + 777n), message)

/** The engine, counting pairing checks. */
function counting(engine: BlsEngine) {
  const counts = { verified: 0, triples: 0 }
  const counted: BlsEngine = {
    ...engine,
    verify: (...args) => {
      counts.verified++
      return engine.verify(...args)
    },
    verifyBatch: (triples) => {
      counts.triples += triples.length
      return engine.verifyBatch(triples)
    },
  }
  return { engine: counted, counts }
}

function assertRecovered(result: RecoverResult): asserts result is RecoverResult & { status: 'recovered' } {
  expect(result.status).toBe('recovered')
}

describe.each([blst, noble])('$name: vectors', (engine) => {
  const cases = engine === blst ? vectors.cases : vectors.cases.slice(0, 2)
  it.each(cases)('$name, shares known and unknown', (vector) => {
    const request: RecoverRequest = {
      message: fromHex(vector.message_root),
      publicKey: fromHex(vector.public_key),
      threshold: Number(vector.threshold),
      candidates: candidatesOf(vector.shares),
      maxAttempts: 10,
    }
    const knownShares = new Map(vector.shares.map((share) => [BigInt(share.share_index), fromHex(share.public_key)]))
    for (const result of [recoverSignature(engine, request), recoverSignature(engine, { ...request, knownShares })]) {
      assertRecovered(result)
      expect(toHex(result.signature)).toBe(vector.signature)
      expect(result).toMatchObject({ wrong: [], unjudged: [], attempts: 1 })
      expect(result.right.size).toBe(vector.shares.length)
    }
  })

  const negatives = vectors.negative_cases.filter(({ expected }) => expected === 'signature_from_the_others')
  it.each(engine === blst ? negatives : negatives.slice(0, 2))('$name', (vector) => {
    const result = recoverSignature(engine, {
      message: fromHex(vector.message_root),
      publicKey: fromHex(vector.public_key),
      threshold: Number(vector.threshold),
      candidates: candidatesOf(vector.shares),
      maxAttempts: 1000,
    })
    assertRecovered(result)
    expect(toHex(result.signature)).toBe(vector.signature)
    expect(result.wrong.map(({ index }) => String(index)).sort()).toEqual([...vector.bad_share_indexes].sort())
  })
})

describe('negative vectors', () => {
  const of = (expected: string) => vectors.negative_cases.filter((vector) => vector.expected === expected)
  const requestOf = (vector: NegativeCase): RecoverRequest => ({
    message: fromHex(vector.message_root),
    publicKey: fromHex(vector.public_key),
    threshold: Number(vector.threshold),
    candidates: candidatesOf(vector.shares),
    maxAttempts: 1000,
  })

  it.each(of('too_few_shares'))('$name', (vector) => {
    expect(recoverSignature(blst, requestOf(vector))).toMatchObject({ status: 'not_enough', wrong: [] })
  })

  it.each(of('not_enough_right_shares'))('$name', (vector) => {
    expect(recoverSignature(blst, requestOf(vector))).toMatchObject({ status: 'not_found', wrong: [] })
  })

  it.each(of('not_enough_right_shares'))('$name: known public key shares name the bad ones', (vector) => {
    const whole = vectors.cases.find(({ public_key }) => public_key === vector.public_key)
    const knownShares = new Map(whole?.shares.map((share) => [BigInt(share.share_index), fromHex(share.public_key)]))
    const result = recoverSignature(blst, { ...requestOf(vector), knownShares })
    expect(result.status).toBe('not_enough')
    const wrong = result.wrong.map(({ index }) => String(index))
    expect(wrong.sort()).toEqual([...vector.bad_share_indexes].sort())
  })

  it.each(of('invalid_point'))('$name: dropped at once', (vector) => {
    const result = recoverSignature(blst, requestOf(vector))
    expect(result.wrong.map(({ index }) => String(index))).toEqual(vector.bad_share_indexes)
  })

  it.each(of('zero_index'))('$name', (vector) => {
    expect(() => recoverSignature(blst, requestOf(vector))).toThrow(
      expect.objectContaining({ code: 'SHARE_INDEX_ZERO' }),
    )
  })
})

describe('shares known', () => {
  it('proves a whole batch with one check of threshold triples each', () => {
    const clusters = [1n, 2n, 3n].map((seed) => makeCluster(3, upTo(4), seed))
    const { engine, counts } = counting(blst)
    const results = recoverSignatures(
      engine,
      clusters.map(({ request, keys }) => ({ ...request, knownShares: keys })),
    )
    results.forEach((result, i) => {
      assertRecovered(result)
      expect(result.signature).toEqual(clusters[i]?.signature)
      expect(result.right).toEqual(clusters[i]?.right)
    })
    expect(counts).toEqual({ verified: 0, triples: 9 })
  })

  it('takes whatever candidates are right and names the others', () => {
    const cluster = makeCluster(3, [5n, 128n, 1402n, 9000n])
    const candidates = new Map<bigint, Uint8Array[]>([
      [5n, [noise(1), cluster.right.get(5n) ?? noise(0)]],
      [128n, [new Uint8Array(96)]],
      [1402n, [cluster.right.get(1402n) ?? noise(0)]],
      [9000n, [cluster.right.get(9000n) ?? noise(0), noise(2), new Uint8Array(3)]],
    ])
    const result = recoverSignature(blst, { ...cluster.request, candidates, knownShares: cluster.keys })
    assertRecovered(result)
    expect(result.signature).toEqual(cluster.signature)
    expect([...result.right.keys()]).toEqual([5n, 1402n, 9000n])
    expect(result.wrong.map(({ index }) => index)).toEqual([5n, 128n, 9000n, 9000n])
  })

  it('leaves candidates at unknown indexes out and judges them afterwards', () => {
    const cluster = makeCluster(2, upTo(4))
    const knownShares = new Map([...cluster.keys].slice(0, 2))
    const candidates = new Map(cluster.request.candidates).set(4n, [noise(4), cluster.right.get(4n) ?? noise(0)])
    const result = recoverSignature(blst, { ...cluster.request, candidates, knownShares })
    assertRecovered(result)
    expect(result.right.get(4n)).toEqual(cluster.right.get(4n))
    expect(result.wrong).toEqual([{ index: 4n, signature: noise(4) }])
    candidates.delete(1n)
    expect(recoverSignature(blst, { ...cluster.request, candidates, knownShares }).status).toBe('not_enough')
  })

  it('is not fooled by shares whose errors cancel in the sum', () => {
    // Factors of 1, 2, 3 are 3, −3, 1: errors e, e and 0 give the right signature from two wrong shares.
    const cluster = makeCluster(3, upTo(3))
    const shifted = (index: bigint) => [blst.addSignatures([cluster.right.get(index) ?? noise(0), noise(5)])]
    const candidates = new Map(cluster.request.candidates).set(1n, shifted(1n)).set(2n, shifted(2n))
    expect(
      blst.interpolateSignatures([...candidates].map(([index, [point = noise(0)]]) => ({ index, point }))),
    ).toEqual(cluster.signature)
    const result = recoverSignature(blst, { ...cluster.request, candidates, knownShares: cluster.keys })
    expect(result).toMatchObject({ status: 'not_enough', wrong: [{ index: 1n }, { index: 2n }] })
  })

  it('does not find a signature where the known shares do not fit the key', () => {
    const [cluster, other] = [makeCluster(2, upTo(3)), makeCluster(2, upTo(3), 9n)]
    const request = { ...cluster.request, publicKey: other.request.publicKey, knownShares: cluster.keys }
    expect(recoverSignature(blst, request)).toMatchObject({ status: 'not_found', wrong: [] })
  })
})

describe('shares known, some verified before', () => {
  const cluster = makeCluster(3, upTo(5), 41n)
  const { request, keys, right, signature } = cluster
  const known = { ...request, knownShares: keys }
  const of = (...indexes: bigint[]) => new Set(indexes)
  const shifted = (index: bigint, by: Uint8Array) => blst.addSignatures([right.get(index) ?? by, by])

  it.each([
    ['none', of(), undefined, 3],
    ['one', of(4n), undefined, 2],
    ['all but one of a base', of(2n, 5n), undefined, 1],
    ['a base', of(1n, 3n, 5n), undefined, 1],
    ['none, the signature known', of(), signature, 2],
    ['all but one of a base, the signature known', of(2n, 5n), signature, 0],
    ['a base, the signature known', of(1n, 3n, 5n), signature, 0],
  ])('%s: what was verified is not checked again', (_, verified, full, triples) => {
    const { engine, counts } = counting(blst)
    const result = recoverSignature(engine, { ...known, verified, ...(full !== undefined && { signature: full }) })
    assertRecovered(result)
    expect(result).toMatchObject({ signature, right, wrong: [] })
    // A check of one is no batch.
    expect(counts.verified + counts.triples).toBe(triples)
  })

  it('judges by the polynomial what came late, without a check', () => {
    const { engine, counts } = counting(blst)
    const candidates = new Map(request.candidates).set(4n, [noise(4)])
    const result = recoverSignature(engine, { ...known, candidates, verified: of(1n, 2n, 3n), signature })
    assertRecovered(result)
    expect([...result.right.keys()]).toEqual([1n, 2n, 3n, 5n])
    expect(result.wrong).toEqual([{ index: 4n, signature: noise(4) }])
    expect(counts).toEqual({ verified: 0, triples: 0 })
  })

  it.each([
    ['none', of()],
    ['one', of(3n)],
    ['the right ones', of(3n, 4n)],
  ])('is not fooled by two whose errors cancel in the sum, with %s verified', (_, verified) => {
    // 3·S_1 − 3·S_2 + S_3 is the signature: equal errors at 1 and 2 cancel there.
    const error = noise(5)
    const candidates = new Map(request.candidates).set(1n, [shifted(1n, error)]).set(2n, [shifted(2n, error)])
    for (const left of [upTo(3), upTo(4), upTo(5)]) {
      const some = new Map([...candidates].filter(([index]) => left.includes(index)))
      for (const full of [undefined, signature]) {
        const ownVerified = new Set([...verified].filter((index) => left.includes(index)))
        const result = recoverSignature(blst, {
          ...known,
          candidates: some,
          verified: ownVerified,
          ...(full !== undefined && { signature: full }),
        })
        expect(result.wrong.map(({ index }) => index)).toEqual([1n, 2n])
        expect(result.status).toBe(left.length === 5 ? 'recovered' : 'not_enough')
        if (result.status !== 'not_found') expect([...result.right.keys()].sort()).toEqual(left.slice(2))
      }
    }
  })

  it('is not fooled by errors that cancel over a batch', () => {
    const other = makeCluster(3, upTo(5), 42n)
    const [plus, [minus = noise(6)]] = [noise(6), blst.combineSignatures([noise(6)], [[-1n]])]
    const first = new Map(request.candidates).set(1n, [shifted(1n, plus)])
    const second = new Map<bigint, Uint8Array[]>(other.request.candidates)
    second.set(1n, [blst.addSignatures([other.right.get(1n) ?? plus, minus])])
    for (const result of recoverSignatures(blst, [
      { ...known, candidates: first },
      { ...other.request, knownShares: other.keys, candidates: second },
    ]))
      expect(result).toMatchObject({ status: 'recovered', wrong: [{ index: 1n }] })
  })

  it('a wrong one beside those verified names itself and no other', () => {
    const candidates = new Map(request.candidates).set(3n, [noise(3)])
    candidates.delete(4n)
    candidates.delete(5n)
    const { engine, counts } = counting(blst)
    const result = recoverSignature(engine, { ...known, candidates, verified: of(1n, 2n) })
    expect(result).toEqual({
      status: 'not_enough',
      right: new Map([...right].slice(0, 2)),
      wrong: [{ index: 3n, signature: noise(3) }],
    })
    // The full signature, and the one that nobody had verified.
    expect(counts).toEqual({ verified: 1, triples: 1 })
  })

  it('a signature that is not theirs judges nothing: each is checked by itself', () => {
    const { engine, counts } = counting(blst)
    const foreign = makeCluster(3, upTo(5), 43n)
    const result = recoverSignature(engine, { ...known, verified: of(1n, 2n), signature: foreign.signature })
    expect(result).toMatchObject({ status: 'recovered', signature, right })
    expect(counts.triples).toBe(3)
  })

  it('parts of small order make no share right, wherever they stand', () => {
    const [, small = outside] = blst.combineSignatures([outside], [[(GROUP_ORDER - 1n) / 2n], [1n, 2n]])
    for (const index of upTo(3)) {
      const [point = small] = blst.combineSignatures([right.get(index) ?? small, small], [[1n, 1n]])
      const candidates = new Map(request.candidates).set(index, [point])
      for (const verified of [of(), of(4n)]) {
        const result = recoverSignature(blst, { ...known, candidates, verified })
        assertRecovered(result)
        expect(result.wrong.map((one) => one.index)).toEqual([index])
      }
    }
  })

  it.each([blst, noble])('$name: a part of order 13 that a factor of 13 takes away makes no share right', (engine) => {
    const { request: of13, keys: knownShares, right: rightOf13, signature: full } = makeCluster(2, [13n, 14n, 15n], 32n)
    const part = partOfOrder13()
    const [point = part] = blst.combineSignatures([rightOf13.get(14n) ?? part, part], [[1n, 1n]])
    const candidates = new Map([...of13.candidates, [14n, [point]]])
    // 14·S_13 − 13·S_14 is the signature all the same.
    const base = [13n, 14n].map((index) => candidates.get(index)?.[0] ?? part)
    expect(blst.combineSignatures(base, [[14n, -13n]])).toEqual([full])
    const result = recoverSignature(engine, { ...of13, knownShares, candidates })
    assertRecovered(result)
    expect(result.signature).toEqual(full)
    expect([...result.right.keys()]).toEqual([13n, 15n])
    expect(result.wrong.map(({ index }) => index)).toEqual([14n])
  })
})

/** Thirteen times this point is infinity: 13² is a factor of the cofactor of G2. */
function partOfOrder13(): Uint8Array {
  const cofactor =
    0x5d543a95414e7f1091d50792876a202cd91de4547085abaa68a205b2e5a7ddfa628f1cb4d9e82ef21537e293a6691ae1616ec6e786f0c70cf1c38e31c7238e5n
  let part: Uint8Array | undefined
  for (const digit of ((GROUP_ORDER * cofactor) / 169n).toString(16)) {
    const more = BigInt(`0x${digit}`)
    ;[part] =
      part === undefined
        ? blst.combineSignatures([outside], [[more]])
        : blst.combineSignatures([part, outside], [[16n, more]])
  }
  if (part === undefined || blst.combineSignatures([part], [[13n]])[0] !== undefined) throw new Error('not of order 13')
  return part
}

describe('a batch', () => {
  /** Requests that end in every way there is; each is right or wrong by itself. */
  const kinds = () => {
    const whole = makeCluster(3, upTo(4), 11n)
    // In every base of three consecutive indexes of four: no guess is right.
    const spoilt = makeCluster(3, upTo(4), 12n)
    const short = makeCluster(3, upTo(4), 13n)
    const searched = makeCluster(2, upTo(3), 14n)
    const foreign = makeCluster(2, upTo(3), 15n)
    const withWrong = ({ request, keys }: ReturnType<typeof makeCluster>, ...wrong: bigint[]) => ({
      ...request,
      knownShares: keys,
      candidates: new Map<bigint, readonly Uint8Array[]>([
        ...request.candidates,
        ...wrong.map((index) => [index, [noise(index)]] as const),
      ]),
    })
    return {
      whole: withWrong(whole),
      'one wrong share': withWrong(spoilt, 2n),
      'two wrong shares': withWrong(short, 2n, 3n),
      'shares unknown': searched.request,
      'another key': { ...withWrong(foreign), publicKey: whole.request.publicKey },
    } satisfies Record<string, RecoverRequest>
  }
  const statuses = {
    whole: 'recovered',
    'one wrong share': 'recovered',
    'two wrong shares': 'not_enough',
    'shares unknown': 'recovered',
    'another key': 'not_found',
  }

  it('says of each request what it says of that alone, wherever it stands', () => {
    const requests = Object.values(kinds())
    const alone = requests.map((request) => recoverSignature(blst, request))
    expect(alone.map(({ status }) => status)).toEqual(Object.values(statuses))
    for (let turn = 0; turn < requests.length; turn++) {
      const rotate = <T>(list: readonly T[]) => [...list.slice(turn), ...list.slice(0, turn)]
      const results = recoverSignatures(blst, rotate(requests))
      expect(results).toEqual(rotate(alone))
      // Of two alike the second is no copy of what the first was told.
      expect(recoverSignatures(blst, rotate(requests).toReversed())).toEqual(rotate(alone).toReversed())
    }
  })

  it('never calls a wrong signature recovered because the request before it was right', () => {
    const { whole, 'one wrong share': wrong, 'another key': foreign } = kinds()
    for (const requests of [
      [whole, wrong],
      [whole, foreign],
      [whole, whole, foreign, wrong],
    ])
      recoverSignatures(blst, requests).forEach((result, position) => {
        if (result.status !== 'recovered') return
        const { publicKey, message: root } = requests[position] ?? whole
        expect(blst.verify(publicKey, root, result.signature)).toBe(true)
      })
  })
})

describe('a batch of unknown shares', () => {
  const clusters = [21n, 22n, 23n, 24n].map((seed) => makeCluster(3, upTo(4), seed))
  const requests = clusters.map(({ request }): RecoverRequest => request)
  const withFirst = (request: RecoverRequest, index: bigint, listed: readonly Uint8Array[]): RecoverRequest => ({
    ...request,
    candidates: new Map(request.candidates).set(index, listed),
  })

  it('has its full signatures verified in one check, each once', () => {
    const { engine, counts } = counting(blst)
    recoverSignatures(engine, requests).forEach((result, i) => {
      assertRecovered(result)
      expect(result).toMatchObject({
        signature: clusters[i]?.signature,
        right: clusters[i]?.right,
        wrong: [],
        attempts: 1,
      })
    })
    expect(counts).toEqual({ verified: 0, triples: requests.length })
  })

  it('a wrong one costs only itself, and no attempt is made twice', () => {
    const bad = requests.map((request, i) => (i === 2 ? withFirst(request, 1n, [noise(1)]) : request))
    const { engine, counts } = counting(blst)
    const results = recoverSignatures(engine, bad)
    expect(results.map((result) => result.status === 'recovered' && result.attempts)).toEqual([1, 1, 4, 1])
    expect(results[2]).toMatchObject({ signature: clusters[2]?.signature, wrong: [{ index: 1n }] })
    expect(results).toEqual(bad.map((request) => recoverSignature(blst, request)))
    // The search's own: the multiples that its three other subsets give, then the signature.
    expect(counts).toEqual({ verified: 4, triples: requests.length })
  })

  it('however many candidates were invented, a guess that is wrong costs one sum, and each attempt one', () => {
    const [request] = requests
    if (request === undefined) throw new Error('no clusters')
    const candidates = new Map(upTo(60).map((index) => [index, [noise(index)]]))
    let sums = 0
    const engine: BlsEngine = {
      ...blst,
      combineSignatures: (points, rows) => {
        sums += rows.length
        return blst.combineSignatures(points, rows)
      },
    }
    const result = recoverSignature(engine, { ...request, candidates, maxAttempts: 10 })
    expect(result).toMatchObject({ status: 'not_found', attempts: 10 })
    // The first attempt is the guess, and is not made again.
    expect(sums).toBe(10)
  })

  it('no guess is taken whose signature is another key’s or another message’s', () => {
    const [one, other] = requests
    if (one === undefined || other === undefined) throw new Error('no clusters')
    const mixed = [
      { ...one, publicKey: other.publicKey },
      { ...other, publicKey: one.publicKey },
    ]
    expect(recoverSignatures(blst, mixed).map(({ status }) => status)).toEqual(['not_found', 'not_found'])
    const elsewhere = { ...one, message: Buffer.alloc(32, 8) }
    expect(recoverSignatures(blst, [one, elsewhere]).map(({ status }) => status)).toEqual(['recovered', 'not_found'])
  })

  it('is not fooled by errors that cancel over the batch', () => {
    const [one, other] = requests
    if (one === undefined || other === undefined) throw new Error('no clusters')
    const error = noise(70)
    const [minus = error] = blst.combineSignatures([error], [[-1n]])
    const shifted = (request: RecoverRequest, by: Uint8Array) =>
      withFirst(request, 1n, [blst.addSignatures([request.candidates.get(1n)?.[0] ?? error, by])])
    const results = recoverSignatures(blst, [shifted(one, error), shifted(other, minus)])
    for (const result of results)
      expect(result).toMatchObject({ status: 'recovered', attempts: 4, wrong: [{ index: 1n }] })
  })

  it.each([blst, noble])('$name: parts of small order that cancel in the sum make no share right', (engine) => {
    const { request, right, signature } = makeCluster(2, upTo(4), 31n)
    // r times the point: what is left has no part in the subgroup.
    const [, small = outside] = blst.combineSignatures([outside], [[(GROUP_ORDER - 1n) / 2n], [1n, 2n]])
    const shifted = (index: bigint, factor: bigint) => {
      const [point = small] = blst.combineSignatures([right.get(index) ?? small, small], [[1n, factor]])
      return [point]
    }
    // 2·S_1 − S_2 is the signature.
    const candidates = new Map([...request.candidates, [1n, shifted(1n, 1n)], [2n, shifted(2n, 2n)]])
    const base = [1n, 2n].map((index) => candidates.get(index)?.[0] ?? small)
    expect(blst.combineSignatures(base, [[2n, -1n]])).toEqual([signature])
    const result = recoverSignature(engine, { ...request, candidates })
    assertRecovered(result)
    expect(result.signature).toEqual(signature)
    expect([...result.right.keys()]).toEqual([3n, 4n])
    expect(result.wrong.map(({ index }) => index).sort()).toEqual([1n, 2n])
  })
})

describe('shares unknown', () => {
  it('any choice of wrong ones is found and named while threshold right ones remain', () => {
    const shape = fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.nat(2), fc.boolean())
      .map(([threshold, spare, gaps]) => ({ threshold, n: threshold + spare, gaps }))
    fc.assert(
      fc.property(shape, fc.array(fc.nat(5), { maxLength: 4 }), ({ threshold, n, gaps }, bad) => {
        const cluster = makeCluster(threshold, gaps ? upTo(n).map((x) => x * 137n + 5n) : upTo(n))
        const wrong = [...cluster.right.keys()].filter((_, i) => bad.includes(i)).slice(0, n - threshold)
        const candidates = new Map(cluster.request.candidates)
        for (const index of wrong) candidates.set(index, [noise(index)])
        const result = recoverSignature(blst, { ...cluster.request, candidates })
        assertRecovered(result)
        expect(result.signature).toEqual(cluster.signature)
        expect(result.wrong.map(({ index }) => index)).toEqual(wrong)
        expect(result.right.size).toBe(n - wrong.length)
      }),
      { numRuns: 20 },
    )
  })

  it('finds 9 of 13 with four hostile within 715 attempts, where the right nine are the last to be tried', () => {
    const cluster = makeCluster(9, upTo(13))
    const last = [...subsetsToTry(Array<number>(13).fill(1), 9, ATTEMPTS_9_OF_13)].at(-1) ?? []
    const honest = last.map(({ position }) => BigInt(position + 1))
    const hostile = upTo(13).filter((index) => !honest.includes(index))
    const candidates = new Map(cluster.request.candidates)
    for (const index of hostile) candidates.set(index, [noise(index)])
    const result = recoverSignature(blst, { ...cluster.request, candidates, maxAttempts: ATTEMPTS_9_OF_13 })
    assertRecovered(result)
    expect(result.attempts).toBe(ATTEMPTS_9_OF_13)
    expect(result.wrong.map(({ index }) => index)).toEqual(hostile)
  })

  it('gives up after the attempts it was given', () => {
    const cluster = makeCluster(3, upTo(6))
    const candidates = new Map(upTo(6).map((index) => [index, [noise(index), noise(index + 50n)]]))
    const { engine, counts } = counting(blst)
    // The last quarter is drawn: here no choice twice.
    let drawn = 70
    const random = (length: number) => new Uint8Array(length).fill(drawn++, -1)
    const request = { ...cluster.request, candidates, maxAttempts: 12, random }
    expect(recoverSignature(engine, request)).toEqual({ status: 'not_found', wrong: [], attempts: 12 })
    expect(counts.verified).toBe(12)
  })

  it('finds right ones behind others at the same index', () => {
    const cluster = makeCluster(2, upTo(3))
    const behind = (index: bigint) => [noise(index), noise(index + 9n), cluster.right.get(index) ?? noise(0)]
    const candidates = new Map(upTo(3).map((index) => [index, behind(index)]))
    const result = recoverSignature(blst, { ...cluster.request, candidates })
    assertRecovered(result)
    expect(result.right).toEqual(cluster.right)
    expect(result.wrong).toHaveLength(6)
  })

  it('is not held up by hundreds of invented indexes, and says which candidates it did not judge', () => {
    const cluster = makeCluster(2, upTo(3))
    const candidates = new Map(cluster.request.candidates).set(1n, [noise(1)])
    for (let index = 100n; index < 400n; index++) candidates.set(index, [noise(3)])
    const result = recoverSignature(blst, { ...cluster.request, candidates })
    assertRecovered(result)
    expect(result.attempts).toBeLessThanOrEqual(3)
    expect([...result.right.keys()]).toEqual([2n, 3n])
    expect(result.wrong).toHaveLength(256)
    expect(result.unjudged).toHaveLength(301 - 256)
  })

  it('tries what verifies under a hint first, and lets no hint refuse anything', () => {
    const cluster = makeCluster(5, upTo(7))
    const candidates = new Map(
      [...cluster.request.candidates].map(([index, listed]) => [index, [noise(index), ...listed]]),
    )
    const liar = new Map(upTo(7).map((index) => [index, blst.publicKeyOf(scalarBytes(BigInt(index) + 777n))]))
    const request = { ...cluster.request, candidates, maxAttempts: 2 }
    expect(recoverSignature(blst, { ...request, hints: [liar] }).status).toBe('not_found')
    const result = recoverSignature(blst, { ...request, hints: [liar, cluster.keys] })
    assertRecovered(result)
    expect(result).toMatchObject({ attempts: 2, right: cluster.right })
    expect(recoverSignature(blst, { ...cluster.request, hints: [liar] }).status).toBe('recovered')
  })

  it('tries the likely indexes before all others, and lets them refuse nothing', () => {
    const { request, right, signature } = makeCluster(3, [101n, 102n, 103n])
    const candidates = new Map<bigint, Uint8Array[]>(request.candidates)
    for (const index of upTo(64)) candidates.set(index, [noise(index)])
    const result = recoverSignature(blst, { ...request, candidates, likely: [103n, 101n, 102n], maxAttempts: 1 })
    assertRecovered(result)
    expect(result).toMatchObject({ signature, right, attempts: 1, unjudged: [] })
    expect(result.wrong).toHaveLength(64)
    for (const likely of [[1n, 2n, 3n], [101n, 102n, 999n], [101n], []])
      expect(recoverSignature(blst, { ...request, likely })).toMatchObject({ status: 'recovered', signature })
  })

  it('counts likely indexes and hints among the attempts it was given', () => {
    const { request, keys } = makeCluster(3, upTo(3))
    const behind = new Map([...request.candidates].map(([index, listed]) => [index, [noise(index), ...listed]]))
    const likely = upTo(3)
    const helped = { ...request, likely, hints: [keys] }
    expect(recoverSignature(blst, { ...helped, maxAttempts: 0 })).toMatchObject({ status: 'not_found', attempts: 0 })
    const misled = { ...helped, candidates: behind }
    expect(recoverSignature(blst, { ...misled, maxAttempts: 1 })).toMatchObject({ status: 'not_found', attempts: 1 })
    expect(recoverSignature(blst, { ...misled, maxAttempts: 2 })).toMatchObject({ status: 'recovered', attempts: 2 })
  })

  it('spends nothing on hints with more candidates than a cluster has', () => {
    const cluster = makeCluster(2, upTo(53))
    const { engine, counts } = counting(blst)
    const hints = Array.from({ length: 9 }, () => cluster.keys)
    expect(recoverSignature(engine, { ...cluster.request, hints }).status).toBe('recovered')
    expect(counts.triples).toBe(0)
    const most = [...cluster.request.candidates].slice(0, 52)
    const asked = { ...cluster.request, hints: [cluster.keys], candidates: new Map(most) }
    expect(recoverSignature(engine, asked).status).toBe('recovered')
    expect(counts.triples).toBe(52)
    counts.triples = 0
    const few = new Map([...cluster.keys].slice(0, 1))
    recoverSignature(engine, { ...cluster.request, hints: hints.map(() => few) })
    expect(counts.triples).toBe(8)
  })

  it('fewer known shares than the threshold still narrow the search', () => {
    const cluster = makeCluster(3, upTo(4))
    const candidates = new Map(cluster.request.candidates).set(1n, [noise(1), cluster.right.get(1n) ?? noise(0)])
    const knownShares = new Map([...cluster.keys].slice(0, 2))
    const result = recoverSignature(blst, { ...cluster.request, candidates, knownShares, maxAttempts: 1 })
    assertRecovered(result)
    expect(result.right).toEqual(cluster.right)
    expect(result.wrong).toEqual([{ index: 1n, signature: noise(1) }])
  })

  it('two who bend the polynomial together cannot make it overrule what was checked', () => {
    const { request, right, keys, signature } = makeCluster(3, upTo(5))
    // 3·S_1 − 3·S_2 + S_3 is the signature: equal errors at 1 and 2 cancel there, and nowhere else.
    const bend = (index: bigint) => blst.addSignatures([right.get(index) ?? noise(0), noise(9)])
    const candidates = new Map([...request.candidates, [1n, [bend(1n)]], [2n, [bend(2n)]]])
    const blind = recoverSignature(blst, { ...request, candidates })
    assertRecovered(blind)
    expect(blind.signature).toEqual(signature)
    expect([...blind.right.keys()]).toEqual([1n, 2n, 3n])

    const knownShares = new Map([...keys].slice(4))
    const result = recoverSignature(blst, { ...request, candidates, knownShares })
    assertRecovered(result)
    expect(result.signature).toEqual(signature)
    expect(result.right).toEqual(new Map([[5n, right.get(5n)]]))
    expect(result.wrong).toEqual([])
    expect(result.unjudged.map(({ index }) => index)).toEqual([1n, 2n, 3n, 4n])
  })

  it('passes over subsets whose interpolation is infinity', () => {
    const cluster = makeCluster(2, upTo(3))
    const [five, ten] = [5n, 10n].map((number) => blst.sign(scalarBytes(number), message))
    const candidates = new Map(cluster.request.candidates)
      .set(1n, [five ?? noise(0), cluster.right.get(1n) ?? noise(0)])
      .set(2n, [ten ?? noise(0), cluster.right.get(2n) ?? noise(0)])
    expect(recoverSignature(blst, { ...cluster.request, candidates }).status).toBe('recovered')
  })

  it('an invalid public key is never recovered for', () => {
    const cluster = makeCluster(2, upTo(3))
    expect(recoverSignature(blst, { ...cluster.request, publicKey: new Uint8Array(48) }).status).not.toBe('recovered')
  })

  it('refuses indexes that are equal modulo the group order', () => {
    const cluster = makeCluster(2, upTo(2))
    const candidates = new Map(cluster.request.candidates).set(GROUP_ORDER + 1n, [noise(1)])
    candidates.delete(2n)
    expect(() => recoverSignature(blst, { ...cluster.request, candidates })).toThrow(
      expect.objectContaining({ code: 'SHARE_INDEX_DUPLICATE' }),
    )
  })
})
