/** How the relayer's lists are doing: which it knows, and whether `/ready` may say that the relayer works. */

import type { ListName } from '../config.ts'
import type { Events } from '../events.ts'
import type { Health } from '../health.ts'

/** A list that has answered, one the relayer does not know, or what is wrong with one. */
type ListState = 'listed' | 'absent' | { readonly problem: string }

/** Creates the states of the lists that are followed. None is known before it has answered. */
export function createListStates(names: readonly ListName[], { events, health }: { events: Events; health: Health }) {
  const states = new Map<ListName, ListState>()
  const known = new Map<ListName, boolean>()
  const isHopeful = (name: ListName): boolean => names.includes(name) && (states.get(name) ?? 'listed') === 'listed'

  function report(): void {
    const seen = [...states.values()]
    const failing = seen.find((state) => typeof state === 'object')
    if (failing !== undefined) health.report('relayer', failing.problem)
    else if (seen.length < names.length) return
    else if (seen.includes('listed')) health.report('relayer')
    else health.report('relayer', `the relayer knows none of ${names.map((name) => `GET /${name}`).join(', ')}`)
  }

  return {
    names,
    /** Whether the list was there when it was last asked for, or is still to answer for the first time. */
    isHopeful,
    /** Takes over how a list was last found. One that is absent is no fault while another is there. */
    set(name: ListName, state: ListState): void {
      states.set(name, state)
      const isKnown = state === 'listed'
      if (typeof state === 'string' && known.get(name) !== isKnown) {
        known.set(name, isKnown)
        events.listSeen(name, isKnown)
      }
      report()
    },
  }
}
export type ListStates = ReturnType<typeof createListStates>
