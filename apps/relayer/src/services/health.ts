/** What works and what does not, as last seen; `/ready` shows it, the status page too, and the log tells each change once. */

import type { Ready } from '@dvt-relayer/api/schemas.ts'
import type { Events } from '../events.ts'
import { DEPENDENCIES, type Dependency } from '../metrics.ts'

/** Without these nothing of the main job goes on; without the others something still does. */
const NEEDED: readonly Dependency[] = ['database', 'consensus', 'oracle_set', 'worker']

/** Creates the service. Nothing counts as working before it has been seen. */
export function createHealth(events: Events) {
  const seen = new Map<Dependency, string | undefined>()
  const doubts = new Map<Dependency, string>()
  return {
    /** What may be wrong with one that works, in words; nothing where nothing may be. */
    doubt(dependency: Dependency, words: string | undefined): void {
      if (words === undefined) doubts.delete(dependency)
      else doubts.set(dependency, words)
      events.dependencyDoubted(dependency, words)
    },
    /** The doubts there are. */
    doubts: (): Readonly<Record<string, string>> => Object.fromEntries(doubts),
    /** A dependency was seen working (no problem) or not. */
    report(dependency: Dependency, problem?: string): void {
      seen.set(dependency, problem)
      events.dependencySeen(dependency, problem === undefined, problem)
    },
    /** The state for `/ready`. */
    state(): Ready {
      const checks = Object.fromEntries(
        DEPENDENCIES.map((dependency) => {
          const problem = seen.has(dependency) ? seen.get(dependency) : 'not checked yet'
          return [dependency, problem === undefined ? { ok: true } : { ok: false, message: problem }]
        }),
      )
      const failing = DEPENDENCIES.filter((dependency) => checks[dependency]?.ok !== true)
      const status = failing.some((dependency) => NEEDED.includes(dependency))
        ? 'not_ready'
        : failing.length > 0
          ? 'degraded'
          : 'ready'
      return { status, checks }
    },
  }
}
export type Health = ReturnType<typeof createHealth>
