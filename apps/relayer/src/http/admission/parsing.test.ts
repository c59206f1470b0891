import { setImmediate } from 'node:timers/promises'
import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'
import { afterEach, expect, it, vi } from 'vitest'
import { ownRounds } from '../../../../../test/support/event-loop.ts'
import { createParsing } from './parsing.ts'

afterEach(() => vi.restoreAllMocks())

const node = (name: string) => ({ group: 'sidecar', name })
const stranger = (name: string) => ({ group: 'stranger', name })

/** Turns whose rests end when the test says so. */
function made() {
  const rests: { ms: number; end: () => void }[] = []
  const parsing = createParsing(createRounds(1), (ms) => new Promise<void>((end) => rests.push({ ms, end })))
  const parsed: string[] = []
  const parse = (account: ReturnType<typeof node>, what: string) =>
    parsing.run(account, async () => {
      parsed.push(what)
      return what
    })
  /** Until nothing more can happen by itself: each body takes a round, and its rest begins in the next one. */
  const settled = async () => {
    for (let round = 0; round < 20; round++) await setImmediate()
  }
  return { parse, parsed, rests, settled, refused: parsing.refused }
}

/** Turns by a clock and by rounds that the test makes go on; rests take no time. */
function clocked() {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const { nextRound, goRound } = ownRounds()
  const rests: number[] = []
  const parsing = createParsing(createRounds(1, nextRound), async (ms) => void rests.push(ms))
  const pass = (ms: number): void => {
    now += ms
  }
  const goRounds = async (rounds: number, msBetween = 0) => {
    for (let round = 0; round < rounds; round++) {
      await setImmediate()
      pass(msBetween)
      await goRound()
    }
  }
  return { parsing, rests, pass, goRounds }
}

it('parses the bodies of one caller one after the other, with a rest between, and nobody waits for another’s', async () => {
  const { parse, parsed, rests, settled } = made()
  for (const what of ['a1', 'a2', 'a3']) void parse(node('a'), what)
  void parse(node('b'), 'b1')
  await settled()
  expect(parsed).toEqual(['a1', 'b1'])
  rests[0]?.end()
  await settled()
  expect(parsed).toEqual(['a1', 'b1', 'a2'])
  void parse(node('b'), 'b2')
  rests[2]?.end()
  await settled()
  expect(parsed).toEqual(['a1', 'b1', 'a2', 'a3'])
  rests[1]?.end()
  await settled()
  expect(parsed).toEqual(['a1', 'b1', 'a2', 'a3', 'b2'])
})

it('takes all strangers for one', async () => {
  const { parse, parsed, rests, settled } = made()
  for (const address of ['192.0.2.1', '192.0.2.2']) void parse(stranger(address), address)
  await settled()
  expect(parsed).toEqual(['192.0.2.1'])
  rests[0]?.end()
  await settled()
  expect(parsed).toEqual(['192.0.2.1', '192.0.2.2'])
})

it('hands out what was parsed before the rest, throws what parsing throws, and rests a multiple of the time it took', async () => {
  const { parse, rests, settled } = made()
  expect(await parse(node('a'), 'a1')).toBe('a1')
  const ended: number[] = []
  const parsing = createParsing(createRounds(1), async (ms) => void ended.push(ms))
  const busy = () => {
    for (const start = performance.now(); performance.now() - start < 5; );
  }
  await expect(
    parsing.run(node('a'), async () => {
      busy()
      throw new Error('is not JSON')
    }),
  ).rejects.toThrow('is not JSON')
  expect(await parsing.run(node('a'), async () => 1)).toBe(1)
  await settled()
  expect(ended[0]).toBeGreaterThanOrEqual(15)
  expect(rests).toHaveLength(1)
})

it('hands out what was parsed in another round than it was parsed in', async () => {
  const { nextRound, goRound } = ownRounds()
  const parsing = createParsing(createRounds(1, nextRound), async () => {})
  const seen: string[] = []
  const answer = parsing.run(node('a'), async () => seen.push('parsed')).then(() => seen.push('handed out'))
  await setImmediate()
  expect(seen).toEqual([])
  await goRound()
  expect(seen).toEqual(['parsed'])
  await goRound()
  expect(seen).toEqual(['parsed', 'handed out'])
  await answer
})

it('parses the pieces of a body in a round each, and others’ between them, and rests for its own time alone', async () => {
  const { parsing, rests, pass, goRounds } = clocked()
  const seen: string[] = []
  const pieces = (name: string) =>
    parsing.run(node(name), async (between) => {
      for (const piece of [1, 2, 3]) {
        seen.push(`${name}${piece}`)
        pass(5)
        if (piece < 3) await between()
      }
    })
  const all = Promise.all([pieces('a'), pieces('b')])
  await goRounds(8, 1000)
  await all
  expect(seen).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'b3'])
  await expect.poll(() => rests).toEqual([45, 45])
})

it('rests longer after bodies of strangers, and for no longer than 200 ms', async () => {
  const { parsing, rests, pass, goRounds } = clocked()
  const callers = [node('a'), stranger('192.0.2.1')]
  for (const tookMs of [4, 70]) {
    const all = Promise.all(callers.map((account) => parsing.run(account, async () => pass(tookMs))))
    await goRounds(4)
    await all
  }
  await expect.poll(() => rests).toEqual([12, 40, 200, 200])
})

it('has a known caller wait for a body that was refused, by its size and not by how slow the machine is', async () => {
  const rests: number[] = []
  const parsing = createParsing(createRounds(1), async (ms) => void rests.push(ms))
  parsing.refused(node('a'), { bytes: 2_000_000, values: 0 })
  parsing.refused(node('a'), { bytes: 0, values: 80_000 })
  parsing.refused(node('a'), { bytes: 16_000_000, values: 400_000 })
  // All of them are one line.
  parsing.refused(stranger('192.0.2.1'), { bytes: 16_000_000, values: 400_000 })
  await expect.poll(() => rests).toEqual([2000, 2000, 10_000])
})

it('parses the next body of who was refused when that rest is over, and others’ at once', async () => {
  const { parse, parsed, rests, settled, refused } = made()
  refused(node('a'), { bytes: 2_000_000, values: 0 })
  void parse(node('a'), 'a1')
  void parse(node('b'), 'b1')
  await settled()
  expect(parsed).toEqual(['b1'])
  rests.find(({ ms }) => ms === 2000)?.end()
  await settled()
  expect(parsed).toEqual(['b1', 'a1'])
})
