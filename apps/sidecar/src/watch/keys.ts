/** Looks for keys that came or went, again and again, and gives them to the books. A source that is broken takes no key away. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import type { Context } from '../context.ts'
import { idOfShare, type KeyShare } from '../keystores/obol/keystore.ts'

type WatchContext = Pick<Context, 'config' | 'keystore' | 'books' | 'lists' | 'events' | 'health'>

/** Starts looking. `onChange` is told of the keys that came. */
export function startWatchingKeys(
  context: WatchContext,
  onChange: (added: readonly KeyShare[]) => void,
): AsyncDisposable & { lookNow(): void } {
  const { config, keystore, books, lists, events, health } = context
  const stop = new AbortController()
  let known = keystore.keyShares
  let wake = () => {}

  /** Also after a look that failed: what it found besides the fault counts. */
  function takeOver(): void {
    const before = known
    if (keystore.keyShares === before) return
    known = keystore.keyShares
    for (const list of lists.names) books[list].setKeyShares(known)
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
    try {
      await keystore.reload(stop.signal)
      health.report('keys')
    } catch (error) {
      if (!stop.signal.aborted) health.report('keys', messageOf(error))
    }
    takeOver()
  }

  const run = async () => {
    while (!stop.signal.aborted) {
      const early = new AbortController()
      wake = () => early.abort()
      await pause(config.reloadIntervalMs, AbortSignal.any([stop.signal, early.signal]))
      if (!stop.signal.aborted) await look()
    }
  }
  const running = run()
  return {
    /** Looks without waiting for its time. */
    lookNow: () => wake(),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
