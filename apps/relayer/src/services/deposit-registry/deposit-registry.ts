/**
 * The registry: which validator keys have a validly signed deposit, how many there are, and the deposit contract's root, all at one
 * block (protocol section 14). Deposits of final blocks are settled in the database; what is newer is read anew for every head.
 */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { withTimeout } from '@dvt-relayer/common/lifetime.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import type { Position } from './position.ts'
import { createRegistryScan } from './scan.ts'
import { createRegistrySeed } from './seed.ts'
import { createRegistryViews, NOT_BEGUN, type RegistryView } from './view.ts'

export type { RegistryView } from './view.ts'

const PATIENCE_MS = {
  /** How long a caller waits for a reading. Operators give up after 10 s, and two of them may follow each other. */
  reading: 5_000,
  /** How long a caller waits for the registry to begin where nobody has begun it. */
  firstRound: 3_000,
}
/** Looks in a row after which a disagreement of the two nodes counts. */
const LOOKS = 3

type Needs = Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events' | 'logger'>

/** Creates the service. */
export function createRegistry(context: Needs, patienceMs = PATIENCE_MS) {
  const { chain, events } = context
  const seed = createRegistrySeed(context)
  const scan = createRegistryScan(context)
  const views = createRegistryViews(context, findOrBegin)
  const compare = createComparison()
  let round: Promise<void> | undefined
  let isAsked = false

  function startRound(signal: AbortSignal, onProgress: (words: string) => void): Promise<void> {
    const run = async () => {
      if ((await scan.findPosition()) === undefined) await seed.begin(signal, onProgress)
      const position = await scan.findPosition()
      if (position !== undefined) await scan.settleFinal(position, signal, onProgress)
    }
    round = run().finally(() => {
      round = undefined
    })
    return round
  }

  /** Where the registry stands. Where it has not begun, a caller begins it: who asks first need not wait for the next round. */
  async function findOrBegin(): Promise<Position | undefined> {
    const position = await scan.findPosition()
    if (position !== undefined) return position
    const first = round ?? startRound(AbortSignal.timeout(patienceMs.firstRound), () => {})
    const failure = await withTimeout(first, patienceMs.firstRound).catch((error: unknown) => error)
    const begun = await scan.findPosition()
    if (begun === undefined && failure !== undefined)
      throw new ApiError('DEPENDENCY_AWAY', NOT_BEGUN, { cause: failure })
    return begun
  }

  /**
   * The view at the newest block.
   *
   * @throws {ApiError} DEPENDENCY_AWAY while the deposits are still being read (the message says how far that is), and when the
   * execution node is away, behind, or says what does not fit together
   * @throws {DatabaseError}
   */
  async function at(): Promise<RegistryView> {
    isAsked = true
    try {
      return await withTimeout(views.read(), patienceMs.reading)
    } catch (error) {
      if (error instanceof ApiError || error instanceof DatabaseError) throw error
      throw new ApiError(
        'DEPENDENCY_AWAY',
        'the deposits cannot be read at the newest block: the execution node is away, slow, or its answers do not fit together',
        { cause: error },
      )
    }
  }

  return {
    /** Whether anybody has begun it, or asked for it here: a long dump is more than a first caller waits for. */
    isWanted: async (): Promise<boolean> => isAsked || (await scan.findPosition()) !== undefined,

    /**
     * One round: begins the registry where it has not begun, and settles the deposits of final blocks.
     *
     * @param onProgress is told, in words, how far a round has come that takes longer
     * @returns what is wrong, in words
     */
    async follow(signal: AbortSignal, onProgress: (words: string) => void = () => {}): Promise<string | undefined> {
      // A caller may be in the middle of a first, short one.
      while (round !== undefined) await round.catch(() => {})
      try {
        await startRound(signal, onProgress)
        return undefined
      } catch (error) {
        if (signal.aborted) return undefined
        if (error instanceof CodedError) return error.message
        throw error
      }
    },

    at,

    /**
     * Compares the number of validators in the logs with the consensus node's next index, at the heads of both.
     *
     * @returns words when they have disagreed several times in a row
     * @throws {ApiError} {DatabaseError} as `at`; whatever the consensus node's client throws
     */
    async crossCheck(): Promise<string | undefined> {
      const [{ count }, nextIndex] = await Promise.all([at(), chain.registry.nextIndex()])
      events.registryCounted(count, nextIndex)
      if (!compare(count, nextIndex)) return undefined
      return (
        `the deposit logs make ${count} validators and the consensus node expects ${nextIndex}: ` +
        'one of the two nodes is behind or on another chain, or the registry in the database is of one'
      )
    },
  }
}
export type Registry = ReturnType<typeof createRegistry>

/**
 * Tells a disagreement from two heads that differ by moments. Both numbers only grow, so a node that is a little behind has reached
 * by now what the other said the last time; who has not, for several looks in a row, never will.
 */
function createComparison() {
  let before: { execution: number; consensus: number } | undefined
  let looks = 0
  return (execution: number, consensus: number): boolean => {
    const then = before ?? { execution, consensus }
    before = { execution, consensus }
    const isApart = execution < Math.min(consensus, then.consensus) || consensus < Math.min(execution, then.execution)
    looks = isApart ? looks + 1 : 0
    return looks >= LOOKS
  }
}
