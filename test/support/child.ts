/** Processes that are told what to do, and answer. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { programFile } from './runner/programs.ts'

export interface Child<To, From> extends AsyncDisposable {
  /** Sends a message, and resolves with the next one that comes. */
  ask(message: To): Promise<From>
}

/** Starts a program, whose source this is, as a process of its own, which ends with this one. */
export function startChild<To extends object, From>(source: string): Child<To, From> {
  const child = fork(programFile(source))
  const ended = once(child, 'close')
  return {
    async ask(message) {
      const answer = once(child, 'message') as Promise<[From]>
      child.send(message)
      const first = await Promise.race([answer, ended.then(() => undefined)])
      if (first === undefined) throw new Error(`${source} has ended`)
      return first[0]
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
