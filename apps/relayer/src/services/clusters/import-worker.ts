/**
 * A thread that reads the files of clusters and keys again: to verify a lock of thousands of validators takes seconds, in which the event loop
 * would answer nobody. What it says to log and metrics goes to the thread that has started it.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { type Logger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { isPassing } from '@dvt-relayer/db/errors.ts'
import { giveWay } from '../../crypto-workers/priority.ts'
import { importFiles } from './import-clusters.ts'
import type { ImportAnswer, ImportInput } from './import-in-thread.ts'

// Before anything is verified: where nothing was before, the native threads start here, for as long as the process runs.
giveWay()

const port = parentPort
if (port === null) throw new Error('clusters/import-worker.ts runs as a worker thread only')
const tell = (answer: ImportAnswer) => port.postMessage(answer)

const say =
  (level: 'debug' | 'info' | 'warn' | 'error') =>
  (...args: unknown[]) =>
    tell({ line: { level, args } })
const logger = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') } as unknown as Logger
const events = {
  ssvImported: (_source: 'files' | 'chain', { imported, removed, rejudged }: ImportedCounts) =>
    tell({ imported: { imported, removed, rejudged } }),
}
type ImportedCounts = Extract<ImportAnswer, { imported: unknown }>['imported']

const { databaseUrl: url, config } = workerData as ImportInput

try {
  await using db = await connectDatabase({ url, logger: silentLogger, maxConnections: 1, waitMs: 0 })
  const failures = await importFiles({ config, db, events, logger }, createBlstEngine(), 'all')
  tell({ done: { problems: failures.map(messageOf), isPassing: failures.some(isPassing) } })
} catch (error) {
  tell({ done: { problems: [messageOf(error)], isPassing: isPassing(error) } })
}
