import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { followExitShares, followExits, followValidators, untilRegistrationReady } from './follow.ts'

const [A, B, C] = ['aa', 'bb', 'cc'].map((byte) => `0x${byte.repeat(48)}`) as [string, string, string]
const exit = (public_key: string) => ({ public_key })

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A relayer that gives these answers in turn, and then none: who asks once more waits until the signal aborts. */
function answering(...answers: readonly object[]) {
  const asked: unknown[] = []
  const stop = new AbortController()
  const answer = (...question: unknown[]) => {
    asked.push(question.length > 2 ? question.slice(0, 2) : question[0])
    const next = answers[asked.length - 1]
    if (next !== undefined) return Promise.resolve(next)
    stop.abort()
    return Promise.reject(new DOMException('given up', 'AbortError'))
  }
  const relayer = { getExits: answer, getValidators: answer, getExitShares: answer, postRegister: answer }
  return { relayer: relayer as unknown as RelayerClient, asked, stop, signal: stop.signal }
}

/** What comes until it ends. */
async function all<T>(items: AsyncGenerator<T>): Promise<T[]> {
  const found: T[] = []
  const reading = (async () => {
    for await (const item of items) found.push(item)
  })().catch((error: Error) => {
    if (error.name !== 'AbortError') throw error
  })
  await Promise.all([reading, vi.runAllTimersAsync()])
  return found
}

describe('a list that is followed', () => {
  it('comes whole, page by page, and then what has changed, as it does', async () => {
    const { relayer, asked, signal } = answering(
      { exits: [exit(A)], revision: 7, whole: true, next: 40 },
      { exits: [exit(B)], revision: 5, whole: true },
      { exits: [exit(C)], revision: 8, whole: false, gone: [A] },
      { exits: [], revision: 9, whole: false },
    )
    expect(await all(followExits(relayer, signal))).toEqual([[exit(A)], [exit(B)], [exit(C)]])
    // On from the lowest revision of the pages: what changed between them comes again.
    const wait = { wait: 25, limit: 1000 }
    expect(asked).toEqual([
      { limit: 1000 },
      { limit: 1000, from: 40 },
      { ...wait, after: 5 },
      { ...wait, after: 8 },
      { ...wait, after: 9 },
    ])
  })

  it('begins anew where another process answers in the middle of a walk, and nothing of that answer counts', async () => {
    const { relayer, asked, signal } = answering(
      { validators: [exit(A)], revision: 4, whole: true },
      { validators: [exit(B)], revision: 6, whole: false, next: 3 },
      { validators: [exit(C)], revision: 2, whole: true },
      { validators: [exit(A)], revision: 2, whole: true },
    )
    expect(await all(followValidators(relayer, signal))).toEqual([[exit(A)], [exit(B)], [exit(A)]])
    expect(asked.slice(2, 4)).toEqual([{ limit: 1000, after: 4, from: 3 }, { limit: 1000 }])
  })

  it('of a relayer without long polling is asked for again after a pause, whole', async () => {
    const { relayer, asked, signal } = answering({ exits: [] }, { exits: [exit(A)] }, { exits: [exit(A)] })
    const started = Date.now()
    expect(await all(followExits(relayer, signal))).toEqual([[], [exit(A)], [exit(A)]])
    expect(asked).toEqual(Array(4).fill({ limit: 1000 }))
    expect(Date.now() - started).toBe(3000)
  })

  it('of a relayer that answers at once although nothing has changed is not asked for in a circle', async () => {
    const nothing = { exits: [], revision: 1, whole: false }
    const { relayer, signal } = answering({ exits: [], revision: 1, whole: true }, nothing, nothing, nothing)
    const started = Date.now()
    expect(await all(followExits(relayer, signal))).toEqual([[]])
    expect(Date.now() - started).toBe(3000)
  })

  it.each<[string, ...object[]]>([
    [
      'goes round in a circle',
      { exits: [], revision: 1, whole: true, next: 5 },
      { exits: [], revision: 1, whole: true, next: 5 },
    ],
    ['is of changes that nobody asked for', { exits: [], revision: 1, whole: false }],
    ['is none, after one', { exits: [], revision: 1, whole: true, next: 5 }, { exits: [] }],
  ])('is given up where a page %s', async (_, ...answers) => {
    const { relayer, signal } = answering(...answers)
    await expect(all(followExits(relayer, signal))).rejects.toMatchObject({ code: 'RELAYER_ANSWER_INVALID' })
  })
})

describe("an oracle's shares", () => {
  it('come in pages, with the cursor to go on from', async () => {
    const { relayer, asked, signal } = answering(
      { exit_shares: [exit(A)], cursor: '7' },
      { exit_shares: [], cursor: '7' },
      { exit_shares: [exit(B)], cursor: '9' },
    )
    expect(await all(followExitShares(relayer, '0x11', signal, { after: '3' }))).toEqual([
      { items: [exit(A)], cursor: '7' },
      { items: [exit(B)], cursor: '9' },
    ])
    expect(asked).toEqual(['3', '7', '7', '9'].map((after) => ['0x11', { wait: '25', after }]))
  })
})

describe('a registration', () => {
  const item = (deposit: string | null, shares: object | null) => ({
    deposit_signature: deposit,
    oracles_exit_signature_shares: shares,
  })
  const answer = (manager: string | null, ...validators: object[]) => ({
    validators,
    validators_manager_signature: manager,
  })

  it('is asked for until deposits, shares and the manager’s signature are all there', async () => {
    const whole = answer('0x33', item('0x11', {}), item('0x22', {}))
    const { relayer, asked, signal } = answering(
      answer(null, item(null, null)),
      answer('0x33', item('0x11', {}), item('0x22', null)),
      answer('0x33', item('0x11', {}), item(null, {})),
      answer(null, item('0x11', {}), item('0x22', {})),
      whole,
    )
    const request = { vault: A, validators_start_index: 1, amounts: [1], validator_type: '0x01' as const }
    const asking = untilRegistrationReady(relayer, request, signal)
    await vi.runAllTimersAsync()
    expect(await asking).toBe(whole)
    expect(asked).toHaveLength(5)
  })
})
