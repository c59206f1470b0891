import { describe, expect, it } from 'vitest'
import { ApiError, failure } from '../../errors.ts'
import { handIn, type Refusal, refuseRest } from './refusals.ts'

const stale = (position: number): Refusal => ({ code: 'EXIT_INDEX_STALE', message: `exit ${position} is stale` })
const refused = (...positions: number[]) => new Map(positions.map((position) => [position, stale(position)]))
function said(code: 'EXITS_REFUSED' | 'DEPOSITS_REFUSED', items: number, ...positions: number[]) {
  try {
    refuseRest(code, items, refused(...positions))
  } catch (error) {
    const { code: why, message, failures } = error as ApiError
    return { why, message, positions: failures.map(({ index, code: of }) => `${index} ${of}`) }
  }
  return undefined
}

describe('what charon is told', () => {
  it('is nothing where all was taken', () => {
    expect(said('EXITS_REFUSED', 0)).toBeUndefined()
    expect(said('DEPOSITS_REFUSED', 3)).toBeUndefined()
  })

  it('is what is wrong with the first, how many were taken and how many more were not', () => {
    expect(said('EXITS_REFUSED', 1, 0)).toEqual({
      why: 'EXITS_REFUSED',
      message: '0 of 1 exit taken; exit 0 is stale',
      positions: ['0 EXIT_INDEX_STALE'],
    })
    expect(said('DEPOSITS_REFUSED', 5, 4, 1)).toEqual({
      why: 'DEPOSITS_REFUSED',
      message: '3 of 5 deposits taken; exit 1 is stale (and 1 more that were not taken)',
      positions: ['1 EXIT_INDEX_STALE', '4 EXIT_INDEX_STALE'],
    })
  })

  it('names ten at most, the first ones', () => {
    const positions = Array.from({ length: 11 }, (_, i) => 10 - i)
    expect(said('EXITS_REFUSED', 11, ...positions)?.positions).toEqual(
      positions
        .toReversed()
        .slice(0, 10)
        .map((position) => `${position} EXIT_INDEX_STALE`),
    )
  })
})

describe('signatures that are handed in', () => {
  const posted = [5, 7].map((position) => ({ position, publicKey: `key ${position}`, signature: `signed ${position}` }))
  /** Hands in where each post ends so; returns what was posted and what came back. */
  async function hand(kind: 'exit' | 'deposit', end: () => object[], items = posted) {
    const posts: unknown[] = []
    const submit = async (...post: unknown[]) => {
      posts.push(post)
      return end()
    }
    const back = await handIn({ submit } as unknown as Parameters<typeof handIn>[0], 3, kind, items).catch(
      (error: unknown) => error,
    )
    return { posts, back }
  }
  const fail = (error: Error) => () => {
    throw error
  }

  it('are those of the node, by kind, and none where there are none', async () => {
    expect(await hand('exit', () => [])).toEqual({
      posts: [[3, posted.map(({ publicKey, signature }) => ({ public_key: publicKey, exit_signature: signature }))]],
      back: [],
    })
    expect((await hand('deposit', () => [], posted.slice(0, 1))).posts).toEqual([
      [3, [{ public_key: 'key 5', deposit_signature: 'signed 5' }]],
    ])
    expect(await hand('exit', fail(new Error('asked')), [])).toEqual({ posts: [], back: [] })
  })

  it('are wrong where that is known, by their position in the request', async () => {
    const failures = [failure(1, 'SIGNATURE_WRONG')]
    expect((await hand('exit', () => failures)).back).toEqual([7])
    expect((await hand('exit', fail(new ApiError('SHARES_WRONG', 'wrong', { failures })))).back).toEqual([7])
  })

  it.each([
    new ApiError('TOO_BUSY', 'busy', { failures: [failure(1, 'SIGNATURE_WRONG')] }),
    Object.assign(new Error('another'), { code: 'SHARES_WRONG', failures: [failure(1, 'SIGNATURE_WRONG')] }),
  ])('are not wrong for another reason: $message', async (error) => {
    expect((await hand('exit', fail(error))).back).toBe(error)
  })
})
