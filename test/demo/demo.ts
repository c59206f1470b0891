/**
 * The demo from outside: a folder, processes and stand-ins come, the story is told, everything goes again, whatever happens
 * in between.
 */

import { readFileSync } from 'node:fs'
import { DemoError } from './errors.ts'
import { makeHome } from './home.ts'
import { createChildren } from './processes.ts'
import { createStory } from './story.ts'
import { tellStory } from './tell-story.ts'
import { createWorld } from './world.ts'

/** For the whole story. */
const DEMO_MS = 240_000
const TAIL_LINES = 25

export interface DemoOptions {
  /** Leave everything running after the story, until interrupted. */
  keep: boolean
  print: (line: string) => void
  interrupted: AbortSignal
}

/** Runs the demo and returns its exit code. No process and no file of it is left then. */
export async function runDemo({ keep, print, interrupted }: DemoOptions): Promise<number> {
  const failed = new AbortController()
  const signal = AbortSignal.any([interrupted, failed.signal])
  const tooLong = new DemoError(`the demo takes longer than ${DEMO_MS / 1000} s`)
  const limit = setTimeout(() => failed.abort(tooLong), DEMO_MS)
  await using home = makeHome()
  await using world = createWorld(home)
  await using children = createChildren(home.logs, (error) => failed.abort(error))
  try {
    const story = createStory(print)
    const hints = await tellStory({ home, world, children, story, signal, keep })
    clearTimeout(limit)
    if (!keep) return 0
    for (const line of hints) print(line)
    await aborted(signal)
    failed.signal.throwIfAborted()
    print('\nEverything is stopped and removed.')
    return 0
  } catch (error) {
    // What went wrong first is the reason; what followed from it is not.
    const reason: unknown = failed.signal.aborted ? failed.signal.reason : error
    if (interrupted.aborted && !failed.signal.aborted) {
      print('\nInterrupted: everything is stopped and removed.')
      return 130
    }
    explain(reason, print)
    return 1
  } finally {
    clearTimeout(limit)
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** Says what went wrong, with the last lines of the process at fault. */
function explain(error: unknown, print: (line: string) => void): void {
  if (!(error instanceof DemoError)) {
    print(`\nThe demo failed: ${error instanceof Error ? error.stack : String(error)}`)
    return
  }
  print(`\nThe demo failed: ${error.message}`)
  if (error.logFile === undefined) return
  print('The last lines of its log:')
  for (const line of readFileSync(error.logFile, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES)) print(`  ${line}`)
}
