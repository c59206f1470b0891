/** The demo's temporary folder: everything the demo writes is in it, and it goes with the demo. */

import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { findProcessesOf, killProcessesOf } from './processes.ts'

export interface Home extends AsyncDisposable {
  readonly path: string
  /** What relayer and sidecars print. */
  readonly logs: string
  readonly data: string
  readonly cluster: string
  /** Their config and keys, where everything is left running. */
  readonly oracles: string
}

const remove = (path: string) => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })

/** Makes the folder. Disposing ends what still runs in it and removes it; so does the end of our process, however it comes. */
export function makeHome(): Home {
  const path = mkdtempSync(join(tmpdir(), 'dvt-relayer-demo-'))
  // Where PostgreSQL has to run as another user, that user must be able to enter.
  chmodSync(path, 0o711)
  const logs = join(path, 'logs')
  mkdirSync(logs)
  const clear = () => {
    killProcessesOf(path)
    remove(path)
  }
  process.once('exit', clear)
  return {
    path,
    logs,
    data: join(path, 'data'),
    cluster: join(path, 'cluster'),
    oracles: join(path, 'oracles'),
    async [Symbol.asyncDispose]() {
      for (let looks = 0; looks < 100 && findProcessesOf(path).length > 0; looks++) {
        killProcessesOf(path)
        await pause(20)
      }
      remove(path)
      process.off('exit', clear)
    },
  }
}
