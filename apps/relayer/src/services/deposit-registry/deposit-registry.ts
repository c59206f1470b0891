/**
 * The deposit registry: which validator keys have a validly signed deposit, how many there are, and the deposit contract's root, all at
 * one block (docs/protocol.md#14-chain-calls). Deposits of final blocks are settled in the database; what is newer is read anew for every
 * head.
 */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { createDepositCheckpoint } from './checkpoint.ts'
import { createCrossCheck } from './cross-check.ts'
import { isProgress, NOT_BEGUN, type Position } from './position.ts'
import { createDepositScan } from './scan.ts'
import { createDepositSeed } from './seed.ts'
import { createDepositViews, type DepositView } from './view.ts'

export type { DepositView } from './view.ts'

/** How long a caller waits for the registry to begin where nobody has begun it, of all that it waits: a reading follows. */
const FIRST_ROUND = 0.6

type Needs = Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events' | 'logger' | 'patienceMs'>

/** Creates the service. */
export function createDepositRegistry(context: Needs) {
  const { patienceMs } = context
  const firstRoundMs = Math.ceil(FIRST_ROUND * patienceMs)
  const checkpoint = createDepositCheckpoint(context)
  const rounds = createRounds(context, checkpoint.find)
  const views = createDepositViews(context, () => findOrBegin())
  let isAsked = false
  /** What the last round has failed of, as `/ready` says it. */
  let problem: string | undefined

  /** Where the registry stands. Where it has not begun, a caller begins it: who asks first need not wait for the next round. */
  async function findOrBegin(): Promise<Position | undefined> {
    const position = await checkpoint.find()
    if (position !== undefined) return position
    const first = rounds.current ?? rounds.start(AbortSignal.timeout(firstRoundMs), () => {})
    const failure = await withTimeout(first, firstRoundMs).catch((error: unknown) => error)
    const begun = await checkpoint.find()
    if (begun === undefined && failure !== undefined)
      throw new ApiError('DEPENDENCY_AWAY', NOT_BEGUN, { cause: failure })
    return begun
  }

  /**
   * The view at the newest block.
   *
   * @throws {ApiError} DEPENDENCY_AWAY while the deposits are still being read (the message says how far that is, or what keeps the
   * rounds from going on), and when the execution node is away, behind, or says what does not fit together
   * @throws {DatabaseError}
   */
  async function at(): Promise<DepositView> {
    isAsked = true
    try {
      return await withTimeout(views.read(), patienceMs)
    } catch (error) {
      if (error instanceof ApiError && problem !== undefined && isProgress(error.message))
        throw new ApiError('DEPENDENCY_AWAY', `${error.message}; ${problem}`, { cause: error })
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
    isWanted: async (): Promise<boolean> => isAsked || (await checkpoint.find()) !== undefined,

    /**
     * One round: begins the registry where it has not begun, and settles the deposits of final blocks.
     *
     * @param onProgress is told, in words, how far a round has come that takes longer
     * @returns what is wrong, in words
     */
    async follow(signal: AbortSignal, onProgress: (words: string) => void = () => {}): Promise<string | undefined> {
      // A caller may be in the middle of a first, short one.
      while (rounds.current !== undefined) await rounds.current.catch(() => {})
      try {
        await rounds.start(signal, onProgress)
        problem = undefined
      } catch (error) {
        if (signal.aborted) return undefined
        if (!(error instanceof CodedError)) throw error
        problem = error.message
      }
      return problem
    },

    at,

    /**
     * The number of validators by the deposit logs, undefined where nobody has begun to follow them.
     *
     * @throws {ApiError | DatabaseError} as `at`
     */
    countIfBegun: async (): Promise<number | undefined> =>
      (await checkpoint.find()) === undefined ? undefined : (await at()).count,

    /** Compares the number of validators with the consensus node's. Returns words when the two have disagreed several times in a row. */
    crossCheck: createCrossCheck(context, at),
  }
}
export type DepositRegistry = ReturnType<typeof createDepositRegistry>

/** Rounds of this process, of which one is under way at a time. */
function createRounds(context: Needs, findPosition: () => Promise<Position | undefined>) {
  const seed = createDepositSeed(context)
  const scan = createDepositScan(context)
  let current: Promise<void> | undefined

  async function run(signal: AbortSignal, onProgress: (words: string) => void): Promise<void> {
    if ((await findPosition()) === undefined) await seed.begin(signal, onProgress)
    const position = await findPosition()
    if (position !== undefined) await scan.settleFinal(position, signal, onProgress)
  }

  return {
    /** The round under way. */
    get current(): Promise<void> | undefined {
      return current
    },
    /** Begins a round; the caller has seen that none is under way. */
    start(signal: AbortSignal, onProgress: (words: string) => void): Promise<void> {
      current = run(signal, onProgress).finally(() => {
        current = undefined
      })
      return current
    },
  }
}
