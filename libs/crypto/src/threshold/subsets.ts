/**
 * The order in which subsets of shares are tried: every choice of `k` places out of `counts.length`, with one of `counts[p]` candidates
 * at each place. Nothing is stored but a table of `places × k` counts: combinations are numbered and written out one by one.
 */

import { randomBytes } from 'node:crypto'
import { bytesToNumber, type RandomBytes } from '../bls/scalar.ts'

/** Places in descending order, each with the candidate chosen there. */
export type Picks = readonly { position: number; candidate: number }[]

/**
 * ways[p][j]: in how many ways j of the first p places can be picked, candidates counted.
 *
 *     ways[p][j] = ways[p − 1][j] + counts[p − 1] · ways[p − 1][j − 1]
 */
function countWays(counts: readonly number[], k: number): bigint[][] {
  const ways = [[1n, ...Array.from({ length: k }, () => 0n)]]
  for (const count of counts) {
    const before = ways.at(-1) ?? []
    ways.push(before.map((without, j) => without + BigInt(count) * (before[j - 1] ?? 0n)))
  }
  return ways
}

/** The number-th of the ways to pick j of the first p places. */
function unrank(ways: readonly bigint[][], counts: readonly number[], p: number, j: number, number: bigint): Picks {
  const picks: { position: number; candidate: number }[] = []
  let rest = number
  for (let position = p - 1; picks.length < j; position--) {
    const without = ways[position]?.[j - picks.length] ?? 0n
    if (rest < without) continue
    rest -= without
    const count = BigInt(counts[position] ?? 1)
    picks.push({ position, candidate: Number(rest % count) })
    rest /= count
  }
  return picks
}

const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b))

/** 0 … size − 1, each once, far apart: steps of about 0.618 · size. */
function* spread(size: bigint): Generator<bigint> {
  let step = (size * 618n) / 1000n
  if (step === 0n) step = 1n
  while (gcd(step, size) !== 1n) step++
  let value = 0n
  for (let i = 0n; i < size; i++) {
    yield value
    value = (value + step) % size
  }
}

/**
 * Every choice once, those among the first places first: what lies within the first `p` places is tried before any later place is
 * looked at, so places invented after them cost nothing. Within a step the choices are spread.
 */
function* prefixOrder(ways: readonly bigint[][], counts: readonly number[], k: number): Generator<Picks> {
  for (let p = k; p <= counts.length; p++) {
    const without = ways[p - 1]?.[k] ?? 0n
    const size = (ways[p]?.[k] ?? 0n) - without
    for (const number of spread(size)) yield unrank(ways, counts, p, k, without + number)
  }
}

/** At most `limit` items, and how many were taken. */
function* counted<T>(items: Iterable<T>, limit: number): Generator<T, number> {
  let taken = 0
  if (limit <= 0) return taken
  for (const item of items) {
    yield item
    if (++taken >= limit) break
  }
  return taken
}

/**
 * At most `limit` choices. First those of first candidates only, then all. Where all of them are no more than `limit`, each comes exactly
 * once and the search is exhaustive; else first candidates get half of the attempts (three quarters where there are no others), all
 * candidates the next quarter, and uniformly random choices the rest.
 */
export function* subsetsToTry(
  counts: readonly number[],
  k: number,
  limit: number,
  random: RandomBytes = randomBytes,
): Generator<Picks> {
  if (k < 1 || counts.length < k) return
  const ones = counts.map(() => 1)
  const firstWays = countWays(ones, k)
  const several = counts.some((count) => count > 1)
  const ways = several ? countWays(counts, k) : firstWays
  const total = ways.at(-1)?.[k] ?? 0n
  const exhaustive = total <= BigInt(limit)

  const quarter = Math.ceil(limit / 4)
  const firstLimit = exhaustive ? limit : Math.min(limit, several ? 2 * quarter : 3 * quarter)
  let tried = yield* counted(prefixOrder(firstWays, ones, k), firstLimit)
  if (several) {
    const others = filtered(
      prefixOrder(ways, counts, k),
      (picks) => picks.some(({ candidate }) => candidate > 0),
      limit,
    )
    tried += yield* counted(others, (exhaustive ? limit : Math.min(limit, 3 * quarter)) - tried)
  }
  if (exhaustive) return
  const bytes = Math.ceil(total.toString(16).length / 2) + 8
  for (; tried < limit; tried++) {
    yield unrank(ways, counts, counts.length, k, bytesToNumber(random(bytes)) % total)
  }
}

/** The items that `keep` keeps; gives up after `patience` that it does not in a row. */
function* filtered<T>(items: Iterable<T>, keep: (item: T) => boolean, patience: number): Generator<T> {
  let skipped = 0
  for (const item of items) {
    if (keep(item)) {
      skipped = 0
      yield item
    } else if (++skipped > patience) return
  }
}
