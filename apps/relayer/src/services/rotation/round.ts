/** One round over all vaults: those that are carried on, then those that only wait for the end of what was begun. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { findCurrentOracleSet } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { findRotationVaults, findUnsettledVaults } from '@dvt-relayer/db/queries/rotations.ts'
import type { Context } from '../../context.ts'
import type { RotationLocks } from './locks.ts'
import { describeStep, isTrouble, type Step } from './steps.ts'

/** Oracles that cannot be had, or do not agree, are left alone for twice as long each time; a question costs them less than shares. */
const FIRST_REST_MS = 6_000
const MOST_REST_MS = 120_000
const MOST_REST_UNLEARNT_MS = 60_000

/** What a round does with one vault. */
export interface RoundWork {
  /** Takes a vault on. */
  advance(vault: Uint8Array, signal: AbortSignal): Promise<Step>
  /** Ends what has come to its end, and nothing else. */
  finish(vault: Uint8Array, signal: AbortSignal): Promise<undefined>
}

/** Creates the rounds of this process. */
export function createRotationRounds(
  { config, db }: Pick<Context, 'config' | 'db'>,
  locks: RotationLocks,
  work: RoundWork,
) {
  const rests = createRests()
  let isCollecting = false

  const isOurs = (vault: Uint8Array) => config.vaults?.some((known) => equalBytes(known, vault)) ?? true

  /** Works at one vault, unless it rests or another process is at it. Returns the step it is at, and what a person should know. */
  async function visit(
    vault: Uint8Array,
    setId: number,
    workAt: () => Promise<Step | undefined>,
  ): Promise<{ step?: Step | undefined; problem?: string | undefined }> {
    const known = rests.findProblem(vault, setId)
    if (known !== undefined) return { problem: known }
    const locked = await locks.tryVault(vault, workAt)
    const step = locked.isOurs ? locked.value : undefined
    const problem = step !== undefined && isTrouble(step) ? describeStep(step) : undefined
    if (step === undefined || problem === undefined || step.step === 'too_dear') rests.end(vault)
    else rests.begin(vault, setId, problem, step.step === 'unlearnt' ? MOST_REST_UNLEARNT_MS : MOST_REST_MS)
    return { step, problem }
  }

  return {
    /** Whether exits are being collected, so that a round is worth while as soon as some are ready. */
    get isCollecting(): boolean {
      return isCollecting
    },

    /** One round. With ROTATION off only what was begun is ended. Returns what a person should know, in words. */
    async run(signal: AbortSignal): Promise<string | undefined> {
      const problems: string[] = []
      let isWanted = false
      const setId = (await findCurrentOracleSet(db))?.id ?? 0
      const each = async (vaults: readonly Uint8Array[], workAt: (vault: Uint8Array) => Promise<Step | undefined>) => {
        for (const vault of vaults) {
          signal.throwIfAborted()
          try {
            const { step, problem } = await visit(vault, setId, () => workAt(vault))
            if (step?.step === 'collecting') isWanted = true
            if (problem !== undefined) problems.push(`${checksumAddress(vault)}: ${problem}`)
          } catch (error) {
            if (signal.aborted) throw error
            problems.push(`${checksumAddress(vault)}: ${messageOf(error)}`)
          }
        }
      }
      const vaults = config.rotation.enabled ? (await findRotationVaults(db)).filter(isOurs) : []
      await each(vaults, (vault) => work.advance(vault, signal))
      const others = (await findUnsettledVaults(db)).filter((vault) => !vaults.some((one) => equalBytes(one, vault)))
      await each(others, (vault) => work.finish(vault, signal))
      isCollecting = isWanted
      return problems.length > 0 ? problems.join('; ') : undefined
    },
  }
}

/** The vaults whose oracles are left alone for a while, under one oracle set. Another set ends every rest. */
function createRests() {
  const resting = new Map<string, { setId: number; until: number; restMs: number; problem: string }>()
  return {
    /** Why a vault rests now; undefined when it does not. */
    findProblem(vault: Uint8Array, setId: number): string | undefined {
      const rest = resting.get(toHex(vault))
      return rest?.setId === setId && performance.now() < rest.until ? rest.problem : undefined
    },
    /** Begins a rest, twice as long as the last one. */
    begin(vault: Uint8Array, setId: number, problem: string, mostMs: number): void {
      const last = resting.get(toHex(vault))
      const restMs = Math.min(mostMs, last?.setId === setId ? 2 * last.restMs : FIRST_REST_MS)
      resting.set(toHex(vault), { setId, until: performance.now() + restMs, restMs, problem })
    },
    /** Nothing is wrong with a vault: its next rest is a short one again. */
    end(vault: Uint8Array): void {
      resting.delete(toHex(vault))
    },
  }
}
