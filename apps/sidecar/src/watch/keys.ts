/**
 * Looks for keys that came or went, again and again, and gives them to the work lists. A source that is broken takes no key away. The file with
 * the relayer's endpoint, and the token in it, is looked at with them.
 */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { ListName } from '../config.ts'
import type { Events } from '../events.ts'
import type { Health } from '../health.ts'
import { idOfShare, type KeyShare, type Keystore } from '../keystores/keystore.ts'
import type { WorkList } from '../lists/work-list.ts'

interface WatchKeysParts {
  /** Those of `lists`, which are followed, learn of the keys. */
  readonly workLists: Readonly<Record<ListName, WorkList>>
  readonly lists: readonly ListName[]
  readonly keystore: Keystore
  readonly reloadIntervalMs: number
  readonly events: Pick<Events, 'keysChanged'>
  readonly health: Health
  /** Reads again where the relayer is, and with which token. */
  renewRelayer(): Promise<void>
}

/** Starts looking. `onChange` is told of the keys that came. */
export function startWatchingKeys(
  parts: WatchKeysParts,
  onChange: (added: readonly KeyShare[]) => void,
): AsyncDisposable & { lookNow(): void } {
  const { keystore, workLists, lists, reloadIntervalMs, events, health, renewRelayer } = parts
  const stop = new AbortController()
  let known = keystore.keyShares
  let wake = () => {}
  let isAsked = false

  /** Also after a look that failed: what it found besides the fault counts. */
  function takeOver(): void {
    const before = known
    if (keystore.keyShares === before) return
    known = keystore.keyShares
    for (const list of lists) workLists[list].setKeyShares(known)
    const ids = new Set(before.map(idOfShare))
    const added = known.filter((keyShare) => !ids.has(idOfShare(keyShare)))
    events.keysChanged({
      added: added.length,
      removed: before.length + added.length - known.length,
      keys: known.length,
    })
    onChange(added)
  }

  async function look(): Promise<void> {
    const problems: string[] = []
    const noted = (error: unknown) => void problems.push(messageOf(error))
    await renewRelayer().catch(noted)
    await keystore.reload(stop.signal).catch(noted)
    if (!stop.signal.aborted) health.report('keys', problems.length === 0 ? undefined : problems.join('; '))
    takeOver()
  }

  const run = async () => {
    while (!stop.signal.aborted) {
      const early = new AbortController()
      wake = () => early.abort()
      if (!isAsked) await pause(reloadIntervalMs, AbortSignal.any([stop.signal, early.signal]))
      isAsked = false
      if (!stop.signal.aborted) await look()
    }
  }
  const running = run()
  return {
    /** Looks without waiting for its time. */
    lookNow() {
      // One that comes during a look asks for another one after it.
      isAsked = true
      wake()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
