/** Has the files of clusters and keys read again by another thread, while this one goes on answering. */

import { Worker } from 'node:worker_threads'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'

/** What the thread runs; beside the program in a bundle as well (deploy/bundle.ts). */
const PROGRAM = import.meta.url.endsWith('.ts')
  ? new URL('./import-worker.ts', import.meta.url)
  : new URL('./import-worker.js', import.meta.url)

/** What the files are, what they are held against, and where they go. */
export interface ImportInput {
  databaseUrl: string
  config: Pick<RelayerConfig, 'network' | 'role' | 'clusters' | 'ssv'>
}
export type ImportAnswer =
  | { line: { level: 'debug' | 'info' | 'warn' | 'error'; args: unknown[] } }
  | { imported: { imported: number; removed: number; rejudged: number } }
  /** Why files were not taken over. `isPassing`: it is the database's trouble, and may be over soon. */
  | { done: { problems: string[]; isPassing: boolean } }

/** Imports them as a start does; returns why some were refused. @throws {Error} it could not be done now */
export async function importInThread(
  { config: { network, role, clusters, ssv }, events, logger }: Pick<Context, 'config' | 'events' | 'logger'>,
  databaseUrl: string,
  signal: AbortSignal,
): Promise<string[]> {
  const workerData: ImportInput = { databaseUrl, config: { network, role, clusters, ssv } }
  const worker = new Worker(PROGRAM, { workerData })
  // A stop does not wait for it: what it has not committed is taken back.
  worker.unref()
  const { promise, resolve, reject } = Promise.withResolvers<string[]>()
  worker.on('message', (answer: ImportAnswer) => {
    if ('line' in answer) (logger[answer.line.level] as (...args: unknown[]) => void)(...answer.line.args)
    else if ('imported' in answer) events.ssvImported('files', answer.imported)
    else if (answer.done.isPassing) reject(new Error(answer.done.problems.join('; ')))
    else resolve(answer.done.problems)
  })
  worker.on('error', reject)
  worker.on('exit', () => reject(new Error('the thread that imports files has ended')))
  return untilAborted(promise, signal)
}
