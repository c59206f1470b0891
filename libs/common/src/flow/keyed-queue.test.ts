import { describe, expect, it } from 'vitest'
import { createKeyedQueue } from './keyed-queue.ts'

/** A piece that waits to be let go. */
function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { piece: () => promise, open: resolve }
}
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('lanes', () => {
  it('run a few pieces at once, in order, and other lanes beside them', async () => {
    const lanes = createKeyedQueue({ depth: 2, waiting: 10 })
    const started: string[] = []
    const gates = Array.from({ length: 4 }, gate)
    const runs = gates.map(({ piece }, position) =>
      lanes.run(1, () => {
        started.push(`a${position}`)
        return piece()
      }),
    )
    const other = lanes.run(2, async () => void started.push('b'))
    await other
    expect(started).toEqual(['a0', 'a1', 'b'])
    gates[1]?.open()
    await settle()
    expect(started).toEqual(['a0', 'a1', 'b', 'a2'])
    for (const { open } of gates) open()
    expect(await Promise.all(runs)).toEqual(['done', 'done', 'done', 'done'])
    expect(started).toEqual(['a0', 'a1', 'b', 'a2', 'a3'])
  })

  it('are full at their limit, and free again afterwards', async () => {
    const lanes = createKeyedQueue({ depth: 1, waiting: 1 })
    const [first, second] = [gate(), gate()]
    const runs = [lanes.run(1, first.piece), lanes.run(1, second.piece)]
    expect(await lanes.run(1, async () => expect.unreachable())).toBe('full')
    expect(await lanes.run(2, async () => {})).toBe('done')
    first.open()
    second.open()
    await Promise.all(runs)
    expect(await lanes.run(1, async () => {})).toBe('done')
  })

  it('stay what they are while a piece of them is left', async () => {
    const lanes = createKeyedQueue({ depth: 1, waiting: 1 })
    const [first, second] = [gate(), gate()]
    const begun = lanes.run(1, first.piece)
    const next = lanes.run(1, second.piece)
    first.open()
    await begun
    let hasStarted = false
    const third = lanes.run(1, async () => {
      hasStarted = true
    })
    await settle()
    expect(hasStarted).toBe(false)
    expect(await lanes.run(1, async () => expect.unreachable())).toBe('full')
    second.open()
    expect(await Promise.all([next, third])).toEqual(['done', 'done'])
  })

  it('go on after a piece that fails', async () => {
    const lanes = createKeyedQueue({ depth: 1, waiting: 1 })
    await expect(lanes.run(1, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await lanes.run(1, async () => {})).toBe('done')
  })
})
