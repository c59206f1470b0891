/**
 * The demo from outside: a folder, processes and stand-ins come, the story is told, everything goes again, whatever happens
 * in between.
 */

import { readFileSync } from 'node:fs'
import { findAnvil } from '../support/chain/anvil.ts'
import { DemoError } from './errors.ts'
import { makeHome } from './home.ts'
import { createChildren } from './processes.ts'
import { startGeneration3 } from './story/generation3.ts'
import { startGeneration4 } from './story/generation4.ts'
import { tellMixedStory } from './story/mixed.ts'
import { createStory } from './story/story.ts'
import { type Ending, tellStory } from './story/tell-story.ts'

/** For the whole story. */
const DEMO_MS = 600_000
const TAIL_LINES = 25
const NO_EVM = 'Generation 4 needs a real EVM node, and there is no anvil for this platform.'

export interface DemoOptions {
  /** Of the protocol; undefined: the newest that can be shown on this platform. */
  generation: 3 | 4 | undefined
  /** The story of a cluster whose nodes are of different kinds, in generation 4. */
  mixed: boolean
  /** Leave everything running after the story, until interrupted. */
  keep: boolean
  print: (line: string) => void
  interrupted: AbortSignal
}

/**
 * The generation that is shown: what was asked for, else the newest that this platform can show.
 *
 * @returns no generation where what was asked for cannot be shown; and what the user should know
 */
export function chooseGeneration(
  asked: 3 | 4 | undefined,
  hasAnvil: boolean,
): { generation: 3 | 4 | undefined; remark?: string } {
  if (asked === 3 || hasAnvil) return { generation: asked ?? 4 }
  if (asked === 4) return { generation: undefined, remark: `${NO_EVM} Try: npm run demo -- --generation 3` }
  return { generation: 3, remark: `${NO_EVM} This is the story of generation 3.` }
}

/** Runs the demo and returns its exit code. No process and no file of it is left then. */
export async function runDemo({ generation: asked, mixed, keep, print, interrupted }: DemoOptions): Promise<number> {
  const { generation, remark } = chooseGeneration(asked, findAnvil() !== undefined)
  if (remark !== undefined) print(remark)
  if (generation === undefined) return 1
  const failed = new AbortController()
  const signal = AbortSignal.any([interrupted, failed.signal])
  const tooLong = new DemoError(`the demo takes longer than ${DEMO_MS / 1000} s`)
  const limit = setTimeout(() => failed.abort(tooLong), DEMO_MS)
  await using home = makeHome()
  await using running = new AsyncDisposableStack()
  await using children = createChildren(home.logs, (error) => failed.abort(error))
  const startGeneration = () => (generation === 3 ? startGeneration3(running) : startGeneration4(home, running))
  let ending: Ending | undefined
  try {
    const tell = mixed ? tellMixedStory : tellStory
    ending = await tell({ home, children, story: createStory(print), signal, startGeneration, keep })
    clearTimeout(limit)
    if (!keep) return 0
    for (const line of ending.hints) print(line)
    await aborted(signal)
    failed.signal.throwIfAborted()
    await ending.stop()
    print('\nEverything is stopped, with exit code 0, and removed.')
    return 0
  } catch (error) {
    // What went wrong first is the reason; what followed from it is not.
    const reason: unknown = failed.signal.aborted ? failed.signal.reason : error
    if (interrupted.aborted && !failed.signal.aborted && ending === undefined) {
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
